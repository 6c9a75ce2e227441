package replication_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/simtest"
)

// pendingOf returns the id of the material that a Region's shared state has as pending, "" if there is none.
func pendingOf(t *testing.T, r *simtest.Region, key string) string {
	t.Helper()
	m, _ := r.Holds(t.Context(), key).Key.MultiRegion.State.Pending()
	return m.ID
}

func currentOf(t *testing.T, r *simtest.Region, key string) string {
	t.Helper()
	return r.Holds(t.Context(), key).Key.Current
}

// beginRotation rotates a key on demand, with nothing delivered to any other Region yet, and returns the pending material.
func beginRotation(t *testing.T, r *simtest.Region, key string) string {
	t.Helper()
	old := currentOf(t, r, key)
	if err := rotate(t, r, key); err != nil {
		t.Fatal(err)
	}
	pending := pendingOf(t, r, key)
	if pending == "" || pending == old || currentOf(t, r, key) != old {
		t.Fatalf("pending is %q, current %s and was %s", pending, currentOf(t, r, key), old)
	}
	return pending
}

// settled lets the background work end and fails the test unless all Regions then encrypt with the material, and open what
// each of them, and anybody before, has encrypted.
func (l *blobs) settled(w *simtest.World, key, material string) {
	l.t.Helper()
	w.Settle(l.t.Context())
	for _, r := range l.members {
		k := l.world.Region(r).Holds(l.t.Context(), key).Key
		if k.Current != material || k.MultiRegion.State.Current() != material {
			l.t.Errorf("%s encrypts with %s, and the state says %s; want %s", r, k.Current, k.MultiRegion.State.Current(), material)
		}
		if p := pendingOf(l.t, l.world.Region(r), key); p != "" {
			l.t.Errorf("%s has %s as pending", r, p)
		}
	}
	l.encrypt()
	l.check()
}

// blobs are what the members of a key set have encrypted, and the invariant that all members open all of it.
type blobs struct {
	t       *testing.T
	world   *simtest.World
	key     string
	members []string
	made    [][]byte
	by      []string
}

func newBlobs(t *testing.T, w *simtest.World, key string, members ...string) *blobs {
	t.Helper()
	return &blobs{t: t, world: w, key: key, members: members}
}

// encrypt makes one ciphertext in every member.
func (l *blobs) encrypt() {
	l.t.Helper()
	for _, r := range l.members {
		blob, err := l.world.Region(r).Encrypt(l.t.Context(), l.key, "made in "+r)
		if err != nil {
			l.t.Errorf("encrypt in %s: %v", r, err)
			continue
		}
		l.made, l.by = append(l.made, blob), append(l.by, r)
	}
}

// violations are the ciphertexts that a member does not open.
func (l *blobs) violations() (out []string) {
	l.t.Helper()
	for i, blob := range l.made {
		for _, r := range l.members {
			if got, err := l.world.Region(r).Decrypt(l.t.Context(), blob); err != nil || got != "made in "+l.by[i] {
				out = append(out, l.by[i]+" to "+r)
			}
		}
	}
	return out
}

func (l *blobs) check() {
	l.t.Helper()
	if bad := l.violations(); len(bad) > 0 {
		l.t.Errorf("what was encrypted does not open everywhere: %v", bad)
	}
}

// tick makes one step in each Region, at the same time of day.
func tick(t *testing.T, list ...*simtest.Region) {
	t.Helper()
	for _, r := range list {
		// What can't be sent is what it is about; that nothing is left of it is checked in the end.
		_ = errors.Join(r.Node.Tick(t.Context()), r.Region.RotateDue(t.Context()))
	}
}

