package p11

import (
	"context"
	"crypto/aes"
	"crypto/cipher"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// messageKey names a message key of a token without AES-GCM. Its value is kept nowhere: the token makes it again for
// each call, and it is overwritten before the call ends. (What crypto/aes expands it to can't be overwritten; it is
// garbage then.)
type messageKey struct {
	base   hsmbackend.KeyRef
	prefix [12]byte
	usage  hsmbackend.Usage
}

// deriveOnHost makes a reference to a message key. It asks nothing of the token but that it knows the base key.
func (t *Token) deriveOnHost(
	ctx context.Context, op string, p *plan, key hsmbackend.KeyRef, prefix [12]byte,
) (hsmbackend.KeyRef, error) {
	if p.attr.Token || p.attr.Extractable || len(p.mechs) != 1 || p.mechs[0] != pkcs11.CKM_AES_GCM {
		return hsmbackend.KeyRef{}, invalid(op, "this token's message keys are for AES-GCM in one session")
	}
	err := t.run(ctx, op, p.owner, true, func(k *call) error {
		base, err := k.use(key)
		if err != nil {
			return err
		}
		if base.kt != hsmbackend.AES256 {
			return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrNotPermitted, Info: "not an AES key"}
		}
		o := &object{
			ref: p.ref, owner: p.owner, c: k.c, kt: p.kt, host: &messageKey{base: key, prefix: prefix, usage: p.attr.Usage},
		}
		if !t.enlist(o) {
			return invalid(op, "an object with this id exists")
		}
		return nil
	})
	if err != nil {
		return hsmbackend.KeyRef{}, err
	}
	return p.ref, nil
}

// withMessageKey has the token make the message key again, and runs f with AES-GCM under it.
func (t *Token) withMessageKey(
	ctx context.Context, op string, key hsmbackend.KeyRef, o *object, usage hsmbackend.Usage, f func(cipher.AEAD) error,
) error {
	if !o.host.usage.Has(usage) {
		return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrNotPermitted}
	}
	var value []byte
	defer func() { clear(value) }()
	err := t.run(ctx, op, nil, true, func(k *call) error {
		_, base, err := k.two(key, o.host.base, k.hold)
		if err != nil {
			return err
		}
		msg, err := k.xaesInput(base, 'X', o.host.prefix)
		if err != nil {
			return err
		}
		defer clear(msg[:])
		clear(value)
		value, err = k.encryptECB(base, msg[:])
		return err
	})
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(value)
	if err != nil {
		return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrInternal, Info: err.Error()}
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrInternal, Info: err.Error()}
	}
	return f(aead)
}

// sealOnHost encrypts in host memory.
func (t *Token) sealOnHost(
	ctx context.Context, op string, key hsmbackend.KeyRef, o *object, iv [12]byte, plaintext, aad []byte,
) (sealed []byte, err error) {
	err = t.withMessageKey(ctx, op, key, o, hsmbackend.UsageEncrypt, func(aead cipher.AEAD) error {
		sealed = aead.Seal(make([]byte, 0, len(plaintext)+tagLength), iv[:], plaintext, aad)
		return nil
	})
	return sealed, err
}

// openOnHost decrypts in host memory.
func (t *Token) openOnHost(
	ctx context.Context, op string, key hsmbackend.KeyRef, o *object, iv [12]byte, sealed, aad []byte,
) (plaintext []byte, err error) {
	err = t.withMessageKey(ctx, op, key, o, hsmbackend.UsageDecrypt, func(aead cipher.AEAD) error {
		var err error
		if plaintext, err = aead.Open(make([]byte, 0, len(sealed)-tagLength), iv[:], sealed, aad); err != nil {
			return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrIntegrity}
		}
		return nil
	})
	return plaintext, err
}
