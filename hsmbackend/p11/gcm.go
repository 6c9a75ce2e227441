package p11

import (
	"context"

	"antipode/hsmbackend"
)

const (
	maxPlaintext = 65536
	tagLength    = 16
)

// SealGCM implements [hsmbackend.GCM].
func (t *Token) SealGCM(
	ctx context.Context, key hsmbackend.KeyRef, iv [12]byte, plaintext, aad []byte,
) ([]byte, [12]byte, error) {
	const op = "seal"
	switch {
	case len(plaintext) > maxPlaintext:
		return nil, iv, invalid(op, "plaintext too long")
	case len(aad) == 0:
		return nil, iv, invalid(op, "no additional data")
	}
	var sealed []byte
	err := t.run(ctx, op, nil, true, func(k *call) error {
		o, err := k.use(key)
		if err != nil {
			return err
		}
		sealed, err = k.gcm(opEncrypt(), o, &iv, aad, plaintext, len(plaintext)+tagLength, 0)
		return err
	})
	if err != nil {
		return nil, iv, err
	}
	return sealed, iv, nil
}

// OpenGCM implements [hsmbackend.GCM].
func (t *Token) OpenGCM(ctx context.Context, key hsmbackend.KeyRef, iv [12]byte, sealed, aad []byte) ([]byte, error) {
	const op = "open"
	switch {
	case len(sealed) > maxPlaintext+tagLength:
		return nil, invalid(op, "ciphertext too long")
	case len(aad) == 0:
		return nil, invalid(op, "no additional data")
	case len(sealed) < tagLength:
		return nil, &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrIntegrity}
	}
	var plaintext []byte
	err := t.run(ctx, op, nil, true, func(k *call) error {
		o, err := k.use(key)
		if err != nil {
			return err
		}
		// Room for the tag, too: some modules want it while they decrypt.
		plaintext, err = k.gcm(opDecrypt(), o, &iv, aad, sealed, len(sealed)-tagLength, tagLength)
		return err
	})
	if err != nil {
		return nil, err
	}
	return plaintext, nil
}
