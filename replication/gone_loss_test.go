package replication_test

import (
	"errors"
	"testing"
	"time"

	"antipode/regions"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// What becomes of a deleted replica's word on its way to the primary, it arrives in the end, once in effect, as the same
// bytes each time.
func TestGoneLosses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	for _, c := range []struct {
		name    string
		carrier simtest.Carrier
	}{
		{"lost", once(wire.TypeGone, func(simtest.Message, simtest.Deliver) ([]byte, error) { return nil, simtest.ErrLost })},
		{"answer lost", once(wire.TypeGone, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
			_, err := deliver(m.Data)
			return nil, errors.Join(simtest.ErrLost, err)
		})},
		{"twice", simtest.Twice(wire.TypeGone)},
		{"answered by something else", once(wire.TypeGone, func(m simtest.Message, _ simtest.Deliver) ([]byte, error) {
			return m.Data, nil
		})},
		{"answered with another's acknowledgement", once(wire.TypeGone, func(m simtest.Message, _ simtest.Deliver) ([]byte, error) {
			return wire.Sign(ctx, a.Region.Ring().RSK(), &wire.GoneAck{
				Route: wire.Route{ExchangeID: [16]byte{1}, From: ohio, To: ireland}, Gone: wire.Hash(m.Data),
			})
		})},
		{"answered with an acknowledgement of something else", once(wire.TypeGone, func(m simtest.Message, _ simtest.Deliver) ([]byte, error) {
			sent, err := wire.Parse(m.Data)
			if err != nil {
				return nil, err
			}
			return wire.Sign(ctx, a.Region.Ring().RSK(), &wire.GoneAck{Route: sent.Header().Answer(1)})
		})},
	} {
		key := replicated(t, a)
		if err := a.ScheduleDeletion(ctx, key); err != nil {
			t.Fatal(err)
		}
		w.Net.Forget()
		w.Net.Carry(c.carrier)
		deleteReplica(t, w, b, key)
		// The first attempt alone: what it was answered ends nothing, unless it was the acknowledgement.
		if err := b.Node.Tick(ctx); err != nil {
			t.Logf("%s: %v", c.name, err)
		}
		if open := len(b.Unsaid(ctx)); c.name != "twice" && open != 1 {
			t.Errorf("%s: %d deletions to be told", c.name, open)
		}
		w.Settle(ctx)
		w.Net.Carry(nil)
		wantDeleted(t, b, key)
		wantState(t, a, key, regions.StatePendingDeletion)
		if s := a.Holds(ctx, key).Key.MultiRegion.State; len(s.Members) != 1 || s.Sequence != 4 {
			t.Errorf("%s: the key set is %+v", c.name, s)
		}
		var first []byte
		for _, m := range w.Net.Log() {
			if m.Type != wire.TypeGone {
				continue
			}
			if first == nil {
				first = m.Data
			}
			if string(m.Data) != string(first) {
				t.Errorf("%s: other bytes were sent", c.name)
			}
		}
	}
}

// The replica is deleted before its receipt has reached the source: whichever of its deletion and its last transfer is
// heard of first, the exchange ends and the key set is without it.
func TestGoneBeforeReceipt(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	for name, lost := range map[string]string{"gone is heard of": wire.TypeTransfer, "the transfer is repeated": wire.TypeGone} {
		key := a.CreateKey(ctx)
		w.Net.Carry(simtest.LoseAnswers(wire.TypeTransfer))
		if err := a.Replicate(ctx, key, ireland); err != nil {
			t.Fatal(err)
		}
		if err := a.ScheduleDeletion(ctx, key); err != nil {
			t.Fatal(err)
		}
		w.Net.Carry(simtest.LoseRequests(lost))
		deleteReplica(t, w, b, key)
		for range 3 {
			w.Advance(31 * time.Second)
			for _, r := range []*simtest.Region{a, b} {
				if err := r.Node.Tick(ctx); err != nil {
					t.Logf("%s: tick of %s: %v", name, r.Name, err)
				}
			}
		}
		if n := a.OpenExchanges(ctx); n != 0 {
			t.Errorf("%s: %d exchanges are open", name, n)
		}
		wantState(t, a, key, regions.StatePendingDeletion)
		w.Net.Carry(nil)
		w.Settle(ctx)
		wantDeleted(t, b, key)
		wantState(t, a, key, regions.StatePendingDeletion)
		if s := a.Holds(ctx, key).Key.MultiRegion.State; len(s.Members) != 1 {
			t.Errorf("%s: the key set is %+v", name, s)
		}
	}
}

