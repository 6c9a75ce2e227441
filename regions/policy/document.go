package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Kind says what a document is attached to, which decides what it may say.
type Kind uint8

// The kinds of documents.
const (
	KeyPolicy      Kind = iota + 1 // of a key: has principals; "*" as Resource is the key
	IdentityPolicy                 // of a user or role: has no principals
	SessionPolicy                  // of temporary credentials: has no principals
	TrustPolicy                    // of a role, who may assume it: has principals and no Resource
)

// String returns the kind in words, as they stand in front of errors and explanations.
func (k Kind) String() string {
	switch k {
	case KeyPolicy:
		return "key policy"
	case IdentityPolicy:
		return "identity policy"
	case SessionPolicy:
		return "session policy"
	case TrustPolicy:
		return "trust policy"
	default:
		return "no policy"
	}
}

// hasPrincipals reports whether statements say whom they concern.
func (k Kind) hasPrincipals() bool { return k == KeyPolicy || k == TrustPolicy }

// Document is a policy document, compiled. It is immutable and safe for concurrent use; nil and the zero value allow
// nothing.
type Document struct {
	kind       Kind
	statements []statement
	asks       keySet
	names      []string
}

// statement is one statement, compiled. A statement without effect is kept, for its number.
type statement struct {
	sid          string
	deny         bool
	inert        bool // names no action or no resource: AWS KMS accepts it in a key policy, and it does nothing
	hasPrincipal bool
	notPrincipal bool
	notAction    bool
	notResource  bool
	who          principals
	actions      []action
	resources    []template
	conditions   []condition
}

// ParseKeyPolicy reads the policy of a key, at most [MaxSize] bytes. It returns an error that wraps [ErrMalformed] or
// [ErrTooLarge].
func ParseKeyPolicy(text string) (*Document, error) {
	return parse(KeyPolicy, text, len(text), MaxSize)
}

// ParseIdentityPolicy reads a policy of a user or role, at most [MaxIdentityPolicy] characters without white space. Errors
// are those of [ParseKeyPolicy].
func ParseIdentityPolicy(text string) (*Document, error) {
	return parse(IdentityPolicy, text, dense(text), MaxIdentityPolicy)
}

// ParseSessionPolicy reads the policy that a caller of AssumeRole passes, at most [MaxSessionPolicy] characters. Errors
// are those of [ParseKeyPolicy].
func ParseSessionPolicy(text string) (*Document, error) {
	return parse(SessionPolicy, text, len([]rune(text)), MaxSessionPolicy)
}

// ParseSessionIdentityPolicy reads an identity policy that is to narrow a session, as a managed policy passed to
// AssumeRole does: at most [MaxIdentityPolicy] characters without white space.
func ParseSessionIdentityPolicy(text string) (*Document, error) {
	return parse(SessionPolicy, text, dense(text), MaxIdentityPolicy)
}

// ParseTrustPolicy reads the policy that says who may assume a role, at most [MaxTrustPolicy] characters without white
// space. Errors are those of [ParseKeyPolicy]. [Decide] takes it as Request.KeyPolicy.
func ParseTrustPolicy(text string) (*Document, error) {
	return parse(TrustPolicy, text, dense(text), MaxTrustPolicy)
}

// largest bounds what is parsed at all, white space included.
const largest = 4 * MaxSize

func parse(kind Kind, text string, size, limit int) (*Document, error) {
	if size > limit || len(text) > largest {
		return nil, fmt.Errorf("%w: a %s has at most %d", ErrTooLarge, kind, limit)
	}
	raw, err := parseGrammar(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	d, err := raw.compile(kind)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return d, nil
}

// Kind returns what the document was parsed as.
func (d *Document) Kind() Kind {
	if d == nil {
		return 0
	}
	return d.kind
}

// Asks reports whether a condition or a variable of the document asks for the condition key, which is named as
// "kms:ResourceAliases", or for any key that begins with "aws:ResourceTag/". What no document asks for need not be in the
// [Context].
func (d *Document) Asks(name string) bool {
	ref, err := newKeyRef(name)
	return err == nil && d != nil && d.asks.has(ref.id)
}

// Principals returns the users, roles, sessions and account roots that the document names, sorted, each once. An account
// that was named by its id is given as that id.
func (d *Document) Principals() []string {
	if d == nil {
		return nil
	}
	return slices.Clone(d.names)
}

// Existence tells whether principals exist.
type Existence interface {
	// PrincipalExists reports whether the user, role or account exists. It is asked about accounts by id or ARN, and about
	// principals of other accounts too.
	PrincipalExists(ctx context.Context, principal string) (bool, error)
}

// CheckPrincipals returns an error that wraps [ErrMalformed] if a principal that the document names does not exist, as AWS
// refuses such a key policy, and the error of known if it can't tell.
func CheckPrincipals(ctx context.Context, d *Document, known Existence) error {
	for _, p := range d.Principals() {
		ok, err := known.PrincipalExists(ctx, p)
		if err != nil {
			return fmt.Errorf("look up principal: %w", err)
		}
		if !ok {
			return fmt.Errorf("%w: Policy contains a statement with one or more invalid principals", ErrMalformed)
		}
	}
	return nil
}

// IsDefault reports whether the document is a key policy that means the same as [Default]: it gives kms:* on the key to
// the account, unconditionally, and nothing to anybody else. Its layout, Id, Sids and the order of members don't matter.
func (d *Document) IsDefault(account string) bool {
	if d == nil || d.kind != KeyPolicy || len(d.statements) == 0 {
		return false
	}
	for i := range d.statements {
		if s := &d.statements[i]; s.deny || s.inert || s.notPrincipal || s.notAction || s.notResource ||
			len(s.conditions) > 0 || !s.who.only(account) || !s.everyAction() || !s.everyResource() {
			return false
		}
	}
	return true
}

// only reports whether the element names this account and nobody else.
func (p *principals) only(account string) bool {
	if p.everybody || len(p.arns) > 0 || len(p.others) > 0 || len(p.accounts) == 0 {
		return false
	}
	for a := range p.accounts {
		if a.account != account || (a.partition != "" && a.partition != "aws") {
			return false
		}
	}
	return true
}

func (s *statement) everyAction() bool {
	return slices.ContainsFunc(s.actions, func(a action) bool { return a.pattern == "*" || a.pattern == "kms:*" })
}

func (s *statement) everyResource() bool {
	return slices.ContainsFunc(s.resources, func(t template) bool { return t.shape == everything })
}

var errDuplicateSid = errors.New("statement ids (Sid) in a single policy must be unique")
