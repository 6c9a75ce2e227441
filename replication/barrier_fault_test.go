package replication_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"antipode/regions"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// Each call to a token or store in a rotation fails once, before and after it took effect, in the primary's Region and in
// a replica's, and then both processes end. Whatever happens, both encrypt with the same material in the end, all that was
// ever encrypted opens in both, a rotation that was answered is there, and the key can be rotated again.
func TestRotationFaults(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"source", "destination"} {
		for _, on := range []string{"token", "store"} {
			t.Run(side+" "+on, func(t *testing.T) {
				t.Parallel()
				ctx := t.Context()
				w, a, b := twoRegions(t)
				p := place{side, on}
				round := func(f *injector) (n int) {
					key := a.CreateKey(ctx)
					replicate(t, a, key, ireland)
					w.Settle(ctx)
					l := newBlobs(t, w, key, ohio, ireland)
					l.encrypt()
					p.arm(a, b, f)
					answered := rotate(t, a, key)
					for range 4 {
						w.Advance(31 * time.Second)
						tick(t, a, b)
					}
					n = len(f.seen)
					a.Restart(t)
					b.Restart(t)
					w.Settle(ctx)
					list := rotations(t, a, key)
					if len(list) > 2 || answered == nil && len(list) != 2 {
						t.Errorf("%s, apply %t: answered %v, materials %+v", f.op, f.apply, answered, list)
					}
					l.settled(w, key, list[len(list)-1].KeyMaterialID)
					return n
				}
				total := round(&injector{n: -1})
				stride := max(1, total/6)
				if os.Getenv(everyFault) != "" {
					stride = 1
				}
				tried := 0
				for n := 1; n <= total; n += stride {
					for _, apply := range []bool{false, true} {
						f := &injector{n: n, apply: apply}
						round(f)
						tried++
					}
				}
				t.Logf("%d calls in a rotation, %d faults tried", total, tried)
				if total == 0 {
					t.Error("no faults")
				}
			})
		}
	}
}

// The primary's Region is restored to a time before a rotation that it has begun: nobody has heard of it; a replica has
// heard of it and does not hold the material; it holds it; all encrypt with it. Nothing that was encrypted is lost, and the
// key can be rotated.
func TestRotationPrimaryRestored(t *testing.T) {
	t.Parallel()
	for name, carrier := range map[string]simtest.Carrier{
		"nobody has heard":         lose(ireland, tokyo),
		"a replica has heard":      loseAll(simtest.LoseRequests(wire.TypeOffer), lose(tokyo)),
		"a replica holds it":       lose(tokyo),
		"the replicas hold it":     simtest.LoseAnswers(wire.TypeTransfer),
		"everybody encrypts by it": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			w, a, b, c := threeRegions(t)
			key := a.CreateKey(ctx)
			replicate(t, a, key, ireland)
			replicate(t, a, key, tokyo)
			w.Settle(ctx)
			l := newBlobs(t, w, key, ohio, ireland, tokyo)
			l.encrypt()
			backup := a.Backup(t)
			w.Net.Carry(carrier)
			first := currentOf(t, a, key)
			pending := beginRotation(t, a, key)
			for range 4 {
				w.Advance(31 * time.Second)
				tick(t, a, b, c)
				l.encrypt()
				l.check()
			}
			w.Net.Carry(nil)
			a.Restore(t, backup)
			w.Settle(ctx)
			l.check()
			want := pending
			if name == "nobody has heard" || name == "a replica has heard" {
				want = first // the material was in the store that is gone, and nowhere else
			}
			l.settled(w, key, want)
			if err := rotate(t, a, key); err != nil {
				t.Fatal(err)
			}
			w.Settle(ctx)
			next := currentOf(t, a, key)
			if next == want || next == pending {
				t.Errorf("it was not rotated again")
			}
			l.settled(w, key, next)
			for _, m := range a.Holds(ctx, key).Key.MultiRegion.State.Materials {
				if lost := m.Status == "Abandoned"; lost != (m.ID == pending && name == "a replica has heard") {
					t.Errorf("material %s is %s", m.ID, m.Status)
				}
			}
			if rotations(t, a, key)[0].KeyMaterialID != first {
				t.Error("the first material is not listed first")
			}
		})
	}
}

// loseAll loses what any of the carriers loses.
func loseAll(carriers ...simtest.Carrier) simtest.Carrier {
	return func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		for _, c := range carriers {
			next := deliver
			deliver = func(data []byte) ([]byte, error) {
				m.Data = data
				return c(m, next)
			}
		}
		return deliver(m.Data)
	}
}