// Only a member can take itself out of a key set, and only as what it is now.
func TestGoneForged(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const tokyo = "ap-northeast-1"
	w := simtest.New(t, ohio, ireland, tokyo)
	a, b, c := w.Region(ohio), w.Region(ireland), w.Region(tokyo)
	key := replicated(t, a)
	if err := a.Replicate(ctx, key, tokyo); err != nil {
		t.Fatal(err)
	}
	if err := a.ScheduleDeletion(ctx, key); err != nil {
		t.Fatal(err)
	}
	before := a.Holds(ctx, key).Key
	irish := member(t, a, key).Incarnation
	tokyos, _ := before.MultiRegion.State.Member(tokyo)
	gone := func(change func(*wire.Gone)) *wire.Gone {
		s := before.MultiRegion.State
		g := &wire.Gone{
			Route:   wire.Route{ExchangeID: tokyos.Incarnation, From: tokyo, To: ohio},
			Account: simtest.Account, KeyID: key, Incarnation: tokyos.Incarnation, Epoch: s.Epoch, Sequence: s.Sequence,
		}
		change(g)
		return g
	}
	for name, f := range map[string]struct {
		by     *simtest.Region
		from   string // whom the transport knows
		change func(*wire.Gone)
		answer string // type; "" for none
	}{
		"of another member":     {c, tokyo, func(g *wire.Gone) { g.ExchangeID, g.Incarnation = irish, irish }, wire.TypeGoneAck},
		"of an old incarnation": {c, tokyo, func(g *wire.Gone) { g.ExchangeID[0]++; g.Incarnation[0]++ }, wire.TypeGoneAck},
		"of an unknown key":     {c, tokyo, func(g *wire.Gone) { g.KeyID = "mrk-0123456789abcdef0123456789abcdef" }, wire.TypeGoneAck},
		"of another account":    {c, tokyo, func(g *wire.Gone) { g.Account = "999999999999" }, wire.TypeGoneAck},
		"in another's name":     {c, tokyo, func(g *wire.Gone) { g.From, g.ExchangeID, g.Incarnation = ireland, irish, irish }, ""},
		"brought by another":    {b, tokyo, func(g *wire.Gone) { g.From, g.ExchangeID, g.Incarnation = ireland, irish, irish }, ""},
		"of a state never made": {c, tokyo, func(g *wire.Gone) { g.Sequence += 100 }, wire.TypeRefusal},
		"of an epoch to come":   {c, tokyo, func(g *wire.Gone) { g.Epoch.Generation++ }, wire.TypeRefusal},
	} {
		message, err := wire.Sign(ctx, f.by.Region.Ring().RSK(), gone(f.change))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := w.Net.Send(ctx, f.from, ohio, message)
		if err == nil != (f.answer != "") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			if m, err := wire.Parse(answer); err != nil || m.Type() != f.answer {
				t.Errorf("%s: answered %+v, %v", name, m, err)
			}
		}
		if after := a.Holds(ctx, key).Key; string(after.MultiRegion.Signed) != string(before.MultiRegion.Signed) || after.State != before.State {
			t.Errorf("%s: the key has changed: %+v", name, after)
		}
	}
	// A Region that is not the primary has no say.
	message, err := wire.Sign(ctx, c.Region.Ring().RSK(), gone(func(g *wire.Gone) { g.To = ireland }))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := w.Net.Send(ctx, tokyo, ireland, message)
	if err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, answer, wire.CodeNotPrimary)
	// After all that, the true word counts; the primary waits for the other one.
	deleteReplica(t, w, c, key)
	w.Settle(ctx)
	wantDeleted(t, c, key)
	wantState(t, a, key, regions.StatePendingReplicaDeletion)
	w.Both(ctx, replicated(t, a), ohio, ireland)
}

