package replication_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/canon"
	"antipode/regions/cose"
	"antipode/regions/keyset"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

const tokyo = "ap-northeast-1"

func threeRegions(t *testing.T) (w *simtest.World, a, b, c *simtest.Region) {
	t.Helper()
	w = simtest.New(t, ohio, ireland, tokyo)
	return w, w.Region(ohio), w.Region(ireland), w.Region(tokyo)
}

func replicate(t *testing.T, a *simtest.Region, key string, to ...string) {
	t.Helper()
	for _, region := range to {
		if err := a.Replicate(t.Context(), key, region); err != nil {
			t.Fatal(err)
		}
	}
}

func enable(t *testing.T, r *simtest.Region, key string) {
	t.Helper()
	if _, err := r.Do(t.Context(), "EnableKey", &regions.KeyInput{KeyID: key}); err != nil {
		t.Fatal(err)
	}
}

// checkRecreated checks that a key came back without what was the Region's own of it, and says so.
func checkRecreated(t *testing.T, r *simtest.Region, key string) {
	t.Helper()
	h := r.Holds(t.Context(), key)
	if h.Key == nil || h.Key.State != regions.StateDisabled || h.Policies != 1 || h.Key.Description != "" || len(h.Key.Tags) != 0 {
		t.Fatalf("%s holds %+v with %d policies", r.Name, h.Key, h.Policies)
	}
	if m, _ := h.Key.MultiRegion.State.Member(r.Name); m.Incarnation != h.Key.MultiRegion.Incarnation {
		t.Errorf("%s is incarnation %x, listed as %x", r.Name, h.Key.MultiRegion.Incarnation, m.Incarnation)
	}
	events := r.Events(t.Context(), "RecreateKey")
	if len(events) != 1 || events[0].ErrorCode != "" {
		t.Errorf("%s has the events %+v", r.Name, events)
	}
}

// A Region whose backup is older than its replica gets the key again, by itself: the same material in the same
// incarnation, Disabled, and its recovery ends.
func TestRestoreBeforeReplica(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	backup := b.Backup(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland)
	blob, err := b.Encrypt(ctx, key, "made before")
	if err != nil {
		t.Fatal(err)
	}
	b.Restore(t, backup)
	if _, err := b.Decrypt(ctx, blob); err == nil {
		t.Fatal("the backup has the key")
	}
	w.Settle(ctx)
	checkRecreated(t, b, key)
	if n := b.Extra(); n != 0 {
		t.Errorf("%d objects on the token", n)
	}
	enable(t, b, key)
	if got, err := b.Decrypt(ctx, blob); err != nil || got != "made before" {
		t.Errorf("decrypts to %q, %v", got, err)
	}
	w.Both(ctx, key, ohio, ireland)
	if len(b.Events(ctx, "EndRecovery")) != 1 {
		t.Error("no event says that the recovery has ended")
	}
	// A second restore, of the same file.
	b.Restore(t, backup)
	w.Settle(ctx)
	enable(t, b, key)
	w.Both(ctx, key, ohio, ireland)
}

// The destination's backup is of the time between m2 and m3. What the source believes decides: if it has the receipt,
// the key is supplied; if not, the exchange is begun again.
func TestRestoreBetweenMessages(t *testing.T) {
	t.Parallel()
	for name, received := range map[string]bool{"m3 received": true, "m3 lost": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			w, a, b := twoRegions(t)
			var backup string
			w.Net.Carry(once(wire.TypeTransfer, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
				backup = b.Backup(t)
				if !received {
					return nil, simtest.ErrLost
				}
				return deliver(m.Data)
			}))
			key := a.CreateKey(ctx)
			replicate(t, a, key, ireland)
			b.Restore(t, backup)
			w.Settle(ctx)
			if received {
				checkRecreated(t, b, key)
				enable(t, b, key)
			} else {
				checkReplicated(t, a, b, key)
			}
			w.Both(ctx, key, ohio, ireland)
			if m := member(t, a, key); m.Status != keyset.Active {
				t.Errorf("%s is %s", ireland, m.Status)
			}
		})
	}
}

