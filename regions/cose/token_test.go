package cose_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"testing"

	"antipode/hsmbackend"
	"antipode/regions/cose"
	"antipode/softhsm/softhsmtest"
)

// tokenKey is a key pair on a real token.
type tokenKey struct {
	token hsmbackend.Token
	ref   hsmbackend.KeyRef
	spki  []byte
}

func (k tokenKey) KeyID() []byte { return cose.KeyID(k.spki) }

func (k tokenKey) SignDigest(ctx context.Context, digest []byte) ([]byte, error) {
	return k.token.SignECDSA(ctx, k.ref, digest)
}

// TestToken: what a token signs verifies, whichever of the two possible signatures it makes.
func TestToken(t *testing.T) {
	t.Parallel()
	token := softhsmtest.Open(t)
	ref, spki, err := token.GenerateKeyPair(t.Context(), hsmbackend.ECP384, hsmbackend.Attributes{
		Label: "rsk", Token: true, Usage: hsmbackend.UsageSign, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechECDSA},
	})
	if err != nil {
		t.Fatal(err)
	}
	key := tokenKey{token: token, ref: ref, spki: spki}
	lookup := func(id []byte) (*ecdsa.PublicKey, error) {
		if !bytes.Equal(id, key.KeyID()) {
			return nil, errUnknown
		}
		return cose.ParseKey(spki)
	}
	for range 16 { // half of a token's signatures have a high s: all 16 low has a chance of 2^-16
		data, err := cose.Sign(t.Context(), key, typ, []byte("payload"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cose.Verify(data, typ, lookup); err != nil {
			t.Fatal(err)
		}
	}
	if err := token.Destroy(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if _, err := cose.Sign(t.Context(), key, typ, []byte("payload")); !errors.Is(err, hsmbackend.ErrObjectNotFound) {
		t.Errorf("with the key gone: %v", err)
	}
}