// A primary that does not trust the replica's Region any more, or not again yet, is not told; the word waits, and is
// visible.
func TestGoneOutsideTheRoster(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := replicated(t, a)
	if err := a.ScheduleDeletion(ctx, key); err != nil {
		t.Fatal(err)
	}
	w.Remove(ohio, ireland)
	deleteReplica(t, w, b, key)
	for range 12 {
		if err := b.Node.Tick(ctx); err != nil {
			t.Logf("tick: %v", err)
		}
		w.Advance(31 * time.Second)
	}
	wantDeleted(t, b, key)
	wantState(t, a, key, regions.StatePendingReplicaDeletion)
	left := b.Unsaid(ctx)
	if len(left) != 1 || left[0].Attempts < 10 || left[0].Primary != ohio {
		t.Errorf("to be told: %+v", left)
	}
	if wait := time.UnixMilli(left[0].Due).Sub(b.Region.Now()); wait > 31*time.Second {
		t.Errorf("the next attempt is in %v", wait)
	}
}

// The clock is set back while the primary can't be reached: the word does not wait for the clock.
func TestGoneWhenTheClockWasAhead(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := replicated(t, a)
	w.Net.Carry(simtest.LoseRequests(wire.TypeGone))
	deleteReplica(t, w, b, key)
	if err := b.Node.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	w.Net.Carry(nil)
	w.Advance(-week)
	if err := b.Node.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(b.Unsaid(ctx)); n != 0 {
		t.Errorf("%d deletions to be told", n)
	}
	if _, there := a.Holds(ctx, key).Key.MultiRegion.State.Member(ireland); there {
		t.Error("the replica is still a member")
	}
}

// Each commit of either side fails, before or after it had its effect, or the Region ends there and starts again: the
// replica goes, the primary's waiting period begins, once, and nothing is left.
func TestGoneCrashes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	broken := errors.New("broken")
	for _, side := range []*simtest.Region{a, b} {
		for at := 1; ; at++ {
			hit := false
			for _, apply := range []bool{false, true} {
				for _, restart := range []bool{false, true} {
					key := replicated(t, a)
					if err := a.ScheduleDeletion(ctx, key); err != nil {
						t.Fatal(err)
					}
					if err := b.ScheduleDeletion(ctx, key); err != nil {
						t.Fatal(err)
					}
					w.Advance(week)
					left := at
					side.StoreFault = func(op string) (bool, error) {
						if op == "update" {
							if left--; left == 0 {
								return apply, broken
							}
						}
						return false, nil
					}
					errs := errors.Join(b.Region.DeleteDue(ctx), b.Node.Tick(ctx))
					hit = left <= 0
					side.StoreFault = nil
					if restart {
						side.Restart(t)
					}
					w.Settle(ctx)
					wantDeleted(t, b, key)
					m := wantState(t, a, key, regions.StatePendingDeletion)
					if s := a.Holds(ctx, key).Key.MultiRegion.State; len(s.Members) != 1 || s.Sequence != 4 {
						t.Errorf("%s commit %d, apply %t, restart %t (%v): key set %+v", side.Name, at, apply, restart, errs, s)
					}
					w.Advance(m.DeletionDate.Time().Sub(a.Region.Now()))
					w.Settle(ctx)
					wantDeleted(t, a, key)
				}
			}
			if !hit {
				if at < 2 {
					t.Errorf("no commit of %s was met", side.Name)
				}
				break
			}
		}
	}
	checkClean(t, a, b)
}
