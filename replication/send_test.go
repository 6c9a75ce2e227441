package replication_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// reschedule changes what a key's Regions share: the rotation period.
func reschedule(t *testing.T, r *simtest.Region, key string, days uint64) {
	t.Helper()
	ctx := t.Context()
	err := r.Region.Update(ctx, func(tx regions.Tx) error {
		_, err := r.Region.ChangeShared(ctx, tx, simtest.Account, key, func(_ *regions.Key, s *keyset.State) error {
			s.Rotation = keyset.Rotation{Enabled: true, PeriodDays: days, Next: r.Region.Now().Add(time.Duration(days) * 24 * time.Hour).UnixMilli()}
			return nil
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// settled fails the test unless every other member has signed the primary's state, with all of its materials, and nothing is
// left to be sent.
func settled(t *testing.T, a *simtest.Region, key string) {
	t.Helper()
	s := a.Holds(t.Context(), key).Key.MultiRegion.State
	list := a.Standings(t.Context(), key)
	if len(list) != len(s.Members)-1 {
		t.Errorf("%d standings of %d members", len(list), len(s.Members))
	}
	for _, st := range list {
		m, listed := s.Member(st.Region)
		switch {
		case !listed || m.Incarnation != st.Incarnation:
			t.Errorf("%s is %+v in the key set, and has a standing as %x", st.Region, m, st.Incarnation)
		case st.Due != 0 || st.Behind != 0 || st.Error != "" || st.Compare(*s) != 0 || len(st.Missing(*s)) != 0:
			t.Errorf("%s is not up to date: %+v", st.Region, st)
		}
		m2, err := wire.Parse(st.Signed)
		if err != nil {
			t.Errorf("%s has signed nothing: %v", st.Region, err)
			continue
		}
		if m2.Header().From != st.Region {
			t.Errorf("what %s has signed is from %s", st.Region, m2.Header().From)
		}
	}
}

// agree fails the test unless all Regions hold the same signed state of a key.
func agree(t *testing.T, key string, all ...*simtest.Region) {
	t.Helper()
	want := all[0].Holds(t.Context(), key).Key.MultiRegion
	for _, r := range all[1:] {
		if got := r.Holds(t.Context(), key).Key.MultiRegion; string(got.Signed) != string(want.Signed) {
			t.Errorf("%s is at %v/%d, %s at %v/%d", r.Name, got.State.Epoch, got.State.Sequence, all[0].Name, want.State.Epoch, want.State.Sequence)
		}
	}
}

func syncEvents(t *testing.T, r *simtest.Region) int {
	t.Helper()
	return len(r.Events(t.Context(), "SynchronizeMultiRegionKey"))
}

// What the primary changes is at both replicas after one step, with one event each, and is acknowledged.
func TestPush(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland, tokyo)
	if err := a.Node.Tick(ctx); err != nil { // both learn of each other
		t.Fatal(err)
	}
	agree(t, key, a, b, c)
	settled(t, a, key)
	had := map[string]int{b.Name: syncEvents(t, b), c.Name: syncEvents(t, c)}
	reschedule(t, a, key, 123)
	if left := a.Unsent(ctx); len(left) != 2 {
		t.Errorf("after the commit %d pushes are due: %+v", len(left), left)
	}
	if err := a.Node.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	agree(t, key, a, b, c)
	settled(t, a, key)
	for _, r := range []*simtest.Region{b, c} {
		if got := r.Holds(ctx, key).Key.MultiRegion.State.Rotation; !got.Enabled || got.PeriodDays != 123 {
			t.Errorf("%s has the schedule %+v", r.Name, got)
		}
		if n := syncEvents(t, r); n != had[r.Name]+1 {
			t.Errorf("%s has %d events, had %d", r.Name, n, had[r.Name])
		}
		if list := r.Standings(ctx, key); len(list) != 0 {
			t.Errorf("%s, a replica, keeps standings: %+v", r.Name, list)
		}
	}
	before := len(w.Net.Log())
	if err := a.Node.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	if after := len(w.Net.Log()); after != before {
		t.Errorf("%d messages were sent with nothing to say", after-before)
	}
}

// Whatever becomes of a state on its way to a replica, or of its acknowledgement, the replica has it in the end, with one
// event, and the primary knows.
func TestPushLosses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	for _, c := range []struct {
		name    string
		carrier simtest.Carrier
	}{
		{"lost", once(wire.TypeSync, func(simtest.Message, simtest.Deliver) ([]byte, error) { return nil, simtest.ErrLost })},
		{"answer lost", once(wire.TypeSync, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
			_, err := deliver(m.Data)
			return nil, errors.Join(simtest.ErrLost, err)
		})},
		{"twice", simtest.Twice(wire.TypeSync)},
		{"answered by something else", once(wire.TypeSync, func(m simtest.Message, _ simtest.Deliver) ([]byte, error) {
			return m.Data, nil
		})},
		{"answered with an acknowledgement of something else", once(wire.TypeSync, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
			answer, err := deliver(m.Data)
			if err != nil {
				return nil, err
			}
			ack, err := wire.Parse(answer)
			if err != nil {
				return nil, err
			}
			forged := *ack.(*wire.SyncAck)
			forged.Sync = [wire.HashSize]byte{}
			return wire.Sign(ctx, b.Region.Ring().RSK(), &forged)
		})},
	} {
		key := replicated(t, a)
		w.Settle(ctx)
		had := syncEvents(t, b)
		reschedule(t, a, key, 200)
		w.Net.Carry(c.carrier)
		if err := a.Node.Tick(ctx); err != nil {
			t.Logf("%s: %v", c.name, err)
		}
		if left := a.Unsent(ctx); c.name != "twice" && (len(left) != 1 || left[0].Error == "" || left[0].Attempts != 1) {
			t.Errorf("%s: after it, due are %+v", c.name, left)
		}
		w.Settle(ctx)
		w.Net.Carry(nil)
		agree(t, key, a, b)
		settled(t, a, key)
		if n := syncEvents(t, b); n != had+1 {
			t.Errorf("%s: %d events, had %d", c.name, n, had)
		}
	}
}

// A replica that is away for long hears of the last of many changes when it is back, in one event, and who was there was not
// held up.
func TestPushAfterLong(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland, tokyo)
	w.Settle(ctx)
	had := syncEvents(t, c)
	w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if m.To == tokyo || m.From == tokyo {
			return nil, simtest.ErrLost
		}
		return deliver(m.Data)
	})
	for i := range 5 {
		reschedule(t, a, key, uint64(100+i))
		if err := a.Node.Tick(ctx); err != nil {
			t.Fatal(err)
		}
		agree(t, key, a, b)
		w.Advance(time.Hour)
	}
	left := a.Unsent(ctx)
	if len(left) != 1 || left[0].Region != tokyo || left[0].Error == "" {
		t.Fatalf("due are %+v", left)
	}
	if since := a.Region.Now().Sub(time.UnixMilli(left[0].Behind)); since != 5*time.Hour {
		t.Errorf("it is behind for %v", since)
	}
	w.Net.Carry(nil)
	w.Settle(ctx)
	agree(t, key, a, b, c)
	settled(t, a, key)
	if n := syncEvents(t, c); n != had+1 {
		t.Errorf("%d events, had %d", n, had)
	}
}

