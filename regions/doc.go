// Package regions is the domain: what one Region of Antipode is and does. A [Region] is a KMS with its own token, its
// own store, its own audit log and its own policies; the operations of the AWS KMS API are rows of one table that every
// front serves ([Operations]).
//
// Invariants:
//   - Every record that holds a key or grants power carries a MAC under the Region's record key over its identity and
//     its body, checked before use; a record moved into another row, or altered, is refused.
//   - A call is authorised and its intent is in the audit log before it has any effect; if the audit log can't be
//     written the call fails.
//   - Plaintext and key material never reach the store, the audit log or an error.
//   - The package knows nothing of other Regions but what a multi-Region key's signed shared state says; moving key
//     material between tokens is package replication's work, behind [Replicator].
package regions
