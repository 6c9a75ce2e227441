package hsmtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"math/big"
	"slices"
	"testing"

	"antipode/hsmbackend"
)

// sealing makes a key that SealGCM and OpenGCM take, as far as use allows, of a known value. Where the token has no
// AES-GCM that is a message key. done destroys it.
func sealing(t *testing.T, tok hsmbackend.Token, use hsmbackend.Usage) (ref hsmbackend.KeyRef, value []byte, done func()) {
	t.Helper()
	material, attr := secretBytes(t, 32), attributes("message key", use, hsmbackend.MechAESGCM)
	if !tok.Capabilities().GCMOnHost() {
		ref = Import(t, tok, hsmbackend.AES256, material, attr)
		return ref, material, func() { destroy(t, tok, ref) }
	}
	prefix := [12]byte(secretBytes(t, 12))
	base := Import(t, tok, hsmbackend.AES256, material, WorkingCopy(tok))
	ref = must(tok.DeriveXAES(t.Context(), base, prefix, attr))(t)
	return ref, softXAES(t, material, 'X', prefix[:]), func() {
		destroy(t, tok, ref)
		destroy(t, tok, base)
	}
}

func gcm(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	k, material, done := sealing(t, tok, useCrypt)
	defer done()
	for _, n := range []int{0, 1, 15, 16, 17, 4096, 65536} {
		plaintext, aad, want := secretBytes(t, n), secretBytes(t, 1+n/7), [12]byte(secretBytes(t, 12))
		sealed, iv, err := tok.SealGCM(ctx, k, want, plaintext, aad)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if iv != want && !tok.Capabilities().GCMIVFromToken {
			t.Errorf("%d bytes: another IV was used", n)
		}
		if !bytes.Equal(sealed, softGCM(t, material).Seal(nil, iv[:], plaintext, aad)) {
			t.Errorf("%d bytes: not AES-256-GCM with a 16-byte tag", n)
		}
		got, err := tok.OpenGCM(ctx, k, iv, sealed, aad)
		if err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("%d bytes: opened %d bytes, %v", n, len(got), err)
		}
	}
}

func gcmTampered(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	k, _, done := sealing(t, tok, useCrypt)
	defer done()
	plaintext, aad := []byte("some plaintext"), []byte("some aad")
	sealed, iv, err := tok.SealGCM(ctx, k, [12]byte{1}, plaintext, aad)
	if err != nil {
		t.Fatal(err)
	}
	try := func(name string, iv [12]byte, sealed, aad []byte) {
		t.Helper()
		got, err := tok.OpenGCM(ctx, k, iv, sealed, aad)
		wants(t, err, hsmbackend.ErrIntegrity, name)
		if len(got) != 0 {
			t.Errorf("%s: %d bytes came out", name, len(got))
		}
	}
	for i := range sealed {
		bad := slices.Clone(sealed)
		bad[i] ^= 1
		try("a bit of the ciphertext", iv, bad, aad)
	}
	badIV := iv
	badIV[11] ^= 1
	try("the IV", badIV, sealed, aad)
	try("the aad", iv, sealed, []byte("some aaD"))
	try("a longer aad", iv, sealed, append(slices.Clone(aad), 0))
	try("cut short", iv, sealed[:len(sealed)-1], aad)
	try("only a tag", iv, sealed[:16], aad)
	try("less than a tag", iv, sealed[:15], aad)
	try("nothing", iv, nil, aad)
	try("longer", iv, append(slices.Clone(sealed), 0), aad)
	other, _, doneOther := sealing(t, tok, useCrypt)
	defer doneOther()
	_, err = tok.OpenGCM(ctx, other, iv, sealed, aad)
	wants(t, err, hsmbackend.ErrIntegrity, "another key")
	if got, err := tok.OpenGCM(ctx, k, iv, sealed, aad); err != nil || !bytes.Equal(got, plaintext) {
		t.Errorf("the session does not serve any more: %v", err)
	}
}

func gcmLimits(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	k, _, done := sealing(t, tok, useCrypt)
	defer done()
	for _, aad := range [][]byte{nil, {}} {
		_, _, err := tok.SealGCM(ctx, k, [12]byte{}, []byte("x"), aad)
		wants(t, err, hsmbackend.ErrInvalidInput, "seal without aad")
		_, err = tok.OpenGCM(ctx, k, [12]byte{}, make([]byte, 32), aad)
		wants(t, err, hsmbackend.ErrInvalidInput, "open without aad")
	}
	_, _, err := tok.SealGCM(ctx, k, [12]byte{}, make([]byte, 65537), []byte("a"))
	wants(t, err, hsmbackend.ErrInvalidInput, "seal too much")
	_, err = tok.OpenGCM(ctx, k, [12]byte{}, make([]byte, 65536+17), []byte("a"))
	wants(t, err, hsmbackend.ErrInvalidInput, "open too much")
}

