package ciphertext

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/hsmbackend/hsmtest/shimtest"
)

// seat is a token of one way with the one material of the test on it.
type seat struct {
	shimtest.Way
	token  hsmbackend.Token
	sealer *Sealer
	key    KeyHandle
}

func seats(t *testing.T, material []byte) []seat {
	t.Helper()
	module := shimtest.Build(t)
	var all []seat
	for _, w := range shimtest.Ways() {
		token := module.Open(t, w.Behaviours...)
		all = append(all, seat{w, token, newSealer(t, token, time.Now, Limits{}), imported(t, token, material)})
	}
	return all
}

// TestEveryWayOpensEveryOther encrypts on a token of each way, compares with the software, and decrypts on each.
func TestEveryWayOpensEveryOther(t *testing.T) {
	t.Parallel()
	material := make([]byte, 32)
	if _, err := rand.Read(material); err != nil {
		t.Fatal(err)
	}
	all := seats(t, material)
	context := map[string]string{"purpose": "matrix"}
	canonical, err := Canonical(context)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range all {
		for _, n := range []int{0, 1, 32, MaxPlaintext} {
			plaintext := bytes.Repeat([]byte{'p'}, n)
			raw := mustSeal(t, from.sealer, from.key, context, plaintext)
			b, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			aad := append([]byte("antipode/aad/1\x00\x33"), b.header[:]...)
			if want := softwareSeal(material, b.nonce[:], plaintext, append(aad, canonical...)); !bytes.Equal(b.sealed, want) {
				t.Errorf("%s: %d bytes: not XAES-256-GCM", from.Name, n)
			}
			for _, to := range all {
				if got, err := open(t, to.sealer, to.key, raw, context); err != nil || !bytes.Equal(got, plaintext) {
					t.Errorf("%s to %s: %d bytes: %v", from.Name, to.Name, n, err)
				}
				requireInvalid(t, from.Name+" to "+to.Name+", other context", to.sealer, to.key, raw, nil)
			}
		}
	}
}

