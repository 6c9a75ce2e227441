package policy

// granted returns the strongest way in which a grant allows the request, and that grant.
func (ev *evaluator) granted() (level, *Grant) {
	r := ev.request
	op := requested(r.Action)
	if op == 0 || (r.Grants == nil && len(r.TokenGrants) == 0) {
		return notConcerned, nil
	}
	if s := r.Grants; s != nil {
		if g := s.byGrantee[ev.caller.ARN].first(ev, op); g != nil {
			return direct, g
		}
	}
	best, which := ev.byToken(op)
	if s := r.Grants; s != nil && best < direct && ev.caller.ofAccount() {
		best, which = ev.indirect(s, op, best, which)
	}
	return best, which
}

// indirect looks for a grant to the caller's role or account that is stronger than best.
func (ev *evaluator) indirect(s *GrantSet, op operations, best level, which *Grant) (level, *Grant) {
	if ev.caller.RoleARN != "" && best < byRole {
		if g := s.byGrantee[ev.caller.RoleARN].first(ev, op); g != nil {
			best, which = byRole, g
		}
	}
	l := byAccount
	if ev.caller.Type == AccountRoot {
		l = direct
	}
	if best >= l {
		return best, which
	}
	for _, partition := range [...]string{ev.caller.partition, ""} {
		if g := s.byAccount[accountKey{partition, ev.caller.Account}].first(ev, op); g != nil {
			return l, g
		}
	}
	return best, which
}

// byToken looks at the grants that the request brings tokens of.
func (ev *evaluator) byToken(op operations) (best level, which *Grant) {
	for i := range ev.request.TokenGrants {
		g := &ev.request.TokenGrants[i]
		l := ev.grantee(g.Grantee)
		if l <= best {
			continue
		}
		if c, ok := compileGrant(g); ok && c.ops&op != 0 && ev.within(&c, op) {
			best, which = l, g
		}
	}
	return best, which
}

// grantee says how a grant's grantee names the caller.
func (ev *evaluator) grantee(name string) level {
	c := &ev.caller
	switch {
	case name == "":
		return notConcerned
	case name == c.ARN:
		return direct
	case !c.ofAccount():
		return notConcerned
	case name == c.RoleARN:
		return byRole
	}
	a, ok := accountPrincipal(name)
	switch {
	case !ok || a.account != c.Account || (a.partition != "" && a.partition != c.partition):
		return notConcerned
	case c.Type == AccountRoot:
		return direct
	default:
		return byAccount
	}
}

// within reports whether the request keeps to the grant's constraints. Those on the encryption context don't apply to
// DescribeKey and RetireGrant, which have none. CreateGrant keeps to them if the new grant gives no more than this one.
func (ev *evaluator) within(c *compiledGrant, op operations) bool {
	ctx, limits := &ev.request.Context, &c.grant.Constraints
	if op == opCreateGrant {
		g := ctx.NewGrant
		if g == nil || operationSet(g.Operations)&^c.ops != 0 || !limits.covers(&g.Constraints) {
			return false
		}
	}
	if c.sourceARN != nil && c.sourceARN.matchesARN(ev, ctx.SourceARN) != yes {
		return false
	}
	if limits.SourceAccount != "" && limits.SourceAccount != ctx.SourceAccount {
		return false
	}
	if op&withoutContext != 0 {
		return true
	}
	if n := len(c.equals); n > 0 && n != len(ctx.EncryptionContext) {
		return false
	}
	return hasPairs(ctx.EncryptionContext, c.equals) && hasPairs(ctx.EncryptionContext, c.subset)
}

// DecideRetire answers whether the principal may retire the grant, which is on the key that the request is about; the
// request's Action is kms:RetireGrant. Beside what [Decide] allows, the grant itself allows it to its retiring principal,
// to its grantee if RetireGrant is among its operations, and to the root user of the account that issued it; whatever the
// key's account. An explicit deny wins over all of these.
func DecideRetire(r *Request, g *Grant) Decision {
	ev := evaluator{request: r}
	d, _ := ev.decide()
	switch d.Reason {
	case NoKeyPolicy, NoIdentityPolicy, NoSessionPolicy, OtherAccount:
	default:
		return d // allowed, incomplete, or an explicit deny
	}
	ways := [...]struct {
		name string
		ok   bool
	}{
		{g.Retiring, true},
		{g.Grantee, operationSet(g.Operations)&opRetireGrant != 0},
	}
	for _, w := range ways {
		if w.ok && ev.mayRetire(w.name) {
			return Decision{Allowed: true, Reason: ByGrant}
		}
	}
	if ev.caller.Type == AccountRoot && ev.caller.Account == g.IssuingAccount {
		return Decision{Allowed: true, Reason: ByGrant}
	}
	return d
}

// mayRetire: as with any grant, a role's session stays within its session policies, and an account needs an identity policy.
func (ev *evaluator) mayRetire(name string) bool {
	r := ev.request
	inSession := len(r.Session) == 0 || ev.documents(r.Session).allowed > notConcerned
	switch ev.grantee(name) {
	case direct:
		return true
	case byRole:
		return inSession
	case byAccount:
		return inSession && ev.documents(r.Identity).allowed > notConcerned
	default:
		return false
	}
}
