// Package policy reads key policies and decides by them.
//
// Today it knows one policy, the default one: it delegates the key to the account that owns it, so that the account's own
// policies decide. Every other policy is refused when it is set, never accepted and then read wrongly.
//
// Invariants:
//   - Deny by default: only what [Decide] finds a statement for is allowed, and the zero [Policy] allows nothing.
//   - A document is either understood completely or refused: unknown or repeated members, nulls and elements that are
//     not evaluated are errors, as each might have narrowed what the rest grants.
package policy

import (
	"errors"
	"fmt"
	"strings"
)

// What a policy document is refused for.
var (
	// ErrMalformed: not a policy document (MalformedPolicyDocumentException).
	ErrMalformed = errors.New("malformed policy document")
	// ErrTooLarge: longer than [MaxSize] (LimitExceededException).
	ErrTooLarge = errors.New("policy document too large")
	// ErrUnsupportedPolicy: a policy document, but not one that is evaluated so far.
	ErrUnsupportedPolicy = errors.New("policy is not supported by this version")
)

// MaxSize is the size in bytes of the largest policy document, 32 KiB as AWS KMS has it.
const MaxSize = 32 * 1024

// Policy is a key policy, compiled. It is immutable and safe for concurrent use; the zero value grants nothing.
type Policy struct {
	// delegates lists the accounts that the key is delegated to, with the statement that does it.
	delegates []delegation
}

type delegation struct {
	account string
	sid     string
}

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

// IsDefault reports whether the document means the same as [Default]: it gives kms:* on the key to the account's root,
// unconditionally, and nothing to anybody else. Its layout, Id, Sids and the order of members don't matter.
func IsDefault(document, account string) bool {
	_, err := Parse(document, account)
	return err == nil
}

// Parse reads the policy of a key that the account owns. It returns [ErrTooLarge], [ErrMalformed], or, for whatever is
// not [IsDefault], [ErrUnsupportedPolicy]; the text says where, and is the client's own.
func Parse(document, account string) (Policy, error) {
	d, err := parseDocument(document)
	if err != nil {
		return Policy{}, err
	}
	var p Policy
	for i, s := range d.Statement {
		if err := s.delegatesTo(account); err != nil {
			return Policy{}, fmt.Errorf("%w: statement %d: %w", ErrUnsupportedPolicy, i+1, err)
		}
		p.delegates = append(p.delegates, delegation{account: account, sid: s.Sid})
	}
	return p, nil
}

// delegatesTo returns nil if the statement gives the key to the account and does nothing else.
func (s statement) delegatesTo(account string) error {
	switch {
	case s.Effect != "Allow":
		return errors.New("its Effect is not Allow")
	case s.NotPrincipal != nil || s.NotAction != nil || s.NotResource != nil:
		return errors.New("it has a NotPrincipal, NotAction or NotResource")
	case len(s.Condition) != 0:
		return errors.New("it has a Condition")
	case s.Principal == nil || len(s.Principal.byType) != 1 || len(s.Principal.byType["AWS"]) == 0:
		return errors.New("its Principal is not an account")
	}
	for _, p := range s.Principal.byType["AWS"] {
		if p != Root(account) && p != account {
			return errors.New("its Principal is not the key's own account")
		}
	}
	// What an action beside kms:* names is either part of kms:* or nothing that a key policy governs.
	if !s.Action.has(func(a string) bool { return a == "*" || strings.EqualFold(a, "kms:*") }) {
		return errors.New("its Action is not kms:*")
	}
	// In a key policy "*" is this key. Another resource beside it could only add nothing.
	if !s.Resource.has(func(r string) bool { return r == "*" }) {
		return errors.New(`its Resource is not "*"`)
	}
	return nil
}
