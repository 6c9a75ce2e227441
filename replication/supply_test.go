package replication_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// loseMaterial takes a key's material out of a Region's store, as nothing but a fault could: there is something to be supplied.
func loseMaterial(t *testing.T, r *simtest.Region, key string) {
	t.Helper()
	ctx := t.Context()
	for _, m := range r.Holds(ctx, key).Materials {
		if err := r.Region.Update(ctx, func(tx regions.Tx) error { return tx.Delete(ctx, m.RecordKey()) }); err != nil {
			t.Fatal(err)
		}
	}
}

// forge signs a state of a key as its primary could, without anybody's store knowing it.
func forge(t *testing.T, by *simtest.Region, key string, change func(*keyset.State)) []byte {
	t.Helper()
	s := *by.Holds(t.Context(), key).Key.MultiRegion.State
	s.Members = append([]keyset.Member(nil), s.Members...)
	change(&s)
	signed, err := keyset.SignState(t.Context(), by.Region.Ring().RSK(), s)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// A supply that is not what it should be is refused at its first message: nothing is made on the token, nothing changes,
// and the audit log tells of it.
func TestHostileSupply(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland) // Tokyo is no member
	other := a.CreateKey(ctx)
	replicate(t, a, other, ireland)
	loseMaterial(t, b, key)
	material := a.Holds(ctx, key).Materials[0].ID
	w.Net.Carry(simtest.LoseRequests(wire.TypeOffer))
	if _, err := a.Node.Supply(ctx, simtest.Account, key, ireland, []string{material}); err != nil {
		t.Fatal(err)
	}
	w.Net.Carry(nil)
	m1 := held(t, a, key).M1
	state := a.Holds(ctx, key).Key.MultiRegion.State
	before := b.Holds(ctx, key).Key.MultiRegion
	for _, x := range []struct {
		name   string
		by     *simtest.Region
		code   string
		alarm  bool
		change func(o *wire.Offer)
	}{
		{"by a non-member", c, wire.CodeNotMember, false, func(o *wire.Offer) { o.From = tokyo }},
		{"to a non-member", a, wire.CodeNotMember, false, func(o *wire.Offer) {
			o.State = forge(t, a, key, func(s *keyset.State) {
				s.Sequence++
				s.Members = s.Members[1:] // Ireland, which is before Ohio
			})
		}},
		{"another incarnation", a, wire.CodeNotMember, false, func(o *wire.Offer) {
			o.State = forge(t, a, key, func(s *keyset.State) { s.Sequence++; s.Members[0].Incarnation[0]++ })
		}},
		{"lower state", a, wire.CodeStaleState, false, func(o *wire.Offer) {
			o.State = forge(t, a, key, func(s *keyset.State) { s.Sequence = 1 })
		}},
		{"equal number, other content", a, wire.CodeConflict, true, func(o *wire.Offer) {
			o.State = forge(t, a, key, func(s *keyset.State) {
				s.Sequence = before.State.Sequence
				s.Rotation.PeriodDays = 100
			})
		}},
		{"state that lacks a material", a, wire.CodeConflict, true, func(o *wire.Offer) {
			o.State = forge(t, a, key, func(s *keyset.State) {
				s.Sequence++
				s.Materials = []keyset.Material{{ID: strings.Repeat("a", 64), Status: keyset.Current, Created: 1}}
			})
		}},
		{"state signed by another", c, wire.CodeNotCertified, false, func(o *wire.Offer) {
			o.From, o.State = tokyo, forge(t, a, other, func(*keyset.State) {})
		}},
		{"material forged", a, wire.CodeNotCertified, false, func(o *wire.Offer) { o.Materials[0].ID = strings.Repeat("b", 64) }},
		{"material's status forged", a, wire.CodeNotCertified, false, func(o *wire.Offer) { o.Materials[0].Status = keyset.Pending }},
		{"another spec", a, wire.CodeNotCertified, false, func(o *wire.Offer) { o.Spec = "HMAC_256" }},
		{"a key that is not here", a, wire.CodeUnknownKey, false, func(o *wire.Offer) {
			unknown := a.CreateKey(ctx)
			k := a.Holds(ctx, unknown)
			o.KeyID, o.Chain, o.Certificate = unknown, k.Key.MultiRegion.Certificates, k.Key.MultiRegion.State.Certificate
			o.Materials = []wire.Material{{ID: k.Materials[0].ID, Status: keyset.Current}}
			o.State = forge(t, a, unknown, func(s *keyset.State) {
				s.Sequence++
				s.Members = append([]keyset.Member{{Region: ireland, Incarnation: [16]byte{1}, Status: keyset.Active}}, s.Members...)
			})
		}},
		{"nothing missing", a, wire.CodeNothingMissing, false, func(o *wire.Offer) {
			k := a.Holds(ctx, other)
			o.KeyID, o.Chain, o.Certificate = other, k.Key.MultiRegion.Certificates, k.Key.MultiRegion.State.Certificate
			o.State = k.Key.MultiRegion.Signed
			o.Materials = []wire.Material{{ID: k.Materials[0].ID, Status: keyset.Current}}
		}},
	} {
		message := resign(t, x.by, m1, func(o *wire.Offer) {
			o.ExchangeID[0]++
			x.change(o)
		})
		events, alarms := len(b.Events(ctx, "RefuseReplication")), len(b.Events(ctx, "KeySetAlarm"))
		b.Tokens.Forget()
		answer, err := w.Net.Send(ctx, x.by.Name, ireland, message)
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		if m, err := wire.Parse(answer); err != nil || m.Type() != wire.TypeRefusal || m.(*wire.Refusal).Code != x.code {
			t.Errorf("%s: answered %+v, %v, want %s", x.name, m, err, x.code)
		}
		if n := len(b.Events(ctx, "RefuseReplication")) - events; n != 1 {
			t.Errorf("%s: %d events", x.name, n)
		}
		if n := len(b.Events(ctx, "KeySetAlarm")) - alarms; n != 0 != x.alarm {
			t.Errorf("%s: %d alarms", x.name, n)
		}
		if made := b.Tokens.Made(); len(made) != 0 {
			t.Errorf("%s: the token made %v", x.name, made)
		}
		h := b.Holds(ctx, key)
		if string(h.Key.MultiRegion.Signed) != string(before.Signed) || len(h.Materials) != 0 || h.Key.State != regions.StateEnabled {
			t.Errorf("%s: the key has changed: %+v", x.name, h.Key)
		}
	}
	// None of it spoiled the true one, which also brings the higher state.
	w.Settle(ctx)
	w.Both(ctx, key, ohio, ireland)
	if now := b.Holds(ctx, key).Key.MultiRegion.State; now.Sequence != state.Sequence {
		t.Errorf("the state is %d, the primary's %d", now.Sequence, state.Sequence)
	}
}

