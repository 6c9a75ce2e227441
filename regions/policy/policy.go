// Package policy decides who may do what, by key policies, identity policies, session policies and grants, as AWS does.
//
// A document is parsed and compiled once, by [ParseKeyPolicy], [ParseIdentityPolicy], [ParseSessionPolicy] or
// [ParseTrustPolicy]. [Decide] then answers requests on a key, [DecideIdentity] those that are on no key. [Explain] tells
// how it came to that. What applies to a request and what it is about is in a [Request], which the caller fills in.
//
// Invariants:
//   - Deny by default: only what a statement or a grant allows is allowed, an explicit deny wins over all of them, and the
//     zero value of each type allows nothing.
//   - A document is understood completely or refused: unknown or repeated members, nulls, unknown operators and values that
//     are not of their operator's type are errors, as each might have narrowed what the rest grants.
//   - What can't be decided narrows: a condition that needs an unresolved variable, or that two values answer, does not let
//     an Allow apply and does let a Deny apply.
//   - Pure: no store, no clock, no I/O, no package state that changes. The same request has the same answer for ever.
//   - A decision allocates nothing that grows with documents or grants.
package policy

import "errors"

// What a policy document is refused for. The text of an error says where and why, and repeats only what is the client's own.
var (
	// ErrMalformed: not a policy document of its kind (MalformedPolicyDocumentException).
	ErrMalformed = errors.New("malformed policy document")
	// ErrTooLarge: longer than its kind may be (LimitExceededException).
	ErrTooLarge = errors.New("policy document too large")
)

// Limits of documents, as AWS has them.
const (
	// MaxSize is the size in bytes of the largest key policy.
	MaxSize = 32 * 1024
	// MaxIdentityPolicy is the size of the largest identity policy, in characters without white space between JSON tokens.
	MaxIdentityPolicy = 6144
	// MaxSessionPolicy is the size in characters of the largest session policy.
	MaxSessionPolicy = 2048
	// MaxTrustPolicy is the size of the largest trust policy of a role, in characters without white space between tokens.
	MaxTrustPolicy = 4096
)

// Root returns the ARN of an account's root, which in a policy stands for the account.
func Root(account string) string { return "arn:aws:iam::" + account + ":root" }

// Default returns the policy of a key that was made without one, in the layout that AWS's GetKeyPolicy has: it gives the
// account everything, so that the account's own policies decide.
func Default(account string) string {
	return `{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "` + Root(account) + `"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`
}

// Administrator is the identity policy that AWS calls AdministratorAccess: everything on everything.
const Administrator = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
