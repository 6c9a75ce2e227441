package replication_test

import (
	"errors"
	"testing"
	"time"

	"antipode/regions"
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

// The source is restored to before ReplicateKey, and the destination has lost its part: the member is Creating, nobody goes
// on, and ReplicateKey again resumes it.
func TestReplicateResumesLostExchange(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := simtest.New(t, ohio, ireland, tokyo)
	a, b := w.Region(ohio), w.Region(ireland)
	key := a.CreateKey(ctx)
	replicate(t, a, key, tokyo)
	backup := a.Backup(t)
	w.Net.Carry(simtest.LoseRequests(wire.TypeTransfer))
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	if err := a.Node.Tick(ctx); err != nil { // tokyo hears of the member
		t.Fatal(err)
	}
	if err := a.Replicate(ctx, key, ireland); !errors.Is(err, &regions.Error{Code: regions.CodeAlreadyExists}) {
		t.Errorf("while it is being replicated: %v", err)
	}
	w.Net.Carry(nil)
	b.Restart(t)
	a.Restore(t, backup)
	w.Settle(ctx)
	before := member(t, a, key)
	if before.Status != keyset.Creating {
		t.Fatalf("%s is %+v", ireland, before)
	}
	replicate(t, a, key, ireland)
	if m := member(t, a, key); m.Status != keyset.Active || m.Incarnation == before.Incarnation {
		t.Errorf("%s is %+v", ireland, m)
	}
	w.Both(ctx, key, ohio, ireland)
	w.Both(ctx, key, tokyo, ireland)
}
