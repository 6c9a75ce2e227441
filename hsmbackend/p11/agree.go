package p11

import (
	"context"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// AgreeECDH implements [hsmbackend.Agreer].
func (t *Token) AgreeECDH(ctx context.Context, key hsmbackend.KeyRef, peer []byte) ([]byte, error) {
	const op = "agree by ECDH"
	if key.Class != hsmbackend.ClassPrivate {
		return nil, invalid(op, "not a private key")
	}
	if !t.caps.HasECDHKDF(hsmbackend.KDFNull) {
		return nil, &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrUnsupported, Info: "CKM_ECDH1_DERIVE with CKD_NULL"}
	}
	var secret []byte
	err := t.run(ctx, op, nil, true, func(k *call) error {
		o, err := k.use(key)
		if err != nil {
			return err
		}
		curve := ecdhCurve(o.kt)
		if curve == nil {
			return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrNotPermitted, Info: "not a key for ECDH"}
		}
		// Some tokens compute with points that are not on the curve, which reveals the private key.
		if _, err := curve.NewPublicKey(peer); err != nil {
			return invalid(op, "not a point on the key's curve")
		}
		secret, err = k.agree(o, peer)
		return err
	})
	if err != nil {
		return nil, err
	}
	return secret, nil
}

// agree makes the shared secret as a session object that can be read, and nothing else, reads it and destroys it.
func (k *call) agree(o *object, peer []byte) ([]byte, error) {
	size := mustKind(o.kt).field
	template := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, size),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
	}
	for _, f := range secretFlags() {
		template = append(template, pkcs11.NewAttribute(f.cka, false))
	}
	m := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDH1_DERIVE, pkcs11.NewECDH1DeriveParams(ckdNull, nil, peer))}
	h, err := k.c.mod.raw.DeriveKey(k.s, m, o.h, template)
	if err != nil {
		return nil, ck("C_DeriveKey", err)
	}
	got, err := k.c.mod.raw.GetAttributeValue(k.s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)})
	if err := errors.Join(ck("C_GetAttributeValue", err), k.destroy(h)); err != nil {
		return nil, err
	}
	if secret := got[0].Value; len(secret) == size {
		return secret, nil
	}
	clear(got[0].Value)
	return nil, &hsmbackend.Error{
		Op: "C_DeriveKey", Kind: hsmbackend.ErrInternal, Info: fmt.Sprintf("shared secret of %d bytes", len(got[0].Value)),
	}
}
