package replication_test

import (
	"testing"
	"time"

	"antipode/regions"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// forgetDue takes back that anything is to be sent for a key, as no running Region would: what is left is the comparison.
func forgetDue(t *testing.T, a *simtest.Region, key string) {
	t.Helper()
	ctx := t.Context()
	list := a.Standings(ctx, key)
	err := a.Region.Update(ctx, func(tx regions.Tx) error {
		for _, st := range list {
			st.Due, st.Behind = 0, 0
			if err := regions.Put(ctx, tx, a.Region.Ring(), st); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func sent(w *simtest.World, typ string) (n int) {
	for _, m := range w.Net.Log() {
		if m.Type == typ {
			n++
		}
	}
	return n
}

// A minute later every Region has asked each other one, in one message, and nothing else is said if nothing differs.
func TestCompareSame(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	for range 5 {
		replicate(t, a, a.CreateKey(ctx), ireland, tokyo)
	}
	w.Settle(ctx)
	w.Advance(2 * time.Minute)
	w.Net.Forget()
	for _, r := range []*simtest.Region{a, b, c} {
		if err := r.Node.Tick(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.Net.Log()); n != 12 || sent(w, wire.TypeCompare) != 6 || sent(w, wire.TypeCompared) != 6 {
		t.Errorf("%d messages: %+v", n, w.Net.Log())
	}
	for _, m := range w.Net.Log() {
		if m.Type == wire.TypeCompared && len(m.Data) > 512 {
			t.Errorf("that nothing differs takes %d bytes", len(m.Data))
		}
	}
}

// What was not pushed is found by comparison: by the replica that is behind, by the primary whose replica is, and between two
// replicas when the primary is away.
func TestCompareFinds(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland, tokyo)
	w.Settle(ctx)
	for name, asker := range map[string]*simtest.Region{"the replica asks": b, "the primary asks": a} {
		had := syncEvents(t, b)
		reschedule(t, a, key, 100+uint64(had))
		forgetDue(t, a, key)
		w.Advance(2 * time.Minute)
		if err := asker.Node.Tick(ctx); err != nil {
			t.Fatal(err)
		}
		agree(t, key, a, b)
		if n := syncEvents(t, b); n != had+1 {
			t.Errorf("%s: %d events, had %d", name, n, had)
		}
	}
	// The primary tells one replica and is gone; that one tells the other.
	w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if m.To == tokyo {
			return nil, simtest.ErrLost
		}
		return deliver(m.Data)
	})
	reschedule(t, a, key, 200)
	if err := a.Node.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	agree(t, key, a, b)
	w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if m.To == ohio || m.From == ohio {
			return nil, simtest.ErrLost
		}
		return deliver(m.Data)
	})
	w.Advance(2 * time.Minute)
	if err := c.Node.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	agree(t, key, b, c)
	w.Net.Carry(nil)
	w.Settle(ctx)
	settled(t, a, key)
}

// A member that has lost a key which it signed to hold is found, and the primary says so; no key is made of a comparison.
func TestCompareLost(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := replicated(t, a)
	w.Settle(ctx)
	err := b.Region.Update(ctx, func(tx regions.Tx) error {
		return tx.Delete(ctx, regions.Key{Account: simtest.Account, KeyID: key}.RecordKey())
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Advance(2 * time.Minute)
	for range 3 {
		for _, r := range []*simtest.Region{a, b} {
			if err := r.Node.Tick(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := status(t, a, key).Replicas[1]; got.State != regions.ReplicaBehind || got.LastError == "" {
		t.Errorf("%+v", got)
	}
	if b.Holds(ctx, key).Key != nil {
		t.Error("the key came back by itself")
	}
	// The reason is known: it is not looked at again each minute.
	w.Advance(2 * time.Minute)
	w.Net.Forget()
	if err := b.Node.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	if n := sent(w, wire.TypeCompare); n != 1 {
		t.Errorf("%d comparisons for a difference that is known", n)
	}
}

// Two states of one number are found by comparison, and are an alarm in both Regions.
func TestCompareConflict(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := replicated(t, a)
	w.Settle(ctx)
	// The primary's store is put back to before its last change, unnoticed, and makes another one of the same number.
	before := *a.Holds(ctx, key).Key
	reschedule(t, a, key, 111)
	w.Settle(ctx)
	err := a.Region.Update(ctx, func(tx regions.Tx) error { return regions.Put(ctx, tx, a.Region.Ring(), before) })
	if err != nil {
		t.Fatal(err)
	}
	reschedule(t, a, key, 222)
	forgetDue(t, a, key)
	w.Advance(2 * time.Minute)
	if err := a.Node.Tick(ctx); err != nil {
		t.Logf("tick: %v", err)
	}
	if n := len(a.Events(ctx, "KeySetAlarm")); n == 0 {
		t.Error("no alarm")
	}
	if got := b.Holds(ctx, key).Key.MultiRegion.State.Rotation.PeriodDays; got != 111 {
		t.Errorf("the replica took the other state: %d", got)
	}
}

// The digest is right whatever was committed: it is the same as that of a Region that reads its store afresh.
func TestCommonFollowsCommits(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	var keys []string
	for i := range 6 {
		keys = append(keys, replicated(t, a))
		w.Settle(ctx)
		if i%2 == 0 {
			reschedule(t, a, keys[0], uint64(100+i))
			w.Settle(ctx)
		}
		if i == 4 {
			deleteReplica(t, w, b, keys[1])
			w.Settle(ctx)
		}
		here, _, err := a.Region.Common(ctx, ireland)
		if err != nil {
			t.Fatal(err)
		}
		there, _, err := b.Region.Common(ctx, ohio)
		if err != nil || here != there {
			t.Fatalf("after %d keys the digests differ: %v", i+1, err)
		}
	}
	for _, r := range []*simtest.Region{a, b} {
		other := ireland
		if r == b {
			other = ohio
		}
		kept, _, err := r.Region.Common(ctx, other)
		if err != nil {
			t.Fatal(err)
		}
		r.Restart(t)
		fresh, _, err := r.Region.Common(ctx, other)
		if err != nil || fresh != kept {
			t.Errorf("%s: read afresh the digest is another one: %v", r.Name, err)
		}
	}
}