// A primary that ends after a change was committed, and before anything was sent, sends it when it is back.
func TestPushAfterRestart(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := replicated(t, a)
	w.Settle(ctx)
	reschedule(t, a, key, 300)
	a.Restart(t)
	if err := a.Node.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	agree(t, key, a, b)
	settled(t, a, key)
}

// The barrier's question: a material counts as held by a member only if that member signed so as what it is now.
func TestUnacknowledged(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, _, c := threeRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland, tokyo)
	lacking := func(material string) (names []string) {
		t.Helper()
		err := a.Region.Store().View(ctx, func(rd regions.Reader) error {
			list, err := a.Region.Unacknowledged(ctx, rd, *a.Holds(ctx, key).Key, material)
			for _, m := range list {
				names = append(names, m.Region)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	material := a.Holds(ctx, key).Key.Current
	if got := lacking(material); len(got) != 0 {
		t.Errorf("after the receipts %v lack the material", got)
	}
	if got := lacking("00" + material[2:]); !slices.Equal(got, []string{tokyo, ireland, ohio}) {
		t.Errorf("what nobody has, only %v lack", got)
	}
	// Tokyo's replica is deleted, and made again; the word of the first one does not count for the second.
	old := a.Standings(ctx, key)[0]
	deleteReplica(t, w, c, key)
	w.Settle(ctx)
	if list := a.Standings(ctx, key); len(list) != 1 || list[0].Region != ireland {
		t.Fatalf("standings %+v", list)
	}
	w.Net.Carry(simtest.LoseAnswers(wire.TypeTransfer))
	if err := a.Replicate(ctx, key, tokyo); err != nil {
		t.Fatal(err)
	}
	if got := lacking(material); !slices.Equal(got, []string{tokyo}) {
		t.Errorf("before the receipt %v lack the material", got)
	}
	note := func(w regions.Statement) error {
		return a.Region.Update(ctx, func(tx regions.Tx) error {
			_, _, err := a.Region.NoteStatement(ctx, tx, w)
			return err
		})
	}
	err := note(regions.Statement{
		Account: simtest.Account, KeyID: key, Region: tokyo, Incarnation: old.Incarnation, Epoch: old.Epoch,
		Sequence: old.Sequence + 9, Materials: old.Materials, Signed: old.Signed,
	})
	if !errors.Is(err, regions.ErrNotMember) {
		t.Errorf("the word of another incarnation: %v", err)
	}
	if got := lacking(material); !slices.Equal(got, []string{tokyo}) {
		t.Errorf("after the word of another incarnation %v lack the material", got)
	}
	w.Net.Carry(nil)
	w.Settle(ctx)
	if got := lacking(material); len(got) != 0 {
		t.Errorf("after all %v lack the material", got)
	}
	settled(t, a, key)
	// An older statement takes nothing back.
	now := a.Standings(ctx, key)[0]
	if err := note(regions.Statement{
		Account: simtest.Account, KeyID: key, Region: tokyo, Incarnation: now.Incarnation, Epoch: now.Epoch,
		Sequence: now.Sequence - 1, Signed: []byte{1},
	}); err != nil {
		t.Error(err)
	}
	settled(t, a, key)
}

// addMaterial gives a primary one more material, and returns its id.
func addMaterial(t *testing.T, a *simtest.Region, key string, as keyset.MaterialStatus) string {
	t.Helper()
	ctx := t.Context()
	m := a.Holds(ctx, key).Materials[0].Material
	m.ID, m.EKT = "", nil
	pending, err := a.Region.Ring().Generate(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	err = a.Region.Update(ctx, func(tx regions.Tx) error {
		if err := regions.Put(ctx, tx, a.Region.Ring(), regions.MaterialRecord{Material: pending}); err != nil {
			return err
		}
		_, err := a.Region.ChangeShared(ctx, tx, simtest.Account, key, func(_ *regions.Key, s *keyset.State) error {
			s.Materials = append(s.Materials, keyset.Material{ID: pending.ID, Status: as, Created: pending.Created})
			return nil
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pending.ID
}

// A member that has the newest state and lacks a material of it is supplied by the primary.
func TestPushSupplies(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland, tokyo)
	w.Settle(ctx)
	second := addMaterial(t, a, key, keyset.NonCurrent)
	w.Settle(ctx)
	agree(t, key, a, b, c)
	settled(t, a, key)
	for _, r := range []*simtest.Region{b, c} {
		if h := r.Holds(ctx, key); len(h.Materials) != 2 {
			t.Errorf("%s holds %d materials", r.Name, len(h.Materials))
		}
		if r.Holds(ctx, key).Key.Current == second {
			t.Errorf("%s encrypts with material that is not current", r.Name)
		}
	}
	w.Both(ctx, key, ireland, tokyo)
}
