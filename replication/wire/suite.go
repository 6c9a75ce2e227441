package wire

import (
	"crypto/ecdh"
	"errors"
	"fmt"
	"slices"
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
	// SuiteRSA is for pairs without a common ECDH suite. Messages of it have no form yet: [Accept] can't choose it.
	SuiteRSA Suite = "RSA4096-OAEP-AESKWP"
)

// ErrNoSuite says that two tokens have no suite in common that is strong enough.
var ErrNoSuite = errors.New("no common key-exchange suite")

// PointSize is the length of an uncompressed P-384 point.
const PointSize = 97

const maxSuites = 8

// Strength returns all suites, strongest first. The order is fixed.
func Strength() []Suite { return []Suite{SuiteX963, SuiteNullECB, SuiteRSA} }

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

// BlobSize returns the length of material of this spec wrapped by AES-KWP, or [ErrUnsupported].
func BlobSize(spec string) (int, error) {
	if spec == "SYMMETRIC_DEFAULT" { // 32 bytes of AES-256
		return 40, nil
	}
	return 0, fmt.Errorf("%w: key spec %s", ErrUnsupported, spec)
}