// The source's backup is older than the end of an exchange, or than its beginning: the receipt is lost, and the
// destination's word takes its place.
func TestSourceRestoredInExchange(t *testing.T) {
	t.Parallel()
	for name, typ := range map[string]string{"before m1": "", "before m2": wire.TypeOffer, "before m4": wire.TypeTransfer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			w, a, b := twoRegions(t)
			key := a.CreateKey(ctx)
			backup := a.Backup(t)
			if typ != "" {
				w.Net.Carry(once(typ, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
					backup = a.Backup(t)
					return deliver(m.Data)
				}))
			}
			replicate(t, a, key, ireland)
			blob, err := b.Encrypt(ctx, key, "x")
			if err != nil {
				t.Fatal(err)
			}
			a.Restore(t, backup)
			w.Settle(ctx)
			if m := member(t, a, key); m.Status != keyset.Active || m.Incarnation != b.Holds(ctx, key).Key.MultiRegion.Incarnation {
				t.Errorf("%s is %+v", ireland, m)
			}
			if got, err := a.Decrypt(ctx, blob); err != nil || got != "x" {
				t.Errorf("decrypts to %q, %v", got, err)
			}
			w.Both(ctx, key, ohio, ireland)
		})
	}
}

// states returns the shared states of a key that travelled, by their number, and fails if one number has two contents.
func states(t *testing.T, w *simtest.World, key string) map[string]string {
	t.Helper()
	seen := map[string]string{}
	for _, m := range w.Net.Log() {
		var list [][]byte
		switch parsed, _ := wire.Parse(m.Data); p := parsed.(type) {
		case *wire.Transfer:
			list = append(list, p.State)
		case *wire.Offer:
			list = append(list, p.State)
		case *wire.Sync:
			list = append(list, p.State)
		case *wire.Known:
			for _, k := range p.Keys {
				list = append(list, k.State)
			}
		}
		for _, signed := range list {
			payload, err := cose.Unverified(signed, keyset.TypeState)
			if err != nil {
				continue
			}
			var s keyset.State
			if err := canon.Unmarshal(payload, &s); err != nil {
				t.Fatal(err)
			}
			number := s.Epoch.String() + "/" + string(rune('0'+s.Sequence))
			if other, there := seen[number]; there && other != string(payload) && s.KeyID == key {
				t.Errorf("two states have the number %s", number)
			}
			if s.KeyID == key {
				seen[number] = string(payload)
			}
		}
	}
	return seen
}

