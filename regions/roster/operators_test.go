package roster_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"antipode/regions/keyset"
	"antipode/regions/roster"
)

// operator is one operator with his key.
type operator struct {
	key    ed25519.PrivateKey
	public roster.OperatorKey
}

func newOperators(t testing.TB, names ...string) (out []operator) {
	t.Helper()
	for _, name := range names {
		pub, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, operator{key: key, public: roster.OperatorKey{PublicKey: [32]byte(pub), Name: name}})
	}
	return out
}

func publics(ops []operator) (out []roster.OperatorKey) {
	for _, o := range ops {
		out = append(out, o.public)
	}
	return out
}

func approve(t testing.TB, p keyset.Proposal, by ...operator) (out []keyset.Approval) {
	t.Helper()
	r, err := roster.NewRequest(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range by {
		a, err := r.Approve(o.key)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a.Approval)
	}
	return out
}

// follow returns the chain with one more set, approved by those given.
func follow(t testing.TB, sets []roster.OperatorSet, quorum uint64, ops []operator, by ...operator) []roster.OperatorSet {
	t.Helper()
	next, err := roster.NextOperators(sets, quorum, publics(ops))
	if err != nil {
		t.Fatal(err)
	}
	if len(sets) > 0 {
		p, err := next.Proposal()
		if err != nil {
			t.Fatal(err)
		}
		next = next.WithApprovals(approve(t, p, by...))
	}
	return append(append([]roster.OperatorSet{}, sets...), next)
}

func TestOperatorQuorum(t *testing.T) {
	t.Parallel()
	ops := newOperators(t, "a", "b", "c", "d")
	for _, c := range []struct {
		n      int
		quorum uint64
		ok     bool
	}{
		{0, 0, false},
		{1, 1, true},
		{1, 0, false},
		{2, 1, false}, // half is no majority
		{2, 2, true},
		{3, 2, true},
		{3, 1, false},
		{3, 4, false},
		{4, 2, false},
		{4, 3, true},
	} {
		s, err := roster.NextOperators(nil, c.quorum, publics(ops[:c.n]))
		if (err == nil) != c.ok {
			t.Errorf("%d of %d: %v", c.quorum, c.n, err)
		}
		if err != nil {
			continue
		}
		r, err := newRoster(t).WithOperators([]roster.OperatorSet{s})
		if err != nil {
			t.Fatal(err)
		}
		if keys, need := r.OperatorQuorum(); len(keys) != c.n || uint64(need) != c.quorum {
			t.Errorf("OperatorQuorum: %d of %d", need, len(keys))
		}
	}
	if _, err := roster.NextOperators(nil, 2, publics([]operator{ops[0], ops[0]})); !errors.Is(err, roster.ErrInvalid) {
		t.Errorf("an operator twice: %v", err)
	}
	if keys, need := newRoster(t).OperatorQuorum(); len(keys) != 0 || need != 0 {
		t.Error("operators of nowhere")
	}
}

// The operators change only by a quorum of the present ones, and only forward.
func TestOperatorsChange(t *testing.T) {
	t.Parallel()
	ops := newOperators(t, "alice", "bob", "carol", "dave")
	first := follow(t, nil, 2, ops[:3])
	second := follow(t, first, 2, ops[1:], ops[0], ops[1])
	base, err := newRoster(t).WithOperators(first)
	if err != nil {
		t.Fatal(err)
	}
	tampered := func(change func(s *roster.OperatorSet)) []roster.OperatorSet {
		out := append([]roster.OperatorSet{}, second...)
		out[1].Keys = append([]roster.OperatorKey{}, out[1].Keys...)
		out[1].Approvals = append([]keyset.Approval{}, out[1].Approvals...)
		change(&out[1])
		return out
	}
	elsewhere := follow(t, nil, 2, ops[1:])
	p2, err := second[1].Proposal()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sets []roster.OperatorSet
		want error
	}{
		"the same":             {first, nil},
		"approved":             {second, nil},
		"approved by all":      {follow(t, first, 2, ops[1:], ops[:3]...), nil},
		"approved by one":      {follow(t, first, 2, ops[1:], ops[0]), roster.ErrUnapproved},
		"by one, twice":        {tampered(func(s *roster.OperatorSet) { s.Approvals[1] = s.Approvals[0] }), roster.ErrUnapproved},
		"by a new one":         {follow(t, first, 2, ops[1:], ops[0], ops[3]), roster.ErrUnapproved},
		"a name altered":       {tampered(func(s *roster.OperatorSet) { s.Keys[0].Name = "mallory" }), roster.ErrUnapproved},
		"the quorum altered":   {tampered(func(s *roster.OperatorSet) { s.Quorum = 3 }), roster.ErrUnapproved},
		"the set before other": {tampered(func(s *roster.OperatorSet) { s.Previous = make([]byte, 32) }), roster.ErrInvalid},
		"approvals disordered": {tampered(func(s *roster.OperatorSet) {
			s.Approvals[0], s.Approvals[1] = s.Approvals[1], s.Approvals[0]
		}), roster.ErrUnapproved},
		"other first operators": {elsewhere, roster.ErrConflict},
		"none":                  {nil, roster.ErrStepBack},
		"a version left out":    {second[1:], roster.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next, err := base.WithOperators(c.sets)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if present, _ := base.PresentOperators(); present.Version != 1 || base.Version != 1 {
				t.Error("the receiver was changed")
			}
			if err == nil && next.Version != base.Version+uint64(len(c.sets)-1) {
				t.Errorf("version %d after %d", next.Version, base.Version)
			}
		})
	}
	r, err := base.WithOperators(second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.WithOperators(first); !errors.Is(err, roster.ErrStepBack) {
		t.Errorf("an older chain: %v", err)
	}
	// A second change needs the new ones: the first operator is out.
	if _, err := r.WithOperators(follow(t, second, 2, ops[:3], ops[0], ops[1])); !errors.Is(err, roster.ErrUnapproved) {
		t.Errorf("approved by who is out: %v", err)
	}
	if past := r.PastQuorums(); len(past) != 1 || past[0].Need != 2 ||
		keyset.VerifyApprovals(p2, approve(t, p2, ops[0]), past[0].Operators, past[0].Need) == nil {
		t.Errorf("past quorums: %+v", past)
	}
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := roster.Decode(data); err != nil || len(back.Operators) != 2 {
		t.Errorf("decoded: %v", err)
	}
	one, errOne := second[1].Fingerprint()
	two, errTwo := elsewhere[0].Fingerprint() // the same people, of another past
	if errOne != nil || errTwo != nil || one == two {
		t.Errorf("%s %v, %s %v", one, errOne, two, errTwo)
	}
}

