package p11

import (
	"context"
	"crypto/subtle"
	"errors"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// tagMessage is what an HMAC key signs to be identified.
const tagMessage = "antipode/kmid/1"

// DeriveXAES implements [hsmbackend.Deriver], in the way that the token was found to know.
func (t *Token) DeriveXAES(
	ctx context.Context, key hsmbackend.KeyRef, prefix [12]byte, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	const op = "derive by XAES"
	p, err := t.plan(op, hsmbackend.AES256, attr)
	if err != nil {
		return hsmbackend.KeyRef{}, err
	}
	switch t.caps.XAES {
	case hsmbackend.XAESBySP800108:
		ref, err := t.deriveSP800108(ctx, op, p, key, prefix)
		if errors.Is(err, hsmbackend.ErrNotPermitted) && t.outdated(err) {
			return t.deriveSteps(ctx, op, p, key, prefix)
		}
		return ref, err
	case hsmbackend.XAESByECB:
		return t.deriveSteps(ctx, op, p, key, prefix)
	case hsmbackend.XAESOnHost:
		return t.deriveOnHost(ctx, op, p, key, prefix)
	}
	return hsmbackend.KeyRef{}, &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrUnsupported}
}

// outdated reports whether a key that SP 800-108 was refused for may be used by steps. Its list of mechanisms was fixed
// when it was made; a key that lives on the token may be older than the firmware that brought the mechanism.
func (t *Token) outdated(err error) bool {
	var e *hsmbackend.Error
	return errors.As(err, &e) && e.RV == pkcs11.CKR_MECHANISM_INVALID && !t.cfg.ApprovedOnly &&
		t.has("", pkcs11.CKM_AES_ECB_ENCRYPT_DATA) == nil
}

// deriveSteps composes the derivation of AES-ECB and CKM_AES_ECB_ENCRYPT_DATA.
func (t *Token) deriveSteps(
	ctx context.Context, op string, p *plan, key hsmbackend.KeyRef, prefix [12]byte,
) (hsmbackend.KeyRef, error) {
	return t.derive(ctx, op, p, func(k *call) (*object, *pkcs11.Mechanism, func(), error) {
		o, err := k.use(key)
		if err != nil {
			return nil, nil, func() {}, err
		}
		msg, err := k.xaesInput(o, 'X', prefix)
		if err != nil {
			return nil, nil, func() {}, err
		}
		defer clear(msg[:])
		param, free := stringData(msg[:])
		return o, pkcs11.NewMechanism(pkcs11.CKM_AES_ECB_ENCRYPT_DATA, param), free, nil
	})
}

// xaesInput returns the two blocks whose AES-ECB encryption under the key is the KDF of XAES-256-GCM (C2SP): M1 xor K1
// and M2 xor K1, M_i = 0x00 i label 0x00 | context. K1 is AES-CMAC's subkey, 2*L in GF(2^128), L = AES(key, 0^128).
// L reveals K1 and with it what AES-CMAC would hide, so it is overwritten as soon as K1 is made.
func (k *call) xaesInput(o *object, label byte, context [12]byte) (msg [32]byte, err error) {
	var zero [16]byte
	l, err := k.encryptECB(o, zero[:])
	if err != nil {
		return msg, err
	}
	k1 := double([16]byte(l))
	clear(l)
	defer clear(k1[:])
	for i := range 2 {
		block := msg[16*i : 16*i+16]
		block[1], block[2] = byte(i+1), label
		copy(block[4:], context[:])
		subtle.XORBytes(block, block, k1[:])
	}
	return msg, nil
}

// double multiplies by x in GF(2^128) as AES-CMAC does (NIST SP 800-38B, 6.1), in constant time.
func double(l [16]byte) (k [16]byte) {
	carry := l[0] >> 7
	for i := range 15 {
		k[i] = l[i]<<1 | l[i+1]>>7
	}
	k[15] = l[15]<<1 ^ carry*0x87
	return k
}

// encryptECB encrypts whole blocks.
func (k *call) encryptECB(o *object, blocks []byte) ([]byte, error) {
	return k.one(opEncrypt(), o, pkcs11.CKM_AES_ECB, blocks, len(blocks))
}

// Tag implements [hsmbackend.Tagger].
func (t *Token) Tag(ctx context.Context, key hsmbackend.KeyRef) ([]byte, error) {
	const op = "tag"
	var tag []byte
	err := t.run(ctx, op, nil, true, func(k *call) error {
		o, err := k.use(key)
		if err != nil {
			return err
		}
		switch kd := mustKind(o.kt); {
		case o.kt == hsmbackend.AES256:
			msg, err := k.xaesInput(o, 'I', [12]byte{})
			if err != nil {
				return err
			}
			defer clear(msg[:])
			tag, err = k.encryptECB(o, msg[:])
			return err
		case kd.hmac != 0:
			tag, err = k.hmac(o, []byte(tagMessage))
			return err
		}
		return invalid(op, "a key pair is identified by its public key")
	})
	if err != nil {
		return nil, err
	}
	return tag, nil
}
