package policy

// evaluator is one decision in progress. It lives on the stack.
type evaluator struct {
	request *Request
	caller  caller
	texts   [7]string
	// buffer and spill hold a template while it is compared.
	buffer [96]rune
	spill  []rune
}

// verdict is what one document, or several of one kind, say about a request.
type verdict struct {
	denied bool
	// allowed is the strongest way in which a statement allows it.
	allowed level
}

// Decide answers whether the principal may do the action on a key (or assume a role):
//
//   - An explicit deny in any document wins.
//   - A principal of the key's account needs the key policy or a grant to name him, or the key policy to name his account
//     and an identity policy to allow it. The root user of the account is named with the account.
//   - One of another account needs the key policy or a grant to name him or his account, and an identity policy of his own
//     account to allow it; and the operation must be one that AWS opens to other accounts.
//   - Session policies narrow what identity policies, and what statements and grants that name the role, allow; what names
//     the session or everybody they don't.
func Decide(r *Request) Decision {
	ev := evaluator{request: r}
	d, _ := ev.decide()
	return d
}

// DecideIdentity answers whether the principal may do an action that is on no key: CreateKey, ListKeys, or the alias's side
// of an operation on an alias. Only policies of the principal's own account count, which must own the resource. The root
// user of the account may do everything.
func DecideIdentity(r *Request) Decision {
	ev := evaluator{request: r}
	if !ev.begin() {
		return Decision{Reason: NoRequest}
	}
	identity, session := ev.documents(r.Identity), ev.documents(r.Session)
	switch {
	case identity.denied:
		return Decision{Reason: DeniedByIdentityPolicy}
	case session.denied:
		return Decision{Reason: DeniedBySessionPolicy}
	case ev.caller.Account != r.ResourceAccount:
		return Decision{Reason: OtherAccount}
	case ev.caller.Type == AccountRoot:
		return Decision{Allowed: true, Reason: ByRoot}
	case identity.allowed == notConcerned:
		return Decision{Reason: NoIdentityPolicy}
	case len(r.Session) > 0 && session.allowed == notConcerned:
		return Decision{Reason: NoSessionPolicy}
	}
	return Decision{Allowed: true, Reason: ByIdentityPolicy}
}

// DecideElsewhere answers whether the principal's own policies leave the decision about a key of his own account in another
// Region to that key's policy, which is not known here: no policy of his denies it, and in a session one of its
// policies allows it.
func DecideElsewhere(r *Request) Decision {
	ev := evaluator{request: r}
	if !ev.begin() {
		return Decision{Reason: NoRequest}
	}
	identity, session := ev.documents(r.Identity), ev.documents(r.Session)
	switch {
	case identity.denied:
		return Decision{Reason: DeniedByIdentityPolicy}
	case session.denied:
		return Decision{Reason: DeniedBySessionPolicy}
	case ev.caller.Account != r.ResourceAccount:
		return Decision{Reason: OtherAccount}
	case len(r.Session) > 0 && session.allowed == notConcerned:
		return Decision{Reason: NoSessionPolicy}
	}
	return Decision{Allowed: true, Reason: ByKeyPolicy}
}

// begin checks that the request says who wants what.
func (ev *evaluator) begin() bool {
	r := ev.request
	var ok bool
	ev.caller, ok = newCaller(&r.Principal)
	return ok && validAction(r.Action) && r.Resource != "" && isAccount(r.ResourceAccount) &&
		withoutPrincipals(r.Identity) && withoutPrincipals(r.Session)
}

// withoutPrincipals refuses documents of another kind, and ones that are missing: a deny might be missing with them.
func withoutPrincipals(docs []*Document) bool {
	for _, d := range docs {
		if d == nil || d.kind.hasPrincipals() {
			return false
		}
	}
	return true
}

// validAction: service and name, without wildcards.
func validAction(s string) bool {
	colon := -1
	for i := range len(s) {
		if s[i] == ':' && colon < 0 {
			colon = i
		} else if !isAlphanumeric(s[i]) && s[i] != '-' {
			return false
		}
	}
	return colon > 0 && colon < len(s)-1
}

