// Package keyspec is the one table of AWS's key specs: for what keys of each may be used, by which algorithms, what a
// token needs for them, and how long their material is when it is wrapped.
//
// Invariants:
//   - Whoever has to know something of a spec asks this table: making and describing keys, taking replicas, checking the
//     length of wrapped material, choosing the attributes of working copies.
//   - A key has as few mechanisms on the token as the algorithms of its one usage need.
package keyspec

import (
	"crypto"

	"antipode/hsmbackend"
)

// The key usages, with AWS's names.
const (
	EncryptDecrypt         = "ENCRYPT_DECRYPT"
	SignVerify             = "SIGN_VERIFY"
	GenerateVerifyMAC      = "GENERATE_VERIFY_MAC"
	KeyAgreement           = "KEY_AGREEMENT"
	EncapsulateDecapsulate = "ENCAPSULATE_DECAPSULATE"
)

// Symmetric is the name of the spec of symmetric encryption keys, and of their algorithm.
const Symmetric = "SYMMETRIC_DEFAULT"

// Spec is one key spec. The zero value is none.
type Spec struct {
	// Name is AWS's, "RSA_2048".
	Name string
	// KeyType is the token's; "" for a spec that no token of this version's contract has.
	KeyType hsmbackend.KeyType
	// Usages are those that AWS allows; the first is the default of a symmetric key.
	Usages []string

	family family
	needs  string               // what makes keys of the spec where KeyType is ""
	other  hsmbackend.Mechanism // what they are used by there; "" if PKCS #11 has none
	field  int                  // bytes of a coordinate
	curve  int                  // bytes of the curve's object identifier, with its head
	bits   int                  // of an RSA modulus
	length int                  // bytes of a secret key
	hash   crypto.Hash
}

type family uint8

const (
	symmetric family = iota
	macs
	rsaKeys
	curves
	edwards
	elsewhere
)

func agreeing(name string, kt hsmbackend.KeyType, field, oid int, hash crypto.Hash) Spec {
	return Spec{
		Name: name, KeyType: kt, Usages: []string{SignVerify, KeyAgreement}, family: curves, field: field, curve: oid, hash: hash,
	}
}

func rsaSpec(name string, kt hsmbackend.KeyType, bits int) Spec {
	return Spec{Name: name, KeyType: kt, Usages: []string{EncryptDecrypt, SignVerify}, family: rsaKeys, bits: bits}
}

func macSpec(name string, kt hsmbackend.KeyType, length int, hash crypto.Hash) Spec {
	return Spec{Name: name, KeyType: kt, Usages: []string{GenerateVerifyMAC}, family: macs, length: length, hash: hash}
}

func mlDSA(name string) Spec {
	return Spec{
		Name: name, Usages: []string{SignVerify}, family: elsewhere, needs: "CKM_ML_DSA_KEY_PAIR_GEN", other: hsmbackend.MechMLDSA,
	}
}

func mlKEM(name string) Spec {
	return Spec{
		Name: name, Usages: []string{EncapsulateDecapsulate}, family: elsewhere, needs: "CKM_ML_KEM_KEY_PAIR_GEN", other: hsmbackend.MechMLKEM,
	}
}

// All returns the table, in the order of AWS's enumeration.
func All() []Spec {
	secp := agreeing("ECC_SECG_P256K1", hsmbackend.ECSecp256k1, 32, 7, crypto.SHA256)
	secp.Usages = []string{SignVerify}
	return []Spec{
		rsaSpec("RSA_2048", hsmbackend.RSA2048, 2048),
		rsaSpec("RSA_3072", hsmbackend.RSA3072, 3072),
		rsaSpec("RSA_4096", hsmbackend.RSA4096, 4096),
		agreeing("ECC_NIST_P256", hsmbackend.ECP256, 32, 10, crypto.SHA256),
		agreeing("ECC_NIST_P384", hsmbackend.ECP384, 48, 7, crypto.SHA384),
		agreeing("ECC_NIST_P521", hsmbackend.ECP521, 66, 7, crypto.SHA512),
		secp,
		{Name: Symmetric, KeyType: hsmbackend.AES256, Usages: []string{EncryptDecrypt}, family: symmetric, length: 32},
		macSpec("HMAC_224", hsmbackend.HMACSHA224, 28, crypto.SHA224),
		macSpec("HMAC_256", hsmbackend.HMACSHA256, 32, crypto.SHA256),
		macSpec("HMAC_384", hsmbackend.HMACSHA384, 48, crypto.SHA384),
		macSpec("HMAC_512", hsmbackend.HMACSHA512, 64, crypto.SHA512),
		{Name: "SM2", Usages: []string{EncryptDecrypt, SignVerify, KeyAgreement}, family: elsewhere, needs: "a mechanism for SM2"},
		mlDSA("ML_DSA_44"),
		mlDSA("ML_DSA_65"),
		mlDSA("ML_DSA_87"),
		{
			Name: "ECC_NIST_EDWARDS25519", KeyType: hsmbackend.Ed25519, Usages: []string{SignVerify}, family: edwards,
			field: 32, hash: crypto.SHA512,
		},
		mlKEM("ML_KEM_512"),
		mlKEM("ML_KEM_768"),
		mlKEM("ML_KEM_1024"),
	}
}