// New material encrypts when every member of the key set has signed that it holds it, and not before: the primary, the
// replicas and the audit logs show each step.
func TestRotationBarrier(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland)
	replicate(t, a, key, tokyo)
	w.Settle(ctx)
	l := newBlobs(t, w, key, ohio, ireland, tokyo)
	l.encrypt()
	old := currentOf(t, a, key)
	sequence := a.Holds(ctx, key).Key.MultiRegion.State.Sequence
	w.Net.Carry(lose(tokyo))
	pending := beginRotation(t, a, key)
	if s := a.Holds(ctx, key).Key.MultiRegion.State; s.Sequence != sequence+1 {
		t.Errorf("the state's number went from %d to %d", sequence, s.Sequence)
	}
	for range 4 {
		w.Advance(31 * time.Second)
		tick(t, a, b, c)
	}
	// Ireland has the material and opens what is encrypted with it; nobody encrypts with it.
	if h := b.Holds(ctx, key); len(h.Materials) != 2 || h.Key.Current != old || pendingOf(t, b, key) != pending {
		t.Errorf("%s holds %d materials, encrypts with %s, pending is %s", ireland, len(h.Materials), h.Key.Current, pendingOf(t, b, key))
	}
	if h := c.Holds(ctx, key); len(h.Materials) != 1 || pendingOf(t, c, key) != "" {
		t.Errorf("%s has heard of it", tokyo)
	}
	if currentOf(t, a, key) != old || pendingOf(t, a, key) != pending {
		t.Errorf("the primary encrypts with %s", currentOf(t, a, key))
	}
	wantPending(t, a, key, pending, tokyo)
	l.encrypt()
	l.check()
	started, err := a.Do(ctx, "GetKeyRotationStatus", &regions.KeyInput{KeyID: key})
	if s, is := started.(*regions.GetKeyRotationStatusOutput); err != nil || !is || s.OnDemandRotationStartDate.IsZero() {
		t.Errorf("the status is %+v, %v", started, err)
	}
	wantCode(t, rotate(t, a, key), regions.CodeConflict)
	if n := len(a.Events(ctx, "RotateKey")); n != 0 {
		t.Errorf("%d events of a rotation that is not complete", n)
	}
	if n := len(a.Events(ctx, "BeginKeyRotation")); n != 1 {
		t.Errorf("%d events of its beginning", n)
	}
	w.Net.Carry(nil)
	l.settled(w, key, pending)
	done := a.Events(ctx, "RotateKey")
	if len(done) != 1 || done[0].ErrorCode != "" {
		t.Fatalf("events %+v", done)
	}
	for name, want := range map[string]string{"previousKeyMaterialId": old, "currentKeyMaterialId": pending, "rotationType": "ON_DEMAND"} {
		if got, _ := done[0].ServiceEventDetails.Text(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, r := range []*simtest.Region{a, b, c} {
		list := rotations(t, r, key)
		if len(list) != 2 || list[0].KeyMaterialState != "NON_CURRENT" || list[1].KeyMaterialState != "CURRENT" ||
			list[1].RotationDate.IsZero() || list[1] != rotations(t, a, key)[1] {
			t.Errorf("%s lists %+v", r.Name, list)
		}
	}
}

// lose loses all that is sent to these Regions, and what they send.
func lose(names ...string) simtest.Carrier {
	return func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if slices.Contains(names, m.To) || slices.Contains(names, m.From) {
			return nil, simtest.ErrLost
		}
		return deliver(m.Data)
	}
}

// wantPending fails the test unless the primary shows a rotation of this material that waits for these Regions.
func wantPending(t *testing.T, r *simtest.Region, key, material string, waits ...string) {
	t.Helper()
	list, err := r.Region.PendingRotations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if p.KeyID == key {
			if p.Material != material || !slices.Equal(p.WaitsFor, waits) {
				t.Errorf("pending: %+v, want %s waiting for %v", p, material, waits)
			}
			return
		}
	}
	t.Errorf("no pending rotation of %s", key)
}

