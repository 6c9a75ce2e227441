package replication_test

import (
	"testing"

	"antipode/regions"
	"antipode/regions/canon"
	"antipode/regions/cose"
	"antipode/regions/keyset"
	"antipode/regions/roster"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// An m3 that is well signed and wrong is refused for good: nothing of it is held, the source takes the destination out of
// the key set, and both audit logs tell of it.
func TestWrongTransfer(t *testing.T) {
	t.Parallel()
	w, a, b := twoRegions(t)
	for name, c := range map[string]struct {
		change func(t *testing.T, m, other *wire.Transfer)
		code   string
	}{
		"blob of another exchange":         {func(_ *testing.T, m, o *wire.Transfer) { m.Materials[0].Blob = o.Materials[0].Blob }, wire.CodeMaterialMismatch},
		"random blob":                      {func(_ *testing.T, m, _ *wire.Transfer) { m.Materials[0].Blob = make([]byte, 40) }, wire.CodeMaterialMismatch},
		"short blob":                       {func(_ *testing.T, m, _ *wire.Transfer) { m.Materials[0].Blob = m.Materials[0].Blob[:32] }, wire.CodeNotCertified},
		"RAKA of another exchange":         {func(_ *testing.T, m, o *wire.Transfer) { m.RAKA = o.RAKA }, wire.CodeMaterialMismatch},
		"another token":                    {func(_ *testing.T, m, _ *wire.Transfer) { m.Token = "x" }, wire.CodeMaterialMismatch},
		"another key's m3":                 {func(_ *testing.T, m, o *wire.Transfer) { id := m.ExchangeID; *m = *o; m.ExchangeID = id }, wire.CodeNotCertified},
		"another key's state":              {func(_ *testing.T, m, o *wire.Transfer) { m.State, m.Chain = o.State, o.Chain }, wire.CodeNotCertified},
		"another key's materials":          {func(_ *testing.T, m, o *wire.Transfer) { m.Materials = o.Materials }, wire.CodeNotCertified},
		"another material's id":            {func(_ *testing.T, m, o *wire.Transfer) { m.Materials[0].ID = o.Materials[0].ID }, wire.CodeNotCertified},
		"one material too many":            {func(_ *testing.T, m, o *wire.Transfer) { m.Materials = append(m.Materials, o.Materials[0]) }, wire.CodeNotCertified},
		"a state that is no state":         {func(_ *testing.T, m, o *wire.Transfer) { m.State = o.Chain[0] }, wire.CodeNotCertified},
		"the hash of another offer":        {func(_ *testing.T, m, o *wire.Transfer) { m.Offer = o.Offer }, wire.CodeNotCertified},
		"a state without the destination":  {restate(a, func(s *keyset.State) { s.Members = s.Members[1:] }), wire.CodeNotCertified},
		"a state with another incarnation": {restate(a, func(s *keyset.State) { s.Members[0].Incarnation[0] ^= 1 }), wire.CodeNotCertified},
		"a state in which it is active":    {restate(a, func(s *keyset.State) { s.Members[0].Status = keyset.Active }), wire.CodeNotCertified},
		"a state of another usage":         {restate(a, func(s *keyset.State) { s.Usage = "SIGN_VERIFY" }), wire.CodeNotCertified},
		"a state of other materials": {restate(a, func(s *keyset.State) {
			s.Materials[0].ID = s.Materials[0].ID[1:] + s.Materials[0].ID[:1]
		}), wire.CodeNotCertified},
		"a state of a later epoch": {restate(a, func(s *keyset.State) { s.Epoch.Term++ }), wire.CodeNotCertified},
		"a state that the destination signed": {func(t *testing.T, m, _ *wire.Transfer) {
			restate(b, func(*keyset.State) {})(t, m, nil)
		}, wire.CodeNotCertified},
		"no genesis": {func(_ *testing.T, m, _ *wire.Transfer) { m.Chain = append(m.Chain, m.Chain[0]) }, wire.CodeNotCertified},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			key, e := begun(t, w, a)
			_, other := begun(t, w, a)
			o, err := wire.Parse(other.M3)
			if err != nil {
				t.Fatal(err)
			}
			bad := resign(t, a, e.M3, func(m *wire.Transfer) { c.change(t, m, o.(*wire.Transfer)) })
			events, copies := len(b.Events(ctx, "RefuseReplication")), b.Region.Ring().WorkingCopies()
			r := wantRefusal(t, send(t, w, bad), c.code)
			if !r.Final {
				t.Error("the refusal is not final")
			}
			if now := b.Region.Ring().WorkingCopies(); now != copies {
				t.Errorf("%d working copies, were %d", now, copies)
			}
			if now := len(b.Events(ctx, "RefuseReplication")); now != events+1 {
				t.Errorf("%d events RefuseReplication", now-events)
			}
			// Its repetition has the same answer; the right m3 has none any more.
			if again := send(t, w, bad); wantRefusal(t, again, c.code).Refuses != r.Refuses {
				t.Error("another refusal")
			}
			wantRefusal(t, send(t, w, e.M3), "ExchangeEnded")
			if h := b.Holds(ctx, key); h.Key != nil || len(h.Materials) != 0 || h.Policies != 0 {
				t.Errorf("%s holds %+v", b.Name, h)
			}
		})
	}
	if n := b.Extra(); n != b.OpenExchanges(t.Context()) {
		t.Errorf("%d session objects for %d open exchanges", n, b.OpenExchanges(t.Context()))
	}
}

