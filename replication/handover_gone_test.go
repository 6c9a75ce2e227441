package replication_test

import (
	"testing"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// A replica that is deleted while the primary goes to another Region, of which its own does not know: the old primary puts
// it off, then says who is the primary, and that one takes it out of the key set.
func TestGoneFindsTheNewPrimary(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := related(t, a, ireland, tokyo)
	w.Settle(ctx)
	if err := c.ScheduleDeletion(ctx, key); err != nil {
		t.Fatal(err)
	}
	w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if m.To == tokyo || handsOver(m) {
			return nil, simtest.ErrLost
		}
		return deliver(m.Data)
	})
	if err := a.UpdatePrimary(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	w.Advance(week)
	if err := c.Region.DeleteDue(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Node.Tick(ctx); err != nil {
		t.Log(err)
	}
	wantState(t, a, key, regions.StateUpdating)
	if n := len(c.Unsaid(ctx)); n != 1 {
		t.Errorf("%d deletions to be told, and the primary is handing over", n)
	}
	w.Net.Forget()
	w.Net.Carry(nil)
	w.Settle(ctx)
	wantDeleted(t, c, key)
	wantPrimary(t, key, ireland, term(2), a, b)
	if s := b.Holds(ctx, key).Key.MultiRegion.State; len(s.Members) != 2 {
		t.Errorf("the key set is %+v", s)
	}
	told := map[string]int{}
	for _, m := range w.Net.Log() {
		if m.Type == wire.TypeGone {
			told[m.To]++
		}
	}
	if told[ireland] == 0 {
		t.Errorf("told %v", told)
	}
	// The new primary makes the replica again.
	if err := b.Replicate(ctx, key, tokyo); err != nil {
		t.Fatal(err)
	}
	w.Settle(ctx)
	wantPrimary(t, key, ireland, term(2), a, b, c)
	w.Both(ctx, key, ohio, tokyo)
}

// Who says that another Region is the primary has to prove it.
func TestGoneIsNotMisled(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key, other := related(t, a, ireland, tokyo), related(t, b, tokyo)
	w.Settle(ctx)
	for name, lie := range map[string]func(*wire.Refusal){
		"another key": func(r *wire.Refusal) {
			mr := b.Holds(ctx, other).Key.MultiRegion
			r.State, r.Chain = mr.Signed, mr.Certificates
		},
		"a state that nobody certified": func(r *wire.Refusal) {
			r.State = forge(t, b, key, func(s *keyset.State) { s.Primary = ireland })
			r.Chain = a.Holds(ctx, key).Key.MultiRegion.Certificates
		},
		"a replica's certificate": func(r *wire.Refusal) {
			mr := b.Holds(ctx, key).Key.MultiRegion
			r.Chain = append(append([][]byte(nil), mr.Certificates...), certify(t, b, key, ireland, same))
			r.State = forge(t, b, key, func(s *keyset.State) {
				s.Primary, s.Epoch.Term, s.Certificate = ireland, 2, keyset.Hash(r.Chain[len(r.Chain)-1])
			})
		},
	} {
		w.Net.Carry(once(wire.TypeGone, func(m simtest.Message, _ simtest.Deliver) ([]byte, error) {
			sent, err := wire.Parse(m.Data)
			if err != nil {
				return nil, err
			}
			r := &wire.Refusal{Route: sent.Header().Answer(1), Refuses: wire.Hash(m.Data), Code: wire.CodeNotPrimary, Message: "x"}
			lie(r)
			return wire.Sign(ctx, a.Region.Ring().RSK(), r)
		}))
		if err := c.ScheduleDeletion(ctx, key); err != nil {
			t.Fatal(err)
		}
		w.Advance(week)
		if err := c.Region.DeleteDue(ctx); err != nil {
			t.Fatal(err)
		}
		if err := c.Node.Tick(ctx); err != nil {
			t.Logf("%s: %v", name, err)
		}
		if left := c.Unsaid(ctx); len(left) != 1 || left[0].Primary != ohio {
			t.Errorf("%s: to be told %+v", name, left)
		}
		w.Net.Carry(nil)
		w.Settle(ctx)
		wantDeleted(t, c, key)
		if err := a.Replicate(ctx, key, tokyo); err != nil {
			t.Fatal(err)
		}
		w.Settle(ctx)
	}
}

// A change of the primary while a replica's Region is away, one while a replica is being made, and one that a restored
// Region had begun.
func TestHandOverBesides(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	away := func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if m.To == tokyo || m.From == tokyo {
			return nil, simtest.ErrLost
		}
		return deliver(m.Data)
	}
	t.Run("a replica is away", func(t *testing.T) {
		key := related(t, a, ireland, tokyo)
		w.Settle(ctx)
		w.Net.Carry(away)
		if err := a.UpdatePrimary(ctx, key, ireland); err != nil {
			t.Fatal(err)
		}
		if p := c.Holds(ctx, key).Key.MultiRegion.State.Primary; p != ohio {
			t.Errorf("who is away knows of %s", p)
		}
		w.Both(ctx, key, ohio, tokyo)
		w.Net.Carry(nil)
		w.Settle(ctx)
		wantPrimary(t, key, ireland, term(2), a, b, c)
	})
	t.Run("a replica is being made", func(t *testing.T) {
		key := related(t, a, ireland)
		w.Settle(ctx)
		w.Net.Carry(simtest.LoseRequests(wire.TypeTransfer))
		if err := a.Replicate(ctx, key, tokyo); err != nil {
			t.Fatal(err)
		}
		w.Net.Carry(nil)
		if err := a.UpdatePrimary(ctx, key, ireland); regions.AsError(err).Code != regions.CodeInvalidState {
			t.Errorf("while a replica is being made: %v", err)
		}
		w.Settle(ctx)
		wantPrimary(t, key, ohio, term(1), a, b, c)
		if err := a.UpdatePrimary(ctx, key, ireland); err != nil {
			t.Error(err)
		}
		w.Settle(ctx)
		wantPrimary(t, key, ireland, term(2), a, b, c)
	})
	t.Run("the old primary is restored", func(t *testing.T) {
		key := related(t, a, ireland)
		w.Settle(ctx)
		before := a.Backup(t)
		w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
			if handsOver(m) {
				return nil, simtest.ErrLost
			}
			return deliver(m.Data)
		})
		if err := a.UpdatePrimary(ctx, key, ireland); err != nil {
			t.Fatal(err)
		}
		updating := a.Backup(t)
		w.Net.Carry(nil)
		w.Settle(ctx)
		for _, backup := range []string{before, updating} {
			a.Restore(t, backup)
			w.Settle(ctx)
			wantPrimary(t, key, ireland, term(2), a, b)
		}
		w.Both(ctx, key, ohio, ireland)
	})
	t.Run("the successor is restored to before", func(t *testing.T) {
		key := related(t, a, ireland, tokyo)
		w.Settle(ctx)
		backup := b.Backup(t)
		if err := a.UpdatePrimary(ctx, key, ireland); err != nil {
			t.Fatal(err)
		}
		w.Settle(ctx)
		b.Restore(t, backup)
		w.Settle(ctx)
		wantPrimaryOf(t, b, key, ireland)
		if err := b.UpdatePrimary(ctx, key, tokyo); err != nil {
			t.Errorf("the restored primary does not act: %v", err)
		}
		w.Settle(ctx)
		for _, r := range []*simtest.Region{a, b, c} {
			wantPrimaryOf(t, r, key, tokyo)
		}
		w.Both(ctx, key, ireland, tokyo)
	})
}
