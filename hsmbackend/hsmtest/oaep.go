package hsmtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"slices"
	"testing"

	"antipode/hsmbackend"
)

// oaepHashes are the OAEP mechanisms with their hashes in software.
func oaepHashes() map[hsmbackend.Mechanism]crypto.Hash {
	return map[hsmbackend.Mechanism]crypto.Hash{hsmbackend.MechOAEPSHA256: crypto.SHA256, hsmbackend.MechOAEPSHA1: crypto.SHA1}
}

func spki(t *testing.T, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// rsaPair makes a pair on the token that can unwrap, and nothing else.
func rsaPair(t *testing.T, tok hsmbackend.Token, hash hsmbackend.Mechanism) (hsmbackend.KeyRef, *rsa.PublicKey, []byte) {
	t.Helper()
	ref, der, err := tok.GenerateKeyPair(t.Context(), hsmbackend.RSA4096, attributes("pair", hsmbackend.UsageUnwrap, hash))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	pub, ok := parsed.(*rsa.PublicKey)
	if !ok || pub.N.BitLen() != 4096 || pub.E != 65537 {
		t.Fatalf("the public key is a %T: %+v", parsed, parsed)
	}
	return ref, pub, der
}

func seal(t *testing.T, pub *rsa.PublicKey, hash crypto.Hash, value []byte) []byte {
	t.Helper()
	blob, err := rsa.EncryptOAEP(hash.New(), rand.Reader, pub, value, nil)
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

// oaep: what software wraps the token unwraps, and the other way; what was tampered with it refuses.
func oaep(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	some := false
	for hash, soft := range oaepHashes() {
		if !tok.Capabilities().HasMechanism(hash) {
			_, err := tok.WrapOAEP(ctx, nil, hash, hsmbackend.KeyRef{})
			wants(t, err, hsmbackend.ErrUnsupported, "wrap, "+string(hash))
			_, err = tok.UnwrapOAEP(ctx, hsmbackend.KeyRef{}, hash, nil, hsmbackend.AES256, gcmAttributes())
			wants(t, err, hsmbackend.ErrUnsupported, "unwrap, "+string(hash))
			continue
		}
		some = true
		before, counts := count(t, tok)
		pair, pub, der := rsaPair(t, tok, hash)
		if now, _ := count(t, tok); counts && now[0] != before[0]+1 {
			t.Errorf("%d session objects, were %d: is the public half still there?", now[0], before[0])
		}
		value := secretBytes(t, 32)
		ref := must(tok.UnwrapOAEP(ctx, pair, hash, seal(t, pub, soft, value), hsmbackend.AES256, checkable(tok)))(t)
		isKey(t, tok, ref, value)
		_, err := tok.WrapOAEP(ctx, der, hash, ref)
		wants(t, err, hsmbackend.ErrNotExtractable, "wrap what may not leave")
		destroy(t, tok, ref)

		// The software's private key opens what the token wraps, and there is nothing left of the public one.
		ours, err := rsa.GenerateKey(rand.Reader, 4096)
		if err != nil {
			t.Fatal(err)
		}
		known := Import(t, tok, hsmbackend.AES256, value, extractable(gcmAttributes()))
		held, _ := count(t, tok)
		blob := must(tok.WrapOAEP(ctx, spki(t, &ours.PublicKey), hash, known))(t)
		if now, _ := count(t, tok); now != held {
			t.Errorf("objects %v after wrapping, were %v", now, held)
		}
		if again := must(tok.WrapOAEP(ctx, spki(t, &ours.PublicKey), hash, known))(t); slices.Equal(again, blob) {
			t.Error("OAEP repeats itself")
		}
		got, err := rsa.DecryptOAEP(soft.New(), nil, ours, blob, nil)
		if err != nil || !slices.Equal(got, value) {
			t.Errorf("%s: the software opens %d bytes, %v", hash, len(got), err)
		}
		destroy(t, tok, known)
		oaepTampered(t, tok, pair, pub, hash, blob)
		destroy(t, tok, pair)
	}
	if some {
		oaepRefuses(t, tok)
	}
}

// oaepTampered: foreign is a blob for another key.
func oaepTampered(t *testing.T, tok hsmbackend.Token, pair hsmbackend.KeyRef, pub *rsa.PublicKey, hash hsmbackend.Mechanism, foreign []byte) {
	t.Helper()
	ctx := t.Context()
	soft, value := oaepHashes()[hash], secretBytes(t, 32)
	good := seal(t, pub, soft, value)
	for i := 0; i < len(good); i += 41 {
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		_, err := tok.UnwrapOAEP(ctx, pair, hash, bad, hsmbackend.AES256, gcmAttributes())
		wants(t, err, hsmbackend.ErrIntegrity, "one bit changed")
	}
	other := crypto.SHA512
	labelled, err := rsa.EncryptOAEP(soft.New(), rand.Reader, pub, value, []byte("label"))
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"another key's": foreign, "zeros": make([]byte, 512), "ones": slices.Repeat([]byte{0xff}, 512), "short": good[:511],
		"long": append(slices.Clone(good), 0), "empty": nil, "another hash": seal(t, pub, other, value), "a label": labelled,
	} {
		_, err := tok.UnwrapOAEP(ctx, pair, hash, bad, hsmbackend.AES256, gcmAttributes())
		wants(t, err, hsmbackend.ErrIntegrity, name)
	}
	// The session still serves.
	ref := must(tok.UnwrapOAEP(ctx, pair, hash, good, hsmbackend.AES256, gcmAttributes()))(t)
	destroy(t, tok, ref)
	// The pair does nothing else.
	_, err = tok.SignECDSA(ctx, pair, make([]byte, 48))
	if err == nil {
		t.Error("the pair signs")
	}
	_, err = tok.Unwrap(ctx, pair, make([]byte, 40), hsmbackend.AES256, gcmAttributes())
	if err == nil {
		t.Error("the pair unwraps by AES-KWP")
	}
	if _, err = tok.Wrap(ctx, pair, pair); err == nil {
		t.Error("the pair wraps itself")
	}
}

func oaepRefuses(t *testing.T, tok hsmbackend.Token) {
	t.Helper()
	ctx := t.Context()
	hash := hsmbackend.MechOAEPSHA256
	if !tok.Capabilities().HasMechanism(hash) {
		hash = hsmbackend.MechOAEPSHA1
	}
	k := key(t, tok, hsmbackend.AES256, extractable(gcmAttributes()))
	defer destroy(t, tok, k)
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := new(big.Int).Lsh(big.NewInt(1), 4095)
	odd := new(big.Int).Add(n, big.NewInt(1))
	for name, bad := range map[string][]byte{
		"empty": nil, "garbage": make([]byte, 550), "2048 bits": spki(t, &small.PublicKey), "EC": spki(t, &ec.PublicKey),
		"even": spki(t, &rsa.PublicKey{N: n, E: 65537}), "e = 3": spki(t, &rsa.PublicKey{N: odd, E: 3}),
		"4097 bits": spki(t, &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(n, 1), big.NewInt(1)), E: 65537}),
	} {
		_, err := tok.WrapOAEP(ctx, bad, hash, k)
		wants(t, err, hsmbackend.ErrInvalidInput, name)
	}
	_, err = tok.WrapOAEP(ctx, nil, hsmbackend.MechAESKWP, k)
	wants(t, err, hsmbackend.ErrInvalidInput, "not an OAEP mechanism")
	_, err = tok.UnwrapOAEP(ctx, k, hash, make([]byte, 512), hsmbackend.AES256, gcmAttributes())
	wants(t, err, hsmbackend.ErrInvalidInput, "a secret key unwraps")
	m := key(t, tok, hsmbackend.HMACSHA256, extractable(macAttributes()))
	defer destroy(t, tok, m)
	_, err = tok.WrapOAEP(ctx, spki(t, &rsa.PublicKey{N: odd, E: 65537}), hash, m)
	wants(t, err, hsmbackend.ErrNotPermitted, "an HMAC key")
	a := attributes("pair", hsmbackend.UsageUnwrap, hash)
	_, err = tok.GenerateKey(ctx, hsmbackend.RSA4096, a)
	wants(t, err, hsmbackend.ErrInvalidInput, "GenerateKey")
}