// restate gives a transfer a changed state under a Region's signature. Its first member is Ireland.
func restate(by *simtest.Region, change func(*keyset.State)) func(*testing.T, *wire.Transfer, *wire.Transfer) {
	return func(t *testing.T, m, _ *wire.Transfer) {
		t.Helper()
		p, err := cose.Unverified(m.State, keyset.TypeState)
		if err != nil {
			t.Fatal(err)
		}
		var s keyset.State
		if err := canon.Unmarshal(p, &s); err != nil {
			t.Fatal(err)
		}
		if s.Members[0].Region != ireland {
			t.Fatalf("the first member is %s", s.Members[0].Region)
		}
		change(&s)
		if m.State, err = keyset.SignState(t.Context(), by.Region.Ring().RSK(), s); err != nil {
			t.Fatal(err)
		}
	}
}

// A Region that is a peer, but not the key's primary, can't bring the key anywhere, even with all that the primary sent.
func TestNotThePrimary(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const tokyo = "ap-northeast-1"
	w := simtest.New(t, ohio, ireland, tokyo)
	a, b, c := w.Region(ohio), w.Region(ireland), w.Region(tokyo)
	key, e := begun(t, w, a)
	b.Restart(t)
	m1 := resign(t, c, e.M1, func(o *wire.Offer) { o.From = tokyo })
	m2, err := w.Net.Send(ctx, tokyo, ireland, m1)
	if err != nil {
		t.Fatal(err)
	}
	m3 := resign(t, c, e.M3, func(m *wire.Transfer) {
		m.From, m.Offer, m.Accept = tokyo, wire.Hash(m1), wire.Hash(m2)
	})
	b.Tokens.Forget()
	answer, err := w.Net.Send(ctx, tokyo, ireland, m3)
	if err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, answer, wire.CodeNotCertified)
	for _, op := range b.Tokens.Calls() {
		if op == "DeriveECDH" || op == "Unwrap" {
			t.Errorf("the token was asked to %s", op)
		}
	}
	// The primary itself still can.
	w.Settle(ctx)
	checkReplicated(t, a, b, key)
}

// When the destination refuses for good after the membership, the source takes it out of the key set.
func TestRefusedForGood(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	w.Net.Carry(once(wire.TypeTransfer, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		member(t, a, key)
		w.Limit(ireland, ohio, func(l *roster.Limits) { l.Accounts = nil })
		return deliver(m.Data)
	}))
	wantCode(t, a.Replicate(ctx, key, ireland), regions.CodeAccessDenied)
	checkAbsent(t, a, b, key)
	checkClean(t, a, b)
	if got := b.Region.Ring().WorkingCopies(); got != 0 {
		t.Errorf("%d working copies", got)
	}
	w.Limit(ireland, ohio, func(l *roster.Limits) { l.Accounts = []string{simtest.Account} })
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	checkReplicated(t, a, b, key)
}
