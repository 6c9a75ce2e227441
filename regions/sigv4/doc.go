// Package sigv4 verifies AWS Signature Version 4 on requests whose Authorization header carries it.
//
// A server calls [Parse], routes by the Region in the credential scope, looks the access key up, and calls
// [Verifier.Verify]; only then may it look at anything else in the request. Invariants:
//
//   - What the signature does not cover can't change what the request means: the method, the path, the query, the
//     host, every X-Amz-* header and the whole body are covered, or the request is refused.
//   - Nothing but the derived signing key is cached; each request is verified anew.
//   - Nothing secret is in an error: every refusal is an [*Error] that may be sent to the client as it is.
//
// There is no nonce cache: an unaltered repeat within [MaxSkew] is accepted, as AWS accepts it, because clients retry.
//
// The rules are those of https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
// for a service other than S3: the path as it was sent is normalised and percent-encoded once more.
package sigv4