// A request says what it is about, and an approval is of that alone.
func TestApprovalFiles(t *testing.T) {
	t.Parallel()
	ops := newOperators(t, "alice", "bob", "carol")
	first := follow(t, nil, 2, ops)
	next, err := roster.NextOperators(first, 2, publics(ops[:2]))
	if err != nil {
		t.Fatal(err)
	}
	req, err := roster.NewOperatorsRequest(append(first, next))
	if err != nil {
		t.Fatal(err)
	}
	file, err := req.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := roster.DecodeRequest(file)
	if err != nil {
		t.Fatal(err)
	}
	about, err := back.Parse()
	if err != nil {
		t.Fatal(err)
	}
	var files [][]byte
	for _, o := range []operator{ops[2], ops[0], ops[2]} { // one of them sends his twice
		a, err := back.Approve(o.key)
		if err != nil {
			t.Fatal(err)
		}
		f, err := a.Encode()
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	approvals, err := roster.CollectApprovals(about, files)
	if err != nil || len(approvals) != 2 {
		t.Fatalf("%d approvals, %v", len(approvals), err)
	}
	if err := first[0].Approved(about, approvals); err != nil {
		t.Error(err)
	}
	if err := first[0].Approved(about, approvals[:1]); !errors.Is(err, roster.ErrUnapproved) {
		t.Errorf("one of two: %v", err)
	}
	other := about
	other.RosterVersion++
	if _, err := roster.CollectApprovals(other, files); !errors.Is(err, roster.ErrUnapproved) {
		t.Errorf("approvals of something else: %v", err)
	}
	lying := req
	lying.Operators = append(append([]roster.OperatorSet{}, first...), follow(t, first, 1, ops[:1], ops[0])[1])
	if f, err := lying.Encode(); err != nil {
		t.Error(err)
	} else if _, err := roster.DecodeRequest(f); !errors.Is(err, roster.ErrInvalid) {
		t.Errorf("a request that shows other operators than it is about: %v", err)
	}
	for name, f := range map[string][]byte{
		"empty": nil, "an approval": files[0], "text": []byte("yes"), "two blocks": append(bytes.Clone(file), file...),
		"a header": []byte(strings.Replace(string(file), "REQUEST-----\n", "REQUEST-----\nA: b\n\n", 1)),
	} {
		if _, err := roster.DecodeRequest(f); !errors.Is(err, roster.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := roster.DecodeApproval(file); !errors.Is(err, roster.ErrInvalid) {
		t.Errorf("a request for an approval: %v", err)
	}
}

// FuzzRequest: what parses re-encodes to a file that says the same.
func FuzzRequest(f *testing.F) {
	ops := newOperators(f, "alice", "bob")
	req, err := roster.NewOperatorsRequest(follow(f, nil, 2, ops))
	if err != nil {
		f.Fatal(err)
	}
	a, err := req.Approve(ops[0].key)
	if err != nil {
		f.Fatal(err)
	}
	one, errOne := req.Encode()
	two, errTwo := a.Encode()
	if err := errors.Join(errOne, errTwo); err != nil {
		f.Fatal(err)
	}
	f.Add(one)
	f.Add(two)
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := roster.DecodeRequest(data); err == nil {
			again, err := r.Encode()
			if err != nil {
				t.Fatal(err)
			}
			back, err := roster.DecodeRequest(again)
			if err != nil || !bytes.Equal(back.Proposal, r.Proposal) || len(back.Operators) != len(r.Operators) {
				t.Fatalf("%v", err)
			}
		}
		if a, err := roster.DecodeApproval(data); err == nil {
			again, err := a.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if back, err := roster.DecodeApproval(again); err != nil || back.Approval != a.Approval {
				t.Fatalf("%v", err)
			}
		}
	})
}
