// Package rest is the REST front of the operations of a Region: resources and verbs below /v1, for clients that have no AWS
// SDK.
//
// Invariants:
//   - Every operation of the table has a route, and a route adds nothing: what it does, and who may, is decided by the
//     operation, by the same code as for every other front.
//   - Nothing of a request but its method, its path and its headers is looked at before its caller is authenticated.
//   - A request is understood completely or refused: members and parameters that the operation does not have, or that come
//     twice or in two places, are errors.
//   - The OpenAPI document is made from the routes and the Go types that the handlers decode and encode.
package rest
