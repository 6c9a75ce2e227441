package p11

import (
	"context"

	"github.com/miekg/pkcs11"

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
	if o := t.object(key); o != nil && o.host != nil {
		sealed, err := t.sealOnHost(ctx, op, key, o, iv, plaintext, aad)
		return sealed, iv, err
	}
	var sealed []byte
	var used [12]byte
	err := t.run(ctx, op, nil, true, func(k *call) error {
		o, err := k.useGCM(op, key)
		if err != nil {
			return err
		}
		if used = iv; t.cfg.Profile.GCMIVFromToken {
			used = [12]byte{}
		}
		sealed, err = k.gcm(opEncrypt(), o, &used, aad, plaintext, len(plaintext)+tagLength, 0)
		if err != nil {
			return err
		}
		return t.checkIV(iv, used)
	})
	if err != nil {
		clear(sealed)
		return nil, iv, err
	}
	return sealed, used, nil
}

// checkIV refuses the IV of an encryption that is not the caller's or, where the token makes it, can't be random: a
// repetition would reveal plaintexts and the authentication key.
func (t *Token) checkIV(asked, used [12]byte) error {
	lies := func(what string) error {
		return &hsmbackend.Error{Op: "C_Encrypt", Kind: hsmbackend.ErrTokenLies, Info: what}
	}
	if !t.cfg.Profile.GCMIVFromToken {
		if used != asked {
			return lies("the token wrote an IV of its own, which its profile does not say")
		}
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch used {
	case [12]byte{}:
		return lies("the token made no IV, which its profile says it does")
	case t.lastIV:
		return lies("the token made the same IV twice")
	}
	t.lastIV = used
	return nil
}

// useGCM is use, on a token that has AES-GCM.
func (k *call) useGCM(op string, key hsmbackend.KeyRef) (*object, error) {
	o, err := k.use(key)
	if err != nil {
		return nil, err
	}
	return o, k.t.has(op, pkcs11.CKM_AES_GCM)
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
	if o := t.object(key); o != nil && o.host != nil {
		return t.openOnHost(ctx, op, key, o, iv, sealed, aad)
	}
	var plaintext []byte
	err := t.run(ctx, op, nil, true, func(k *call) error {
		o, err := k.useGCM(op, key)
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
