package keypair

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"math/big"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secp256k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"antipode/hsmbackend"
	"antipode/regions/keyspec"
)

// ErrSignature is answered for a signature that does not verify; it says no more.
var ErrSignature = errors.New("signature does not verify")

// Verify checks the signature of a digest of a.Hash, or, by ED25519_SHA_512, of a message. Signatures by ECDSA are DER
// ECDSA-Sig-Value (RFC 3279). It returns [ErrSignature].
func (p Public) Verify(a keyspec.Algorithm, signed, signature []byte) error {
	good := false
	switch k := p.key.(type) {
	case *rsa.PublicKey:
		if a.Mechanism == hsmbackend.MechRSAPSS {
			good = rsa.VerifyPSS(k, a.Hash, signed, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		} else {
			good = rsa.VerifyPKCS1v15(k, a.Hash, signed, signature) == nil
		}
	case *ecdsa.PublicKey:
		good = ecdsa.VerifyASN1(k, signed, signature)
	case ed25519.PublicKey:
		options := &ed25519.Options{}
		if a.Mechanism == hsmbackend.MechEdDSAPH {
			options.Hash = crypto.SHA512
		}
		good = ed25519.VerifyWithOptions(k, signed, signature, options) == nil
	case *secp256k1.PublicKey:
		good = verifySecp256k1(k, signed, signature)
	}
	if !good {
		return ErrSignature
	}
	return nil
}

func verifySecp256k1(k *secp256k1.PublicKey, digest, signature []byte) bool {
	values, err := parseECDSA(signature)
	if err != nil {
		return false
	}
	var r, s secp256k1.ModNScalar
	if values.R.BitLen() > 256 || values.S.BitLen() > 256 ||
		r.SetByteSlice(values.R.Bytes()) || s.SetByteSlice(values.S.Bytes()) || r.IsZero() || s.IsZero() {
		return false
	}
	return secp256k1ecdsa.NewSignature(&r, &s).Verify(digest, k)
}

// ecdsaSignature is ECDSA-Sig-Value of RFC 3279.
type ecdsaSignature struct{ R, S *big.Int }

// parseECDSA reads a signature in DER, and in no other encoding of it.
func parseECDSA(der []byte) (ecdsaSignature, error) {
	var v ecdsaSignature
	rest, err := asn1.Unmarshal(der, &v)
	if err != nil || len(rest) != 0 || v.R.Sign() <= 0 || v.S.Sign() <= 0 {
		return v, ErrSignature
	}
	if again, err := asn1.Marshal(v); err != nil || string(again) != string(der) {
		return v, ErrSignature
	}
	return v, nil
}

// EncodeECDSA turns r||s into DER ECDSA-Sig-Value.
func EncodeECDSA(raw []byte) ([]byte, error) {
	half := len(raw) / 2
	return asn1.Marshal(ecdsaSignature{new(big.Int).SetBytes(raw[:half]), new(big.Int).SetBytes(raw[half:])})
}