// A rotation that a replica holds back is told of once, in the log and the audit log, whatever happens to the process; the
// key goes on with its old material, and nothing is lost when the replica comes back.
func TestRotationHeldBack(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland)
	replicate(t, a, key, tokyo)
	if _, err := a.Do(ctx, "EnableKeyRotation", &regions.EnableKeyRotationInput{KeyID: key}); err != nil {
		t.Fatal(err)
	}
	w.Settle(ctx)
	l := newBlobs(t, w, key, ohio, ireland, tokyo)
	old := currentOf(t, a, key)
	w.Net.Carry(lose(ireland, tokyo))
	w.Advance(365 * 24 * time.Hour)
	tick(t, a, b, c)
	pending := pendingOf(t, a, key)
	for day := range 5 {
		w.Advance(24 * time.Hour)
		tick(t, a, b, c)
		if day == 2 {
			a.Restart(t)
		}
		l.encrypt()
	}
	wantPending(t, a, key, pending, tokyo, ireland)
	held := a.Events(ctx, "KeyRotationHeldBack")
	if len(held) != 1 {
		t.Fatalf("%d events of a rotation that is held back", len(held))
	}
	if waits := fmt.Sprintf("%s", held[0].ServiceEventDetails); !strings.Contains(waits, tokyo) || !strings.Contains(waits, ireland) {
		t.Errorf("the event names %s", waits)
	}
	if n := strings.Count(string(a.Logs()), "a rotation is held back"); n != 1 {
		t.Errorf("%d lines of the log", n)
	}
	// One comes back: not enough.
	w.Net.Carry(lose(tokyo))
	for range 40 {
		w.Advance(31 * time.Second)
		tick(t, a, b, c)
	}
	wantPending(t, a, key, pending, tokyo)
	if currentOf(t, a, key) != old || currentOf(t, b, key) != old {
		t.Error("a member encrypts with the pending material")
	}
	l.encrypt()
	l.check()
	w.Net.Carry(nil)
	l.settled(w, key, pending)
	if n := len(a.Events(ctx, "KeyRotationHeldBack")); n != 1 {
		t.Errorf("%d events of a rotation that was held back", n)
	}
	// The next date is a period after the one that was held back, or after its completion.
	if s := a.Holds(ctx, key).Key.MultiRegion.State.Rotation; s.Next <= w.Now().Add(300*24*time.Hour).UnixMilli() {
		t.Errorf("the next rotation is at %s", time.UnixMilli(s.Next))
	}
	// The next one is told of again.
	w.Net.Carry(lose(tokyo))
	pending = beginRotation(t, a, key)
	w.Advance(time.Hour)
	tick(t, a, b, c)
	if n := len(a.Events(ctx, "KeyRotationHeldBack")); n != 2 {
		t.Errorf("%d events of two rotations that were held back", n)
	}
	w.Net.Carry(nil)
	l.settled(w, key, pending)
}

// While the primary is disabled, or waits for its deletion, a pending rotation is not completed; it is when the key is
// enabled again.
func TestRotationOfDisabledKey(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland)
	w.Settle(ctx)
	l := newBlobs(t, w, key, ohio, ireland)
	old := currentOf(t, a, key)
	pending := beginRotation(t, a, key)
	do := func(op string) {
		t.Helper()
		if _, err := a.Do(ctx, op, &regions.KeyInput{KeyID: key}); err != nil {
			t.Fatal(err)
		}
	}
	do("DisableKey")
	for range 4 {
		w.Advance(31 * time.Second)
		tick(t, a, b)
	}
	if h := b.Holds(ctx, key); len(h.Materials) != 2 { // that goes on
		t.Errorf("the replica holds %d materials", len(h.Materials))
	}
	if currentOf(t, a, key) != old || pendingOf(t, a, key) != pending {
		t.Error("a disabled key was rotated")
	}
	if err := a.ScheduleDeletion(ctx, key); err != nil {
		t.Fatal(err)
	}
	w.Advance(8 * 24 * time.Hour)
	tick(t, a, b)
	do("CancelKeyDeletion")
	tick(t, a, b)
	if currentOf(t, a, key) != old {
		t.Error("a disabled key was rotated")
	}
	do("EnableKey")
	l.settled(w, key, pending)
}

// Who lets new material encrypt before all members hold it is found by the invariant that what a member has encrypted
// every member opens: what the tests of the barrier rest on would see a broken one.
func TestBarrierIsNeeded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland)
	replicate(t, a, key, tokyo)
	w.Settle(ctx)
	l := newBlobs(t, w, key, ohio, ireland, tokyo)
	w.Net.Carry(lose(tokyo))
	pending := beginRotation(t, a, key)
	// The same change that the primary makes, without its condition.
	err := a.Region.Update(ctx, func(tx regions.Tx) error {
		_, err := a.Region.ChangeShared(ctx, tx, simtest.Account, key, func(k *regions.Key, s *keyset.State) error {
			for i := range s.Materials {
				s.Materials[i].Status = keyset.NonCurrent
			}
			s.Materials[len(s.Materials)-1].Status = keyset.Current
			k.Current = pending
			return nil
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		w.Advance(31 * time.Second)
		tick(t, a, b, c)
	}
	l.encrypt()
	if bad := l.violations(); !slices.Contains(bad, ohio+" to "+tokyo) {
		t.Errorf("a broken barrier is not found: %v", bad)
	}
	w.Net.Carry(nil)
	w.Settle(ctx) // and it is mended, as what is missing is supplied
	l.check()
}
