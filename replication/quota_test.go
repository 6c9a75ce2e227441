package replication_test

import (
	"testing"

	"antipode/regions"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// The destination's quota of keys is asked at the dry run, at the offer and at the transfer. A reservation counts, and
// counts no more once it is taken back.
func TestQuota(t *testing.T) {
	t.Parallel()
	for name, typ := range map[string]string{"dry run": simtest.TypeDryOffer, "m1": wire.TypeOffer, "m3": wire.TypeTransfer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			w, a, b := twoRegions(t)
			b.MaxKeys = 2
			b.Restart(t)
			b.CreateKey(ctx)
			key := a.CreateKey(ctx)
			var other *regions.Key
			w.Net.Carry(once(typ, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
				// Another key comes to be, past what CreateKey would allow.
				k := *a.Holds(ctx, key).Key
				k.KeyID, k.MultiRegion = "1234abcd-12ab-34cd-56ef-1234567890ab", nil
				err := b.Region.Update(ctx, func(tx regions.Tx) error { return regions.Put(ctx, tx, b.Region.Ring(), k) })
				if err != nil {
					t.Error(err)
				}
				other = &k
				return deliver(m.Data)
			}))
			wantCode(t, a.Replicate(ctx, key, ireland), regions.CodeLimitExceeded)
			w.Settle(ctx)
			checkAbsent(t, a, b, key)
			checkClean(t, a)
			if got := b.Events(ctx, "RefuseReplication"); len(got) != 1 {
				t.Errorf("%d events RefuseReplication", len(got))
			}
			// One key goes, and the replica has its place.
			err := b.Region.Update(ctx, func(tx regions.Tx) error { return tx.Delete(ctx, other.RecordKey()) })
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Replicate(ctx, key, ireland); err != nil {
				t.Fatal(err)
			}
			checkReplicated(t, a, b, key)
			if _, err := b.Do(ctx, "CreateKey", &regions.CreateKeyInput{}); err == nil {
				t.Error("a key beyond the quota was made: the replica does not count")
			}
		})
	}
}

// A key id that is reserved is a key that counts.
func TestReservationCounts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	b.MaxKeys = 1
	b.Restart(t)
	key, e := begun(t, w, a)
	_, err := b.Do(ctx, "CreateKey", &regions.CreateKeyInput{})
	wantCode(t, err, regions.CodeLimitExceeded)
	wantCode(t, a.Replicate(ctx, a.CreateKey(ctx), ireland), regions.CodeLimitExceeded)
	b.Restart(t) // RAKB is gone, and with it the reservation
	if _, err := b.Do(ctx, "CreateKey", &regions.CreateKeyInput{}); err != nil {
		t.Error(err)
	}
	wantRefusal(t, send(t, w, e.M3), wire.CodeExchangeLost)
	if h := b.Holds(ctx, key); h.Key != nil {
		t.Errorf("%s holds %+v", b.Name, h)
	}
}
