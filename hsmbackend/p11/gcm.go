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
	var sealed []byte
	err := t.run(ctx, op, nil, true, func(k *call) error {
		o, err := k.use(key)
		if err != nil {
			return err
		}
		params := pkcs11.NewGCMParams(iv[:], aad, 8*tagLength)
		defer params.Free()
		m := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}
		if err := k.c.mod.raw.EncryptInit(k.s, m, o.h); err != nil {
			return ck("C_EncryptInit", err)
		}
		sealed, err = k.c.mod.raw.Encrypt(k.s, plaintext)
		if err != nil {
			return ck("C_Encrypt", err)
		}
		if len(sealed) != len(plaintext)+tagLength {
			return &hsmbackend.Error{Op: "C_Encrypt", Kind: hsmbackend.ErrInternal, Info: "length of the answer"}
		}
		return nil
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
		params := pkcs11.NewGCMParams(iv[:], aad, 8*tagLength)
		defer params.Free()
		m := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}
		if err := k.c.mod.raw.DecryptInit(k.s, m, o.h); err != nil {
			return ck("C_DecryptInit", err)
		}
		plaintext, err = k.c.mod.raw.Decrypt(k.s, sealed)
		if err != nil {
			return ckBlob("C_Decrypt", err)
		}
		if len(plaintext) != len(sealed)-tagLength {
			return &hsmbackend.Error{Op: "C_Decrypt", Kind: hsmbackend.ErrInternal, Info: "length of the answer"}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return plaintext, nil
}
