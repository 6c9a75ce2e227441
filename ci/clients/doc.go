// Package clients holds the tests that run software which others wrote for AWS KMS against the real binary: the aws CLI, boto3,
// the AWS SDKs for JavaScript and Go, the AWS Encryption SDK, sops, the sequences of Terraform's provider; with OpenSSL as the
// other side of what has two.
//
// Invariants:
//   - Every client makes the same journey, written once; a client is only an adapter that makes one call.
//   - A client that is not installed fails the run with the command that installs it; nothing is skipped. Which clients may be
//     too old for an operation is written in one place.
package clients