// A supply survives the loss and repetition of its messages, and the end of either process.
func TestSupplyLosses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	for name, carrier := range map[string]simtest.Carrier{
		"m1 lost":  once(wire.TypeOffer, simtest.LoseRequests(wire.TypeOffer)),
		"m2 lost":  once(wire.TypeOffer, simtest.LoseAnswers(wire.TypeOffer)),
		"m3 lost":  once(wire.TypeTransfer, simtest.LoseRequests(wire.TypeTransfer)),
		"m4 lost":  once(wire.TypeTransfer, simtest.LoseAnswers(wire.TypeTransfer)),
		"m1 twice": once(wire.TypeOffer, simtest.Twice(wire.TypeOffer)),
		"m3 twice": once(wire.TypeTransfer, simtest.Twice(wire.TypeTransfer)),
		"the destination ends": once(wire.TypeTransfer, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
			b.Restart(t)
			return deliver(m.Data)
		}),
	} {
		key := a.CreateKey(ctx)
		replicate(t, a, key, ireland)
		loseMaterial(t, b, key)
		ids := []string{a.Holds(ctx, key).Materials[0].ID}
		w.Net.Carry(carrier)
		first, err := a.Node.Supply(ctx, simtest.Account, key, ireland, ids)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := a.Node.Supply(ctx, simtest.Account, key, ireland, ids); err != nil || second != first {
			t.Errorf("%s: a second supply: %x, %v", name, second, err)
		}
		a.Restart(t)
		w.Settle(ctx)
		w.Net.Carry(nil)
		checkClean(t, a, b)
		w.Both(ctx, key, ohio, ireland)
		a.Restart(t)
		b.Restart(t)
	}
}

