// Package store keeps a Region's records ([regions.Store]) in an SQL database.
//
// Invariants:
//
//   - What Update acknowledged is on disk: SQLite runs in WAL mode with synchronous=FULL, and a database whose settings
//     did not take is refused.
//   - Create never touches an existing file, Open never makes one, and neither opens a schema that is newer than the
//     program.
//   - There is one writing connection, and every Update holds it from its first statement to its commit.
//   - Key parts are byte strings, compared byte by byte; nothing depends on a locale or on valid UTF-8.
//   - The files are readable by their owner only, and deleted content is overwritten.
//
// The queries use $1-style parameters and ON CONFLICT, which SQLite and PostgreSQL understand alike. What is SQLite's
// own is in sqlite.go (files, settings, BEGIN IMMEDIATE) and in migrations/sqlite; another database gets a folder of
// migrations with the same numbers. Package storetest is the suite that each implementation passes.
package store
