package keyset_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"antipode/regions/keyset"
	"antipode/regions/roster"
)

// What operators of former times approved counts where it was accepted then, where nothing is held, and below what the
// present ones approved; they introduce nothing more.
func TestPastOperators(t *testing.T) {
	t.Parallel()
	p := newPartition(t)
	g := p.genesis(t, east)
	old := append(slices.Clone(g), p.sign(t, euro, p.approve(t, next(g, epoch(1, 1), epoch(2, 1), east, euro), 0, 1)))

	later := *p
	later.operators = nil
	var keys []roster.OperatorKey
	for range 3 {
		pub, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		later.operators = append(later.operators, key)
		keys = append(keys, roster.OperatorKey{PublicKey: [32]byte(pub), Name: "later"})
	}
	set, err := roster.NextOperators(p.Operators, 2, keys)
	if err != nil {
		t.Fatal(err)
	}
	proposal, err := set.Proposal()
	if err != nil {
		t.Fatal(err)
	}
	req, err := roster.NewRequest(proposal)
	if err != nil {
		t.Fatal(err)
	}
	var approvals []keyset.Approval
	for _, key := range p.operators[:2] {
		a, err := req.Approve(key)
		if err != nil {
			t.Fatal(err)
		}
		approvals = append(approvals, a.Approval)
	}
	if later.Roster, err = p.WithOperators(append(slices.Clone(p.Operators), set.WithApprovals(approvals))); err != nil {
		t.Fatal(err)
	}
	if _, err := keyset.VerifyChain(old, old, later); err != nil {
		t.Errorf("accepted then: %v", err)
	}
	if _, err := keyset.VerifyChain(old, nil, later); err != nil {
		t.Errorf("nothing held: %v", err)
	}
	if _, err := keyset.VerifyChain(old, g, later); !errors.Is(err, keyset.ErrUncertified) {
		t.Errorf("the former operators introduce a generation: %v", err)
	}
	again := append(slices.Clone(old), later.sign(t, west, later.approve(t, next(old, epoch(2, 1), epoch(3, 1), euro, west), 0, 1)))
	if _, err := keyset.VerifyChain(again, g, later); err != nil {
		t.Errorf("below what the present ones approved: %v", err)
	}
	if _, err := keyset.VerifyChain(again, g, p); !errors.Is(err, keyset.ErrUncertified) {
		t.Errorf("approved by operators who are not known: %v", err)
	}
}
