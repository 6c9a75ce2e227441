package replication_test

import (
	"errors"
	"sync"
	"testing"

	"antipode/hsmbackend"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// wrapKey makes a key on a Region's token that wraps whatever lets itself be wrapped.
func wrapKey(t *testing.T, r *simtest.Region) hsmbackend.KeyRef {
	t.Helper()
	ref, err := r.Token.GenerateKey(t.Context(), hsmbackend.AES256, hsmbackend.Attributes{
		Usage: hsmbackend.UsageWrap, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// Of all keys that an exchange makes, only the transient copies of the material can be wrapped, and they are gone when
// it is over, as is all the rest but the working copy at the destination, which can't be wrapped either. None can do
// more than its part.
func TestOnTheTokens(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	made := map[string][]simtest.Made{}
	wrappable := map[hsmbackend.KeyRef]bool{}
	var mu sync.Mutex
	for _, r := range []*simtest.Region{a, b} {
		kek := wrapKey(t, r)
		r.Tokens.OnMade(func(m simtest.Made) {
			_, err := r.Token.Wrap(t.Context(), kek, m.Ref)
			mu.Lock()
			defer mu.Unlock()
			if m.Attr.Extractable { // the material: what made the RWK has made it, once, and is gone
				for _, before := range made[r.Name] {
					_, err := r.Token.Wrap(t.Context(), kek, before.Ref)
					if before.Attr.Label != "antipode/rwk" && !errors.Is(err, hsmbackend.ErrObjectNotFound) {
						t.Errorf("%s: %s is there when the material comes: %v", r.Name, before.Attr.Label, err)
					}
				}
			}
			made[r.Name] = append(made[r.Name], m)
			wrappable[m.Ref] = err == nil
			if err != nil && !errors.Is(err, hsmbackend.ErrNotExtractable) {
				t.Errorf("%s: wrap %s: %v", r.Name, m.Attr.Label, err)
			}
		})
	}
	copies := a.Region.Ring().WorkingCopies()
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	rwk := map[string]hsmbackend.Usage{ohio: hsmbackend.UsageWrap, ireland: hsmbackend.UsageUnwrap}
	for _, r := range []*simtest.Region{a, b} {
		r.Tokens.OnMade(nil)
		labels := map[string]int{}
		for _, m := range made[r.Name] {
			labels[m.Attr.Label]++
			ephemeral := m.Attr.Label != "" // material has none
			if m.Attr.Token || (ephemeral || m.Attr.Extractable) != (m.Attr.Scope != 0) {
				t.Errorf("%s: %q: token object %v, scope %d, extractable %v", r.Name, m.Attr.Label, m.Attr.Token, m.Attr.Scope, m.Attr.Extractable)
			}
			if wrappable[m.Ref] != m.Attr.Extractable || (ephemeral && m.Attr.Extractable) {
				t.Errorf("%s: %q: asked to be extractable: %v; wraps: %v", r.Name, m.Attr.Label, m.Attr.Extractable, wrappable[m.Ref])
			}
			usage, mech := m.Attr.Usage, m.Attr.Mechanisms[0]
			switch m.Attr.Label {
			case "antipode/rak":
				if usage != hsmbackend.UsageDerive || mech != hsmbackend.MechECDH || len(m.Attr.Mechanisms) != 1 {
					t.Errorf("%s: RAK has %+v", r.Name, m.Attr)
				}
			case "antipode/z":
				if usage != hsmbackend.UsageDerive || mech != hsmbackend.MechDeriveECB || len(m.Attr.Mechanisms) != 1 {
					t.Errorf("%s: intermediate has %+v", r.Name, m.Attr)
				}
			case "antipode/rwk":
				if usage != rwk[r.Name] || mech != hsmbackend.MechAESKWP || len(m.Attr.Mechanisms) != 1 {
					t.Errorf("%s: RWK has %+v", r.Name, m.Attr)
				}
			}
			_, err := r.Token.Wrap(ctx, wrapKey(t, r), m.Ref)
			if survives := errors.Is(err, hsmbackend.ErrNotExtractable); survives != (!ephemeral && !m.Attr.Extractable) {
				t.Errorf("%s: after the exchange, %q answers %v", r.Name, m.Attr.Label, err)
			} else if !survives && !errors.Is(err, hsmbackend.ErrObjectNotFound) {
				t.Errorf("%s: after the exchange, %q answers %v", r.Name, m.Attr.Label, err)
			}
		}
		if labels["antipode/rak"] != 1 || labels["antipode/z"] != 1 || labels["antipode/rwk"] != 1 {
			t.Errorf("%s made %v", r.Name, labels)
		}
	}
	if now := a.Region.Ring().WorkingCopies(); now != copies {
		t.Errorf("%d working copies at the source, were %d", now, copies)
	}
	if now := b.Region.Ring().WorkingCopies(); now != 1 {
		t.Errorf("%d working copies at the destination", now)
	}
}

// Material that was received for an exchange that then could not be committed is on the token no more.
func TestNothingStaysOfFailure(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	var updates int
	w.Net.Carry(once(wire.TypeTransfer, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		b.StoreFault = func(op string) (bool, error) {
			if op != "update" {
				return false, nil
			}
			if updates++; updates == 1 {
				return false, errors.New("disk full")
			}
			return false, nil
		}
		answer, err := deliver(m.Data)
		if n := b.Region.Ring().WorkingCopies(); n != 0 {
			t.Errorf("%d working copies after a failed exchange", n)
		}
		checkClean(t, b)
		return answer, err
	}))
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	if updates == 0 {
		t.Error("the fault never struck")
	}
	w.Settle(ctx)
	checkReplicated(t, a, b, key)
	checkClean(t, a, b)
}
