package keyring

import (
	"context"
	"crypto/sha256"
	"slices"

	"antipode/hsmbackend"
)

// Signer signs with one of the Region's ECDSA P-384 token keys.
type Signer struct {
	token hsmbackend.Signer
	ref   hsmbackend.KeyRef
	spki  []byte
	keyID [32]byte
}

func newSigner(ctx context.Context, token hsmbackend.Token, id hsmbackend.ID) (*Signer, error) {
	ref, err := token.FindToken(ctx, hsmbackend.ClassPrivate, id)
	if err != nil {
		return nil, err
	}
	spki, err := token.PublicKey(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &Signer{token: token, ref: ref, spki: spki, keyID: sha256.Sum256(spki)}, nil
}

// KeyID returns SHA-256 of the public key's DER SubjectPublicKeyInfo.
func (s *Signer) KeyID() []byte { return slices.Clone(s.keyID[:]) }

// SPKI returns the public key as DER SubjectPublicKeyInfo.
func (s *Signer) SPKI() []byte { return slices.Clone(s.spki) }

// SignDigest signs a SHA-384 digest on the token and returns r||s, 96 bytes.
func (s *Signer) SignDigest(ctx context.Context, digest []byte) ([]byte, error) {
	return s.token.SignECDSA(ctx, s.ref, digest)
}