// A replica's Region that is restored to a time before it signed that it holds the pending material fetches it: the
// rotation that its word has completed is complete, and it opens everything again.
func TestRotationReplicaRestored(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland)
	replicate(t, a, key, tokyo)
	w.Settle(ctx)
	l := newBlobs(t, w, key, ohio, ireland, tokyo)
	backup := b.Backup(t)
	w.Net.Carry(lose(tokyo))
	pending := beginRotation(t, a, key)
	for range 4 {
		w.Advance(31 * time.Second)
		tick(t, a, b, c)
	}
	wantPending(t, a, key, pending, tokyo)
	w.Net.Carry(lose(ireland))
	b.Restore(t, backup)
	for range 4 {
		w.Advance(31 * time.Second)
		tick(t, a, c)
	}
	if currentOf(t, a, key) != pending || currentOf(t, c, key) != pending {
		t.Errorf("the rotation is not complete")
	}
	l.members = []string{ohio, tokyo} // Ireland recovers
	l.encrypt()
	l.check()
	l.members = []string{ohio, ireland, tokyo}
	w.Net.Carry(nil)
	l.settled(w, key, pending)
}

// Keys are rotated, Regions end and are cut off, messages are lost, repeated and come late, at random; after each step all
// that any member has encrypted opens in every member, and when all is quiet all encrypt with the same material.
func TestRotationSchedules(t *testing.T) {
	t.Parallel()
	first := number(t, seed, uint64(time.Now().UnixNano()))
	count := number(t, schedules, 3)
	for i := range count {
		t.Run(fmt.Sprintf("%s=%d", seed, first+i), func(t *testing.T) {
			t.Parallel()
			t.Logf("%s=%d %s=1", seed, first+i, schedules)
			rotateRandomly(t, rand.New(rand.NewPCG(first+i, 1)))
		})
	}
}

func rotateRandomly(t *testing.T, rng *rand.Rand) {
	t.Helper()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	all := []*simtest.Region{a, b, c}
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland)
	replicate(t, a, key, tokyo)
	w.Settle(ctx)
	l := newBlobs(t, w, key, ohio, ireland, tokyo)
	l.encrypt()
	var cut []string
	var mu sync.Mutex
	pick := func(n int) int { // messages to two Regions travel at once
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(n)
	}
	w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		switch n := pick(10); {
		case slices.Contains(cut, m.From) || slices.Contains(cut, m.To) || n == 0:
			return nil, simtest.ErrLost
		case n == 1:
			_, err := deliver(m.Data)
			return nil, errors.Join(simtest.ErrLost, err)
		case n == 2:
			if _, err := deliver(m.Data); err != nil {
				return nil, err
			}
		case n == 3: // an old one comes first
			if old := w.Net.Log()[pick(len(w.Net.Log()))]; old.To == m.To && !old.Answer {
				_, _ = w.Net.Send(ctx, old.From, old.To, old.Data) // whatever it answers
			}
		}
		return deliver(m.Data)
	})
	rotated := 0
	for range 60 {
		switch rng.IntN(8) {
		case 0, 1:
			err := rotate(t, a, key)
			if err == nil {
				rotated++
			} else if !errors.Is(err, &regions.Error{Code: regions.CodeConflict}) {
				t.Fatal(err)
			}
		case 2:
			all[rng.IntN(len(all))].Restart(t)
		case 3:
			cut = nil
			if rng.IntN(2) == 0 {
				cut = []string{all[1+rng.IntN(2)].Name}
			}
		case 4:
			w.Advance(time.Duration(rng.IntN(3600)) * time.Second)
		default:
			w.Advance(time.Duration(rng.IntN(40)) * time.Second)
			r := all[rng.IntN(len(all))]
			tick(t, r)
		}
		if rng.IntN(4) == 0 {
			l.encrypt()
		}
		l.check()
		if t.Failed() {
			return
		}
	}
	w.Net.Carry(nil)
	w.Settle(ctx)
	list := rotations(t, a, key)
	if len(list) != rotated+1 {
		t.Errorf("%d rotations and %d materials", rotated, len(list))
	}
	l.settled(w, key, list[len(list)-1].KeyMaterialID)
	t.Logf("%d rotations, %d ciphertexts", rotated, len(l.made))
}
