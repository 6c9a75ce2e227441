package replication_test

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"antipode/regions"
	"antipode/replication"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// once applies a carrier to the first request of a type only.
func once(typ string, c simtest.Carrier) simtest.Carrier {
	var done atomic.Bool
	return func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if m.Type == typ && done.CompareAndSwap(false, true) {
			return c(m, deliver)
		}
		return deliver(m.Data)
	}
}

// A message that is lost, or whose answer is lost, or that arrives twice, changes nothing but how long it takes: before
// the membership is committed the caller is told to try again, afterwards the exchange goes on by itself.
func TestLosses(t *testing.T) {
	t.Parallel()
	w, a, b := twoRegions(t)
	for _, c := range []struct {
		name    string
		carrier simtest.Carrier
		refused bool // DependencyTimeoutException, nothing made
	}{
		{"m1 lost", simtest.LoseRequests(wire.TypeOffer), true},
		{"m2 lost", simtest.LoseAnswers(wire.TypeOffer), true},
		{"m3 lost", simtest.LoseRequests(wire.TypeTransfer), false},
		{"m4 lost", simtest.LoseAnswers(wire.TypeTransfer), false},
		{"m1 twice", simtest.Twice(wire.TypeOffer), false},
		{"m3 twice", simtest.Twice(wire.TypeTransfer), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := t.Context()
			key := a.CreateKey(ctx)
			w.Net.Carry(once(typeIn(c.name), c.carrier))
			defer w.Net.Carry(nil)
			err := a.Replicate(ctx, key, ireland)
			if c.refused {
				wantCode(t, err, regions.CodeDependencyTimeout)
				w.Settle(ctx)
				checkAbsent(t, a, b, key)
				err = a.Replicate(ctx, key, ireland) // it may be repeated
			}
			if err != nil {
				t.Fatal(err)
			}
			w.Settle(ctx)
			checkReplicated(t, a, b, key)
			checkClean(t, a, b)
			blob, err := a.Encrypt(ctx, key, "x")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := b.Decrypt(ctx, blob); err != nil || got != "x" {
				t.Errorf("decrypts to %q, %v", got, err)
			}
			a.Restart(t) // and derived keys are gone
			b.Restart(t)
		})
	}
}

func typeIn(name string) string {
	if name[:2] == "m1" || name[:2] == "m2" {
		return wire.TypeOffer
	}
	return wire.TypeTransfer
}

// Once an exchange is finished its m1 and m3 are answered with the stored bytes, and the token is asked for nothing but
// the MACs that authenticate the records.
func TestRepeatInFinishedExchange(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	for _, r := range []func(){func() {}, func() { b.Restart(t) }} {
		r()
		for _, pair := range [][2]string{{wire.TypeOffer, wire.TypeAccept}, {wire.TypeTransfer, wire.TypeReceipt}} {
			request, want := w.Net.Last(pair[0]), w.Net.Last(pair[1])
			objects := b.Extra()
			b.Tokens.Forget()
			got, err := w.Net.Send(ctx, ohio, ireland, request)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s again: another answer, %v", pair[0], err)
			}
			for _, call := range b.Tokens.Calls() {
				if call != "MAC" {
					t.Errorf("%s again: the token was asked to %s", pair[0], call)
				}
			}
			if now := b.Extra(); now != objects {
				t.Errorf("%s again: %d session objects, were %d", pair[0], now, objects)
			}
		}
	}
	checkReplicated(t, a, b, key)
}

// A message that comes late, when its exchange has ended otherwise, does nothing.
func TestLateMessages(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	w.Net.Carry(once(wire.TypeOffer, simtest.LoseAnswers(wire.TypeOffer)))
	wantCode(t, a.Replicate(ctx, key, ireland), regions.CodeDependencyTimeout)
	first := w.Net.Last(wire.TypeOffer)
	w.Advance(2 * time.Minute)
	if err := b.Node.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	checkAbsent(t, a, b, key)
	w.Net.Carry(once(wire.TypeTransfer, simtest.LoseRequests(wire.TypeTransfer)))
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	// The first attempt's m1 between the second one's m2 and m3 must not take its place.
	wantRefusal(t, send(t, w, first), wire.CodeExchangeLost)
	lost := held(t, a, key).M3
	w.Advance(2 * time.Minute) // the second attempt's RAKB dies, a third exchange begins
	w.Settle(ctx)
	checkReplicated(t, a, b, key)
	wantRefusal(t, send(t, w, lost), wire.CodeExchangeLost)
	checkReplicated(t, a, b, key)
	w.Both(ctx, key, ohio, ireland)
}

// A RAKB that was not used in time, or died with its process, ends its exchange. The source begins another one under
// the same intent, and the destination is a member all the time, now of the new incarnation.
func TestExchangeLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*testing.T, *simtest.World, *simtest.Region){
		"expired":   func(_ *testing.T, w *simtest.World, _ *simtest.Region) { w.Advance(61 * time.Second) },
		"restarted": func(t *testing.T, _ *simtest.World, b *simtest.Region) { b.Restart(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			w, a, b := twoRegions(t)
			key := a.CreateKey(ctx)
			w.Net.Carry(once(wire.TypeTransfer, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
				first := member(t, a, key)
				lose(t, w, b)
				answer, err := deliver(m.Data)
				if now := member(t, a, key); now != first {
					t.Errorf("the member is %+v between the exchanges, was %+v", now, first)
				}
				return answer, err
			}))
			if err := a.Replicate(ctx, key, ireland); err != nil {
				t.Fatal(err)
			}
			checkReplicated(t, a, b, key)
			checkClean(t, a, b)
			w.Both(ctx, key, ohio, ireland)
			h := a.Holds(ctx, key)
			if len(h.Source) != 2 {
				t.Fatalf("%d exchanges", len(h.Source))
			}
			for _, e := range h.Source {
				now := member(t, a, key)
				if (e.Step == replication.StepLost) != (e.ID != now.Incarnation) {
					t.Errorf("exchange %x is %s, the member's incarnation is %x", e.ID, e.Step, now.Incarnation)
				}
			}
		})
	}
}

