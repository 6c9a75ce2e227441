package policy

import (
	"errors"
	"fmt"
	"strings"
)

// level says how a principal element or a grant concerns the caller, the weakest first.
type level uint8

const (
	notConcerned level = iota
	// byAccount: the caller's account is named. An Allow leaves it to the account's identity policies.
	byAccount
	// byRole: the role of the caller's session is named. An Allow holds within the session policies.
	byRole
	// direct: the caller himself, or everybody. Only an explicit deny can take it back.
	direct
)

// accountKey names an account; partition is "" where only the account id was given.
type accountKey struct{ partition, account string }

// principals is the Principal or NotPrincipal element of a statement.
type principals struct {
	everybody bool
	// arns are users, roles, role and federated sessions.
	arns     map[string]struct{}
	accounts map[accountKey]struct{}
	// others are services and identity providers.
	others map[string]struct{}
}

// caller is a request's principal with what matching needs, made once for each decision.
type caller struct {
	*Principal
	partition string
}

func newCaller(p *Principal) (caller, bool) {
	c := caller{Principal: p}
	switch p.Type {
	case Service, WebIdentity:
		return c, p.ARN != "" && p.Account == ""
	case User, AssumedRole, AccountRoot, FederatedUser:
	default:
		return c, false
	}
	a, ok := splitARN(p.ARN)
	if !ok || !isAccount(p.Account) || a.account != p.Account || (p.Type == AssumedRole) != (p.RoleARN != "") {
		return c, false
	}
	if (p.Type == AccountRoot) != (a.resource == "root") {
		return c, false // root is not what another kind of principal may be called
	}
	c.partition = a.partition
	return c, true
}

// ofAccount reports whether the caller belongs to an account at all.
func (c *caller) ofAccount() bool { return c.Account != "" }

// matches says how the element names the caller.
func (p *principals) matches(c *caller) level {
	if p.everybody {
		return direct
	}
	if !c.ofAccount() {
		if _, ok := p.others[c.ARN]; ok {
			return direct
		}
		return notConcerned
	}
	if len(p.arns) > 0 {
		if _, ok := p.arns[c.ARN]; ok {
			return direct
		}
		if c.RoleARN != "" {
			if _, ok := p.arns[c.RoleARN]; ok {
				return byRole
			}
		}
	}
	if !p.hasAccount(c) {
		return notConcerned
	}
	if c.Type == AccountRoot {
		return direct
	}
	return byAccount
}

func (p *principals) hasAccount(c *caller) bool {
	if len(p.accounts) == 0 {
		return false
	}
	if _, ok := p.accounts[accountKey{c.partition, c.Account}]; ok {
		return true
	}
	_, ok := p.accounts[accountKey{"", c.Account}]
	return ok
}

// excludes says whether a NotPrincipal element exempts the caller from its Deny: if it names every principal that the
// caller is, which are he himself, his role if it is a session, and his account.
func (p *principals) excludes(c *caller) bool {
	if p.everybody {
		return true
	}
	if !c.ofAccount() {
		_, ok := p.others[c.ARN]
		return ok
	}
	if !p.hasAccount(c) {
		return false
	}
	if c.Type == AccountRoot {
		return true
	}
	if _, ok := p.arns[c.ARN]; !ok {
		return false
	}
	if c.RoleARN == "" {
		return true
	}
	_, ok := p.arns[c.RoleARN]
	return ok
}

var errPrincipal = errors.New("invalid principal")

// compile reads the element. Types are AWS, Service and Federated.
func (r *rawPrincipal) compile() (principals, error) {
	p := principals{everybody: r.everybody}
	for kind, names := range r.byType {
		for _, name := range names {
			if err := p.add(kind, name); err != nil {
				return principals{}, err
			}
		}
	}
	return p, nil
}

func (p *principals) add(kind, name string) error {
	switch kind {
	case "AWS":
		if name == "*" {
			p.everybody = true
			return nil
		}
		if account, ok := accountPrincipal(name); ok {
			if p.accounts == nil {
				p.accounts = map[accountKey]struct{}{}
			}
			p.accounts[account] = struct{}{}
			return nil
		}
		if !IsPrincipalARN(name) {
			return fmt.Errorf("%w %q", errPrincipal, name)
		}
		if p.arns == nil {
			p.arns = map[string]struct{}{}
		}
		p.arns[name] = struct{}{}
		return nil
	case "Service", "Federated":
		if !isPrincipalName(name, kind == "Federated") {
			return fmt.Errorf("%w %q", errPrincipal, name)
		}
		if p.others == nil {
			p.others = map[string]struct{}{}
		}
		p.others[name] = struct{}{}
		return nil
	default:
		return fmt.Errorf("%w type %q", errPrincipal, kind)
	}
}

// accountPrincipal understands an account id or the ARN of an account's root.
func accountPrincipal(name string) (accountKey, bool) {
	if isAccount(name) {
		return accountKey{"", name}, true
	}
	a, ok := splitARN(name)
	if !ok || a.service != "iam" || a.region != "" || a.resource != "root" || !isAccount(a.account) || !isPartition(a.partition) {
		return accountKey{}, false
	}
	return accountKey{a.partition, a.account}, true
}

// IsPrincipalARN reports whether s names one principal that a policy or a grant may name: the ARN of a user, a role, a
// role's session or a federated user's session. Wildcards and groups are not principals.
func IsPrincipalARN(s string) bool {
	a, ok := splitARN(s)
	if !ok || a.region != "" || !isAccount(a.account) || !isPartition(a.partition) {
		return false
	}
	kind, name, ok := strings.Cut(a.resource, "/")
	if !ok {
		return false
	}
	switch a.service + ":" + kind {
	case "iam:user", "iam:role":
		path, last := "", name
		if i := strings.LastIndexByte(name, '/'); i >= 0 {
			path, last = name[:i], name[i+1:]
		}
		return len(path) <= 512 && isPath(path) && isName(last)
	case "sts:assumed-role":
		role, session, ok := strings.Cut(name, "/")
		return ok && isName(role) && isName(session)
	case "sts:federated-user":
		return isName(name)
	default:
		return false
	}
}

// isName reports whether s can be the name of a user, role or session: 1 to 64 letters, digits and +=,.@_-.
func isName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && strings.IndexByte("+=,.@_-", s[i]) < 0 {
			return false
		}
	}
	return true
}

// isPath reports whether s has only what IAM allows in a path, and no wildcard.
func isPath(s string) bool {
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' || s[i] == '*' || s[i] == '?' || s[i] == ':' {
			return false
		}
	}
	return true
}

// isPrincipalName reports whether s can name a service ("s3.amazonaws.com") or a provider (a domain or an ARN).
func isPrincipalName(s string, provider bool) bool {
	if s == "" || len(s) > 512 {
		return false
	}
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && s[i] != '.' && s[i] != '-' && (!provider || strings.IndexByte(":/_+=,@", s[i]) < 0) {
			return false
		}
	}
	return strings.IndexByte(s, '.') > 0 || (provider && strings.HasPrefix(s, "arn:"))
}
