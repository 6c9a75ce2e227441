package replication_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"sync"
	"testing"

	"antipode/hsmbackend"
	"antipode/regions"
	"antipode/regions/keyring"
	"antipode/regions/roster"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// rsaRegions are two Regions whose tokens have no ECDH suite.
func rsaRegions(t *testing.T) (w *simtest.World, a, b *simtest.Region) {
	t.Helper()
	w, a, b = twoRegions(t)
	a.Tokens.Narrow(simtest.OnlyRSA)
	b.Tokens.Narrow(simtest.OnlyRSA)
	return w, a, b
}

// TestRSA is one test after the other, because each RSA key costs a second of a processor.
func TestRSA(t *testing.T) {
	t.Parallel()
	t.Run("replicates", rsaReplicates)
	t.Run("tampering", rsaTampering)
	t.Run("downgrade", rsaDowngrade)
	t.Run("minimum", rsaMinimum)
	t.Run("one at a time", rsaOneAtATime)
	t.Run("lost", rsaLost)
	t.Run("supply", rsaSupply)
}

func parsed[M wire.Message](t *testing.T, message []byte) M {
	t.Helper()
	m, err := wire.Parse(message)
	if err != nil {
		t.Fatal(err)
	}
	typed, ok := m.(M)
	if !ok {
		t.Fatalf("message is a %s", m.Type())
	}
	return typed
}

// Between two tokens without a common ECDH suite a key goes by OAEP: it works in both Regions, no byte that was sent or
// written has its material, and of what the tokens made for the exchange nothing is left. No key could do more than its
// part, and only the wrapping key at the source, besides the material's transient copies, could be wrapped.
func rsaReplicates(t *testing.T) {
	ctx := t.Context()
	w, a, b := rsaRegions(t)
	material := make([]byte, 32)
	if _, err := rand.Read(material); err != nil {
		t.Fatal(err)
	}
	key := knownKey(t, a, material)
	a.Tokens.Forget()
	b.Tokens.Forget()
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	checkReplicated(t, a, b, key)
	checkClean(t, a, b)
	m2 := parsed[*wire.Accept](t, w.Net.Last(wire.TypeAccept))
	if m2.Suite != wire.SuiteRSASHA1 || len(m2.RAKB) != wire.RSAKeySize {
		t.Errorf("suite %s with a key of %d bytes", m2.Suite, len(m2.RAKB))
	}
	for _, r := range []*simtest.Region{a, b} {
		checkRSAParts(t, r, r == a)
	}
	h := b.Holds(ctx, key)
	if want := keyring.MaterialID(key, h.Key.Spec, tagOf(t, material)); h.Key.Current != want {
		t.Fatalf("the key's material is %s, the known one %s", h.Key.Current, want)
	}
	w.Both(ctx, key, ohio, ireland)
	e := collect(t, w, a, b)
	l, k1 := cmacKeys(t, material)
	for name, secret := range map[string][]byte{"material": material, "L": l, "K1": k1, "T": tagOf(t, material)} {
		if found := e.find(secret); len(found) != 0 {
			t.Errorf("%s is there: %v", name, found)
		}
	}
	if len(e.find(m2.RAKB[40:80])) == 0 {
		t.Error("the search does not find what was sent")
	}
}

// checkRSAParts checks the keys that an exchange made on one of its tokens.
func checkRSAParts(t *testing.T, r *simtest.Region, source bool) {
	t.Helper()
	labels := map[string]int{}
	kek := wrapKey(t, r)
	for _, m := range r.Tokens.Made() {
		labels[m.Attr.Label]++
		a := m.Attr
		switch a.Label {
		case "antipode/rak":
			if source || a.Usage != hsmbackend.UsageUnwrap || a.Extractable ||
				!slices.Equal(a.Mechanisms, []hsmbackend.Mechanism{hsmbackend.MechOAEPSHA1}) {
				t.Errorf("%s: RAKB has %+v", r.Name, a)
			}
		case "antipode/rwk":
			want := hsmbackend.UsageUnwrap
			if source {
				want = hsmbackend.UsageWrap
			}
			if a.Usage != want || a.Extractable != source || !slices.Equal(a.Mechanisms, []hsmbackend.Mechanism{hsmbackend.MechAESKWP}) {
				t.Errorf("%s: RWK has %+v", r.Name, a)
			}
		case "": // material
			continue
		}
		if a.Token || a.Scope == 0 {
			t.Errorf("%s: %s is not of the exchange's session: %+v", r.Name, a.Label, a)
		}
		if _, err := r.Token.Wrap(t.Context(), kek, m.Ref); !errors.Is(err, hsmbackend.ErrObjectNotFound) {
			t.Errorf("%s: after the exchange %s answers %v", r.Name, a.Label, err)
		}
	}
	if err := r.Token.Destroy(t.Context(), kek); err != nil {
		t.Error(err)
	}
	rak := 1
	if source {
		rak = 0
	}
	if labels["antipode/rak"] != rak || labels["antipode/rwk"] != 1 || labels["antipode/z"] != 0 {
		t.Errorf("%s made %v", r.Name, labels)
	}
}

