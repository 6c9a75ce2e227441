package hsmtest

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"slices"
	"testing"

	"antipode/hsmbackend"
)

// decryptsOAEP: what software encrypts to a pair the token opens, up to the longest plaintext, and nothing else.
func decryptsOAEP(t *testing.T, tok hsmbackend.Token) {
	ctx, caps := t.Context(), tok.Capabilities()
	kek := key(t, tok, hsmbackend.AES256, kekAttributes())
	defer destroy(t, tok, kek)
	attr := attributes("opener", hsmbackend.UsageDecrypt)
	for _, m := range []hsmbackend.Mechanism{hsmbackend.MechOAEPSHA1, hsmbackend.MechOAEPSHA256, hsmbackend.MechRSARaw} {
		if caps.HasMechanism(m) {
			attr.Mechanisms = append(attr.Mechanisms, m)
		}
	}
	for _, kt := range []hsmbackend.KeyType{hsmbackend.RSA2048, hsmbackend.RSA3072} {
		ref, der, err := tok.GenerateKeyPair(ctx, kt, extractable(attr))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParsePKIXPublicKey(der)
		pub, is := parsed.(*rsa.PublicKey)
		if err != nil || !is {
			t.Fatalf("%s: %T, %v", kt, parsed, err)
		}
		blob := must(tok.Wrap(ctx, kek, ref))(t)
		destroy(t, tok, ref)
		ref = must(tok.Unwrap(ctx, kek, blob, kt, attr))(t)
		for mech, hash := range map[hsmbackend.Mechanism]crypto.Hash{hsmbackend.MechOAEPSHA1: crypto.SHA1, hsmbackend.MechOAEPSHA256: crypto.SHA256} {
			if !caps.DecryptsOAEP(mech) {
				continue
			}
			most := pub.Size() - 2*hash.Size() - 2
			for _, n := range []int{1, 32, most} {
				plaintext := randomBytes(n)
				sealed := seal(t, pub, hash, plaintext)
				if got, err := tok.DecryptOAEP(ctx, ref, mech, sealed); err != nil || !bytes.Equal(got, plaintext) {
					t.Errorf("%s %s, %d bytes: %x, %v", kt, mech, n, got, err)
				}
			}
			sealed := seal(t, pub, hash, []byte("plaintext"))
			for name, bad := range map[string][]byte{
				"another bit":     flip(sealed, 100),
				"too short":       sealed[1:],
				"too long":        append(bytes.Clone(sealed), 0),
				"above modulus":   bytes.Repeat([]byte{0xff}, len(sealed)),
				"zero":            make([]byte, len(sealed)),
				"another hash":    seal(t, pub, crypto.SHA512, []byte("plaintext")),
				"PKCS #1 v1.5":    mustPKCS1(t, pub),
				"nothing":         {},
				"a raw plaintext": raw(pub, []byte("plaintext")),
			} {
				_, err := tok.DecryptOAEP(ctx, ref, mech, bad)
				wants(t, err, hsmbackend.ErrIntegrity, string(kt)+" "+string(mech)+": "+name)
			}
		}
		destroy(t, tok, ref)
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// raw encrypts without padding.
func raw(pub *rsa.PublicKey, value []byte) []byte {
	c := new(big.Int).Exp(new(big.Int).SetBytes(value), big.NewInt(int64(pub.E)), pub.N)
	return c.FillBytes(make([]byte, pub.Size()))
}

func mustPKCS1(t *testing.T, pub *rsa.PublicKey) []byte {
	t.Helper()
	sealed, err := rsa.EncryptPKCS1v15(rand.Reader, pub, []byte("plaintext")) //nolint:staticcheck // what must not open
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// agreesECDH: the shared secret is crypto/ecdh's on each curve, whatever its first bytes and those of the point are.
func agreesECDH(t *testing.T, tok hsmbackend.Token) {
	ctx, caps := t.Context(), tok.Capabilities()
	if !caps.HasECDHKDF(hsmbackend.KDFNull) {
		return
	}
	for kt, curve := range map[hsmbackend.KeyType]ecdh.Curve{
		hsmbackend.ECP256: ecdh.P256(), hsmbackend.ECP384: ecdh.P384(), hsmbackend.ECP521: ecdh.P521(),
	} {
		ref, der, err := tok.GenerateKeyPair(ctx, kt, attributes("agree", hsmbackend.UsageDerive, hsmbackend.MechECDH))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			t.Fatal(err)
		}
		own, err := parsed.(*ecdsa.PublicKey).ECDH()
		if err != nil {
			t.Fatal(err)
		}
		// A bare point begins with 4, which is also the tag of an OCTET STRING, whose length the second byte would be.
		length := byte(len(own.Bytes()) - 2)
		leading, looksDER := 0, 0
		for try := 0; try < 3000 && (leading < 1 || looksDER < 1 && kt != hsmbackend.ECP521); try++ {
			peer := softwarePeer(t, curve)
			want, err := peer.ECDH(own)
			if err != nil {
				t.Fatal(err)
			}
			point := peer.PublicKey().Bytes()
			if want[0] != 0 && point[1] != length && try > 2 {
				continue
			}
			got, err := tok.AgreeECDH(ctx, ref, point)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, secret begins with %d, point with %x: %v", kt, want[0], point[:2], err)
			}
			if want[0] == 0 {
				leading++
			}
			if point[1] == length {
				looksDER++
			}
		}
		if leading == 0 || looksDER == 0 && kt != hsmbackend.ECP521 {
			t.Errorf("%s: %d secrets with a leading zero, %d points like DER tried", kt, leading, looksDER)
		}
		point := softwarePeer(t, curve).PublicKey().Bytes()
		other := ecdh.P256()
		if kt == hsmbackend.ECP256 {
			other = ecdh.P384()
		}
		for name, bad := range map[string][]byte{
			"empty": {}, "off the curve": flip(point, len(point)-1), "truncated": point[:len(point)-1],
			"at infinity": {0}, "on another curve": softwarePeer(t, other).PublicKey().Bytes(),
		} {
			_, err := tok.AgreeECDH(ctx, ref, bad)
			wants(t, err, hsmbackend.ErrInvalidInput, string(kt)+": a point "+name)
		}
		destroy(t, tok, ref)
	}
}

// macsOfEveryHash: HMAC keys of every length are made, wrapped, unwrapped and compute what crypto/hmac does.
func macsOfEveryHash(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	kek := key(t, tok, hsmbackend.AES256, kekAttributes())
	defer destroy(t, tok, kek)
	for _, c := range macKinds(tok) {
		attr := attributes("mac", hsmbackend.UsageSign, c.mech)
		ref := key(t, tok, c.kt, extractable(attr))
		tag := must(tok.Tag(ctx, ref))(t)
		blob := must(tok.Wrap(ctx, kek, ref))(t)
		destroy(t, tok, ref)
		ref = must(tok.Unwrap(ctx, kek, blob, c.kt, attr))(t)
		if again := must(tok.Tag(ctx, ref))(t); !bytes.Equal(again, tag) || len(tag) != c.hash.Size() {
			t.Errorf("%s: tag %x, unwrapped %x", c.kt, tag, again)
		}
		destroy(t, tok, ref)
		value := randomBytes(c.length)
		known := Import(t, tok, c.kt, value, attr)
		h := hmac.New(c.hash.New, value)
		h.Write([]byte("data"))
		if got := must(tok.MAC(ctx, known, []byte("data")))(t); !bytes.Equal(got, h.Sum(nil)) {
			t.Errorf("%s: %x, want %x", c.kt, got, h.Sum(nil))
		}
		destroy(t, tok, known)
	}
}

// macKind is a kind of HMAC key.
type macKind struct {
	kt     hsmbackend.KeyType
	mech   hsmbackend.Mechanism
	hash   crypto.Hash
	length int
}

// macKinds are those that the token has.
func macKinds(tok hsmbackend.Token) []macKind {
	return slices.DeleteFunc([]macKind{
		{hsmbackend.HMACSHA224, hsmbackend.MechHMACSHA224, crypto.SHA224, 28},
		{hsmbackend.HMACSHA256, hsmbackend.MechHMACSHA256, crypto.SHA256, 32},
		{hsmbackend.HMACSHA384, hsmbackend.MechHMACSHA384, crypto.SHA384, 48},
		{hsmbackend.HMACSHA512, hsmbackend.MechHMACSHA512, crypto.SHA512, 64},
	}, func(k macKind) bool { return !tok.Capabilities().HasMechanism(k.mech) })
}
