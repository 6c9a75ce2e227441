package replication_test

import (
	"testing"
	"time"

	"antipode/regions/keyset"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// The exchange that takes the place of a lost one has ended when the source is restored to its beginning.
func TestSourceRestoredInSecondExchange(t *testing.T) {
	t.Parallel()
	for name, replicatedAgain := range map[string]bool{"it made the replica": false, "the replica of today is another one": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			w, a, b := twoRegions(t)
			key := a.CreateKey(ctx)
			offers, backup := 0, ""
			w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
				switch m.Type {
				case wire.TypeTransfer:
					if offers == 1 {
						b.Restart(t) // it loses RAKB
					}
				case wire.TypeOffer:
					if offers++; offers == 2 {
						backup = a.Backup(t)
					}
				}
				return deliver(m.Data)
			})
			replicate(t, a, key, ireland)
			if backup == "" {
				t.Fatal("the exchange was not lost")
			}
			w.Net.Carry(nil)
			if replicatedAgain {
				if err := b.ScheduleDeletion(ctx, key); err != nil {
					t.Fatal(err)
				}
				w.Advance(8 * 24 * time.Hour)
				w.Settle(ctx)
				replicate(t, a, key, ireland)
			}
			a.Restore(t, backup)
			w.Settle(ctx)
			if m := member(t, a, key); m.Status != keyset.Active || m.Incarnation != b.Holds(ctx, key).Key.MultiRegion.Incarnation {
				t.Errorf("%s is %+v", ireland, m)
			}
			w.Both(ctx, key, ohio, ireland)
		})
	}
}
