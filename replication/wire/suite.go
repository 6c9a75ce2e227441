package wire

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"antipode/regions/keyspec"
)

// Suite is a way for two tokens to agree on a wrapping key, and to wrap under it.
type Suite string

// The suites.
const (
	// SuiteX963 is ECDH on P-384 with the ANSI X9.63 KDF over SHA-384 on the token (CKD_SHA384_KDF), the transcript
	// hash as shared info, then AES-KWP.
	SuiteX963 Suite = "P384-X963SHA384-KWP"
	// SuiteNullECB is for tokens that have CKD_NULL only: the last 32 bytes of the shared x-coordinate as an AES key,
	// under which the first 32 bytes of the transcript hash are encrypted to the wrapping key, then AES-KWP.
	SuiteNullECB Suite = "P384-NULL-ECBKDF-KWP"
	// SuiteRSASHA256 is for pairs without a common ECDH suite: the destination's token makes an RSA-4096 key for this
	// exchange, the source's token makes the wrapping key at random and wraps it under that by RSAES-OAEP with SHA-256,
	// MGF1 with SHA-256 and no label, then AES-KWP. Nothing is derived from the transcript: the source's signature over
	// the whole [Transfer] is what binds wrapping key, materials and messages to each other.
	SuiteRSASHA256 Suite = "RSA4096-OAEPSHA256-AESKWP"
	// SuiteRSASHA1 is the same with SHA-1, for tokens whose OAEP has no other hash. OAEP needs no collision resistance.
	SuiteRSASHA1 Suite = "RSA4096-OAEPSHA1-AESKWP"
)

// RSA reports whether the suite wraps under an RSA key in place of agreeing by ECDH.
func (s Suite) RSA() bool { return s == SuiteRSASHA256 || s == SuiteRSASHA1 }

// ErrNoSuite says that two tokens have no suite in common that is strong enough.
var ErrNoSuite = errors.New("no common key-exchange suite")

// Lengths in bytes.
const (
	PointSize      = 97  // of an uncompressed P-384 point
	RSAKeySize     = 550 // of an RSA-4096 public key with e = 65537 as DER SubjectPublicKeyInfo
	RSAWrappedSize = 512 // of a wrapping key under it
)

const maxSuites = 8

// Strength returns all suites, strongest first. The order is fixed.
func Strength() []Suite { return []Suite{SuiteX963, SuiteNullECB, SuiteRSASHA256, SuiteRSASHA1} }

// Choose returns the strongest suite of both lists that is not weaker than least ("" for any), or [ErrNoSuite]. Names
// that this version does not know are passed over. Both sides compute it: the source refuses an Accept that chose
// another.
func Choose(own, peer []Suite, least Suite) (Suite, error) {
	order := Strength()
	if least != "" {
		i := slices.Index(order, least)
		if i < 0 {
			return "", fmt.Errorf("%w: the minimum %q is unknown", ErrNoSuite, least)
		}
		order = order[:i+1]
	}
	for _, s := range order {
		if slices.Contains(own, s) && slices.Contains(peer, s) {
			return s, nil
		}
	}
	return "", fmt.Errorf("%w: own %q, peer %q, minimum %q", ErrNoSuite, own, peer, least)
}

func validateSuites(list []Suite) error {
	if len(list) == 0 || len(list) > maxSuites {
		return fmt.Errorf("%w: %d suites, 1 to %d are allowed", ErrMalformed, len(list), maxSuites)
	}
	for i, s := range list {
		if s == "" || len(s) > 64 || slices.Contains(list[:i], s) {
			return fmt.Errorf("%w: suite empty, too long or repeated", ErrMalformed)
		}
	}
	return nil
}

// CheckPoint returns [ErrMalformed] unless point is an uncompressed point of P-384, 97 bytes, on the curve. No token
// sees a point that was not checked.
func CheckPoint(point []byte) error {
	if len(point) != PointSize {
		return fmt.Errorf("%w: point of %d bytes", ErrMalformed, len(point))
	}
	if _, err := ecdh.P384().NewPublicKey(point); err != nil {
		return fmt.Errorf("%w: point: %w", ErrMalformed, err)
	}
	return nil
}

// CheckRSAKey returns [ErrMalformed] unless spki is the DER SubjectPublicKeyInfo of an RSA key of 4096 bits with e = 65537
// and an odd modulus, in its one encoding. No token sees a key that was not checked.
func CheckRSAKey(spki []byte) error {
	if len(spki) != RSAKeySize {
		return fmt.Errorf("%w: RSA key of %d bytes", ErrMalformed, len(spki))
	}
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return fmt.Errorf("%w: RSA key: %w", ErrMalformed, err)
	}
	key, isRSA := parsed.(*rsa.PublicKey)
	if !isRSA || key.N.BitLen() != 4096 || key.N.Bit(0) == 0 || key.E != 65537 {
		return fmt.Errorf("%w: not an RSA key of 4096 bits with exponent 65537", ErrMalformed)
	}
	if again, err := x509.MarshalPKIXPublicKey(key); err != nil || !bytes.Equal(again, spki) {
		return fmt.Errorf("%w: RSA key is not in DER", ErrMalformed)
	}
	return nil
}

// CheckKey checks the public half of the destination's key of an exchange, whose form follows from the suite: a point
// ([CheckPoint]) or an RSA key ([CheckRSAKey]). It returns [ErrMalformed], also for a suite that is not known.
func CheckKey(s Suite, public []byte) error {
	switch s {
	case SuiteX963, SuiteNullECB:
		return CheckPoint(public)
	case SuiteRSASHA256, SuiteRSASHA1:
		return CheckRSAKey(public)
	}
	return fmt.Errorf("%w: suite %.64q", ErrMalformed, s)
}

// CheckBlob checks the length of material of this spec wrapped by AES-KWP, and whether a public key is with it. It returns
// [ErrMismatch], or [ErrUnsupported] for a spec that can't be sent.
func CheckBlob(spec string, w Wrapped) error {
	least, most, err := keyspec.WrappedSize(spec)
	if err != nil {
		return fmt.Errorf("%w: key spec %.64q", ErrUnsupported, spec)
	}
	if n := len(w.Blob); n < least || n > most || n%8 != 0 {
		return fmt.Errorf("%w: blob of %d bytes, %s has %d to %d", ErrMismatch, n, spec, least, most)
	}
	if s, _ := keyspec.Lookup(spec); s.Pair() != (len(w.Public) > 0) {
		return fmt.Errorf("%w: public key of %d bytes with a key of spec %s", ErrMismatch, len(w.Public), spec)
	}
	return nil
}
