package replication_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"antipode/replication/simtest"
)

// schedules is how many random schedules TestSchedules tries, and seed where they begin, if the environment says so.
const (
	schedules = "ANTIPODE_SCHEDULES"
	seed      = "ANTIPODE_SEED"
)

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// Messages are lost, repeated and replayed at random, answers get lost, RAKBs expire and processes end, until nothing
// happens any more. Then the key is replicated wholly or not at all, as its caller was told.
func TestSchedules(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	first := number(t, seed, uint64(time.Now().UnixNano()))
	w, a, b := twoRegions(t)
	replicated := 0
	count := number(t, schedules, 20)
	for i := range count {
		t.Logf("%s=%d", seed, first+i)
		rng := rand.New(rand.NewPCG(first+i, 0))
		key := a.CreateKey(ctx)
		w.Net.Forget() // so that the seed alone makes the schedule
		w.Net.Carry(randomly(t, w, a, b, rng))
		err := a.Replicate(ctx, key, ireland)
		for range 6 {
			w.Advance(time.Duration(rng.IntN(40)) * time.Second)
			// Errors are what it is about; that nothing is left of them is checked in the end.
			_ = errors.Join(a.Node.Tick(ctx), b.Node.Tick(ctx))
			if rng.IntN(4) == 0 {
				b.Restart(t)
			}
			if rng.IntN(4) == 0 {
				a.Restart(t)
			}
		}
		w.Net.Carry(nil)
		a.Restart(t)
		w.Settle(ctx)
		w.Advance(time.Minute)
		w.Settle(ctx)
		if checkOutcome(t, a, b, key, err) {
			replicated++
			w.Both(ctx, key, ohio, ireland)
		}
		if t.Failed() {
			t.Fatalf("the schedule of %s=%d; answered %v", seed, first+i, err)
		}
	}
	t.Logf("%d schedules, %d replicated", count, replicated)
}

// randomly carries each message as rng says.
func randomly(t *testing.T, w *simtest.World, a, b *simtest.Region, rng *rand.Rand) simtest.Carrier {
	ctx := t.Context()
	return func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if log := w.Net.Log(); len(log) > 0 && rng.IntN(3) == 0 { // an old one comes first
			old := log[rng.IntN(len(log))]
			if old.To == b.Name {
				_, _ = w.Net.Send(ctx, old.From, old.To, old.Data) // whatever it answers
			}
		}
		switch rng.IntN(10) {
		case 0:
			return nil, simtest.ErrLost
		case 1:
			_, err := deliver(m.Data)
			return nil, errors.Join(simtest.ErrLost, err)
		case 2:
			if _, err := deliver(m.Data); err != nil {
				return nil, err
			}
		case 3:
			b.Restart(t)
		case 4:
			w.Advance(70 * time.Second)
		case 5:
			return nil, stop(a)
		}
		return deliver(m.Data)
	}
}
