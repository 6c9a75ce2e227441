package policy_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"testing"
	"time"

	"antipode/regions/policy"
)

// random is a request with all that applies to it, for both evaluators.
func (g generator) random(t testing.TB, all []string) (*policy.Request, *reference) {
	r := g.request()
	f := &reference{request: r}
	text := g.document(f, true, all)
	read := func(text string, parse func(string) (*policy.Document, error)) *policy.Document {
		d, err := parse(text)
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		return d
	}
	r.KeyPolicy, f.key = read(text, policy.ParseKeyPolicy), decode(text)
	for g.chance(45) {
		text := g.document(f, false, all)
		r.Identity, f.identity = append(r.Identity, read(text, policy.ParseIdentityPolicy)), append(f.identity, decode(text))
	}
	for r.Principal.RoleARN != "" && g.chance(35) && len(r.Session) < 2 {
		text := g.document(f, false, all)
		if len(text) > policy.MaxSessionPolicy {
			break
		}
		r.Session, f.session = append(r.Session, read(text, policy.ParseSessionPolicy)), append(f.session, decode(text))
	}
	var grants []policy.Grant
	for g.chance(55) {
		grants = append(grants, g.grant(r.Principal))
	}
	if len(grants) > 0 || g.chance(50) {
		r.Grants = policy.NewGrantSet(grants)
	}
	for g.chance(10) {
		r.TokenGrants = append(r.TokenGrants, g.grant(r.Principal))
	}
	f.grants = append(append(f.grants, grants...), r.TokenGrants...)
	return r, f
}

// TestAgreesWithReference compares the evaluator with the reference on random requests: 5,000, or as many as
// ANTIPODE_POLICIES says, of a seed that it prints and ANTIPODE_SEED repeats.
func TestAgreesWithReference(t *testing.T) {
	t.Parallel()
	count, seed := 5_000, uint64(time.Now().UnixNano())
	if s := os.Getenv("ANTIPODE_POLICIES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		count = n
	}
	if s := os.Getenv("ANTIPODE_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("seed %d, %d requests", seed, count)
	workers := runtime.GOMAXPROCS(0)
	tallies := make([]tally, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			tallies[w] = newTally()
			for i := w; i < count && !t.Failed(); i += workers {
				agree(t, seed, uint64(i), &tallies[w])
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	all := newTally()
	for _, one := range tallies {
		all.add(one)
	}
	all.check(t, count)
}

func agree(t *testing.T, seed, i uint64, c *tally) {
	g := generator{rand.New(rand.NewPCG(seed, i))}
	r, f := g.random(t, c.operators)
	f.seen = c.saw
	fast := policy.Decide(r)
	allowed, reason := f.decide()
	c.reasons[reason]++
	if fast.Allowed != allowed || fast.Reason != reason {
		t.Errorf("seed %d request %d: decided %v (%v), the reference %v (%v)\n%s", seed, i, fast.Allowed, fast.Reason, allowed, reason, show(r, f))
		return
	}
	if e := policy.Explain(r); e.Decision != fast {
		t.Errorf("seed %d request %d: explained as %v", seed, i, e)
	}
	r.Resource = "*"
	fast = policy.DecideIdentity(r)
	if r.Principal.Account != "" {
		allowed, reason = f.decideIdentity()
		c.reasons[reason]++
		if fast.Allowed != allowed || fast.Reason != reason {
			t.Errorf("seed %d request %d, on no key: decided %v (%v), the reference %v (%v)\n%s", seed, i, fast.Allowed, fast.Reason, allowed, reason, show(r, f))
		}
	}
}

func show(r *policy.Request, f *reference) string {
	plain := *r
	plain.KeyPolicy, plain.Identity, plain.Session, plain.Grants = nil, nil, nil, nil
	return fmt.Sprintf("request %+v\nkey policy %v\nidentity %v\nsession %v\ngrants %+v\nnew grant %+v", plain, f.key, f.identity, f.session, f.grants, r.Context.NewGrant)
}

// tally counts what the generator hits.
type tally struct {
	operators []string
	reasons   map[policy.Reason]int
	outcomes  map[string][2]int
}

func newTally() tally {
	return tally{operators(), map[policy.Reason]int{}, map[string][2]int{}}
}

func (c *tally) saw(operator string, outcome bool) {
	n := c.outcomes[operator]
	if outcome {
		n[1]++
	} else {
		n[0]++
	}
	c.outcomes[operator] = n
}

func (c *tally) add(o tally) {
	for k, n := range o.reasons {
		c.reasons[k] += n
	}
	for k, n := range o.outcomes {
		have := c.outcomes[k]
		c.outcomes[k] = [2]int{have[0] + n[0], have[1] + n[1]}
	}
}

// check fails if the generator misses what matters: each reason, and each operator with both outcomes.
func (c *tally) check(t *testing.T, count int) {
	total := 0
	for _, n := range c.reasons {
		total += n
	}
	for r := policy.ByKeyPolicy; r < policy.NoRequest; r++ {
		t.Logf("%5.1f%% %v", 100*float64(c.reasons[r])/float64(total), r)
		if c.reasons[r] == 0 {
			t.Errorf("never decided: %v", r)
		}
	}
	if count < 200_000 { // too few to see each outcome of each operator for certain
		return
	}
	sort.Strings(c.operators)
	for _, op := range c.operators {
		n := c.outcomes[op]
		if n[0] == 0 || n[1] == 0 {
			t.Errorf("%s held %d times and did not %d times", op, n[1], n[0])
		}
	}
	t.Logf("outcomes by operator [no yes]: %v", c.outcomes)
}

// TestParseIsStable: the same text compiles to the same document.
func TestParseIsStable(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	for range 300 {
		f := &reference{request: g.request()}
		text := g.document(f, true, operators())
		a, err := policy.ParseKeyPolicy(text)
		if err != nil {
			t.Fatal(err)
		}
		b, err := policy.ParseKeyPolicy(text)
		if err != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%v: %s", err, text)
		}
	}
}
