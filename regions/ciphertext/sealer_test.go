package ciphertext

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"antipode/hsmbackend"
	"antipode/softhsm/softhsmtest"
)

func TestRoundTripOfEverySize(t *testing.T) {
	t.Parallel()
	token := softhsmtest.Open(t)
	s := newSealer(t, token, time.Now, Limits{})
	key := newKey(t, token, 1)
	plaintext := make([]byte, MaxPlaintext)
	if _, err := io.ReadFull(rand.Reader, plaintext); err != nil {
		t.Fatal(err)
	}
	for n := 0; n <= MaxPlaintext; n++ {
		raw := mustSeal(t, s, key, nil, plaintext[:n])
		if len(raw) != 91+n {
			t.Fatalf("%d bytes make a blob of %d", n, len(raw))
		}
		got, err := open(t, s, key, raw, map[string]string{})
		if err != nil || !bytes.Equal(got, plaintext[:n]) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if raw, err := s.Seal(t.Context(), key, nil, make([]byte, MaxPlaintext+1)); !errors.Is(err, ErrPlaintext) || raw != nil {
		t.Errorf("4097 bytes: %v", err)
	}
}

// requireInvalid fails unless raw is refused by ErrInvalid itself.
func requireInvalid(t testing.TB, what string, s *Sealer, key KeyHandle, raw []byte, context map[string]string) {
	t.Helper()
	plaintext, err := open(t, s, key, raw, context)
	if err != ErrInvalid || plaintext != nil { //nolint:errorlint // the very same error, with nothing around it
		t.Errorf("%s: %q, %v", what, plaintext, err)
	}
}

func TestEveryBitCounts(t *testing.T) {
	t.Parallel()
	token := softhsmtest.Open(t)
	s := newSealer(t, token, time.Now, Limits{})
	key := newKey(t, token, 1)
	raw := mustSeal(t, s, key, map[string]string{"k": "v"}, []byte("plaintext"))
	for i := range 8 * len(raw) {
		flipped := bytes.Clone(raw)
		flipped[i/8] ^= 1 << (i % 8)
		requireInvalid(t, "flipped", s, key, flipped, map[string]string{"k": "v"})
		// With a handle that agrees with the forged header, the tag alone must refuse it.
		if b, err := Parse(flipped); err == nil && i < 8*headerLength {
			forged := KeyHandle{KeyID: b.KeyID(), MaterialID: b.MaterialID(), Ref: key.Ref}
			requireInvalid(t, "flipped header", s, forged, flipped, map[string]string{"k": "v"})
		}
	}
	for n := range raw {
		requireInvalid(t, "cut off", s, key, raw[:n], map[string]string{"k": "v"})
		requireInvalid(t, "cut off in front", s, key, raw[n+1:], map[string]string{"k": "v"})
	}
	requireInvalid(t, "longer", s, key, append(bytes.Clone(raw), 0), map[string]string{"k": "v"})
	if got, err := open(t, s, key, raw, map[string]string{"k": "v"}); err != nil || string(got) != "plaintext" {
		t.Errorf("unaltered: %q, %v", got, err)
	}
}

func TestContextMustMatch(t *testing.T) {
	t.Parallel()
	token := softhsmtest.Open(t)
	s := newSealer(t, token, time.Now, Limits{})
	key := newKey(t, token, 1)
	context := rapid.MapOfN(rapid.StringN(0, 3, 12), rapid.StringN(0, 3, 12), 0, 3)
	rapid.Check(t, func(rt *rapid.T) {
		made, other := context.Draw(rt, "made"), context.Draw(rt, "other")
		plaintext := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(rt, "plaintext")
		raw := mustSeal(t, s, key, made, plaintext)
		if got, err := open(t, s, key, raw, made); err != nil || !bytes.Equal(got, plaintext) {
			rt.Fatalf("%q, %v", got, err)
		}
		madeRaw, err1 := Canonical(made)
		otherRaw, err2 := Canonical(other)
		if err1 != nil || err2 != nil {
			rt.Fatal(err1, err2)
		}
		if !bytes.Equal(madeRaw, otherRaw) {
			requireInvalid(t, "other context", s, key, raw, other)
		}
	})
	raw := mustSeal(t, s, key, map[string]string{"a": "bc"}, []byte("x"))
	for _, other := range []map[string]string{nil, {"ab": "c"}, {"a": "bc", "": ""}, {"a": "BC"}, {"A": "bc"}, {"a": "bc "}} {
		requireInvalid(t, "other context", s, key, raw, other)
	}
	bad := map[string]string{"a": "\xff"}
	if _, err := s.Seal(t.Context(), key, bad, nil); !errors.Is(err, ErrContext) {
		t.Errorf("seal: %v", err)
	}
	if _, err := open(t, s, key, raw, map[string]string{"a": strings.Repeat("x", MaxContext)}); !errors.Is(err, ErrContext) {
		t.Errorf("open: %v", err)
	}
}

func TestKeyMustMatch(t *testing.T) {
	t.Parallel()
	token := softhsmtest.Open(t)
	s := newSealer(t, token, time.Now, Limits{})
	a, b := newKey(t, token, 1), newKey(t, token, 2)
	raw := mustSeal(t, s, a, nil, []byte("x"))
	requireInvalid(t, "other key", s, b, raw, nil)
	requireInvalid(t, "other key id", s, KeyHandle{KeyID: b.KeyID, MaterialID: a.MaterialID, Ref: a.Ref}, raw, nil)
	requireInvalid(t, "other material", s, KeyHandle{KeyID: a.KeyID, MaterialID: b.MaterialID, Ref: a.Ref}, raw, nil)
	requireInvalid(t, "malformed key id", s, KeyHandle{KeyID: "x", MaterialID: a.MaterialID, Ref: a.Ref}, raw, nil)
	// A handle that claims the ids of the right key, but is another key.
	requireInvalid(t, "other object", s, KeyHandle{KeyID: a.KeyID, MaterialID: a.MaterialID, Ref: b.Ref}, raw, nil)
	if _, err := s.Seal(t.Context(), KeyHandle{KeyID: "x", MaterialID: a.MaterialID, Ref: a.Ref}, nil, nil); err == nil {
		t.Error("sealed with a malformed key id")
	}
}

// TestNoncesDiffer seals within one period and finds one prefix, and no nonce twice.
func TestNoncesDiffer(t *testing.T) {
	t.Parallel()
	token := softhsmtest.Open(t)
	s := newSealer(t, token, time.Now, Limits{})
	key := newKey(t, token, 1)
	nonces, prefixes := map[string]bool{}, map[string]bool{}
	for range 500 {
		raw := mustSeal(t, s, key, nil, nil)
		nonces[string(raw[51:75])], prefixes[string(raw[51:63])] = true, true
	}
	if len(nonces) != 500 || len(prefixes) != 1 {
		t.Errorf("%d nonces with %d prefixes", len(nonces), len(prefixes))
	}
}

// badIV is a token that answers another IV than it should.
type badIV struct {
	hsmbackend.Token
	own bool // it says that it makes the IV
	iv  func(asked [12]byte) [12]byte
}

func (b badIV) Capabilities() hsmbackend.Capabilities {
	c := b.Token.Capabilities()
	c.GCMIVFromToken = b.own
	return c
}

func (b badIV) SealGCM(ctx context.Context, key hsmbackend.KeyRef, iv [12]byte, plaintext, aad []byte) ([]byte, [12]byte, error) {
	return b.Token.SealGCM(ctx, key, b.iv(iv), plaintext, aad)
}

// TestIVIsTheOneThatWasToBeUsed: a caller's IV comes back as it was, a token's is not the zeros that it was given.
func TestIVIsTheOneThatWasToBeUsed(t *testing.T) {
	t.Parallel()
	token := softhsmtest.Open(t)
	key := newKey(t, token, 1)
	other := func([12]byte) [12]byte { return [12]byte{1} }
	same := func(asked [12]byte) [12]byte { return asked }
	for name, c := range map[string]struct {
		token badIV
		good  bool
	}{
		"caller's":               {badIV{token, false, same}, true},
		"caller's, and another":  {badIV{token, false, other}, false},
		"token's":                {badIV{token, true, other}, true},
		"token's, but none made": {badIV{token, true, same}, false},
	} {
		raw, err := newSealer(t, c.token, time.Now, Limits{}).Seal(t.Context(), key, nil, []byte("x"))
		if c.good && err != nil || !c.good && (!errors.Is(err, hsmbackend.ErrTokenLies) || raw != nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRandomSourceFails(t *testing.T) {
	t.Parallel()
	p := newProbe(t)
	key := newKey(t, p, 1)
	for _, n := range []int64{0, 11, 12, 23} { // bytes that the source has: two halves of 12 are needed
		s, err := New(p, io.LimitReader(rand.Reader, n), time.Now, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := s.Seal(t.Context(), key, nil, []byte("x")); err == nil || raw != nil {
			t.Errorf("sealed with %d random bytes", n)
		}
	}
	p.requireLive(t, 0)
}

func TestLimitsAreChecked(t *testing.T) {
	t.Parallel()
	for _, l := range []Limits{{Messages: MaxMessages + 1}, {Messages: -1}, {Age: MaxAge + 1}, {Age: -1}} {
		if s, err := New(nil, rand.Reader, time.Now, l); err == nil || s != nil {
			t.Errorf("%+v is accepted", l)
		}
	}
	l, err := Limits{}.withDefaults()
	if err != nil || l != (Limits{Messages: 1024, Age: time.Minute, EncryptKeys: 256, DecryptKeys: 1024}) {
		t.Errorf("the defaults are %+v, %v", l, err)
	}
}

// TestDerivedKeysAreNarrow checks what the token is asked for: one direction, AES-GCM alone, a session object.
func TestDerivedKeysAreNarrow(t *testing.T) {
	t.Parallel()
	p := newProbe(t)
	s := newSealer(t, p, time.Now, Limits{})
	key := newKey(t, p, 1)
	raw := mustSeal(t, s, key, nil, []byte("x"))
	if _, err := open(t, s, key, raw, nil); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var got []hsmbackend.Usage
	for _, ref := range p.all {
		a := p.live[ref]
		got = append(got, a.Usage)
		if a.Token || a.Extractable || a.Scope != 0 || !slices.Equal(a.Mechanisms, []hsmbackend.Mechanism{hsmbackend.MechAESGCM}) {
			t.Errorf("derived with %+v", a)
		}
	}
	if !slices.Equal(got, []hsmbackend.Usage{hsmbackend.UsageEncrypt, hsmbackend.UsageDecrypt}) {
		t.Errorf("usages %v", got)
	}
}
