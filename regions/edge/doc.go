// Package edge is what every front does around a call: limits, request ids, strict JSON, and what an error says.
//
// Invariants:
//   - No more of a body is read than the limit, and a call has [CallTime].
//   - A fault of ours in one call, a panic included, is that call's internal error: the log has its cause, the answer
//     nothing of it.
//   - [FailureOf] alone decides what a client learns of an error; a front only gives it its form.
package edge
