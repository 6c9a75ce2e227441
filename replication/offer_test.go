package replication_test

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"antipode/hsmbackend"
	"antipode/regions"
	"antipode/regions/identity"
	"antipode/regions/roster"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

type refusedOffer struct {
	prepare func(*testing.T, *simtest.World, string)
	code    string
	audited bool // at the destination
}

func refusedOffers() map[string]refusedOffer {
	return map[string]refusedOffer{
		"account not taken": {func(_ *testing.T, w *simtest.World, _ string) {
			w.Limit(ireland, ohio, func(l *roster.Limits) { l.Accounts = []string{"999999999999"} })
		}, regions.CodeAccessDenied, true},
		"account not sent": {func(_ *testing.T, w *simtest.World, _ string) {
			w.Limit(ohio, ireland, func(l *roster.Limits) { l.Accounts = nil })
		}, regions.CodeAccessDenied, false},
		"no rights there": {func(t *testing.T, w *simtest.World, _ string) {
			u, err := identity.NewUser(rand.Reader, simtest.Account, "administrator", 1)
			if err != nil {
				t.Fatal(err)
			}
			w.Region(ireland).AddUser(t, u)
		}, regions.CodeAccessDenied, true},
		"no suite, says the destination": {func(_ *testing.T, w *simtest.World, _ string) {
			w.Limit(ireland, ohio, func(l *roster.Limits) { l.MinSuite = string(wire.SuiteX963) })
		}, regions.CodeUnsupportedOperation, true},
		"no suite, says the source": {func(_ *testing.T, w *simtest.World, _ string) {
			w.Limit(ohio, ireland, func(l *roster.Limits) { l.MinSuite = string(wire.SuiteX963) })
		}, regions.CodeUnsupportedOperation, false},
		"removed at the source": {func(_ *testing.T, w *simtest.World, _ string) { w.Remove(ohio, ireland) }, regions.CodeValidation, false},
		"removed at the destination": {
			func(_ *testing.T, w *simtest.World, _ string) { w.Remove(ireland, ohio) },
			regions.CodeDependencyTimeout, false,
		},
		"exists there": {func(t *testing.T, w *simtest.World, key string) {
			k := *w.Region(ohio).Holds(t.Context(), key).Key
			k.MultiRegion = nil
			b := w.Region(ireland).Region
			if err := b.Update(t.Context(), func(tx regions.Tx) error { return regions.Put(t.Context(), tx, b.Ring(), k) }); err != nil {
				t.Fatal(err)
			}
		}, regions.CodeAlreadyExists, true},
	}
}

// What would be refused is refused by the dry run: nothing is committed in either Region, no token makes a key for it, and
// the destination's audit log tells of it.
func TestRefusedOffer(t *testing.T) {
	t.Parallel()
	for name, c := range refusedOffers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			w, a, b := twoRegions(t)
			key := a.CreateKey(ctx)
			c.prepare(t, w, key)
			before := b.Holds(ctx, key)
			w.Net.Forget()
			a.Tokens.Forget()
			b.Tokens.Forget()
			wantCode(t, a.Replicate(ctx, key, ireland), c.code)
			if got := b.Events(ctx, "RefuseReplication"); c.audited != (len(got) == 1) {
				t.Errorf("%d events RefuseReplication", len(got))
			}
			for _, m := range w.Net.Log() {
				if !m.Answer && m.Type != simtest.TypeDryOffer {
					t.Errorf("%s was sent", m.Type)
				}
			}
			if made := append(a.Tokens.Made(), b.Tokens.Made()...); len(made) != 0 {
				t.Errorf("the tokens made %+v", made)
			}
			if h := a.Holds(ctx, key); len(h.Source) != 0 {
				t.Errorf("%s has the exchanges %+v", a.Name, h.Source)
			}
			if after := b.Holds(ctx, key); (after.Key == nil) != (before.Key == nil) || len(after.Materials) != 0 || len(after.Dest) != 0 {
				t.Errorf("%s holds %+v", b.Name, after)
			}
			if m, ok := a.Holds(ctx, key).Key.MultiRegion.State.Member(ireland); ok {
				t.Errorf("member %+v", m)
			}
			checkClean(t, a, b)
		})
	}
}

// The offer itself is checked like its dry run: what has come between them is refused all the same.
func TestRefusedAfterDryRun(t *testing.T) {
	t.Parallel()
	for name, c := range refusedOffers() {
		if !c.audited {
			continue // the source decides
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			w, a, b := twoRegions(t)
			key := a.CreateKey(ctx)
			w.Net.Carry(once(wire.TypeOffer, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
				c.prepare(t, w, key)
				return deliver(m.Data)
			}))
			wantCode(t, a.Replicate(ctx, key, ireland), c.code)
			if got := b.Events(ctx, "RefuseReplication"); len(got) != 1 {
				t.Errorf("%d events RefuseReplication", len(got))
			}
			w.Settle(ctx)
			if h := b.Holds(ctx, key); len(h.Materials) != 0 || len(h.Dest) != 0 {
				t.Errorf("%s holds %+v", b.Name, h)
			}
			if m, ok := a.Holds(ctx, key).Key.MultiRegion.State.Member(ireland); ok {
				t.Errorf("member %+v", m)
			}
			checkClean(t, a, b)
		})
	}
}

