package p11

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// readPublic reads the public key of a pair as DER SubjectPublicKeyInfo.
func (k *call) readPublic(kt hsmbackend.KeyType, h pkcs11.ObjectHandle) ([]byte, error) {
	kd, _ := kindOf(kt)
	if kd.ckk == pkcs11.CKK_RSA {
		pub, err := k.readRSA(kd.bits, h)
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKIXPublicKey(pub)
	}
	got, err := k.c.mod.raw.GetAttributeValue(k.s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil)})
	if err != nil {
		return nil, ck("C_GetAttributeValue", err)
	}
	point := got[0].Value
	// CKA_EC_POINT is an OCTET STRING in DER; some tokens give the bare point.
	var inner []byte
	if rest, err := asn1.Unmarshal(point, &inner); err == nil && len(rest) == 0 {
		point = inner
	}
	der, err := pointSPKI(kt, point)
	if err != nil {
		return nil, &hsmbackend.Error{Op: "read public key", Kind: hsmbackend.ErrInternal, Info: "not a point on " + string(kt)}
	}
	return der, nil
}

// pointSPKI encodes a public key on a curve, which it checks.
func pointSPKI(kt hsmbackend.KeyType, point []byte) ([]byte, error) {
	curve := elliptic.P384()
	switch kt {
	case hsmbackend.Ed25519:
		if len(point) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("point of %d bytes", len(point))
		}
		return x509.MarshalPKIXPublicKey(ed25519.PublicKey(point))
	case hsmbackend.ECSecp256k1:
		pub, err := secp256k1.ParsePubKey(point)
		if err != nil {
			return nil, err
		}
		if len(point) != secp256k1.PubKeyBytesLenUncompressed || point[0] != 4 {
			return nil, fmt.Errorf("point of %d bytes", len(point))
		}
		return asn1.Marshal(struct {
			Algorithm pkix.AlgorithmIdentifier
			Key       asn1.BitString
		}{
			pkix.AlgorithmIdentifier{
				Algorithm:  asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1},
				Parameters: asn1.RawValue{FullBytes: mustKind(kt).params},
			},
			asn1.BitString{Bytes: pub.SerializeUncompressed(), BitLength: 8 * len(point)},
		})
	case hsmbackend.ECP256:
		curve = elliptic.P256()
	case hsmbackend.ECP521:
		curve = elliptic.P521()
	default:
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKIXPublicKey(pub)
}

func mustKind(kt hsmbackend.KeyType) kind {
	k, _ := kindOf(kt)
	return k
}

// ecdhCurve returns the curve that crypto/ecdh has for a key type, or nil.
func ecdhCurve(kt hsmbackend.KeyType) ecdh.Curve {
	switch kt {
	case hsmbackend.ECP256:
		return ecdh.P256()
	case hsmbackend.ECP384:
		return ecdh.P384()
	case hsmbackend.ECP521:
		return ecdh.P521()
	default:
		return nil
	}
}

// readRSA reads modulus and exponent, which private keys have, too.
func (k *call) readRSA(bits int, h pkcs11.ObjectHandle) (*rsa.PublicKey, error) {
	got, err := k.c.mod.raw.GetAttributeValue(k.s, h, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_MODULUS, nil), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, nil),
	})
	if err != nil {
		return nil, ck("C_GetAttributeValue", err)
	}
	e := new(big.Int).SetBytes(got[1].Value)
	if !e.IsInt64() || e.Int64() != rsaExponent {
		return nil, lies("an RSA key has another exponent than 65537")
	}
	pub := &rsa.PublicKey{N: new(big.Int).SetBytes(got[0].Value), E: rsaExponent}
	if wrong := wrongRSA(pub, bits); wrong != "" {
		return nil, lies("an RSA key has " + wrong)
	}
	return pub, nil
}