// TestGoldenBlobsInEveryWay opens the golden blobs on each, and makes the first of them where the nonce can be told.
func TestGoldenBlobsInEveryWay(t *testing.T) {
	t.Parallel()
	for _, g := range goldenBlobs() {
		raw, err := hex.DecodeString(g.blob)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range seats(t, g.key) {
			key := KeyHandle{KeyID: g.keyID, MaterialID: testMaterial, Ref: s.key.Ref}
			if got, err := open(t, s.sealer, key, raw, g.context); err != nil || string(got) != g.plaintext {
				t.Errorf("%s: opened %q, %v", s.Name, got, err)
			}
			if s.OwnIV {
				continue
			}
			fixed := fixedSealer(t, s.token, c2spNonce)
			if got := mustSeal(t, fixed, key, g.context, []byte(g.plaintext)); !bytes.Equal(got, raw) {
				t.Errorf("%s: sealed %x", s.Name, got)
			}
			if err := fixed.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestTokenMakesTheIV: the last 12 bytes of a nonce are what the token made, no two alike, and the random source gives
// the first 12, once a period.
func TestTokenMakesTheIV(t *testing.T) {
	t.Parallel()
	p := newProbeOn(shimtest.Build(t).Open(t, shimtest.GCMIV))
	key := newKey(t, p, 1)
	const prefixes = "0123456789abABCDEFGHIJKL"
	s, err := New(p, bytes.NewReader([]byte(prefixes)), time.Now, Limits{Messages: 20})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i := range 40 {
		raw := mustSeal(t, s, key, nil, []byte("x"))
		if prefix, want := string(raw[51:63]), prefixes[i/20*12:][:12]; prefix != want {
			t.Errorf("message %d: the nonce begins with %q, not %q", i, prefix, want)
		}
		if !bytes.Equal(raw[63:75], p.ivs[i][:]) {
			t.Errorf("message %d: the nonce ends with %x, the token made %x", i, raw[63:75], p.ivs[i])
		}
		seen[string(raw[63:75])] = true
		if got, err := open(t, s, key, raw, nil); err != nil || string(got) != "x" {
			t.Errorf("message %d: %q, %v", i, got, err)
		}
	}
	if len(seen) != 40 {
		t.Errorf("40 messages have %d IVs", len(seen))
	}
	p.requireSeals(t, 20)
	if _, err := s.Seal(t.Context(), key, nil, nil); err == nil {
		t.Error("a third period began without randomness")
	}
}

// TestHostGCMKeepsNoKey: on a token without AES-GCM each message has a key of its own, whatever the limits ask for, and
// none outlives its call.
func TestHostGCMKeepsNoKey(t *testing.T) {
	t.Parallel()
	p := newProbeOn(shimtest.Build(t).Open(t, shimtest.NoGCM))
	s := newSealer(t, p, time.Now, Limits{Messages: MaxMessages, EncryptKeys: 100, DecryptKeys: 100})
	key := newKey(t, p, 1)
	nonces := map[string]bool{}
	for range 20 {
		raw := mustSeal(t, s, key, nil, []byte("x"))
		p.requireLive(t, 0)
		nonces[string(raw[51:63])] = true
		if got, err := open(t, s, key, raw, nil); err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
		p.requireLive(t, 0)
	}
	if derived, _, most := p.counts(); derived != 40 || most != 1 || len(nonces) != 20 {
		t.Errorf("%d keys derived, %d at most, %d prefixes", derived, most, len(nonces))
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if _, err := s.Seal(t.Context(), key, nil, []byte("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	p.requireSeals(t, 1)
	p.requireLive(t, 0)
	if session := hsmtest.SessionObjects(t, p.Token); session != 1 {
		t.Errorf("%d session objects, want the key alone", session)
	}
}

// TestNonceIsRandomThroughout: over many periods each of the 24 bytes takes many values, so that none is a counter or
// fixed. That a byte of 200 random ones takes fewer than 80 values has a chance of less than 2^-60.
func TestNonceIsRandomThroughout(t *testing.T) {
	t.Parallel()
	for _, s := range seats(t, bytes.Repeat([]byte{7}, 32)) {
		sealer := newSealer(t, s.token, time.Now, Limits{Messages: 1})
		var nonces [][]byte
		for range 200 {
			nonces = append(nonces, mustSeal(t, sealer, s.key, nil, nil)[51:75])
		}
		steps := 0
		for i := range 24 {
			values := map[byte]bool{}
			for j, n := range nonces {
				values[n[i]] = true
				if j > 0 && n[i] == nonces[j-1][i]+1 {
					steps++
				}
			}
			if len(values) < 80 {
				t.Errorf("%s: byte %d takes %d values", s.Name, i, len(values))
			}
		}
		if steps > 100 { // 4800/256 = 19 by chance
			t.Errorf("%s: %d bytes are one more than before", s.Name, steps)
		}
	}
}

// oneRead is a source that fails a read which asks for more than one half of a nonce: no bytes are drawn ahead.
type oneRead struct{ sizes []int }

func (r *oneRead) Read(b []byte) (int, error) {
	r.sizes = append(r.sizes, len(b))
	return io.ReadFull(rand.Reader, b)
}

// TestNothingIsDrawnAhead: a message draws the 12 bytes of its IV when it is encrypted, a period those of its prefix when
// it begins. A buffer would be shared with a clone of the machine.
func TestNothingIsDrawnAhead(t *testing.T) {
	t.Parallel()
	p := newProbe(t)
	key := newKey(t, p, 1)
	source := &oneRead{}
	s, err := New(p, source, time.Now, Limits{Messages: 2})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		mustSeal(t, s, key, nil, nil)
	}
	if want := []int{12, 12, 12, 12, 12, 12}; !slices.Equal(source.sizes, want) {
		t.Errorf("drawn %v, want %v", source.sizes, want)
	}
}
