package replication_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

const week = 7 * 24 * time.Hour

// replicated makes a key of Ohio's with a replica in Ireland.
func replicated(t *testing.T, a *simtest.Region) (key string) {
	t.Helper()
	key = a.CreateKey(t.Context())
	if err := a.Replicate(t.Context(), key, ireland); err != nil {
		t.Fatal(err)
	}
	return key
}

// deleteReplica schedules the key in a Region and lets its waiting period end there.
func deleteReplica(t *testing.T, w *simtest.World, b *simtest.Region, key string) {
	t.Helper()
	if err := b.ScheduleDeletion(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	w.Advance(week)
	if err := b.Region.DeleteDue(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// wantDeleted checks that a Region holds nothing of a key but tombstones.
func wantDeleted(t *testing.T, r *simtest.Region, key string) {
	t.Helper()
	h := r.Holds(t.Context(), key)
	if h.Key != nil || h.Policies != 0 || len(h.Materials) != 0 || len(h.Source) != 0 || len(h.Dest) != 0 {
		t.Errorf("%s holds %+v", r.Name, h)
	}
	if len(r.Graves(t.Context(), key)) == 0 {
		t.Errorf("%s has no tombstone", r.Name)
	}
	if _, err := r.Describe(t.Context(), key); regions.AsError(err).Code != regions.CodeNotFound {
		t.Errorf("DescribeKey in %s: %v", r.Name, err)
	}
}

func wantState(t *testing.T, r *simtest.Region, key string, state regions.KeyState) regions.KeyMetadata {
	t.Helper()
	m, err := r.Describe(t.Context(), key)
	if err != nil || m.KeyState != state {
		t.Errorf("in %s the key is %s, %v; want %s", r.Name, m.KeyState, err, state)
	}
	return m
}

// The primary of a key with a replica waits, whatever the replica's state, until the replica is deleted; then its own
// waiting period begins, and at its end nothing of the key is anywhere.
func TestPrimaryGoesLast(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := replicated(t, a)
	if err := a.ScheduleDeletion(ctx, key); err != nil {
		t.Fatal(err)
	}
	if m := wantState(t, a, key, regions.StatePendingReplicaDeletion); m.PendingDeletionWindowInDays != 7 || !m.DeletionDate.IsZero() {
		t.Errorf("shows %d days and the date %v", m.PendingDeletionWindowInDays, m.DeletionDate)
	}
	w.Advance(30 * week)
	w.Settle(ctx)
	wantState(t, a, key, regions.StatePendingReplicaDeletion)
	wantState(t, b, key, regions.StateEnabled)
	if err := b.ScheduleDeletion(ctx, key); err != nil {
		t.Fatal(err)
	}
	wantState(t, a, key, regions.StatePendingReplicaDeletion)
	w.Advance(week)
	w.Settle(ctx)
	wantDeleted(t, b, key)
	m := wantState(t, a, key, regions.StatePendingDeletion)
	left := m.DeletionDate.Time().Sub(a.Region.Now())
	if left <= week-10*time.Minute || left > week {
		t.Errorf("the primary is deleted in %v", left)
	}
	if s := a.Holds(ctx, key).Key.MultiRegion.State; len(s.Members) != 1 || s.Sequence != 4 {
		t.Errorf("the key set is %+v", s)
	}
	w.Advance(week)
	w.Settle(ctx)
	wantDeleted(t, a, key)
	checkClean(t, a, b)
	for _, r := range []*simtest.Region{a, b} {
		if e := r.Events(ctx, "DeleteKey"); len(e) != 1 || e[0].ErrorCode != "" {
			t.Errorf("%s recorded %+v", r.Name, e)
		}
		if n := r.Region.Ring().WorkingCopies(); n != 0 {
			t.Errorf("%s has %d working copies", r.Name, n)
		}
	}
	if e := a.Events(ctx, "ReplicaDeleted"); len(e) != 1 || e[0].ErrorCode != "" {
		t.Errorf("recorded %+v", e)
	}
	if e := b.Events(ctx, "ReplicaDeletionReceipt"); len(e) != 1 {
		t.Errorf("recorded %+v", e)
	}
}

// A key that waits for its replicas can be kept: it is Disabled then, and stays a primary when the replica goes.
func TestCancelWhileWaitingForReplicas(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := replicated(t, a)
	if err := a.ScheduleDeletion(ctx, key); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Do(ctx, "CancelKeyDeletion", &regions.KeyInput{KeyID: key}); err != nil {
		t.Fatal(err)
	}
	deleteReplica(t, w, b, key)
	w.Settle(ctx)
	wantDeleted(t, b, key)
	wantState(t, a, key, regions.StateDisabled)
	w.Advance(10 * week)
	w.Settle(ctx)
	wantState(t, a, key, regions.StateDisabled)
}

// A replica that was deleted can be made again, as another incarnation; what is late of the old one changes nothing, and
// what the old one encrypted the new one decrypts.
func TestReplicateAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := replicated(t, a)
	blob, err := b.Encrypt(ctx, key, "by the first replica")
	if err != nil {
		t.Fatal(err)
	}
	first := member(t, a, key).Incarnation
	m1, m3 := w.Net.Last(wire.TypeOffer), w.Net.Last(wire.TypeTransfer)
	deleteReplica(t, w, b, key)
	if err := a.Replicate(ctx, key, ireland); regions.AsError(err).Code != regions.CodeAlreadyExists {
		t.Errorf("replicated before the primary knows of the deletion: %v", err)
	}
	w.Settle(ctx)
	wantDeleted(t, b, key)
	gone := w.Net.Last(wire.TypeGone)
	late := func() {
		t.Helper()
		wantRefusal(t, send(t, w, m1), "ExchangeEnded")
		if r := wantRefusal(t, send(t, w, m3), wire.CodeReplicaDeleted); !r.Final {
			t.Error("the refusal is not final")
		}
		if answer, err := w.Net.Send(ctx, ireland, ohio, gone); err != nil {
			t.Error(err)
		} else if m, err := wire.Parse(answer); err != nil || m.Type() != wire.TypeGoneAck {
			t.Errorf("answered %+v, %v", m, err)
		}
	}
	late()
	if h := b.Holds(ctx, key); h.Key != nil || len(h.Dest) != 0 {
		t.Errorf("a late message has made %+v", h)
	}
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	late()
	checkReplicated(t, a, b, key)
	if second := member(t, a, key).Incarnation; second == first {
		t.Error("the new replica has the incarnation of the old one")
	}
	w.Both(ctx, key, ohio, ireland)
	if got, err := b.Decrypt(ctx, blob); err != nil || got != "by the first replica" {
		t.Errorf("decrypted %q, %v", got, err)
	}
	deleteReplica(t, w, b, key)
	w.Settle(ctx)
	wantDeleted(t, b, key)
	if n := len(b.Graves(ctx, key)); n != 2 {
		t.Errorf("%d tombstones, want one for each incarnation", n)
	}
}

// A shared state that is not newer than what the Region held when it deleted the key is refused, in an exchange that is
// otherwise as it should be: its source has lost what it did since.
func TestStateOlderThanTombstone(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := replicated(t, a)
	deleteReplica(t, w, b, key)
	w.Settle(ctx)
	// In place of the replica's own last state, one that is ahead of all that the primary will make next.
	grave := b.Graves(ctx, key)[0]
	grave.Sequence += 10
	if err := b.Region.Update(ctx, func(tx regions.Tx) error { return regions.Put(ctx, tx, b.Region.Ring(), grave) }); err != nil {
		t.Fatal(err)
	}
	if err := a.Replicate(ctx, key, ireland); err == nil {
		t.Error("a state older than the tombstone was taken")
	}
	w.Settle(ctx)
	wantDeletedButExchanges(t, b, key)
	if _, member := a.Holds(ctx, key).Key.MultiRegion.State.Member(ireland); member {
		t.Error("the refused replica is a member")
	}
}

// A replica stays as long as no other Region is known to hold its material, or a material of it: the key set that it
// knows has no other active member, or does not list the material.
func TestLastCopyStays(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	for name, change := range map[string]func(*keyset.State){
		"no other active member": func(s *keyset.State) {
			for i := range s.Members {
				if s.Members[i].Region == ohio {
					s.Members[i].Status = keyset.Creating
				}
			}
		},
		"no other member": func(s *keyset.State) {
			s.Members = slices.DeleteFunc(s.Members, func(m keyset.Member) bool { return m.Region == ohio })
		},
		"another material": func(s *keyset.State) { s.Materials[0].ID = strings.Repeat("a", 64) },
	} {
		key := replicated(t, a)
		if err := b.ScheduleDeletion(ctx, key); err != nil {
			t.Fatal(err)
		}
		k := *b.Holds(ctx, key).Key
		put := func(k regions.Key) {
			t.Helper()
			err := b.Region.Update(ctx, func(tx regions.Tx) error { return regions.Put(ctx, tx, b.Region.Ring(), k) })
			if err != nil {
				t.Fatal(err)
			}
		}
		altered, mr, s := k, *k.MultiRegion, *k.MultiRegion.State
		s.Members, s.Materials = slices.Clone(s.Members), slices.Clone(s.Materials)
		change(&s)
		mr.State, altered.MultiRegion = &s, &mr
		put(altered)
		w.Advance(week)
		if err := b.Region.DeleteDue(ctx); err == nil {
			t.Errorf("%s: the last copy was deleted", name)
		}
		if h := b.Holds(ctx, key); h.Key == nil || len(h.Materials) != 1 {
			t.Errorf("%s: holds %+v", name, h)
		}
		put(k)
		w.Settle(ctx)
		wantDeleted(t, b, key)
	}
}

// An exchange that was lost before the replica was made is remembered with the replica's tombstone: its offer, late, makes
// nothing.
func TestLateOfferOfALostExchange(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key, e := begun(t, w, a)
	b.Restart(t) // RAKB is gone
	w.Settle(ctx)
	checkReplicated(t, a, b, key)
	deleteReplica(t, w, b, key)
	w.Settle(ctx)
	wantDeleted(t, b, key)
	wantRefusal(t, send(t, w, e.M1), wire.CodeExchangeEnded)
	wantRefusal(t, send(t, w, e.M3), wire.CodeReplicaDeleted)
	wantDeleted(t, b, key)
	checkClean(t, b)
}

func wantDeletedButExchanges(t *testing.T, r *simtest.Region, key string) {
	t.Helper()
	if h := r.Holds(t.Context(), key); h.Key != nil || len(h.Materials) != 0 || h.Policies != 0 {
		t.Errorf("%s holds %+v", r.Name, h)
	}
}

// A primary is not deleted while its set has another member, whatever its record's state says.
func TestPrimaryWithReplicaStays(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := replicated(t, a)
	k := *a.Holds(ctx, key).Key
	k.State, k.PendingDays, k.DeletionDate = regions.StatePendingDeletion, 7, a.Region.Now().Add(week).UnixMilli()
	if err := a.Region.Update(ctx, func(tx regions.Tx) error { return regions.Put(ctx, tx, a.Region.Ring(), k) }); err != nil {
		t.Fatal(err)
	}
	w.Advance(week)
	if err := a.Region.DeleteDue(ctx); err == nil {
		t.Error("a primary with a replica was deleted")
	}
	wantState(t, a, key, regions.StatePendingDeletion)
	wantState(t, b, key, regions.StateEnabled)
}
