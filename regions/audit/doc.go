// Package audit is the audit log of one node: CloudTrail-shaped events in files, chained by hashes.
//
// Invariants:
//
//   - What a call acknowledged is in the files: Intent, Outcome and Service on disk, Data at least with the kernel, so
//     that it survives the death of the process, and on disk within Config.FlushEvery (with Config.Strict, at once).
//   - After a write or a sync has failed, nothing more is acknowledged until the log is opened again.
//   - Every byte of every record is covered by the chain; a complete record that does not fit stops Open.
//   - One process writes a directory at a time.
//   - What a caller puts into an event is logged in clear: the caller leaves secrets out.
//
// # Format
//
// A log is a directory of files named audit-SSSSSSSSSSSSSSSSSSSS.log, where S is the sequence number of the file's first
// record, in decimal with 20 digits. Read in the order of their names they are one sequence of records, one record a
// line, each line ended by a newline (0x0A). A line is a JSON object without white space between its members, which are
// exactly these, in this order:
//
//	seq     number   1 for the first record of the log, and one more for each
//	kind    string   "file", "intent", "outcome", "data" or "service" ("checkpoint" is reserved)
//	node    string   who writes the log; the same in every record; 1 to 64 of A-Z a-z 0-9 . _ : -
//	time    string   when the record was made, UTC, 2006-01-02T15:04:05.000000Z
//	prev    string   the hash of the record before, 64 lower-case hex digits; 64 zeros in record 1
//	intent  number   in an outcome only: the seq of the intent that it closes
//	event   object   the event; in a record of kind "file" it is called file instead
//	hash    string   the hash of this record, 64 lower-case hex digits
//
// Numbers are decimal without sign or leading zeros. The hash of a record is
//
//	SHA-256( "antipode/audit/1" 0x0A | line[0 : len(line)-76] )
//
// where line includes its newline: the last 76 bytes are ,"hash":" (9 bytes), the 64 digits, "} and the newline. So the
// bytes as written are hashed, no canonical form of JSON is needed, and the hash covers prev and with it all that came
// before.
//
// The first record of each file, and no other, is of kind "file". Its member file is an object of exactly
//
//	format  string  "antipode-audit/1"
//	log     string  32 hex digits, random, the same in each file of one log
//	open    array   the seqs, ascending, of all intents that have no outcome at this point
//
// An outcome closes an intent that is open, once. An event is CloudTrail's, in CloudTrail's order, as [Event] says.
// No line is longer than [MaxLineBytes].
//
// # What the chain shows
//
// Given the head of a log ([Head]: its last seq and hash) from a trustworthy place, any change to any record up to it is
// found: alteration, removal, insertion, exchange, or a piece of another log. The files alone show less. The hashes have
// no key, so who can write the files can cut the log back to an earlier record, or change a record and all hashes after
// it, and the files still verify. Therefore the head is kept with each commit of the store and at other Regions.
//
// A crash may leave an incomplete last line, without newline or with zero bytes where the disk had not caught up. Open
// keeps it in a file NAME.torn-N beside, and cuts it off; nothing in it had been acknowledged as being on disk.
package audit