// What an exchange's m3 says in the RSA suite can't be exchanged for what another one's says, not even under the source's
// own signature.
func rsaTampering(t *testing.T) {
	ctx := t.Context()
	w, a, b := rsaRegions(t)
	_, other := begun(t, w, a)
	o := parsed[*wire.Transfer](t, other.M3)
	for name, c := range map[string]struct {
		change func(m *wire.Transfer)
		code   string
	}{
		"RWK of another exchange":  {func(m *wire.Transfer) { m.RWK = o.RWK }, wire.CodeMaterialMismatch},
		"blob of another exchange": {func(m *wire.Transfer) { m.Materials[0].Blob = o.Materials[0].Blob }, wire.CodeMaterialMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			key, e := begun(t, w, a)
			for _, at := range []int{len(e.M3) / 4, len(e.M3) / 2, len(e.M3) - 50} {
				flipped := slices.Clone(e.M3)
				flipped[at] ^= 1
				if _, err := w.Net.Send(ctx, ohio, ireland, flipped); err == nil {
					t.Errorf("m3 with a bit of byte %d flipped was answered", at)
				}
			}
			r := wantRefusal(t, send(t, w, resign(t, a, e.M3, c.change)), c.code)
			if !r.Final {
				t.Error("the refusal is not final")
			}
			wantRefusal(t, send(t, w, e.M3), "ExchangeEnded") // there is one answer, and RAKB is gone
			if h := b.Holds(ctx, key); h.Key != nil || len(h.Materials) != 0 {
				t.Errorf("%s holds %+v", b.Name, h)
			}
		})
	}
	if n := b.Extra(); n != b.OpenExchanges(ctx) {
		t.Errorf("%d session objects for %d open exchanges", n, b.OpenExchanges(ctx))
	}
}

// Nobody on the way can bring two Regions to a weaker suite than both have, or to an RSA key of his own: the lists and
// the key are signed. A destination that chose a weaker one itself is refused too.
func rsaDowngrade(t *testing.T) {
	const tokyo = "ap-northeast-1"
	w := simtest.New(t, ohio, ireland, tokyo)
	a, b, c := w.Region(ohio), w.Region(ireland), w.Region(tokyo)
	spki, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(slices.Repeat([]byte{0xff}, 512)), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	weaker := func(m *wire.Accept) { m.Suite, m.RAKB = wire.SuiteRSASHA1, spki }
	for name, change := range map[string]func(t *testing.T, request []byte, deliver simtest.Deliver) ([]byte, error){
		"the offer's list, stripped": func(t *testing.T, request []byte, deliver simtest.Deliver) ([]byte, error) {
			t.Helper()
			return deliver(resign(t, c, request, func(o *wire.Offer) { o.Suites = []wire.Suite{wire.SuiteRSASHA1} }))
		},
		"the answer, of another Region": func(t *testing.T, request []byte, deliver simtest.Deliver) ([]byte, error) {
			t.Helper()
			got, err := deliver(request)
			return resign(t, c, got, weaker), err
		},
		"the answer, not signed anew": func(t *testing.T, request []byte, deliver simtest.Deliver) ([]byte, error) {
			t.Helper()
			got, err := deliver(request)
			m := parsed[*wire.Accept](t, resign(t, b, got, weaker))
			forged := resign(t, c, got, func(a *wire.Accept) { *a = *m })
			return append(forged[:len(forged)-96:len(forged)-96], got[len(got)-96:]...), err
		},
		"the destination's own choice": func(t *testing.T, request []byte, deliver simtest.Deliver) ([]byte, error) {
			t.Helper()
			got, err := deliver(request)
			return resign(t, b, got, weaker), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			key := a.CreateKey(ctx)
			w.Net.Forget()
			w.Net.Carry(once(wire.TypeOffer, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
				return change(t, m.Data, deliver)
			}))
			wantCode(t, a.Replicate(ctx, key, ireland), regions.CodeDependencyTimeout)
			if m := w.Net.Last(wire.TypeTransfer); m != nil {
				t.Error("a transfer was sent")
			}
			if _, ok := a.Holds(ctx, key).Key.MultiRegion.State.Member(ireland); ok {
				t.Error("is a member")
			}
		})
	}
}

// The roster's minimum keeps a peer from the RSA suites, before the token makes a key of that kind.
func rsaMinimum(t *testing.T) {
	for _, least := range []wire.Suite{wire.SuiteNullECB, wire.SuiteRSASHA256} {
		for _, in := range []string{ohio, ireland} {
			t.Run(string(least)+" in "+in, func(t *testing.T) {
				ctx := t.Context()
				w, a, b := rsaRegions(t)
				other := map[string]string{ohio: ireland, ireland: ohio}[in]
				w.Limit(in, other, func(l *roster.Limits) { l.MinSuite = string(least) })
				key := a.CreateKey(ctx)
				b.Tokens.Forget()
				wantCode(t, a.Replicate(ctx, key, ireland), regions.CodeUnsupportedOperation)
				if slices.Contains(b.Tokens.Calls(), "GenerateKeyPair") {
					t.Error("the destination's token made a key")
				}
				checkAbsent(t, a, b, key)
			})
		}
	}
}

// RSA keys are made one at a time, so that they never have the token to themselves; the exchanges that wait for it go
// through.
func rsaOneAtATime(t *testing.T) {
	ctx := t.Context()
	_, a, b := rsaRegions(t)
	var keys []string
	for range 2 {
		keys = append(keys, a.CreateKey(ctx))
	}
	var mu sync.Mutex
	var now, most int
	b.Tokens.Fail(func(op string) (bool, error) {
		if op == "GenerateKeyPair" {
			mu.Lock()
			defer mu.Unlock()
			now++
			most = max(most, now)
		}
		return false, nil
	})
	b.Tokens.OnMade(func(m simtest.Made) {
		if m.Op == "GenerateKeyPair" {
			mu.Lock()
			defer mu.Unlock()
			now--
		}
	})
	var wait sync.WaitGroup
	for _, key := range keys {
		wait.Go(func() {
			if err := a.Replicate(ctx, key, ireland); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if most != 1 {
		t.Errorf("%d RSA keys at a time", most)
	}
	for _, key := range keys {
		checkReplicated(t, a, b, key)
	}
	checkClean(t, a, b)
}
