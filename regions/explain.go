package regions

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"antipode/regions/encctx"
	"antipode/regions/identity"
	"antipode/regions/policy"
)

// Question is what an operator asks about who may do what.
type Question struct {
	Principal string // ARN of a user or a role's session of this Region
	Action    string // "kms:Decrypt"
	// KeyID is a key or alias as in a request, "" for an action that is on no key.
	KeyID             string
	EncryptionContext encctx.Context
	GrantTokens       []string
}

// Explanation is the answer, with what led to it. A client must not see it.
type Explanation struct {
	Allowed  bool
	Why      string // in a few words
	Resource string // ARN of the key, "*" for none
	GrantID  string // that decided, "" if none did
	// Statements are all that apply, those that are outweighed too.
	Statements []ExplainedStatement
	// Tokens says of each grant token what it names.
	Tokens []string
}

// ExplainedStatement is one statement that applies.
type ExplainedStatement struct {
	Document  string // "key policy", "identity policy NAME"
	Statement int    // from 1
	Sid       string // "" if it has none
	Deny      bool
	// Delegates: it allows by naming the account, so that an identity policy must allow it too.
	Delegates bool
}

// Explain answers as the decision of a call would be made now, with no session policies and with nothing known of the call
// but what the question says: conditions on other things find them absent. The error says what of the question is wrong.
func (r *Region) Explain(ctx context.Context, q Question) (Explanation, error) {
	known, err := r.directory.Named(ctx, q.Principal)
	if errors.Is(err, identity.ErrUnknownKey) {
		return Explanation{}, fmt.Errorf("%s is no user and no session of a role in %s, or is disabled", q.Principal, r.cfg.Name)
	}
	if err != nil {
		return Explanation{}, err
	}
	operation, isKMS := strings.CutPrefix(q.Action, actionPrefix)
	if !isKMS || operation == "" {
		return Explanation{}, fmt.Errorf("the action %q is not of the form kms:NAME", q.Action)
	}
	c := &Call{op: Operation{Name: operation, Action: q.Action}, caller: CallerOf(known)}
	c.request = r.newRequest(&c.caller)
	c.request.Context.SecureTransport = policy.Absent // it is not known
	out := Explanation{Resource: "*"}
	if q.KeyID == "" {
		c.request.Action, c.request.Resource, c.request.ResourceAccount = q.Action, "*", c.caller.Account
		return out.fill(policy.ExplainIdentity(&c.request), known), nil
	}
	v, err := r.findFor(ctx, c, q.KeyID)
	if err != nil {
		return Explanation{}, err
	}
	for _, token := range q.GrantTokens {
		g, err := r.openGrantToken(ctx, token)
		if err != nil {
			return Explanation{}, err
		}
		out.Tokens = append(out.Tokens, v.describe(g))
	}
	if q.EncryptionContext != nil {
		c.askCrypto(q.EncryptionContext, "")
	}
	if err := r.askKey(ctx, c, q.Action, v); err != nil {
		return Explanation{}, err
	}
	if operation == "RetireGrant" {
		c.request.Grants = nil // each is about itself alone
	}
	out.Resource = v.arn
	return out.fill(policy.Explain(&c.request), known), nil
}

// findFor is find for an operator, who is told of keys of all accounts.
func (r *Region) findFor(ctx context.Context, c *Call, keyID string) (*view, error) {
	op := c.op
	defer func() { c.op = op }()
	c.op.Action = actionPrefix + "DescribeKey" // which may be asked about any account's key
	v, err := r.find(ctx, c, keyID, true)
	if errors.Is(err, &Error{Code: CodeAccessDenied}) {
		return nil, fmt.Errorf("there is no key %s in %s", keyID, r.cfg.Name)
	}
	return v, err
}

// describe says what a grant token names.
func (v *view) describe(g grantName) string {
	switch {
	case g.keyID != v.key.KeyID || g.account != v.key.Account:
		return "grant " + g.id + " on another key, " + g.keyID
	case v.grant(g.id) == nil:
		return "grant " + g.id + ", which has ended"
	default:
		return "grant " + g.id + ", which counts without the token too"
	}
}

func (e Explanation) fill(d policy.Explanation, who *identity.Principal) Explanation {
	e.Allowed, e.Why, e.GrantID = d.Allowed, d.Reason.String(), d.GrantID
	for _, f := range d.Findings {
		s := ExplainedStatement{
			Document: f.Document.String(), Statement: f.Statement, Sid: f.Sid, Deny: f.Deny, Delegates: f.Delegates,
		}
		if f.Document == policy.IdentityPolicy && f.Index < len(who.PolicyNames) {
			s.Document += " " + who.PolicyNames[f.Index]
		}
		e.Statements = append(e.Statements, s)
	}
	return e
}
