package replication_test

import (
	"testing"
	"time"

	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// A replica that is deleted while a rotation is pending is waited for until its own signed word has come, and not longer.
func TestRotationReplicaDeleted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland)
	replicate(t, a, key, tokyo)
	w.Settle(ctx)
	l := newBlobs(t, w, key, ohio, ireland)
	w.Net.Carry(lose(tokyo))
	pending := beginRotation(t, a, key)
	if err := c.ScheduleDeletion(ctx, key); err != nil {
		t.Fatal(err)
	}
	w.Advance(8 * 24 * time.Hour)
	if err := c.Region.DeleteDue(ctx); err != nil || len(c.Graves(ctx, key)) == 0 {
		t.Fatalf("the replica was not deleted: %v", err)
	}
	for range 4 {
		w.Advance(31 * time.Second)
		tick(t, a, b, c)
	}
	wantPending(t, a, key, pending, tokyo) // which is gone, and has not been heard
	w.Net.Carry(nil)
	l.settled(w, key, pending)
	if n := len(a.Holds(ctx, key).Key.MultiRegion.State.Members); n != 2 {
		t.Errorf("%d members", n)
	}
}

// A replica that is made while a rotation is pending gets the pending material as such; the rotation is complete when both
// hold it.
func TestRotationReplicaAdded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland)
	w.Settle(ctx)
	l := newBlobs(t, w, key, ohio, ireland, tokyo)
	old := currentOf(t, a, key)
	w.Net.Carry(lose(ireland))
	pending := beginRotation(t, a, key)
	replicate(t, a, key, tokyo)
	if h := c.Holds(ctx, key); len(h.Materials) != 2 || h.Key.Current != old || pendingOf(t, c, key) != pending {
		t.Errorf("the new replica holds %d materials and encrypts with %s", len(h.Materials), h.Key.Current)
	}
	for range 4 {
		w.Advance(31 * time.Second)
		tick(t, a, b, c)
	}
	wantPending(t, a, key, pending, ireland)
	l.encrypt()
	l.check()
	w.Net.Carry(nil)
	l.settled(w, key, pending)
}

// A replica that was deleted and made again has to sign anew: what its earlier incarnation signed does not count.
func TestRotationReplicaMadeAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland)
	replicate(t, a, key, tokyo)
	w.Settle(ctx)
	l := newBlobs(t, w, key, ohio, ireland, tokyo)
	w.Net.Carry(lose(ireland))
	pending := beginRotation(t, a, key)
	for range 4 {
		w.Advance(31 * time.Second)
		tick(t, a, b, c)
	}
	wantPending(t, a, key, pending, ireland) // Tokyo has signed
	if err := c.ScheduleDeletion(ctx, key); err != nil {
		t.Fatal(err)
	}
	w.Advance(8 * 24 * time.Hour)
	for range 4 {
		if err := c.Region.DeleteDue(ctx); err != nil {
			t.Error(err)
		}
		w.Advance(31 * time.Second)
		tick(t, a, b, c)
	}
	// Its new incarnation is a member and has nothing yet.
	w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if m.Type == wire.TypeTransfer {
			return nil, simtest.ErrLost
		}
		return lose(ireland)(m, deliver)
	})
	replicate(t, a, key, tokyo)
	wantPending(t, a, key, pending, tokyo, ireland)
	// Old receipts of Tokyo's come again, and count for nothing.
	for _, m := range w.Net.Log() {
		if m.Type == wire.TypeReceipt && m.From == tokyo {
			_, _ = w.Net.Send(ctx, tokyo, ohio, m.Data) // it is no question
		}
	}
	w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if m.Type == wire.TypeTransfer {
			return nil, simtest.ErrLost
		}
		return deliver(m.Data)
	})
	for range 4 {
		w.Advance(31 * time.Second)
		tick(t, a, b, c)
	}
	if p := pendingOf(t, a, key); p != pending {
		t.Errorf("pending is %q", p)
	}
	w.Net.Carry(nil)
	l.settled(w, key, pending)
}
