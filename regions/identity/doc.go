// Package identity says who may call: accounts, their users, and the users' access keys.
//
// Invariants:
//
//   - The secret of an access key is at rest only sealed, and bound to its row: sealed for one access key of one user,
//     it opens for no other.
//   - Nothing prints a [Secret], whatever formats, logs or encodes the value that holds it.
//   - Administrator is nowhere stored; it follows from the policy document, or it is not so.
//   - After [Directory.Forget] has returned, no [Directory.Resolve] that starts answers with what was there before, and
//     none that had started leaves it in the cache.
//
// The structs are stored as CBOR by whoever owns the store, and authenticated there.
package identity