// A dry run whose question or answer is lost, or whose answer is not the destination's, ends with nothing made.
func TestDryRunLost(t *testing.T) {
	t.Parallel()
	w, a, b := twoRegions(t)
	for name, carrier := range map[string]simtest.Carrier{
		"question lost": simtest.LoseRequests(simtest.TypeDryOffer),
		"answer lost":   simtest.LoseAnswers(simtest.TypeDryOffer),
		"answered by nobody that is known": func(m simtest.Message, _ simtest.Deliver) ([]byte, error) {
			return m.Data, nil
		},
		"another incarnation": func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
			got, err := deliver(m.Data)
			return resign(t, b, got, func(m *wire.Accept) { m.Incarnation[0] ^= 1 }), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			key := a.CreateKey(ctx)
			w.Net.Carry(carrier)
			defer w.Net.Carry(nil)
			wantCode(t, a.Replicate(ctx, key, ireland), regions.CodeDependencyTimeout)
			if h := a.Holds(ctx, key); len(h.Source) != 0 {
				t.Errorf("%s has the exchanges %+v", a.Name, h.Source)
			}
			checkAbsent(t, a, b, key)
			w.Net.Carry(nil)
			if err := a.Replicate(ctx, key, ireland); err != nil {
				t.Error(err)
			}
		})
	}
	// A token that can't exchange keys at all says so, without asking anybody.
	a.Tokens.Narrow(func(c *hsmbackend.Capabilities) { c.ECDHKDFs, c.Mechanisms = nil, nil })
	key := a.CreateKey(t.Context())
	w.Net.Forget()
	wantCode(t, a.Replicate(t.Context(), key, ireland), regions.CodeUnsupportedOperation)
	if n := len(w.Net.Log()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// A peer has at most so many exchanges open; what is over is free again.
func TestBusy(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	w.Limit(ireland, ohio, func(l *roster.Limits) { l.MaxOpenExchanges = 2 })
	var keys []string
	for range 2 {
		key, _ := begun(t, w, a)
		keys = append(keys, key)
	}
	third := a.CreateKey(ctx)
	wantCode(t, a.Replicate(ctx, third, ireland), regions.CodeLimitExceeded)
	if got := b.Events(ctx, "RefuseReplication"); len(got) != 1 {
		t.Errorf("%d events RefuseReplication", len(got))
	}
	checkAbsent(t, a, b, third)
	w.Settle(ctx)
	for _, key := range keys {
		checkReplicated(t, a, b, key)
	}
	if err := a.Replicate(ctx, third, ireland); err != nil {
		t.Fatal(err)
	}
	checkClean(t, a, b)
}

// A peer that names its exchange as another one's disturbs neither, nor its place on the token.
func TestSameExchangeID(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const tokyo = "ap-northeast-1"
	w := simtest.New(t, ohio, ireland, tokyo)
	a, b, c := w.Region(ohio), w.Region(ireland), w.Region(tokyo)
	key, e := begun(t, w, a)
	_, theirs := begun(t, w, c)
	squat := resign(t, c, theirs.M1, func(o *wire.Offer) {
		o.ExchangeID = e.ID
		o.KeyID = "mrk-00000000000000000000000000000000"
	})
	if _, err := w.Net.Send(ctx, tokyo, ireland, squat); err != nil {
		t.Fatal(err)
	}
	answer := send(t, w, e.M3)
	if m, err := wire.Parse(answer); err != nil || m.Type() != wire.TypeReceipt {
		t.Errorf("answered %+v, %v", m, err)
	}
	w.Settle(ctx)
	checkReplicated(t, a, b, key)
	w.Advance(2 * time.Minute)
	w.Settle(ctx)
	checkClean(t, b)
}

// A destination that chose a suite which is not the strongest of both is not sent anything.
func TestDowngrade(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	w.Net.Carry(once(wire.TypeOffer, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		got, err := deliver(m.Data)
		if err != nil {
			return nil, err
		}
		return resign(t, b, got, func(m *wire.Accept) { m.Suite = wire.SuiteX963 }), nil
	}))
	wantCode(t, a.Replicate(ctx, key, ireland), regions.CodeDependencyTimeout)
	for _, m := range w.Net.Log() {
		if m.Type == wire.TypeTransfer {
			t.Error("a transfer was sent")
		}
	}
	if _, ok := a.Holds(ctx, key).Key.MultiRegion.State.Member(ireland); ok {
		t.Error("is a member")
	}
}

// What the source's operator takes back in the middle is not sent any more.
func TestLimitInTheMiddle(t *testing.T) {
	t.Parallel()
	for name, forbid := range map[string]func(*simtest.World){
		"account": func(w *simtest.World) { w.Limit(ohio, ireland, func(l *roster.Limits) { l.Accounts = nil }) },
		"removed": func(w *simtest.World) { w.Remove(ohio, ireland) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			w, a, _ := twoRegions(t)
			key := a.CreateKey(ctx)
			fail := errors.New("token fails")
			// The membership is committed, but m3 can't be made.
			w.Net.Carry(once(wire.TypeOffer, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
				a.Tokens.Fail(func(op string) (bool, error) {
					if op == "OpenScope" {
						return false, fail
					}
					return false, nil
				})
				return deliver(m.Data)
			}))
			if err := a.Replicate(ctx, key, ireland); err != nil {
				t.Fatal(err)
			}
			a.Tokens.Fail(nil)
			forbid(w)
			a.Tokens.Forget()
			w.Advance(time.Second)
			_ = a.Node.Tick(ctx) // says that it can't go on
			for _, op := range a.Tokens.Calls() {
				if op == "Wrap" || op == "OpenScope" {
					t.Errorf("the token was asked to %s", op)
				}
			}
			if m := w.Net.Last(wire.TypeTransfer); m != nil {
				t.Error("a transfer was sent")
			}
			member(t, a, key)
		})
	}
}