func signs(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	for _, token := range []bool{true, false} {
		a := attributes("signer", hsmbackend.UsageSign, hsmbackend.MechECDSA)
		a.Token = token
		ref, der, err := tok.GenerateKeyPair(ctx, hsmbackend.ECP384, a)
		if err != nil {
			t.Fatal(err)
		}
		pub := publicKey(t, der)
		for range 20 { // r or s is short about once in 128 signatures; the length must not show it
			digest := sha512.Sum384(secretBytes(t, 10))
			sig := must(tok.SignECDSA(ctx, ref, digest[:]))(t)
			if len(sig) != 96 {
				t.Fatalf("token %v: signature of %d bytes", token, len(sig))
			}
			r, s := new(big.Int).SetBytes(sig[:48]), new(big.Int).SetBytes(sig[48:])
			if !ecdsa.Verify(pub, digest[:], r, s) {
				t.Errorf("token %v: the signature is not valid", token)
			}
		}
		for _, n := range []int{0, 32, 47, 49, 64} {
			_, err := tok.SignECDSA(ctx, ref, make([]byte, n))
			wants(t, err, hsmbackend.ErrInvalidInput, "digest of another length")
		}
		destroy(t, tok, ref)
		_, err = tok.SignECDSA(ctx, ref, make([]byte, 48))
		wants(t, err, hsmbackend.ErrObjectNotFound, "sign with a destroyed key")
	}
	_, err := tok.SignECDSA(ctx, hsmbackend.KeyRef{Class: hsmbackend.ClassSecret}, make([]byte, 48))
	wants(t, err, hsmbackend.ErrInvalidInput, "sign with a secret key")
}

func macs(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	material := secretBytes(t, 32)
	k := Import(t, tok, hsmbackend.HMACSHA256, material, macAttributes())
	defer destroy(t, tok, k)
	for _, n := range []int{1, 64, 4096, 65536} {
		data := secretBytes(t, n)
		h := hmac.New(sha256.New, material)
		h.Write(data)
		if mac := must(tok.MAC(ctx, k, data))(t); !hmac.Equal(mac, h.Sum(nil)) {
			t.Errorf("%d bytes: not HMAC-SHA-256", n)
		}
	}
	for _, n := range []int{0, 65537} {
		_, err := tok.MAC(ctx, k, make([]byte, n))
		wants(t, err, hsmbackend.ErrInvalidInput, "mac of too much or nothing")
	}
}

func mechanismsEnforced(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	// The working copy may do AES-ECB only, though its usage has ENCRYPT.
	k := key(t, tok, hsmbackend.AES256, WorkingCopy(tok))
	defer destroy(t, tok, k)
	refusal := hsmbackend.ErrNotPermitted
	if tok.Capabilities().GCMOnHost() {
		refusal = hsmbackend.ErrUnsupported
	}
	_, _, err := tok.SealGCM(ctx, k, [12]byte{}, []byte("x"), []byte("a"))
	wants(t, err, refusal, "GCM with a key for ECB")
	g := key(t, tok, hsmbackend.AES256, gcmAttributes())
	defer destroy(t, tok, g)
	_, err = tok.Tag(ctx, g)
	wants(t, err, hsmbackend.ErrNotPermitted, "ECB with a key for GCM")
	pair, _, err := tok.GenerateKeyPair(ctx, hsmbackend.ECP384,
		attributes("pair", hsmbackend.UsageSign|hsmbackend.UsageDerive, hsmbackend.MechECDH))
	if err != nil {
		t.Fatal(err)
	}
	defer destroy(t, tok, pair)
	_, err = tok.SignECDSA(ctx, pair, make([]byte, 48))
	wants(t, err, hsmbackend.ErrNotPermitted, "ECDSA with a key for ECDH")
}

