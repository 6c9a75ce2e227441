package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// The two versions of the policy language. Only the newer one has variables; it is not the default.
const (
	version2012 = "2012-10-17"
	version2008 = "2008-10-17"
)

// compile applies the rules of the grammar that the Go types don't, and makes of each statement what evaluation needs.
func (d rawDocument) compile(kind Kind) (*Document, error) {
	if d.Version != "" && d.Version != version2012 && d.Version != version2008 {
		return nil, errors.New("the Version is neither 2012-10-17 nor 2008-10-17")
	}
	if len(d.Statement) == 0 {
		return nil, errors.New("it has no Statement")
	}
	out := &Document{kind: kind, statements: make([]statement, len(d.Statement))}
	sids := map[string]bool{}
	names := map[string]bool{}
	for i := range d.Statement {
		raw := &d.Statement[i]
		if raw.Sid != "" && sids[raw.Sid] {
			return nil, fmt.Errorf("statement %d: %w", i+1, errDuplicateSid)
		}
		sids[raw.Sid] = true
		s, err := raw.compile(kind, d.Version == version2012, &out.asks)
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
		out.statements[i] = s
		raw.principalNames(names)
	}
	out.names = slices.Sorted(maps.Keys(names))
	return out, nil
}

// principalNames adds the AWS principals that the statement names, "*" excepted.
func (r *rawStatement) principalNames(names map[string]bool) {
	for _, p := range [...]*rawPrincipal{r.Principal, r.NotPrincipal} {
		if p == nil {
			continue
		}
		for _, n := range p.byType["AWS"] {
			if n != "*" {
				names[n] = true
			}
		}
	}
}

func (r *rawStatement) compile(kind Kind, variables bool, asks *keySet) (statement, error) {
	if err := r.check(kind); err != nil {
		return statement{}, err
	}
	s := statement{
		sid: r.Sid, deny: r.Effect == "Deny", hasPrincipal: kind.hasPrincipals(),
		notPrincipal: r.NotPrincipal != nil, notAction: r.NotAction != nil, notResource: r.NotResource != nil,
	}
	var err error
	if who := r.Principal; s.hasPrincipal {
		if s.notPrincipal {
			who = r.NotPrincipal
		}
		if s.who, err = who.compile(); err != nil {
			return s, err
		}
	}
	if s.actions, err = compileActions(append(slices.Clip(r.Action), r.NotAction...)); err != nil {
		return s, err
	}
	for _, text := range append(slices.Clip(r.Resource), r.NotResource...) {
		t, err := compileResource(text, variables, asks)
		if err != nil {
			return s, err
		}
		s.resources = append(s.resources, t)
	}
	if kind == TrustPolicy {
		s.resources = []template{{shape: everything}} // the role that it is the policy of
	}
	s.inert = len(s.actions) == 0 || len(s.resources) == 0
	s.conditions, err = r.Condition.compile(variables, asks)
	return s, err
}

// check says which elements a statement of this kind must and may have.
func (r *rawStatement) check(kind Kind) error {
	switch {
	case r.Effect != "Allow" && r.Effect != "Deny":
		return errors.New("the Effect is neither Allow nor Deny")
	case r.Action != nil && r.NotAction != nil:
		return errors.New("it has both Action and NotAction")
	case r.Resource != nil && r.NotResource != nil:
		return errors.New("it has both Resource and NotResource")
	case r.NotAction != nil && len(r.NotAction) == 0, r.NotResource != nil && len(r.NotResource) == 0:
		return errors.New("its NotAction or NotResource is empty")
	case kind.hasPrincipals() && (r.Principal == nil) == (r.NotPrincipal == nil):
		return errors.New("it needs a Principal or a NotPrincipal")
	case !kind.hasPrincipals() && (r.Principal != nil || r.NotPrincipal != nil):
		return fmt.Errorf("a %s has no Principal", kind)
	case r.NotPrincipal != nil && r.Effect != "Deny":
		return errors.New("a NotPrincipal goes with Deny only")
	case r.NotPrincipal != nil && r.NotPrincipal.empty():
		return errors.New("its NotPrincipal is empty")
	case kind != KeyPolicy && len(r.Action)+len(r.NotAction) == 0:
		return errors.New("it must contain actions")
	case kind == TrustPolicy && (r.Resource != nil || r.NotResource != nil):
		return errors.New("a trust policy has no Resource")
	case (kind == IdentityPolicy || kind == SessionPolicy) && len(r.Resource)+len(r.NotResource) == 0:
		return errors.New("it must contain resources")
	case !validSid(r.Sid, kind):
		return errors.New("its Sid has characters other than letters and digits")
	}
	return nil
}

func (r *rawPrincipal) empty() bool {
	n := 0
	for _, names := range r.byType {
		n += len(names)
	}
	return !r.everybody && n == 0
}

// validSid: IAM has letters and digits only; AWS KMS itself writes Sids with spaces into key policies.
func validSid(sid string, kind Kind) bool {
	for _, r := range sid {
		if (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9') {
			continue
		}
		if kind != KeyPolicy || r < ' ' || r == 0x7f {
			return false
		}
	}
	return true
}
