// Package keypair does in software what the key pairs of KMS need no token for: it reads public keys, verifies with them,
// encrypts to them, and makes the key pairs that callers take away with them.
//
// Invariants:
//   - A [Public] was checked: its spec's curve or modulus length, a point on the curve, one encoding.
//   - Nothing here ever holds a private key of a KMS key.
package keypair

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" //nolint:gosec // RSAES-OAEP does not need its hash to resist collisions
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"antipode/regions/keyspec"
)

// ErrPublicKey is answered for what is not the DER SubjectPublicKeyInfo of a key of the spec.
var ErrPublicKey = errors.New("not a public key of this spec")

// MaxDER is the longest SubjectPublicKeyInfo that is read, in bytes; that of an RSA key of 4096 bits has 550.
const MaxDER = 8192

// Public is a checked public key of one key spec.
type Public struct {
	spec keyspec.Spec
	key  any // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey or *secp256k1.PublicKey
	der  []byte
}

// Parse reads the DER SubjectPublicKeyInfo of a key of the spec: the named curve and an uncompressed point, RSA with
// NULL parameters and e = 65537. It returns [ErrPublicKey] for anything else, another encoding of the same included.
func Parse(spec keyspec.Spec, der []byte) (Public, error) {
	p := Public{spec: spec, der: bytes.Clone(der)}
	if len(der) > MaxDER {
		return p, ErrPublicKey
	}
	var err error
	if spec.Name == "ECC_SECG_P256K1" {
		p.key, err = parseSecp256k1(der)
	} else {
		p.key, err = x509.ParsePKIXPublicKey(der)
	}
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrPublicKey, err)
	}
	if !p.fits() {
		return p, fmt.Errorf("%w: a key of another kind than %s", ErrPublicKey, spec.Name)
	}
	if again, err := marshal(p.key); err != nil || !bytes.Equal(again, der) {
		return p, fmt.Errorf("%w: another encoding", ErrPublicKey)
	}
	return p, nil
}

func (p Public) fits() bool {
	switch k := p.key.(type) {
	case *rsa.PublicKey:
		bits, is := p.spec.RSA()
		return is && k.N.BitLen() == bits && k.N.Bit(0) == 1 && k.E == 65537
	case *ecdsa.PublicKey:
		return k.Curve == curveOf(p.spec)
	case ed25519.PublicKey:
		return p.spec.Name == "ECC_NIST_EDWARDS25519"
	case *secp256k1.PublicKey:
		return true
	}
	return false
}

// curveOf returns the NIST curve of a spec, or nil.
func curveOf(spec keyspec.Spec) elliptic.Curve {
	switch spec.Name {
	case "ECC_NIST_P256":
		return elliptic.P256()
	case "ECC_NIST_P384":
		return elliptic.P384()
	case "ECC_NIST_P521":
		return elliptic.P521()
	}
	return nil
}

// subjectPublicKeyInfo is RFC 5280's, for the one curve that crypto/x509 does not know.
type subjectPublicKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Key       asn1.BitString
}

func oidECPublicKey() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1} }

// oidSecp256k1 is the curve's object identifier in DER, 1.3.132.0.10.
func oidSecp256k1() []byte { return []byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a} }

func parseSecp256k1(der []byte) (*secp256k1.PublicKey, error) {
	var info subjectPublicKeyInfo
	rest, err := asn1.Unmarshal(der, &info)
	switch {
	case err != nil:
		return nil, err
	case len(rest) != 0:
		return nil, errors.New("trailing data")
	case !info.Algorithm.Algorithm.Equal(oidECPublicKey()) || !bytes.Equal(info.Algorithm.Parameters.FullBytes, oidSecp256k1()):
		return nil, errors.New("not on secp256k1")
	}
	return secp256k1.ParsePubKey(info.Key.Bytes)
}

func marshal(key any) ([]byte, error) {
	k, is := key.(*secp256k1.PublicKey)
	if !is {
		return x509.MarshalPKIXPublicKey(key)
	}
	point := k.SerializeUncompressed()
	return asn1.Marshal(subjectPublicKeyInfo{
		Algorithm: pkix.AlgorithmIdentifier{
			Algorithm: oidECPublicKey(), Parameters: asn1.RawValue{FullBytes: oidSecp256k1()},
		},
		Key: asn1.BitString{Bytes: point, BitLength: 8 * len(point)},
	})
}

// DER returns the public key as DER SubjectPublicKeyInfo.
func (p Public) DER() []byte { return bytes.Clone(p.der) }

// ECDH returns the key for agreement; of NIST curves only.
func (p Public) ECDH() (*ecdh.PublicKey, error) {
	k, is := p.key.(*ecdsa.PublicKey)
	if !is {
		return nil, fmt.Errorf("%w: not for ECDH", ErrPublicKey)
	}
	return k.ECDH()
}

// Encrypt encrypts by RSAES-OAEP with MGF1 of the same hash and an empty label, as long as the modulus.
func (p Public) Encrypt(a keyspec.Algorithm, plaintext []byte) ([]byte, error) {
	k, is := p.key.(*rsa.PublicKey)
	if !is || a.Hash != crypto.SHA1 && a.Hash != crypto.SHA256 {
		return nil, fmt.Errorf("%w: not for RSAES-OAEP", ErrPublicKey)
	}
	return rsa.EncryptOAEP(a.Hash.New(), rand.Reader, k, plaintext, nil)
}