func usagesEnforced(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	plain := key(t, tok, hsmbackend.AES256, extractable(gcmAttributes()))
	defer destroy(t, tok, plain)
	with := func(use hsmbackend.Usage, kt hsmbackend.KeyType, mechs ...hsmbackend.Mechanism) hsmbackend.KeyRef {
		k := key(t, tok, kt, attributes("limited", use, mechs...))
		return k
	}
	wrapOnly := with(hsmbackend.UsageWrap, hsmbackend.AES256, hsmbackend.MechAESKWP)
	defer destroy(t, tok, wrapOnly)
	blob := must(tok.Wrap(ctx, wrapOnly, plain))(t)
	_, err := tok.Unwrap(ctx, wrapOnly, blob, hsmbackend.AES256, gcmAttributes())
	wants(t, err, hsmbackend.ErrNotPermitted, "unwrap with a key for wrapping")

	unwrapOnly := with(hsmbackend.UsageUnwrap, hsmbackend.AES256, hsmbackend.MechAESKWP)
	defer destroy(t, tok, unwrapOnly)
	_, err = tok.Wrap(ctx, unwrapOnly, plain)
	wants(t, err, hsmbackend.ErrNotPermitted, "wrap with a key for unwrapping")

	encryptOnly, _, doneEncrypt := sealing(t, tok, hsmbackend.UsageEncrypt)
	defer doneEncrypt()
	sealed, iv, err := tok.SealGCM(ctx, encryptOnly, [12]byte{}, []byte("x"), []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = tok.OpenGCM(ctx, encryptOnly, iv, sealed, []byte("a"))
	wants(t, err, hsmbackend.ErrNotPermitted, "open with a key for sealing")

	decryptOnly, _, doneDecrypt := sealing(t, tok, hsmbackend.UsageDecrypt)
	defer doneDecrypt()
	_, _, err = tok.SealGCM(ctx, decryptOnly, [12]byte{}, []byte("x"), []byte("a"))
	wants(t, err, hsmbackend.ErrNotPermitted, "seal with a key for opening")

	if tok.Capabilities().GCMOnHost() {
		hostKeysEnforced(t, tok)
	} else {
		noDerive := with(hsmbackend.UsageEncrypt, hsmbackend.AES256, WorkingCopy(tok).Mechanisms...)
		defer destroy(t, tok, noDerive)
		_, err = tok.DeriveXAES(ctx, noDerive, [12]byte{}, gcmAttributes())
		wants(t, err, hsmbackend.ErrNotPermitted, "derive from a key that may not")
	}

	noSign := with(hsmbackend.UsageVerify, hsmbackend.HMACSHA256, hsmbackend.MechHMACSHA256)
	defer destroy(t, tok, noSign)
	_, err = tok.MAC(ctx, noSign, []byte("x"))
	wants(t, err, hsmbackend.ErrNotPermitted, "MAC with a key that may not sign")
	_, err = tok.MAC(ctx, plain, []byte("x"))
	wants(t, err, hsmbackend.ErrNotPermitted, "MAC with an AES key")
}

// hostKeysEnforced shows what a message key in host memory may not do, and that it is nothing without its base key.
func hostKeysEnforced(t *testing.T, tok hsmbackend.Token) {
	t.Helper()
	ctx := t.Context()
	noEncrypt := key(t, tok, hsmbackend.AES256, attributes("limited", hsmbackend.UsageDerive, hsmbackend.MechAESECB))
	defer destroy(t, tok, noEncrypt)
	d := must(tok.DeriveXAES(ctx, noEncrypt, [12]byte{}, gcmAttributes()))(t)
	defer destroy(t, tok, d)
	_, _, err := tok.SealGCM(ctx, d, [12]byte{}, []byte("x"), []byte("a"))
	wants(t, err, hsmbackend.ErrNotPermitted, "a message key of a key that may not encrypt")

	base := key(t, tok, hsmbackend.AES256, WorkingCopy(tok))
	kek := key(t, tok, hsmbackend.AES256, kekAttributes())
	defer destroy(t, tok, kek)
	for name, change := range map[string]func(*hsmbackend.Attributes){
		"a token object":    func(a *hsmbackend.Attributes) { a.Token = true },
		"extractable":       func(a *hsmbackend.Attributes) { a.Extractable = true },
		"another mechanism": func(a *hsmbackend.Attributes) { a.Mechanisms = WorkingCopy(tok).Mechanisms },
	} {
		a := gcmAttributes()
		change(&a)
		_, err := tok.DeriveXAES(ctx, base, [12]byte{}, a)
		wants(t, err, hsmbackend.ErrInvalidInput, name)
	}
	d2 := must(tok.DeriveXAES(ctx, base, [12]byte{}, gcmAttributes()))(t)
	defer destroy(t, tok, d2)
	_, err = tok.Wrap(ctx, kek, d2)
	wants(t, err, hsmbackend.ErrNotPermitted, "wrap a message key")
	_, err = tok.Tag(ctx, d2)
	wants(t, err, hsmbackend.ErrNotPermitted, "tag of a message key")
	if _, _, err := tok.SealGCM(ctx, d2, [12]byte{}, []byte("x"), []byte("a")); err != nil {
		t.Error(err)
	}
	d3 := must(tok.DeriveXAES(ctx, base, [12]byte{}, gcmAttributes()))(t)
	destroy(t, tok, d3)
	_, _, err = tok.SealGCM(ctx, d3, [12]byte{}, []byte("x"), []byte("a"))
	wants(t, err, hsmbackend.ErrObjectNotFound, "a message key that is destroyed")
	destroy(t, tok, base)
	_, _, err = tok.SealGCM(ctx, d2, [12]byte{}, []byte("x"), []byte("a"))
	wants(t, err, hsmbackend.ErrObjectNotFound, "a message key whose base key is destroyed")
}