// decide also returns the grant that decided, if one did.
func (ev *evaluator) decide() (Decision, *Grant) {
	r := ev.request
	if !ev.begin() || r.KeyPolicy == nil || !r.KeyPolicy.kind.hasPrincipals() {
		return Decision{Reason: NoRequest}, nil
	}
	key := ev.document(r.KeyPolicy)
	if key.denied {
		return Decision{Reason: DeniedByKeyPolicy}, nil
	}
	identity := ev.documents(r.Identity)
	if identity.denied {
		return Decision{Reason: DeniedByIdentityPolicy}, nil
	}
	session := ev.documents(r.Session)
	if session.denied {
		return Decision{Reason: DeniedBySessionPolicy}, nil
	}

	foreign := ev.caller.ofAccount() && ev.caller.Account != r.ResourceAccount
	if foreign && !OpenToOtherAccounts(r.Action) {
		return Decision{Reason: OtherAccount}, nil
	}
	// A grant is asked only if the key policy doesn't do without one.
	owner, grant := key.allowed, (*Grant)(nil)
	if owner < direct {
		if l, g := ev.granted(); l > owner {
			owner, grant = l, g
		}
	}
	reason := ByKeyPolicy
	if grant != nil {
		reason = ByGrant
	}
	inSession := len(r.Session) == 0 || session.allowed > notConcerned
	ownSide := identity.allowed > notConcerned || ev.caller.Type == AccountRoot
	switch {
	case owner == notConcerned:
		return Decision{Reason: NoKeyPolicy}, nil
	case owner == byAccount, foreign:
		if !ownSide {
			return Decision{Reason: NoIdentityPolicy}, nil
		}
		if !inSession {
			return Decision{Reason: NoSessionPolicy}, nil
		}
		if !foreign && reason == ByKeyPolicy {
			reason = ByDelegation
		}
	case owner == byRole && !inSession:
		return Decision{Reason: NoSessionPolicy}, nil
	}
	return Decision{Allowed: true, Reason: reason}, grant
}

// documents joins what several documents of one kind say.
func (ev *evaluator) documents(docs []*Document) verdict {
	var v verdict
	for _, d := range docs {
		one := ev.document(d)
		if one.denied {
			return one
		}
		v.allowed = max(v.allowed, one.allowed)
	}
	return v
}

func (ev *evaluator) document(d *Document) verdict {
	var v verdict
	for i := range d.statements {
		s := &d.statements[i]
		if !s.deny && v.allowed == direct {
			continue // it could add nothing
		}
		l := s.applies(ev)
		if l == notConcerned {
			continue
		}
		if s.deny {
			return verdict{denied: true}
		}
		v.allowed = max(v.allowed, l)
	}
	return v
}

// applies says whether the statement applies to the request, and how it names the caller. An identity policy's always
// means whom it is attached to.
func (s *statement) applies(ev *evaluator) level {
	if s.inert {
		return notConcerned
	}
	l := direct
	switch {
	case !s.hasPrincipal:
	case s.notPrincipal:
		if s.who.excludes(&ev.caller) {
			return notConcerned
		}
	default:
		if l = s.who.matches(&ev.caller); l == notConcerned {
			return notConcerned
		}
	}
	if !s.hasAction(ev.request.Action) {
		return notConcerned
	}
	holds := s.hasResource(ev)
	for i := range s.conditions {
		if holds == no {
			return notConcerned
		}
		holds = min(holds, s.conditions[i].holds(ev))
	}
	// What is not known narrows: it keeps an Allow from applying, and no Deny.
	if holds == yes || (holds == unknown && s.deny) {
		return l
	}
	return notConcerned
}

func (s *statement) hasAction(name string) bool {
	for i := range s.actions {
		if s.actions[i].matches(name) {
			return !s.notAction
		}
	}
	return s.notAction
}

func (s *statement) hasResource(ev *evaluator) tri {
	found := no
	for i := range s.resources {
		if found = max(found, s.resources[i].matches(ev, ev.request.Resource)); found == yes {
			break
		}
	}
	if s.notResource {
		return -found
	}
	return triOf(found == yes)
}
