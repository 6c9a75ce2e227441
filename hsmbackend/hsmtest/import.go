package hsmtest

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"slices"
	"testing"

	"antipode/hsmbackend"
)

// Import makes a key of known material on the token, which the contract has no call for: a software key pair agrees with
// one of the token's on a key-encryption key that both know, the material is wrapped under it in software, and the token
// unwraps it. Nothing but the new key is left.
func Import(t testing.TB, tok hsmbackend.Token, kt hsmbackend.KeyType, material []byte, attr hsmbackend.Attributes) hsmbackend.KeyRef {
	t.Helper()
	kek, known := SharedKey(t, tok, attributes("import", hsmbackend.UsageUnwrap, hsmbackend.MechAESKWP))
	defer destroy(t, tok, kek)
	blob, err := wrapKWP(known, material)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := tok.Unwrap(t.Context(), kek, blob, kt, attr)
	if err != nil {
		t.Fatalf("import a known key: %v", err)
	}
	return ref
}

// SharedKey makes an AES-256 key with these attributes on the token, by ECDH with a key pair of the test, and returns its
// value too.
func SharedKey(t testing.TB, tok hsmbackend.Token, attr hsmbackend.Attributes) (hsmbackend.KeyRef, []byte) {
	t.Helper()
	ours, err := ecdh.P384().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pair, der, err := tok.GenerateKeyPair(t.Context(), hsmbackend.ECP384,
		attributes("pair", hsmbackend.UsageDerive, hsmbackend.MechECDH))
	if err != nil {
		t.Fatal(err)
	}
	defer destroy(t, tok, pair)
	theirs, err := publicKey(t, der).ECDH()
	if err != nil {
		t.Fatal(err)
	}
	z, err := ours.ECDH(theirs)
	if err != nil {
		t.Fatal(err)
	}
	kdf, value := hsmbackend.KDFNull, z[len(z)-32:]
	if !tok.Capabilities().HasECDHKDF(kdf) {
		kdf, value = hsmbackend.KDFX963SHA384, x963(z, nil)
	}
	ref, err := tok.DeriveECDH(t.Context(), pair, ours.PublicKey().Bytes(), kdf, nil, attr)
	if err != nil {
		t.Fatal(err)
	}
	return ref, value
}

// x963 is the first block, 32 bytes, of ANSI X9.63's KDF with SHA-384 (SEC 1, 3.6.1).
func x963(z, info []byte) []byte {
	h := sha512.Sum384(slices.Concat(z, []byte{0, 0, 0, 1}, info))
	return h[:32]
}

func publicKey(t testing.TB, der []byte) *ecdsa.PublicKey {
	t.Helper()
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	ec, ok := pub.(*ecdsa.PublicKey)
	if !ok {
		t.Fatalf("the public key is a %T", pub)
	}
	return ec
}

// attributes are those of a session object of scope 0.
func attributes(label string, use hsmbackend.Usage, mechs ...hsmbackend.Mechanism) hsmbackend.Attributes {
	return hsmbackend.Attributes{Label: label, Usage: use, Mechanisms: mechs}
}

func destroy(t testing.TB, tok hsmbackend.Token, ref hsmbackend.KeyRef) {
	t.Helper()
	if err := tok.Destroy(t.Context(), ref); err != nil {
		t.Errorf("destroy: %v", err)
	}
}

// Counter is an ability of backends that tests ask for: it counts all objects on the token, of every class and session,
// by searching for them.
type Counter interface {
	CountObjects(ctx context.Context) (session, token int, err error)
}

// Objects counts the objects on the token, to show that work leaves nothing behind. The backend must be a [Counter].
func Objects(t testing.TB, tok hsmbackend.Token) (session, token int) {
	t.Helper()
	c, ok := tok.(Counter)
	if !ok {
		t.Fatalf("%T can't count objects", tok)
	}
	session, token, err := c.CountObjects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return session, token
}

// SessionObjects counts the session objects on the token; see [Objects].
func SessionObjects(t testing.TB, tok hsmbackend.Token) int {
	t.Helper()
	session, _ := Objects(t, tok)
	return session
}
