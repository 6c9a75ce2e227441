// Package conformance drives every operation of the official AWS KMS model through the official Go client against two real
// Regions, and writes what it saw to docs/conformance.md.
//
// Invariants:
//   - The operations are the methods of the client, their errors those of the model: what is neither shown nor excused
//     with a reason fails, and so does a reason for what can be shown.
package conformance