// A primary whose backup is older than its last shared changes learns them from the replicas and raises its term before
// it makes another: no number is used for two contents, and everybody accepts what it says next.
func TestPrimaryRestored(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := a.CreateKey(ctx)
	backup := a.Backup(t)
	replicate(t, a, key, ireland, tokyo)
	before := a.Holds(ctx, key).Key.MultiRegion.State
	a.Restore(t, backup)
	wantCode(t, a.Replicate(ctx, key, tokyo), regions.CodeInvalidState)
	w.Settle(ctx)
	after := a.Holds(ctx, key).Key.MultiRegion.State
	if after.Epoch != (keyset.Epoch{Generation: 1, Term: 2}) || len(after.Members) != 3 {
		t.Errorf("the state is %+v, was %+v", after, before)
	}
	for _, m := range after.Members {
		if m.Status != keyset.Active {
			t.Errorf("%s is %s", m.Region, m.Status)
		}
	}
	// It acts: everybody takes its next state.
	had := map[string]int{}
	for _, r := range []*simtest.Region{b, c} {
		had[r.Name] = len(r.Events(ctx, "SynchronizeMultiRegionKey"))
	}
	err := a.Region.Update(ctx, func(tx regions.Tx) error {
		_, err := a.Region.ChangeShared(ctx, tx, simtest.Account, key, func(*regions.Key, *keyset.State) error { return nil })
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	next := a.Holds(ctx, key).Key.MultiRegion.State
	if next.Epoch != after.Epoch || next.Sequence != after.Sequence+1 {
		t.Errorf("after %v/%d comes %v/%d", after.Epoch, after.Sequence, next.Epoch, next.Sequence)
	}
	for _, r := range []*simtest.Region{b, c} {
		ack, err := a.Node.Push(ctx, r.Name, simtest.Account, key)
		if err != nil || ack.Epoch != next.Epoch || ack.Sequence != next.Sequence {
			t.Errorf("%s holds %+v, %v", r.Name, ack, err)
		}
		if n := len(r.Events(ctx, "SynchronizeMultiRegionKey")); n != had[r.Name]+1 {
			t.Errorf("%s has %d events, had %d before", r.Name, n, had[r.Name])
		}
	}
	if seen := states(t, w, key); len(seen) < 3 {
		t.Errorf("only the states %v travelled", seen)
	}
	w.Both(ctx, key, ohio, ireland)
	w.Both(ctx, key, tokyo, ireland)
	a.Restart(t)
	if a.Region.Recovering() || a.Holds(ctx, key).Key.MultiRegion.State.Epoch != after.Epoch {
		t.Error("the recovery is not over for good")
	}
}

// A primary that its own backup does not know comes back from a replica, as the primary, Disabled.
func TestPrimaryKeyLost(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, _ := twoRegions(t)
	backup := a.Backup(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland)
	a.Restore(t, backup)
	w.Settle(ctx)
	checkRecreated(t, a, key)
	enable(t, a, key)
	w.Both(ctx, key, ohio, ireland)
	if s := a.Holds(ctx, key).Key.MultiRegion.State; s.Primary != ohio {
		t.Errorf("the primary is %s", s.Primary)
	}
}

// With the primary away a member gets what it lacks from another member. The recovery waits for the primary until the
// operator excuses it.
func TestSupplyWithoutPrimary(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	backup := c.Backup(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, tokyo, ireland) // Ireland's state lists Tokyo
	blob, err := a.Encrypt(ctx, key, "from the primary")
	if err != nil {
		t.Fatal(err)
	}
	w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if m.From == ohio || m.To == ohio {
			return nil, simtest.ErrLost
		}
		return deliver(m.Data)
	})
	c.Restore(t, backup)
	for range 4 {
		w.Advance(31e9)
		for _, r := range []*simtest.Region{b, c} {
			if err := r.Node.Tick(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	checkRecreated(t, c, key)
	enable(t, c, key)
	if got, err := c.Decrypt(ctx, blob); err != nil || got != "from the primary" {
		t.Errorf("decrypts to %q, %v", got, err)
	}
	if short, full := c.Region.Waits(); !c.Region.Recovering() || short != ohio || len(full) != 1 || !strings.Contains(full[0], "lost on the way") {
		t.Errorf("it recovers: %v, waits for %q, %q", c.Region.Recovering(), short, full)
	}
	if err := c.Region.Excuse(ctx, []string{"eu-central-1"}); err == nil {
		t.Error("a Region was excused that nobody knows")
	}
	if err := c.Region.Excuse(ctx, []string{ohio}); err != nil {
		t.Fatal(err)
	}
	c.Restart(t) // the operator's word is durable
	for range 4 {
		w.Advance(31e9)
		if err := c.Node.Tick(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if c.Region.Recovering() || !slices.Equal(c.Region.Recovery().Without, []string{ohio}) {
		t.Errorf("%+v", c.Region.Recovery())
	}
	if err := c.Region.Excuse(ctx, []string{ireland}); err == nil {
		t.Error("a Region was excused when nothing recovered")
	}
}

// Two Regions restored at once: each needs the other, and both recover.
func TestBothRestored(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	first := a.CreateKey(ctx)
	backupA := a.Backup(t)
	replicate(t, a, first, ireland)
	backupB := b.Backup(t)
	second := b.CreateKey(ctx)
	replicate(t, b, second, ohio)
	a.Restore(t, backupA)
	b.Restore(t, backupB)
	w.Settle(ctx)
	w.Both(ctx, first, ohio, ireland)
	if m := member(t, a, first); m.Status != keyset.Active {
		t.Errorf("%s is %s", ireland, m.Status)
	}
	// The second key is in no backup: it is gone, and both say so.
	for _, r := range []*simtest.Region{a, b} {
		if h := r.Holds(ctx, second); h.Key != nil {
			t.Errorf("%s holds %+v", r.Name, h.Key)
		}
	}
}

// While it recovers a Region takes no replica, no state, and makes none.
func TestNothingSharedWhileRecovering(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland)
	b.Restore(t, b.Backup(t))
	other := a.CreateKey(ctx)
	wantCode(t, a.Replicate(ctx, other, ireland), regions.CodeDependencyTimeout)
	if _, err := a.Node.Push(ctx, ireland, simtest.Account, key); err == nil {
		t.Error("it acknowledged a state")
	}
	own := b.CreateKey(ctx)
	wantCode(t, b.Replicate(ctx, own, ohio), regions.CodeInvalidState)
	err := b.Region.Update(ctx, func(tx regions.Tx) error {
		_, err := b.Region.ChangeShared(ctx, tx, simtest.Account, own, func(*regions.Key, *keyset.State) error { return nil })
		return err
	})
	if !errors.Is(err, regions.ErrRecovering) {
		t.Errorf("it changed a shared state: %v", err)
	}
	w.Both(ctx, key, ohio, ireland)
	w.Settle(ctx)
	replicate(t, a, other, ireland)
	replicate(t, b, own, ohio)
	if s := b.Holds(ctx, own).Key.MultiRegion.State; s.Epoch != keyset.First() {
		t.Errorf("a key made during the recovery is of %v", s.Epoch)
	}
}
