package replication_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/canon"
	"antipode/regions/cose"
	"antipode/regions/identity"
	"antipode/regions/keyset"
	"antipode/regions/roster"
	"antipode/replication"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// begun is an exchange whose m3 was made and has not arrived.
func begun(t *testing.T, w *simtest.World, a *simtest.Region) (key string, e replication.SourceExchange) {
	t.Helper()
	key = a.CreateKey(t.Context())
	w.Net.Carry(simtest.LoseRequests(wire.TypeTransfer))
	if err := a.Replicate(t.Context(), key, ireland); err != nil {
		t.Fatal(err)
	}
	w.Net.Carry(nil)
	return key, held(t, a, key)
}

// resign returns message with a change, signed by a Region's RSK, as a hostile Region that has one could make it.
func resign[M wire.Message](t *testing.T, by *simtest.Region, message []byte, change func(M)) []byte {
	t.Helper()
	m, err := wire.Parse(message)
	if err != nil {
		t.Fatal(err)
	}
	typed, ok := m.(M)
	if !ok {
		t.Fatalf("message is a %s", m.Type())
	}
	change(typed)
	data, err := wire.Sign(t.Context(), by.Region.Ring().RSK(), typed)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A message that is not, bit for bit, what a known Region signed for this one is not answered; it changes nothing, the
// token is not asked, and the audit log tells of it.
func TestNotAMessage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const tokyo = "ap-northeast-1"
	w := simtest.New(t, ohio, ireland, tokyo)
	a, b, c := w.Region(ohio), w.Region(ireland), w.Region(tokyo)
	key, e := begun(t, w, a)
	stranger := simtest.New(t, ohio).Region(ohio) // another partition's Region of the same name
	type sent struct {
		from    string
		message []byte
	}
	table := map[string]sent{
		"signed by another Region": {ohio, resign(t, c, e.M3, func(*wire.Transfer) {})},
		"signed by a stranger":     {ohio, resign(t, stranger, e.M3, func(*wire.Transfer) {})},
		"to another Region":        {ohio, resign(t, a, e.M3, func(m *wire.Transfer) { m.To = tokyo })},
		"from another Region":      {ohio, resign(t, a, e.M3, func(m *wire.Transfer) { m.From = tokyo })},
		"carried by another":       {tokyo, e.M3},
		"its own m2":               {ohio, e.M2},
		"m4 as a request":          {ohio, resign(t, a, receiptOf(t, e, a), func(*wire.Receipt) {})},
		"truncated":                {ohio, e.M3[:len(e.M3)-1]},
		"trailing byte":            {ohio, append(slices.Clone(e.M3), 0)},
		"empty":                    {ohio, nil},
		"not CBOR":                 {ohio, bytes.Repeat([]byte{0xff}, 100)},
		"non-canonical payload":    {ohio, nonCanonical(t, a, e.M3)},
		"too large":                {ohio, make([]byte, wire.MaxSize+1)},
		"unsigned":                 {ohio, unsigned(e.M3)},
	}
	for name, raka := range badPoints(t) {
		table["RAKA "+name] = sent{ohio, signPayload(t, a, wire.TypeTransfer, bytes.Replace(payload(t, e.M3), rakaOf(t, e.M3), raka, 1))}
	}
	for i := 0; i < len(e.M3); i += 1 + i%37 { // a bit of everywhere
		flipped := slices.Clone(e.M3)
		flipped[i] ^= 1 << (i % 8)
		_, err := w.Net.Send(ctx, ohio, ireland, flipped)
		if err == nil {
			t.Errorf("m3 with bit %d of byte %d flipped was answered", i%8, i)
		}
	}
	b.Tokens.Forget()
	for name, s := range table {
		events := len(b.Events(ctx, "RefuseReplicationMessage"))
		if _, err := w.Net.Send(ctx, s.from, ireland, s.message); err == nil {
			t.Errorf("%s: answered", name)
		}
		if now := len(b.Events(ctx, "RefuseReplicationMessage")); now != events+1 {
			t.Errorf("%s: %d audit events", name, now-events)
		}
	}
	if calls := b.Tokens.Calls(); len(calls) != 0 {
		t.Errorf("the token was asked: %v", calls)
	}
	// None of it spoiled the exchange.
	w.Settle(ctx)
	checkReplicated(t, a, b, key)
	checkClean(t, a, b)
	w.Both(ctx, key, ohio, ireland)
}

