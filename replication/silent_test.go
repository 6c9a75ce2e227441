package replication_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// One Region that never answers keeps no other waiting.
func TestSilentPeerHoldsUpNobody(t *testing.T) {
	t.Parallel()
	const tokyo = "ap-northeast-1"
	w := simtest.New(t, ohio, ireland, tokyo)
	a := w.Region(ohio)
	var keys []string
	for range 17 {
		keys = append(keys, a.CreateKey(t.Context()))
	}
	slices.Sort(keys)
	// all accepted, none finished
	w.Net.Carry(simtest.LoseRequests(wire.TypeTransfer))
	for _, k := range keys[:16] {
		if err := a.Replicate(t.Context(), k, ireland); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Replicate(t.Context(), keys[16], tokyo); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int32
	w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if m.To == ireland { // silent: peer.Client gives up after 100 s
			w.Advance(100 * time.Second)
			return nil, simtest.ErrLost
		}
		calls.Add(1)
		return deliver(m.Data)
	})
	for i := range 20 {
		w.Advance(time.Minute)
		if err := a.Node.Tick(t.Context()); err != nil {
			t.Error(err)
		}
		if calls.Load() > 0 {
			t.Logf("tokyo served in tick %d", i)
			return
		}
	}
	t.Error("20 rounds: the Region that answers was never called")
}
