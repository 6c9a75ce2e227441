package hsmtest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" //nolint:gosec // for RSAES-OAEP
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secp256k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"antipode/hsmbackend"
)

// pairTypes are the types of key pairs.
func pairTypes() []hsmbackend.KeyType {
	return []hsmbackend.KeyType{
		hsmbackend.ECP256, hsmbackend.ECP384, hsmbackend.ECP521, hsmbackend.ECSecp256k1, hsmbackend.Ed25519,
		hsmbackend.RSA2048, hsmbackend.RSA3072, hsmbackend.RSA4096,
	}
}

func isRSA(kt hsmbackend.KeyType) bool {
	return kt == hsmbackend.RSA2048 || kt == hsmbackend.RSA3072 || kt == hsmbackend.RSA4096
}

func signerAttributes(kt hsmbackend.KeyType) hsmbackend.Attributes {
	switch {
	case isRSA(kt):
		return attributes("signer", hsmbackend.UsageSign, hsmbackend.MechRSAPKCS1, hsmbackend.MechRSAPSS)
	case kt == hsmbackend.Ed25519:
		return attributes("signer", hsmbackend.UsageSign, hsmbackend.MechEdDSA)
	}
	return attributes("signer", hsmbackend.UsageSign, hsmbackend.MechECDSA)
}

// secp256k1Point reads the point of a SubjectPublicKeyInfo, which crypto/x509 can't.
func secp256k1Point(der []byte) (*secp256k1.PublicKey, error) {
	var info struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) != 0 {
		return nil, errors.New("not a SubjectPublicKeyInfo")
	}
	if want := []byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a}; !bytes.HasSuffix(info.Algorithm.FullBytes, want) {
		return nil, errors.New("not on secp256k1")
	}
	return secp256k1.ParsePubKey(info.Key.Bytes)
}

