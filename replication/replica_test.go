package replication_test

import (
	"testing"

	"antipode/regions"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// An offer that is a dry run is checked like any other and leaves nothing: no key, no RAKB, no exchange.
func TestDryRun(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key, e := begun(t, w, a)
	w.Settle(ctx)
	free := "mrk-0123456789abcdef0123456789abcdef"
	offer := resign(t, a, e.M1, func(o *wire.Offer) { o.DryRun, o.KeyID, o.ExchangeID[0] = true, free, o.ExchangeID[0]^1 })
	b.Tokens.Forget()
	m, err := wire.Parse(send(t, w, offer))
	if err != nil {
		t.Fatal(err)
	}
	if accept, ok := m.(*wire.Accept); !ok || len(accept.RAKB) != 0 {
		t.Errorf("answered %+v", m)
	}
	if made := b.Tokens.Made(); len(made) != 0 {
		t.Errorf("made %+v", made)
	}
	if h := b.Holds(ctx, free); h.Key != nil || len(h.Dest) != 0 {
		t.Errorf("holds %+v", h)
	}
	// A transfer can't follow it.
	wantRefusal(t, send(t, w, resign(t, a, e.M3, func(m *wire.Transfer) { m.ExchangeID[0] ^= 1 })), wire.CodeExchangeLost)
	checkReplicated(t, a, b, key)
	checkClean(t, b)
}

// A replica that has no material yet serves nothing, whatever its owner does with it meanwhile.
func TestCreatingServesNothing(t *testing.T) {
	t.Parallel()
	w, a, b := twoRegions(t)
	type call struct {
		op string
		in func(key string) any
	}
	schedule := call{"ScheduleKeyDeletion", func(key string) any { return &regions.ScheduleKeyDeletionInput{KeyID: key} }}
	cancelIt := call{"CancelKeyDeletion", func(key string) any { return &regions.KeyInput{KeyID: key} }}
	enable := call{"EnableKey", func(key string) any { return &regions.KeyInput{KeyID: key} }}
	for name, c := range map[string]struct {
		calls []call
		state regions.KeyState // in the end
	}{
		"left alone":              {nil, regions.StateEnabled},
		"scheduled for deletion":  {[]call{schedule}, regions.StatePendingDeletion},
		"scheduled and not":       {[]call{schedule, cancelIt}, regions.StateEnabled},
		"scheduled, not, enabled": {[]call{schedule, cancelIt, enable}, regions.StateEnabled},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			key := a.CreateKey(ctx)
			blob, err := a.Encrypt(ctx, key, "early")
			if err != nil {
				t.Fatal(err)
			}
			w.Net.Carry(once(wire.TypeTransfer, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
				for _, c := range c.calls {
					if _, err := b.Do(ctx, c.op, c.in(key)); err != nil {
						t.Logf("%s: %v", c.op, err)
					}
				}
				if _, err := b.Encrypt(ctx, key, "x"); regions.AsError(err).Code != regions.CodeInvalidState && err != nil {
					t.Errorf("Encrypt without material: %v", err)
				} else if err == nil {
					t.Error("encrypted without material")
				}
				if got, err := b.Decrypt(ctx, blob); err == nil {
					t.Errorf("decrypted %q without material", got)
				} else if regions.AsError(err).Code == regions.CodeInternal {
					t.Errorf("Decrypt without material: %v", err)
				}
				return deliver(m.Data)
			}))
			defer w.Net.Carry(nil)
			if err := a.Replicate(ctx, key, ireland); err != nil {
				t.Fatal(err)
			}
			checkReplicated(t, a, b, key)
			if k := b.Holds(ctx, key).Key; k.State != c.state {
				t.Errorf("the replica is %s, want %s", k.State, c.state)
			}
		})
	}
}
