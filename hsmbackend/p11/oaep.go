package p11

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

const (
	rsaBits     = 4096
	rsaBytes    = rsaBits / 8
	rsaExponent = 65537
)

func rsaExponentBytes() []byte { return big.NewInt(rsaExponent).Bytes() }

// wrongRSA says what is wrong with a public key that is to have a modulus of so many bits, or "".
func wrongRSA(pub *rsa.PublicKey, bits int) string {
	switch {
	case pub.N.BitLen() != bits:
		return fmt.Sprintf("a modulus of %d bits", pub.N.BitLen())
	case pub.N.Bit(0) == 0:
		return "an even modulus"
	case pub.E != rsaExponent:
		return "another exponent than 65537"
	}
	return ""
}

// oaep returns CKM_RSA_PKCS_OAEP with one of the hashes that the token has, without a label.
func (t *Token) oaep(op string, hash hsmbackend.Mechanism) ([]*pkcs11.Mechanism, error) {
	var params *pkcs11.OAEPParams
	switch hash {
	case hsmbackend.MechOAEPSHA256:
		params = pkcs11.NewOAEPParams(pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, pkcs11.CKZ_DATA_SPECIFIED, nil)
	case hsmbackend.MechOAEPSHA1:
		params = pkcs11.NewOAEPParams(pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1, pkcs11.CKZ_DATA_SPECIFIED, nil)
	default:
		return nil, invalid(op, "not an OAEP mechanism")
	}
	if !t.caps.HasMechanism(hash) {
		return nil, &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrUnsupported, Info: string(hash)}
	}
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_OAEP, params)}, nil
}

// WrapOAEP implements [hsmbackend.OAEPWrapper].
func (t *Token) WrapOAEP(ctx context.Context, public []byte, hash hsmbackend.Mechanism, material hsmbackend.KeyRef) ([]byte, error) {
	const op = "wrap by OAEP"
	mech, err := t.oaep(op, hash)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKIXPublicKey(public)
	pub, isRSA := parsed.(*rsa.PublicKey)
	if err != nil || !isRSA {
		return nil, invalid(op, "not an RSA public key")
	}
	if wrong := wrongRSA(pub, rsaBits); wrong != "" {
		return nil, invalid(op, wrong)
	}
	var blob []byte
	err = t.run(ctx, op, nil, true, func(k *call) error {
		o, err := k.use(material)
		if err != nil {
			return err
		}
		if o.kt != hsmbackend.AES256 {
			return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrNotPermitted, Info: "not an AES-256 key"}
		}
		h, err := k.c.mod.raw.CreateObject(k.s, t.importTemplate(pub))
		if err != nil {
			return ck("C_CreateObject", err)
		}
		blob, err = k.c.mod.raw.WrapKey(k.s, mech, h, o.h)
		return errors.Join(ck("C_WrapKey", err), k.destroy(h))
	})
	if err != nil {
		return nil, err
	}
	if len(blob) != rsaBytes {
		return nil, &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrInternal, Info: "length of the wrapped key"}
	}
	return blob, nil
}

// importTemplate is a peer's public key as a session object that can wrap, and nothing else.
func (t *Token) importTemplate(pub *rsa.PublicKey) []*pkcs11.Attribute {
	list := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, "antipode/peer"),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, true),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, false),
		pkcs11.NewAttribute(pkcs11.CKA_VERIFY, false),
		pkcs11.NewAttribute(pkcs11.CKA_MODULUS, pub.N.Bytes()),
		pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, rsaExponentBytes()),
	}
	if t.cfg.Profile.AllowedMechanisms {
		list = append(list, &pkcs11.Attribute{Type: pkcs11.CKA_ALLOWED_MECHANISMS, Value: slices.Clone(ulong(pkcs11.CKM_RSA_PKCS_OAEP))})
	}
	return append(list, pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, false))
}

// UnwrapOAEP implements [hsmbackend.OAEPWrapper].
func (t *Token) UnwrapOAEP(
	ctx context.Context, private hsmbackend.KeyRef, hash hsmbackend.Mechanism, blob []byte, kt hsmbackend.KeyType, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	const op = "unwrap by OAEP"
	mech, err := t.oaep(op, hash)
	if err != nil {
		return hsmbackend.KeyRef{}, err
	}
	p, err := t.plan(op, kt, attr)
	if err != nil {
		return hsmbackend.KeyRef{}, err
	}
	p.unwrapped = true
	switch {
	case private.Class != hsmbackend.ClassPrivate:
		return hsmbackend.KeyRef{}, invalid(op, "not a private key")
	case p.ref.Class == hsmbackend.ClassPrivate && attr.Token:
		return hsmbackend.KeyRef{}, invalid(op, "a key pair can't be unwrapped to a token object: its public half is missing")
	}
	var more []*pkcs11.Attribute
	if t.cfg.Profile.ValueLenInUnwrap {
		more = p.kind.valueLen()
	}
	ref, _, err := t.create(ctx, op, p, more, func(k *call, tmpl []*pkcs11.Attribute) (pkcs11.ObjectHandle, []byte, error) {
		o, err := k.useRSA(op, private)
		if err != nil {
			return 0, nil, err
		}
		if len(blob) != mustKind(o.kt).bits/8 {
			return 0, nil, &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrIntegrity}
		}
		h, err := k.c.mod.raw.UnwrapKey(k.s, mech, o.h, blob, tmpl)
		return h, nil, ckBlob("C_UnwrapKey", err)
	})
	return ref, err
}