// checkSigner signs in every way that the key type has, and verifies in software with the public key.
func checkSigner(ctx context.Context, tok hsmbackend.Token, kt hsmbackend.KeyType, ref hsmbackend.KeyRef, der []byte) error {
	if kt == hsmbackend.ECSecp256k1 {
		pub, err := secp256k1Point(der)
		if err != nil {
			return err
		}
		digest := randomBytes(32)
		sig, err := tok.SignECDSA(ctx, ref, digest)
		if err != nil || len(sig) != 64 {
			return errors.Join(err, errors.New("no signature of 64 bytes"))
		}
		var r, s secp256k1.ModNScalar
		if r.SetByteSlice(sig[:32]) || s.SetByteSlice(sig[32:]) || !secp256k1ecdsa.NewSignature(&r, &s).Verify(digest, pub) {
			return errors.New("signature does not verify")
		}
		return nil
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return err
	}
	switch pub := parsed.(type) {
	case *ecdsa.PublicKey:
		size := map[hsmbackend.KeyType]int{hsmbackend.ECP256: 32, hsmbackend.ECP384: 48, hsmbackend.ECP521: 64}[kt]
		field := (pub.Params().BitSize + 7) / 8
		digest := randomBytes(size)
		sig, err := tok.SignECDSA(ctx, ref, digest)
		if err != nil || len(sig) != 2*field {
			return errors.Join(err, errors.New("no signature of the curve's length"))
		}
		if !ecdsa.Verify(pub, digest, new(big.Int).SetBytes(sig[:field]), new(big.Int).SetBytes(sig[field:])) {
			return errors.New("signature does not verify")
		}
		return nil
	case *rsa.PublicKey:
		for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			digest := randomBytes(hash.Size())
			pss, err := tok.SignRSA(ctx, ref, hsmbackend.MechRSAPSS, hash, digest)
			if err == nil {
				err = rsa.VerifyPSS(pub, hash, digest, pss, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
			}
			if err != nil {
				return err
			}
			pkcs1, err := tok.SignRSA(ctx, ref, hsmbackend.MechRSAPKCS1, hash, digest)
			if err == nil {
				err = rsa.VerifyPKCS1v15(pub, hash, digest, pkcs1)
			}
			if err != nil {
				return err
			}
		}
		return nil
	case ed25519.PublicKey:
		message := randomBytes(100)
		sig, err := tok.SignEd25519(ctx, ref, message, false)
		if err == nil && !ed25519.Verify(pub, message, sig) {
			err = errors.New("signature does not verify")
		}
		if err != nil || !tok.Capabilities().HasMechanism(hsmbackend.MechEdDSAPH) {
			return err
		}
		if sig, err = tok.SignEd25519(ctx, ref, message[:64], true); err != nil {
			return err
		}
		return ed25519.VerifyWithOptions(pub, message[:64], sig, &ed25519.Options{Hash: crypto.SHA512})
	}
	return errors.New("unknown public key")
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// pairsSign: a pair of every type signs, as it was made, after it was wrapped and unwrapped, and as a token object.
func pairsSign(t *testing.T, tok hsmbackend.Token) {
	ctx, caps := t.Context(), tok.Capabilities()
	kek := key(t, tok, hsmbackend.AES256, kekAttributes())
	defer destroy(t, tok, kek)
	for _, kt := range pairTypes() {
		if !caps.HasKeyType(kt) {
			continue
		}
		attr := signerAttributes(kt)
		ref, der, err := tok.GenerateKeyPair(ctx, kt, extractable(attr))
		if err != nil {
			t.Fatalf("%s: %v", kt, err)
		}
		if err := checkSigner(ctx, tok, kt, ref, der); err != nil {
			t.Errorf("%s as made: %v", kt, err)
		}
		blob, err := tok.Wrap(ctx, kek, ref)
		destroy(t, tok, ref)
		if !caps.Wraps(kt) {
			wants(t, err, hsmbackend.ErrNotExtractable, string(kt)+" is wrapped")
		} else if err != nil {
			t.Errorf("wrap %s: %v", kt, err)
		} else {
			again, err := tok.Unwrap(ctx, kek, blob, kt, attr)
			if err != nil {
				t.Fatalf("unwrap %s: %v", kt, err)
			}
			if err := checkSigner(ctx, tok, kt, again, der); err != nil {
				t.Errorf("%s unwrapped: %v", kt, err)
			}
			_, err = tok.Wrap(ctx, kek, again)
			wants(t, err, hsmbackend.ErrNotExtractable, string(kt)+" that was unwrapped to stay")
			destroy(t, tok, again)
			confused(t, tok, kek, kt, blob)
		}
		if isRSA(kt) && kt != hsmbackend.RSA2048 {
			continue // making one takes seconds
		}
		attr.Token = true
		pair, der, err := tok.GenerateKeyPair(ctx, kt, attr)
		if err != nil {
			t.Fatalf("%s on the token: %v", kt, err)
		}
		found, err := tok.FindToken(ctx, hsmbackend.ClassPrivate, pair.ID)
		if err != nil || found != pair {
			t.Errorf("%s on the token is found as %v: %v", kt, found, err)
		}
		if public, err := tok.PublicKey(ctx, pair); err != nil || !bytes.Equal(public, der) {
			t.Errorf("%s on the token: public key %x, %v", kt, public, err)
		}
		if err := checkSigner(ctx, tok, kt, pair, der); err != nil {
			t.Errorf("%s on the token: %v", kt, err)
		}
		destroy(t, tok, pair)
	}
}

// confused: a wrapped private key unwraps as no other type.
func confused(t *testing.T, tok hsmbackend.Token, kek hsmbackend.KeyRef, kt hsmbackend.KeyType, blob []byte) {
	t.Helper()
	for _, other := range append(pairTypes(), hsmbackend.AES256) {
		if other == kt || !tok.Capabilities().HasKeyType(other) {
			continue
		}
		attr := signerAttributes(other)
		if other == hsmbackend.AES256 {
			attr = gcmAttributes()
		}
		if ref, err := tok.Unwrap(t.Context(), kek, blob, other, attr); err == nil {
			t.Errorf("a wrapped %s key unwraps as %s", kt, other)
			destroy(t, tok, ref)
		} else {
			wants(t, err, hsmbackend.ErrIntegrity, string(kt)+" as "+string(other))
		}
	}
}

// pairsRefuse: a key does what it was made for, and takes what goes with it.
func pairsRefuse(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	pair := func(kt hsmbackend.KeyType, a hsmbackend.Attributes) hsmbackend.KeyRef {
		ref, _, err := tok.GenerateKeyPair(ctx, kt, a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tok.Destroy(context.Background(), ref) })
		return ref
	}
	p256, r2048 := pair(hsmbackend.ECP256, signerAttributes(hsmbackend.ECP256)), pair(hsmbackend.RSA2048, signerAttributes(hsmbackend.RSA2048))
	defer destroy(t, tok, p256)
	defer destroy(t, tok, r2048)
	opener := pair(hsmbackend.RSA2048, attributes("opener", hsmbackend.UsageDecrypt, hsmbackend.MechOAEPSHA1, hsmbackend.MechRSARaw))
	defer destroy(t, tok, opener)
	d32, d48 := make([]byte, 32), make([]byte, 48)
	for name, c := range map[string]struct {
		kind error
		call func() error
	}{
		"a digest of another length": {hsmbackend.ErrInvalidInput, func() error { _, err := tok.SignECDSA(ctx, p256, d48); return err }},
		"ECDSA by an RSA key":        {hsmbackend.ErrNotPermitted, func() error { _, err := tok.SignECDSA(ctx, r2048, d32); return err }},
		"RSA by an EC key": {hsmbackend.ErrNotPermitted, func() error {
			_, err := tok.SignRSA(ctx, p256, hsmbackend.MechRSAPSS, crypto.SHA256, d32)
			return err
		}},
		"RSA with SHA-1": {hsmbackend.ErrInvalidInput, func() error {
			_, err := tok.SignRSA(ctx, r2048, hsmbackend.MechRSAPSS, crypto.SHA1, make([]byte, 20))
			return err
		}},
		"RSA by no scheme": {hsmbackend.ErrInvalidInput, func() error {
			_, err := tok.SignRSA(ctx, r2048, hsmbackend.MechECDSA, crypto.SHA256, d32)
			return err
		}},
		"a signing key decrypts": {hsmbackend.ErrNotPermitted, func() error {
			_, err := tok.DecryptOAEP(ctx, r2048, hsmbackend.MechOAEPSHA256, make([]byte, 256))
			return err
		}},
		"a decrypting key signs": {hsmbackend.ErrNotPermitted, func() error {
			_, err := tok.SignRSA(ctx, opener, hsmbackend.MechRSAPSS, crypto.SHA256, d32)
			return err
		}},
		"a signing key agrees": {hsmbackend.ErrNotPermitted, func() error {
			_, err := tok.AgreeECDH(ctx, p256, softwarePeer(t, ecdh.P256()).PublicKey().Bytes())
			return err
		}},
		"a signing key signs by Ed25519": {hsmbackend.ErrNotPermitted, func() error {
			if !tok.Capabilities().HasMechanism(hsmbackend.MechEdDSA) {
				return &hsmbackend.Error{Kind: hsmbackend.ErrNotPermitted}
			}
			_, err := tok.SignEd25519(ctx, p256, d32, false)
			return err
		}},
		"a prehash of another length": {hsmbackend.ErrInvalidInput, func() error {
			_, err := tok.SignEd25519(ctx, p256, d32, true)
			return err
		}},
	} {
		wants(t, c.call(), c.kind, name)
	}
}

func softwarePeer(t *testing.T, curve ecdh.Curve) *ecdh.PrivateKey {
	t.Helper()
	k, err := curve.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
