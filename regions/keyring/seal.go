package keyring

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"antipode/hsmbackend"
)

// sealVersion is the first byte of what Seal makes: version, 24-byte nonce, ciphertext and tag.
const sealVersion = 1

// Seal encrypts a small secret (an access key's) under the Region's sealing key by XAES-256-GCM. aad names the row that
// the secret is for and must not be empty.
func (r *Ring) Seal(ctx context.Context, aad, plaintext []byte) (out []byte, err error) {
	err = r.sealing.use(ctx, func(sealing hsmbackend.KeyRef) error {
		out, err = SealUnder(ctx, r.token, sealing, aad, plaintext)
		return err
	})
	return out, err
}

// Open is the inverse of [Ring.Seal]. It returns ErrRefused for whatever is wrong with sealed or aad.
func (r *Ring) Open(ctx context.Context, aad, sealed []byte) (plaintext []byte, err error) {
	err = r.sealing.use(ctx, func(sealing hsmbackend.KeyRef) error {
		plaintext, err = OpenUnder(ctx, r.token, sealing, aad, sealed)
		return err
	})
	return plaintext, err
}

// SealingAttributes are those of an AES-256 session key for [SealUnder] and [OpenUnder] on a token of these capabilities.
func SealingAttributes(c hsmbackend.Capabilities) hsmbackend.Attributes {
	return hsmbackend.Attributes{Usage: hsmbackend.UsageEncrypt | hsmbackend.UsageDerive, Mechanisms: keyMechanisms(c)}
}

// SealUnder encrypts up to 64 KiB by XAES-256-GCM on the token, under a key with [SealingAttributes]: version, nonce,
// ciphertext and tag, 41 bytes more. aad must not be empty.
func SealUnder(ctx context.Context, token hsmbackend.Token, key hsmbackend.KeyRef, aad, plaintext []byte) ([]byte, error) {
	var nonce [24]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, fmt.Errorf("seal secret: %w", err)
	}
	var out []byte
	err := withMessageKey(ctx, token, key, [12]byte(nonce[:12]), hsmbackend.UsageEncrypt, func(key hsmbackend.KeyRef) error {
		sealed, iv, err := token.SealGCM(ctx, key, [12]byte(nonce[12:]), plaintext, aad)
		if err != nil {
			return err
		}
		out = append([]byte{sealVersion}, nonce[:12]...)
		out = append(append(out, iv[:]...), sealed...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("seal secret: %w", err)
	}
	return out, nil
}

// OpenUnder is the inverse of [SealUnder]. It returns ErrRefused for whatever is wrong with key, sealed or aad.
func OpenUnder(ctx context.Context, token hsmbackend.Token, key hsmbackend.KeyRef, aad, sealed []byte) (plaintext []byte, err error) {
	if len(sealed) < 1+24+16 || sealed[0] != sealVersion {
		return nil, fmt.Errorf("%w: not a sealed secret", ErrRefused)
	}
	err = withMessageKey(ctx, token, key, [12]byte(sealed[1:13]), hsmbackend.UsageDecrypt, func(key hsmbackend.KeyRef) error {
		plaintext, err = token.OpenGCM(ctx, key, [12]byte(sealed[13:25]), sealed[25:], aad)
		return err
	})
	if errors.Is(err, hsmbackend.ErrIntegrity) {
		return nil, fmt.Errorf("%w: sealed secret does not open", ErrRefused)
	}
	if err != nil {
		return nil, fmt.Errorf("open sealed secret: %w", err)
	}
	return plaintext, nil
}

func withMessageKey(ctx context.Context, token hsmbackend.Token, sealing hsmbackend.KeyRef, prefix [12]byte,
	usage hsmbackend.Usage, fn func(hsmbackend.KeyRef) error,
) (err error) {
	key, err := token.DeriveXAES(ctx, sealing, prefix, hsmbackend.Attributes{
		Usage: usage, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESGCM},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, token.Destroy(context.WithoutCancel(ctx), key)) }()
	return fn(key)
}
