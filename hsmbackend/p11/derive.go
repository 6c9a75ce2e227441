package p11

import (
	"context"
	"crypto/ecdh"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// Numbers of CK_EC_KDF_TYPE.
const (
	ckdNull      = 1
	ckdX963SHA38 = 7 // CKD_SHA384_KDF
)

// DeriveECDH implements [hsmbackend.Deriver].
func (t *Token) DeriveECDH(
	ctx context.Context, private hsmbackend.KeyRef, peer []byte, kdf hsmbackend.KDF, info []byte, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	const op = "derive by ECDH"
	p, err := t.plan(op, hsmbackend.AES256, attr)
	if err != nil {
		return hsmbackend.KeyRef{}, err
	}
	ckd := uint(ckdNull)
	switch {
	case kdf != hsmbackend.KDFNull && kdf != hsmbackend.KDFX963SHA384:
		return hsmbackend.KeyRef{}, invalid(op, "unknown KDF")
	case !t.caps.HasECDHKDF(kdf):
		return hsmbackend.KeyRef{}, &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrUnsupported, Info: string(kdf)}
	case kdf == hsmbackend.KDFX963SHA384:
		ckd = ckdX963SHA38
	case len(info) != 0:
		return hsmbackend.KeyRef{}, invalid(op, "the null KDF takes no info")
	}
	if private.Class != hsmbackend.ClassPrivate {
		return hsmbackend.KeyRef{}, invalid(op, "not a private key")
	}
	// Some tokens compute with points that are not on the curve, which reveals the private key.
	if _, err := ecdh.P384().NewPublicKey(peer); err != nil {
		return hsmbackend.KeyRef{}, invalid(op, "not a point on P-384")
	}
	return t.derive(ctx, op, p, func(k *call) (*object, *pkcs11.Mechanism, func(), error) {
		o, err := k.use(private)
		m := pkcs11.NewMechanism(pkcs11.CKM_ECDH1_DERIVE, pkcs11.NewECDH1DeriveParams(ckd, info, peer))
		return o, m, func() {}, err
	})
}

// DeriveECB implements [hsmbackend.Deriver].
func (t *Token) DeriveECB(
	ctx context.Context, key hsmbackend.KeyRef, data [32]byte, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	const op = "derive by AES-ECB"
	p, err := t.plan(op, hsmbackend.AES256, attr)
	if err != nil {
		return hsmbackend.KeyRef{}, err
	}
	return t.derive(ctx, op, p, func(k *call) (*object, *pkcs11.Mechanism, func(), error) {
		o, err := k.use(key)
		param, free := stringData(data[:])
		return o, pkcs11.NewMechanism(pkcs11.CKM_AES_ECB_ENCRYPT_DATA, param), free, err
	})
}

// derive makes an AES-256 key from the base key and mechanism that prepare returns.
func (t *Token) derive(
	ctx context.Context, op string, p *plan, prepare func(*call) (*object, *pkcs11.Mechanism, func(), error),
) (hsmbackend.KeyRef, error) {
	ref, _, err := t.create(ctx, op, p, p.kind.valueLen(), func(k *call, tmpl []*pkcs11.Attribute) (pkcs11.ObjectHandle, []byte, error) {
		o, m, free, err := prepare(k)
		defer free()
		if err != nil {
			return 0, nil, err
		}
		if err := t.has(op, m.Mechanism); err != nil {
			return 0, nil, err
		}
		h, err := k.c.mod.raw.DeriveKey(k.s, []*pkcs11.Mechanism{m}, o.h, tmpl)
		return h, nil, ck("C_DeriveKey", err)
	})
	return ref, err
}
