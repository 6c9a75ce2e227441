// Package clients holds the tests that run ordinary AWS clients against the real binary: the aws CLI, boto3, the AWS SDK
// for JavaScript and the AWS SDK for Go.
//
// Invariants:
//   - Every client makes the same journey, written once; a client is only an adapter that makes one call.
//   - A client that is not installed fails the run with the command that installs it; nothing is skipped.
package clients