// What is asked by who may not ask it is refused; an answer that is not to the question counts as none.
func TestHostileQuestions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland)
	ask := func(by *simtest.Region, m wire.Message) []byte {
		t.Helper()
		data, err := wire.Sign(ctx, by.Region.Ring().RSK(), m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	route := wire.Route{ExchangeID: [16]byte{9}, From: tokyo, To: ohio}
	answer, err := w.Net.Send(ctx, tokyo, ohio, ask(c, &wire.Want{Route: route, Account: simtest.Account, KeyID: key}))
	if err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, answer, wire.CodeNotMember)
	if n := len(a.Events(ctx, "RefuseReplication")); n != 1 || a.OpenExchanges(ctx) != 0 {
		t.Errorf("%d events, %d exchanges", n, a.OpenExchanges(ctx))
	}
	// Pages replayed and reflected: the recovery does not end on them.
	backup := b.Backup(t)
	b.Restore(t, backup)
	w.Settle(ctx)
	old := w.Net.Last(wire.TypeKnown)
	if _, err := w.Net.Send(ctx, ohio, ireland, old); err == nil {
		t.Error("a page was answered")
	}
	b.Restore(t, backup)
	refused := len(b.Events(ctx, "RefuseReplicationMessage"))
	for _, lie := range []func(question []byte) []byte{
		func([]byte) []byte { return old },
		func(question []byte) []byte { return question },
	} {
		w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
			if m.Type == wire.TypeKnow {
				return lie(m.Data), nil
			}
			return deliver(m.Data)
		})
		w.Advance(31e9)
		if err := b.Node.Tick(ctx); err != nil {
			t.Error(err)
		}
		if !b.Region.Recovering() {
			t.Fatal("a lie has ended the recovery")
		}
	}
	if n := len(b.Events(ctx, "RefuseReplicationMessage")) - refused; n < 4 { // of two Regions each
		t.Errorf("%d events", n)
	}
	w.Net.Carry(nil)
	w.Settle(ctx)
}

// A Region that is shown its own state, or its own receipt, that its store does not know, was rolled back by other means
// than restore: it recovers.
func TestShownItsOwn(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland)
	forged := forge(t, a, key, func(s *keyset.State) { s.Sequence += 5 })
	push := func(from, to *simtest.Region, state, receipt []byte) error {
		k := a.Holds(ctx, key).Key.MultiRegion
		data, err := wire.Sign(ctx, from.Region.Ring().RSK(), &wire.Sync{
			Route: wire.Route{ExchangeID: [16]byte{7}, From: from.Name, To: to.Name}, Account: simtest.Account, KeyID: key,
			State: state, Chain: k.Certificates, Receipt: receipt,
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Net.Send(context.WithoutCancel(ctx), from.Name, to.Name, data)
		return err
	}
	if err := push(b, a, forged, nil); err == nil || !a.Region.Recovering() || len(a.Events(ctx, "EnterRecovery")) != 1 {
		t.Errorf("shown its own state: %v, recovering %v", err, a.Region.Recovering())
	}
	receipt := w.Net.Last(wire.TypeReceipt)
	signed := a.Holds(ctx, key).Key.MultiRegion.Signed
	if err := push(a, b, signed, receipt); err != nil || b.Region.Recovering() {
		t.Errorf("shown a receipt that it knows: %v", err)
	}
	unknown := resign(t, b, receipt, func(r *wire.Receipt) { r.ExchangeID[0]++ })
	if err := push(a, b, signed, resign(t, a, receipt, func(r *wire.Receipt) { r.ExchangeID[0]++ })); err == nil || b.Region.Recovering() {
		t.Errorf("shown a receipt that another signed: %v", err)
	}
	if err := push(a, b, signed, unknown); err == nil || !b.Region.Recovering() {
		t.Errorf("shown its own receipt: %v, recovering %v", err, b.Region.Recovering())
	}
	w.Settle(ctx)
	w.Both(ctx, key, ohio, ireland)
}

// Material that is pending is brought to a member as pending: the member holds it, says so in its receipt, takes over the
// state that names it, and goes on encrypting with the current material.
func TestSupplyPending(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland)
	first := a.Holds(ctx, key).Materials[0].Material
	pending := addMaterial(t, a, key, keyset.Pending)
	if _, err := a.Node.Supply(ctx, simtest.Account, key, ireland, []string{pending}); err != nil {
		t.Fatal(err)
	}
	for range 3 { // without the work that completes rotations
		w.Advance(31 * time.Second)
		if err := errors.Join(a.Node.Tick(ctx), b.Node.Tick(ctx)); err != nil {
			t.Error(err)
		}
	}
	h := b.Holds(ctx, key)
	if len(h.Materials) != 2 || h.Key.Current != first.ID || h.Key.MultiRegion.State.Materials[1].Status != keyset.Pending {
		t.Errorf("%s holds %d materials, encrypts with %s, state %+v", ireland, len(h.Materials), h.Key.Current, h.Key.MultiRegion.State)
	}
	receipt, err := wire.Parse(w.Net.Last(wire.TypeReceipt))
	if r, is := receipt.(*wire.Receipt); err != nil || !is || len(r.Materials) != 2 || r.Sequence != h.Key.MultiRegion.State.Sequence {
		t.Errorf("the receipt is %+v, %v", receipt, err)
	}
	checkClean(t, a, b)
	w.Both(ctx, key, ohio, ireland)
}
