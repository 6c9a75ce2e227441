package replication_test

import (
	"testing"

	"antipode/regions"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// A replica whose material comes between ScheduleKeyDeletion's look at it and its commit: when that has answered, no
// copy of the material is on the token.
func TestScheduleDuringInstall(t *testing.T) {
	t.Parallel()
	w, a, b := twoRegions(t)
	key := a.CreateKey(t.Context())
	w.Net.Carry(simtest.LoseRequests(wire.TypeTransfer))
	if err := a.Replicate(t.Context(), key, ireland); err != nil {
		t.Fatal(err)
	}
	w.Net.Carry(nil)
	m3 := held(t, a, key).M3
	base := b.Region.Ring().WorkingCopies()
	first := true
	b.StoreFault = func(op string) (bool, error) {
		if op == "update" && first { // the commit of ScheduleKeyDeletion
			first = false
			send(t, w, m3)
		}
		return false, nil
	}
	if _, err := b.Do(t.Context(), "ScheduleKeyDeletion", &regions.ScheduleKeyDeletionInput{KeyID: key}); err != nil {
		t.Fatal(err)
	}
	h := b.Holds(t.Context(), key)
	if h.Key.State != regions.StatePendingDeletion || len(h.Materials) != 1 {
		t.Errorf("the replica is %s with %d materials", h.Key.State, len(h.Materials))
	}
	if n := b.Region.Ring().WorkingCopies(); n != base {
		t.Errorf("%d working copies, %d before", n, base)
	}
}
