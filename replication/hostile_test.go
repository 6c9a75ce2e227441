package replication_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"slices"
	"testing"

	"antipode/regions/cose"
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
