package replication_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/cose"
	"antipode/regions/roster"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// announcing makes the Regions of a world say who they are, as `antipode serve` does at its start.
func announcing(t *testing.T, w *simtest.World, names ...string) {
	t.Helper()
	for _, name := range names {
		r := w.Region(name).Region
		e, err := r.Roster().Entry(name)
		if err != nil {
			t.Fatal(err)
		}
		e.Version++
		e.Own = e.Version
		if err := r.Enrol(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// rosterTicks lets the Regions announce and rotate for some rounds.
func rosterTicks(t *testing.T, w *simtest.World, rounds int, names ...string) {
	t.Helper()
	for range rounds {
		w.Advance(31 * time.Second)
		for _, name := range names {
			r := w.Region(name)
			if err := errors.Join(r.Node.Tick(t.Context()), r.Node.RosterTick(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func rskOf(r *simtest.Region) []byte { return r.Region.Ring().RSK().KeyID() }

// stateIn returns the state that one Region's roster gives a key of Ohio's.
func stateIn(t *testing.T, w *simtest.World, in string, keyID []byte) roster.KeyState {
	t.Helper()
	e, err := w.Region(in).Region.Roster().Entry(ohio)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range e.RSKs {
		if bytes.Equal(k.KeyID(), keyID) {
			return k.State
		}
	}
	return ""
}

// A signing key is replaced without anybody's hand in the other Regions: it signs when all have acknowledged it, and the
// old one is retired when nothing that it signed is needed. What was replicated before goes on.
func TestRotateRSK(t *testing.T) {
	t.Parallel()
	all := []string{ohio, ireland, tokyo}
	w := simtest.New(t, all...)
	ctx := t.Context()
	a := w.Region(ohio)
	announcing(t, w, all...)
	key := a.CreateKey(ctx)
	for _, to := range []string{ireland, tokyo} {
		if err := a.Replicate(ctx, key, to); err != nil {
			t.Fatal(err)
		}
	}
	old := rskOf(a)
	silent := true
	w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if silent && (m.To == tokyo || m.From == tokyo) {
			return nil, simtest.ErrLost
		}
		return deliver(m.Data)
	})
	rot, err := a.Region.RotateRSK(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := a.Region.RotateRSK(ctx, nil)
	if err != nil || !bytes.Equal(again.New, rot.New) {
		t.Fatalf("repeated: %v", err)
	}
	fresh := cose.KeyID(rot.New)
	rosterTicks(t, w, 3, all...)
	if got := stateIn(t, w, ireland, fresh); got != roster.Active {
		t.Errorf("the Region that answers has the new key %q", got)
	}
	waits, err := a.Node.RosterWaits(ctx)
	if !bytes.Equal(rskOf(a), old) || err != nil || !strings.Contains(strings.Join(waits, " "), tokyo+" has not acknowledged") {
		t.Errorf("one Region has not acknowledged, and the rotation waits for %q, %v", waits, err)
	}
	silent = false
	rosterTicks(t, w, 6, all...)
	if waits, err := a.Node.RosterWaits(ctx); len(waits) > 0 || err != nil {
		t.Fatalf("it still waits for %q, %v", waits, err)
	}
	if !bytes.Equal(rskOf(a), fresh) {
		t.Error("the new key does not sign")
	}
	for _, in := range all {
		if one, two := stateIn(t, w, in, old), stateIn(t, w, in, fresh); one != roster.Retired || two != roster.Active {
			t.Errorf("%s has the old key %q and the new one %q", in, one, two)
		}
	}
	if _, err := a.Region.RotationOfRSK(ctx); !errors.Is(err, regions.ErrNotRotating) {
		t.Errorf("the rotation has not ended: %v", err)
	}
	// A replica supplies another one with what it has of the key: the state, signed anew, and the old genesis certificate.
	for _, name := range all {
		w.Region(name).Restart(t)
	}
	w.Both(ctx, key, ohio, tokyo)
	second := w.Region(ireland).CreateKey(ctx)
	if err := w.Region(ireland).Replicate(ctx, second, ohio); err != nil {
		t.Errorf("replicate to the Region with the new key: %v", err)
	}
	third := w.Region(ohio).CreateKey(ctx)
	if err := w.Region(ohio).Replicate(ctx, third, tokyo); err != nil {
		t.Errorf("replicate from the Region with the new key: %v", err)
	}
	if _, err := w.Region(ireland).Node.Push(ctx, tokyo, simtest.Account, key); err != nil {
		t.Errorf("a replica shows another what the old key's Region signed: %v", err)
	}
	// Receipts that the old key signed still count.
	if _, err := w.Region(tokyo).Node.Push(ctx, ohio, simtest.Account, key); err != nil {
		t.Error(err)
	}
}

// A message that a retired or removed key has signed changes nothing, and an older announcement is refused.
func TestAnnouncementsRefused(t *testing.T) {
	t.Parallel()
	w := simtest.New(t, ohio, ireland)
	ctx := t.Context()
	a, b := w.Region(ohio), w.Region(ireland)
	announcing(t, w, ohio, ireland)
	rosterTicks(t, w, 1, ohio, ireland)
	var early []byte
	for _, m := range w.Net.Log() {
		if m.Type == wire.TypeRoster && m.From == ohio {
			early = m.Data
		}
	}
	if early == nil {
		t.Fatal("nothing was announced")
	}
	old := a.Region.Ring().RSK()
	if _, err := a.Region.RotateRSK(ctx, nil); err != nil {
		t.Fatal(err)
	}
	rosterTicks(t, w, 5, ohio, ireland)
	fresh := a.Region.Ring().RSK()
	if bytes.Equal(fresh.KeyID(), old.KeyID()) {
		t.Fatal("the key was not rotated")
	}
	before := b.Region.Roster()
	if _, err := b.Node.Handle(ctx, ohio, early); !errors.Is(err, wire.ErrUntrusted) {
		t.Errorf("the first announcement, again: %v", err)
	}
	own, err := a.Region.Roster().Entry(ohio)
	if err != nil {
		t.Fatal(err)
	}
	now, err := wire.Parse(w.Net.Last(wire.TypeRoster))
	if err != nil {
		t.Fatal(err)
	}
	m, isRoster := now.(*wire.Roster)
	if !isRoster {
		t.Fatal("no announcement")
	}
	m.Route = wire.Route{ExchangeID: [16]byte{1}, From: ohio, To: ireland}
	send := func(by cose.Signer, change func(e *roster.Entry)) (*wire.RosterAck, error) {
		t.Helper()
		e := own
		e.RSKs = slices.Clone(own.RSKs)
		change(&e)
		raw, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		m.Entry = raw
		data, err := wire.Sign(ctx, by, m)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := b.Node.Handle(ctx, ohio, data)
		if err != nil {
			return nil, err
		}
		got, err := wire.Open(answer, ohio, a.Region.Roster())
		if err != nil {
			t.Fatal(err)
		}
		return got.(*wire.RosterAck), nil //nolint:forcetypeassert // a panic tells it as well
	}
	if _, err := send(old, func(e *roster.Entry) { e.Own++ }); !errors.Is(err, wire.ErrUntrusted) {
		t.Errorf("signed by the retired key: %v", err)
	}
	stranger := b.Region.Ring().RSK()
	for _, c := range []struct {
		name   string
		change func(e *roster.Entry)
		want   string
	}{
		{"older", func(e *roster.Entry) { e.Own = 1; e.Endpoint = "https://old:1" }, "steps back"},
		{"the same, altered", func(e *roster.Entry) { e.Endpoint = "https://other:1" }, "another content"},
		{"a key left out", func(e *roster.Entry) { e.Own += 9; e.RSKs = e.RSKs[:1] }, "steps back"},
		{"a key not proven", func(e *roster.Entry) {
			e.Own += 9
			e.RSKs = append(e.RSKs, roster.RSK{SPKI: newSPKI(t), State: roster.Active, Since: e.Version})
		}, "not proven"},
		{"another's key", func(e *roster.Entry) {
			e.Own += 9
			e.RSKs = append(e.RSKs, roster.RSK{SPKI: stranger.SPKI(), State: roster.Active, Since: e.Version, Proof: e.RSKs[1].Proof})
		}, "not proven"},
		{"another Region", func(e *roster.Entry) { e.Region = "eu-north-1" }, "announces"},
		{"the old key again", func(e *roster.Entry) { e.Own += 9; e.RSKs[0].State = roster.Active; e.RSKs[0].Since = 1 }, ""},
	} {
		ack, err := send(fresh, c.change)
		if err != nil || !strings.Contains(ack.Fault, c.want) || c.want == "" && ack.Fault != "" {
			t.Errorf("%s: %+v, %v", c.name, ack, err)
		}
	}
	if got := stateIn(t, w, ireland, old.KeyID()); got != roster.Retired {
		t.Errorf("the old key is %s", got)
	}
	e, errE := b.Region.Roster().Entry(ohio)
	was, errWas := before.Entry(ohio)
	if err := errors.Join(errE, errWas); err != nil || e.Endpoint != was.Endpoint || len(e.RSKs) != len(was.RSKs) {
		t.Errorf("something of it was taken: %+v, %v", e, err)
	}
}

// A Region that was removed is refused at every message, also in the middle of an exchange, and what it was to be sent is
// not sent.
func TestRemovedRegion(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{wire.TypeOffer, wire.TypeAccept, wire.TypeTransfer, wire.TypeReceipt} {
		for _, by := range []string{ohio, ireland} { // who removes the other
			t.Run(typ+" "+by, func(t *testing.T) {
				t.Parallel()
				removedAt(t, typ, by)
			})
		}
	}
}

func removedAt(t *testing.T, typ, by string) {
	t.Helper()
	w := simtest.New(t, ohio, ireland)
	ctx := t.Context()
	a, b := w.Region(ohio), w.Region(ireland)
	kept := a.CreateKey(ctx)
	if err := a.Replicate(ctx, kept, ireland); err != nil {
		t.Fatal(err)
	}
	other := map[string]string{ohio: ireland, ireland: ohio}[by]
	remove := func() {
		if err := w.Region(by).Region.Remove(ctx, roster.Removal{Region: other}); err != nil {
			t.Error(err)
		}
	}
	removed, after := false, map[string]int{}
	w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if m.Type == typ && !removed {
			removed = true
			remove()
		} else if removed {
			after[m.Type]++
		}
		before := removed
		answer, err := deliver(m.Data)
		if got, _, peekErr := cose.Peek(answer); peekErr == nil && got == typ && !removed {
			removed = true
			remove()
		}
		if before && err == nil && m.To == by {
			t.Errorf("%s answers %s of a Region that it has removed", by, m.Type)
		}
		return answer, err
	})
	key := a.CreateKey(ctx)
	if err := a.Replicate(ctx, key, ireland); err == nil && typ != wire.TypeTransfer && typ != wire.TypeReceipt {
		t.Errorf("replicated although %s removed %s at %s", by, other, typ)
	}
	for range 3 {
		w.Advance(31 * time.Second)
		_ = a.Node.Tick(ctx) // what can't go on is no error of the test
		_ = b.Node.Tick(ctx)
	}
	if !removed {
		t.Fatalf("there was no %s", typ)
	}
	if by == ohio && (after[wire.TypeTransfer] > 0 || after[wire.TypeOffer] > 0) && typ != wire.TypeTransfer {
		t.Errorf("%s went on sending to the Region that it has removed: %v", by, after)
	}
	if typ == wire.TypeOffer || typ == wire.TypeAccept {
		if h := b.Holds(ctx, key); len(h.Materials) > 0 {
			t.Errorf("%s has material of the key", ireland)
		}
	}
	// What each has it goes on using.
	w.Both(ctx, kept, ohio, ireland)
}

func newSPKI(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return spki
}