// An exchange that is lost again before its m2 has arrived is still the same intent.
func TestLostBeforeAccepted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	var offers int
	w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if m.Type == wire.TypeTransfer && offers == 1 {
			b.Restart(t)
		}
		answer, err := deliver(m.Data)
		if m.Type == wire.TypeOffer {
			if offers++; offers == 2 {
				b.Restart(t) // m2 of the second exchange is lost, and so is its RAKB
				return nil, errors.Join(simtest.ErrLost, err)
			}
		}
		return answer, err
	})
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	w.Settle(ctx)
	checkReplicated(t, a, b, key)
	w.Both(ctx, key, ohio, ireland)
}

// The source's process ends at each point at which a message is on its way.
func TestSourceRestarts(t *testing.T) {
	t.Parallel()
	w, a, b := twoRegions(t)
	for _, c := range []struct {
		name, typ string
		after     bool // the message arrived
		done      bool // the replica is made
	}{
		{"before m1", wire.TypeOffer, false, false},
		{"before m2", wire.TypeOffer, true, false},
		{"before m3", wire.TypeTransfer, false, true},
		{"before m4", wire.TypeTransfer, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := t.Context()
			key := a.CreateKey(ctx)
			w.Net.Carry(once(c.typ, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
				if c.after {
					if _, err := deliver(m.Data); err != nil {
						return nil, err
					}
				}
				// What the old process does from here on reaches neither its store nor its token.
				return nil, stop(a)
			}))
			defer w.Net.Carry(nil)
			err := a.Replicate(ctx, key, ireland)
			wantCode(t, err, regions.CodeInternal)
			a.Restart(t)
			w.Settle(ctx)
			if c.done {
				checkReplicated(t, a, b, key)
				w.Both(ctx, key, ohio, ireland)
				return
			}
			checkAbsent(t, a, b, key)
			if err := a.Replicate(ctx, key, ireland); err != nil {
				t.Error(err)
			}
			checkReplicated(t, a, b, key)
		})
	}
}

// stop makes everything fail that the Region asks of store and token, until it is restarted.
func stop(r *simtest.Region) error {
	dead := errors.New("the process has ended")
	r.StoreFault = func(string) (bool, error) { return false, dead }
	r.Tokens.Fail(func(string) (bool, error) { return false, dead })
	return dead
}

// What becomes of the key between the steps decides until the membership is committed, and no longer afterwards.
func TestKeyStateBetweenSteps(t *testing.T) {
	t.Parallel()
	w, a, b := twoRegions(t)
	disable := func(key string) (string, any) { return "DisableKey", &regions.KeyInput{KeyID: key} }
	schedule := func(key string) (string, any) {
		return "ScheduleKeyDeletion", &regions.ScheduleKeyDeletionInput{KeyID: key}
	}
	for _, c := range []struct {
		name, typ string
		op        func(string) (string, any)
		code      string // "" if the exchange goes on
		state     regions.KeyState
	}{
		{"disabled before membership", wire.TypeOffer, disable, regions.CodeDisabled, regions.StateDisabled},
		{"pending deletion before membership", wire.TypeOffer, schedule, regions.CodeInvalidState, regions.StatePendingDeletion},
		{"disabled after membership", wire.TypeTransfer, disable, "", regions.StateDisabled},
		{"pending deletion after membership", wire.TypeTransfer, schedule, "", regions.StatePendingReplicaDeletion},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := t.Context()
			key := a.CreateKey(ctx)
			w.Net.Carry(once(c.typ, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
				op, in := c.op(key)
				if _, err := a.Do(ctx, op, in); err != nil {
					t.Error(err)
				}
				return deliver(m.Data)
			}))
			defer w.Net.Carry(nil)
			err := a.Replicate(ctx, key, ireland)
			if c.code != "" {
				wantCode(t, err, c.code)
				w.Settle(ctx)
				w.Advance(2 * time.Minute)
				w.Settle(ctx)
				checkAbsent(t, a, b, key)
			} else {
				if err != nil {
					t.Error(err)
				}
				checkReplicated(t, a, b, key)
				if k := b.Holds(ctx, key).Key; k.State != regions.StateEnabled {
					t.Errorf("the replica is %s", k.State)
				}
			}
			if k := a.Holds(ctx, key).Key; k.State != c.state {
				t.Errorf("the primary is %s, want %s", k.State, c.state)
			}
		})
	}
}

// Of two ReplicateKey at once one makes the replica, the other is told that it exists.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	var second error
	w.Net.Carry(once(wire.TypeOffer, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		second = a.Replicate(ctx, key, ireland)
		return deliver(m.Data)
	}))
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Error(err)
	}
	wantCode(t, second, regions.CodeAlreadyExists)
	checkReplicated(t, a, b, key)
}
