package policy

import "slices"

// GrantSet is the grants on one key, found by grantee. It is immutable and safe for concurrent use: a change of the
// grants makes a new set, so that nothing stale can be in one. A nil set has no grants.
type GrantSet struct {
	byGrantee map[string]*grantList
	byAccount map[accountKey]*grantList
	size      int
}

// grantList is the grants of one grantee, in the order in which they were given.
type grantList struct {
	all []compiledGrant
	// free are those without a constraint on the encryption context.
	free []int
	// byPair are the others, each under one pair of names and values that the request's context must have: of its pairs
	// the one that the fewest others have too.
	byPair map[Tag][]int
}

type compiledGrant struct {
	grant *Grant
	ops   operations
	// equals and subset are the constraints on the encryption context, nil if there are none.
	equals, subset []Tag
	// sourceARN is the compiled constraint, nil if there is none.
	sourceARN *template
}

// NewGrantSet compiles the grants on a key, which must not be changed afterwards. It takes time and memory in proportion
// to their number. A grant whose operations or source ARN are unknown gives nothing.
func NewGrantSet(grants []Grant) *GrantSet {
	s := &GrantSet{byGrantee: map[string]*grantList{}, byAccount: map[accountKey]*grantList{}, size: len(grants)}
	for i := range grants {
		c, ok := compileGrant(&grants[i])
		if !ok {
			continue
		}
		list := s.list(c.grant.Grantee)
		list.all = append(list.all, c)
	}
	for _, l := range s.byGrantee {
		l.index()
	}
	for _, l := range s.byAccount {
		l.index()
	}
	return s
}

// Len returns the number of grants that the set was made of.
func (s *GrantSet) Len() int {
	if s == nil {
		return 0
	}
	return s.size
}

func (s *GrantSet) list(grantee string) *grantList {
	if account, ok := accountPrincipal(grantee); ok {
		if s.byAccount[account] == nil {
			s.byAccount[account] = &grantList{}
		}
		return s.byAccount[account]
	}
	if s.byGrantee[grantee] == nil {
		s.byGrantee[grantee] = &grantList{}
	}
	return s.byGrantee[grantee]
}

func compileGrant(g *Grant) (compiledGrant, bool) {
	c := compiledGrant{
		grant: g, ops: operationSet(g.Operations),
		equals: pairs(g.Constraints.EncryptionContextEquals), subset: pairs(g.Constraints.EncryptionContextSubset),
	}
	if g.Constraints.SourceARN != "" {
		t, err := compileTemplate(g.Constraints.SourceARN, wildcards)
		if err != nil || t.colons() < 5 {
			return c, false
		}
		c.sourceARN = &t
	}
	return c, c.ops != 0 && g.Grantee != ""
}

func pairs(m map[string]string) []Tag {
	var out []Tag
	for k, v := range m {
		out = append(out, Tag{k, v})
	}
	return out
}

// index fills free and byPair.
func (l *grantList) index() {
	count := map[Tag]int{}
	for i := range l.all {
		for _, p := range l.all[i].equals {
			count[p]++
		}
		for _, p := range l.all[i].subset {
			count[p]++
		}
	}
	for i := range l.all {
		c := &l.all[i]
		if len(c.equals)+len(c.subset) == 0 {
			l.free = append(l.free, i)
			continue
		}
		if l.byPair == nil {
			l.byPair = map[Tag][]int{}
		}
		rarest := rarestOf(append(slices.Clip(c.equals), c.subset...), count)
		l.byPair[rarest] = append(l.byPair[rarest], i)
	}
}

// rarestOf returns the pair of some, of which there is one at least, that the fewest grants ask for.
func rarestOf(some []Tag, count map[Tag]int) Tag {
	return slices.MinFunc(some, func(a, b Tag) int { return count[a] - count[b] })
}

// hasPairs reports whether an encryption context has all these pairs.
func hasPairs(context map[string]string, want []Tag) bool {
	for i := range want {
		if v, ok := context[want[i].Key]; !ok || v != want[i].Value {
			return false
		}
	}
	return true
}

// first returns the first grant that gives the operation to the request, nil if none does.
func (l *grantList) first(ev *evaluator, op operations) *Grant {
	if l == nil {
		return nil
	}
	if op&withoutContext != 0 {
		for i := range l.all {
			if c := &l.all[i]; c.ops&op != 0 && ev.within(c, op) {
				return c.grant
			}
		}
		return nil
	}
	best := l.firstOf(ev, op, l.free, len(l.all))
	if l.byPair != nil {
		for k, v := range ev.request.Context.EncryptionContext {
			best = l.firstOf(ev, op, l.byPair[Tag{k, v}], best)
		}
	}
	if best == len(l.all) {
		return nil
	}
	return l.all[best].grant
}

// firstOf returns the number of the first of some grants that gives the operation, or best if that comes before it.
func (l *grantList) firstOf(ev *evaluator, op operations, some []int, best int) int {
	for _, i := range some {
		if i >= best {
			break
		}
		if c := &l.all[i]; c.ops&op != 0 && ev.within(c, op) {
			return i
		}
	}
	return best
}
