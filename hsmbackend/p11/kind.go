package p11

import (
	"bytes"
	"crypto"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// Numbers of Edwards curves, which miekg/pkcs11 lacks.
const (
	ckkECEdwards       = 0x40
	ckmECEdwardsKeyGen = 0x1055 // CKM_EC_EDWARDS_KEY_PAIR_GEN
	ckmEdDSA           = 0x1057
	ckmMLKEMPair       = 0x0F // CKM_ML_KEM_KEY_PAIR_GEN, PKCS #11 3.2 as the next three
	ckmMLKEM           = 0x17 // CKM_ML_KEM
	ckmMLDSAPair       = 0x1C // CKM_ML_DSA_KEY_PAIR_GEN
	ckmMLDSA           = 0x1D // CKM_ML_DSA
)

// kind is what PKCS#11 calls a key type.
type kind struct {
	ckk   uint
	class hsmbackend.Class
	gen   uint // the mechanism that generates it
	// length is that of a secret key, in bytes.
	length int
	// hmac is the mechanism of an HMAC key.
	hmac uint
	// params is CKA_EC_PARAMS: the curve's object identifier in DER.
	params []byte
	// named is CKA_EC_PARAMS as some tokens have it: the curve's name, a PrintableString.
	named []byte
	// field is the length of a coordinate and of half a signature, digest that of what is signed, in bytes; 0 for keys
	// that sign messages.
	field, digest int
	bits          int // of an RSA modulus
	hash          crypto.Hash
}

func secretKind(length int, hash crypto.Hash, hmac uint) kind {
	return kind{
		ckk: pkcs11.CKK_GENERIC_SECRET, class: hsmbackend.ClassSecret, gen: pkcs11.CKM_GENERIC_SECRET_KEY_GEN,
		length: length, hash: hash, hmac: hmac,
	}
}

func curveKind(field, digest int, oid ...byte) kind {
	return kind{
		ckk: pkcs11.CKK_EC, class: hsmbackend.ClassPrivate, gen: pkcs11.CKM_EC_KEY_PAIR_GEN, field: field, digest: digest,
		params: append([]byte{0x06, byte(len(oid))}, oid...), //nolint:gosec // at most 8
	}
}

func rsaKindOf(bits int) kind {
	return kind{ckk: pkcs11.CKK_RSA, class: hsmbackend.ClassPrivate, gen: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, bits: bits}
}

// kindOf returns the kind of a key type, or false.
func kindOf(kt hsmbackend.KeyType) (kind, bool) {
	switch kt {
	case hsmbackend.AES256:
		return kind{ckk: pkcs11.CKK_AES, class: hsmbackend.ClassSecret, gen: pkcs11.CKM_AES_KEY_GEN, length: 32}, true
	case hsmbackend.HMACSHA224:
		return secretKind(28, crypto.SHA224, pkcs11.CKM_SHA224_HMAC), true
	case hsmbackend.HMACSHA256:
		return secretKind(32, crypto.SHA256, pkcs11.CKM_SHA256_HMAC), true
	case hsmbackend.HMACSHA384:
		return secretKind(48, crypto.SHA384, pkcs11.CKM_SHA384_HMAC), true
	case hsmbackend.HMACSHA512:
		return secretKind(64, crypto.SHA512, pkcs11.CKM_SHA512_HMAC), true
	case hsmbackend.ECP256:
		return curveKind(32, 32, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07), true
	case hsmbackend.ECP384:
		return curveKind(48, 48, 0x2b, 0x81, 0x04, 0x00, 0x22), true
	case hsmbackend.ECP521:
		return curveKind(66, 64, 0x2b, 0x81, 0x04, 0x00, 0x23), true
	case hsmbackend.ECSecp256k1:
		return curveKind(32, 32, 0x2b, 0x81, 0x04, 0x00, 0x0a), true
	case hsmbackend.Ed25519:
		k := curveKind(32, 0, 0x2b, 0x65, 0x70)
		k.ckk, k.gen = ckkECEdwards, ckmECEdwardsKeyGen
		k.named = append([]byte{0x13, 12}, "edwards25519"...)
		return k, true
	case hsmbackend.RSA2048:
		return rsaKindOf(2048), true
	case hsmbackend.RSA3072:
		return rsaKindOf(3072), true
	case hsmbackend.RSA4096:
		return rsaKindOf(4096), true
	}
	return kind{}, false
}

// keyTypes are all of the contract.
func keyTypes() []hsmbackend.KeyType {
	return []hsmbackend.KeyType{
		hsmbackend.AES256, hsmbackend.HMACSHA224, hsmbackend.HMACSHA256, hsmbackend.HMACSHA384, hsmbackend.HMACSHA512,
		hsmbackend.ECP256, hsmbackend.ECP384, hsmbackend.ECP521, hsmbackend.ECSecp256k1, hsmbackend.Ed25519,
		hsmbackend.RSA2048, hsmbackend.RSA3072, hsmbackend.RSA4096,
	}
}

// onCurve reports whether params are CKA_EC_PARAMS of the key type's curve.
func (k kind) onCurve(params []byte) bool {
	return bytes.Equal(params, k.params) || k.named != nil && bytes.Equal(params, k.named)
}

// wrapped is the length of a secret key wrapped by AES-KWP.
func (k kind) wrapped() int { return (k.length+7)/8*8 + 8 }

// valueLen is CKA_VALUE_LEN of a secret key.
func (k kind) valueLen() []*pkcs11.Attribute {
	if k.class != hsmbackend.ClassSecret {
		return nil
	}
	return []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, k.length)}
}

// pairKind is what the public half of a new pair is given: curve or modulus.
func (k kind) pairKind() []*pkcs11.Attribute {
	if k.ckk == pkcs11.CKK_RSA {
		return []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, k.bits),
			pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, rsaExponentBytes()),
		}
	}
	return []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, k.params)}
}