func payload(t *testing.T, message []byte) []byte {
	t.Helper()
	typ, _, err := cose.Peek(message)
	if err != nil {
		t.Fatal(err)
	}
	p, err := cose.Unverified(message, typ)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func signPayload(t *testing.T, by *simtest.Region, typ string, payload []byte) []byte {
	t.Helper()
	data, err := cose.Sign(t.Context(), by.Region.Ring().RSK(), typ, payload)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// nonCanonical signs the payload with its map's first key, 1, written in two bytes.
func nonCanonical(t *testing.T, by *simtest.Region, message []byte) []byte {
	t.Helper()
	p := payload(t, message)
	if p[1] != 1 {
		t.Fatalf("the payload begins %x", p[:4])
	}
	typ, _, err := cose.Peek(message)
	if err != nil {
		t.Fatal(err)
	}
	return signPayload(t, by, typ, slices.Concat(p[:1], []byte{0x18, 1}, p[2:]))
}

// unsigned has a signature of zeros.
func unsigned(message []byte) []byte {
	out := slices.Clone(message)
	clear(out[len(out)-96:])
	return out
}

func rakaOf(t *testing.T, m3 []byte) []byte {
	t.Helper()
	m, err := wire.Parse(m3)
	if err != nil {
		t.Fatal(err)
	}
	return m.(*wire.Transfer).RAKA
}

// badPoints are as long as a point.
func badPoints(t *testing.T) map[string][]byte {
	t.Helper()
	k, err := ecdh.P384().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := k.PublicKey().Bytes()
	off := slices.Clone(good)
	off[96] ^= 1
	compressed := slices.Clone(good)
	compressed[0] = 2 + good[96]&1
	return map[string][]byte{"off the curve": off, "compressed": compressed, "infinity": make([]byte, 97)}
}

// receiptOf is a receipt as if a Region gave it to the other for its own transfer.
func receiptOf(t *testing.T, e replication.SourceExchange, by *simtest.Region) []byte {
	t.Helper()
	m, err := wire.Parse(e.M3)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, w := range m.(*wire.Transfer).Materials {
		ids = append(ids, w.ID)
	}
	r := &wire.Receipt{Route: m.Header(), Transfer: wire.Hash(e.M3), Materials: ids, Sequence: 1, Incarnation: e.ID}
	r.Epoch.Generation, r.Epoch.Term = 1, 1
	data, err := wire.Sign(t.Context(), by.Region.Ring().RSK(), r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

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

// What is refused at the offer leaves nothing anywhere, and the destination's audit log tells of it.
func TestRefusedOffer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(*testing.T, *simtest.World, string)
		code    string
		audited bool // at the destination
	}{
		"account not taken": {func(_ *testing.T, w *simtest.World, _ string) {
			w.Limit(ireland, ohio, func(l *roster.Limits) { l.Accounts = []string{"999999999999"} })
		}, regions.CodeAccessDenied, true},
		"account not sent": {func(_ *testing.T, w *simtest.World, _ string) {
			w.Limit(ohio, ireland, func(l *roster.Limits) { l.Accounts = nil })
		}, regions.CodeAccessDenied, false},
		"no rights there": {func(t *testing.T, w *simtest.World, _ string) {
			u, err := identity.NewUser(simtest.Account, "administrator", nil, 1)
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
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			w, a, b := twoRegions(t)
			key := a.CreateKey(ctx)
			c.prepare(t, w, key)
			before := b.Holds(ctx, key)
			wantCode(t, a.Replicate(ctx, key, ireland), c.code)
			if got := b.Events(ctx, "RefuseReplication"); c.audited != (len(got) == 1) {
				t.Errorf("%d events RefuseReplication", len(got))
			}
			if name == "no suite, says the source" {
				w.Advance(2 * time.Minute) // the destination had agreed; its reservation ends
			}
			w.Settle(ctx)
			if after := b.Holds(ctx, key); (after.Key == nil) != (before.Key == nil) || len(after.Materials) != 0 {
				t.Errorf("%s holds %+v", b.Name, after)
			}
			if m, ok := a.Holds(ctx, key).Key.MultiRegion.State.Member(ireland); ok {
				t.Errorf("member %+v", m)
			}
			checkClean(t, a, b)
		})
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

// An answer that is not the destination's, or not to this message, is as good as none.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const tokyo = "ap-northeast-1"
	w := simtest.New(t, ohio, ireland, tokyo)
	a, b, c := w.Region(ohio), w.Region(ireland), w.Region(tokyo)
	first, e := begun(t, w, a)
	w.Settle(ctx)
	checkReplicated(t, a, b, first)
	oldReceipt := a.Holds(ctx, first).Source[0].M4
	flip := func(b []byte) []byte { b = slices.Clone(b); b[len(b)/2] ^= 4; return b }
	for name, answer := range map[string]func(request, answer []byte) []byte{
		"nothing":        func(_, _ []byte) []byte { return nil },
		"the request":    func(request, _ []byte) []byte { return request },
		"a flipped bit":  func(_, answer []byte) []byte { return flip(answer) },
		"an old m2":      func(_, _ []byte) []byte { return e.M2 },
		"an old receipt": func(_, _ []byte) []byte { return oldReceipt },
		"of another Region": func(_, answer []byte) []byte {
			m, err := wire.Parse(answer)
			if err != nil {
				t.Error(err)
			}
			out, err := wire.Sign(ctx, c.Region.Ring().RSK(), m)
			if err != nil {
				t.Error(err)
			}
			return out
		},
		"another's incarnation": func(_, answer []byte) []byte {
			m, err := wire.Parse(answer)
			if err != nil {
				t.Error(err)
			}
			switch m := m.(type) {
			case *wire.Accept:
				m.Incarnation[0] ^= 1
			case *wire.Receipt:
				m.Incarnation[0] ^= 1
			}
			out, err := wire.Sign(ctx, b.Region.Ring().RSK(), m)
			if err != nil {
				t.Error(err)
			}
			return out
		},
		"a refusal of something else": func(_, answer []byte) []byte {
			m, err := wire.Parse(answer)
			if err != nil {
				t.Error(err)
			}
			out, err := wire.Sign(ctx, b.Region.Ring().RSK(), &wire.Refusal{
				Route: m.Header(), Refuses: wire.Hash(e.M1), Code: wire.CodeNotCertified, Final: true,
			})
			if err != nil {
				t.Error(err)
			}
			return out
		},
	} {
		for _, typ := range []string{wire.TypeOffer, wire.TypeTransfer} {
			t.Run(name+" to "+typ, func(t *testing.T) {
				key := a.CreateKey(ctx)
				w.Net.Carry(once(typ, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
					got, err := deliver(m.Data)
					return answer(m.Data, got), err
				}))
				defer w.Net.Carry(nil)
				events := len(a.Events(ctx, "RefuseReplicationMessage"))
				err := a.Replicate(ctx, key, ireland)
				if typ == wire.TypeOffer {
					wantCode(t, err, regions.CodeDependencyTimeout)
					if m, ok := a.Holds(ctx, key).Key.MultiRegion.State.Member(ireland); ok {
						t.Errorf("member %+v", m)
					}
				} else {
					if err != nil {
						t.Error(err)
					}
					if m := member(t, a, key); m.Status != "Creating" {
						t.Errorf("the member is %s without a receipt", m.Status)
					}
				}
				if now := len(a.Events(ctx, "RefuseReplicationMessage")); now == events && !wellFormed(name, typ) {
					t.Error("no audit event")
				}
				w.Settle(ctx)
				if typ == wire.TypeTransfer {
					checkReplicated(t, a, b, key)
				}
			})
		}
	}
}

// wellFormed tells of answers that are the destination's own, only of the wrong kind.
func wellFormed(name, typ string) bool {
	return name == "an old receipt" && typ == wire.TypeOffer || name == "an old m2" && typ == wire.TypeTransfer
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
