package keyspec

import (
	"fmt"

	"antipode/hsmbackend"
)

// WrappedSize returns the least and the greatest length of the spec's material wrapped by AES-KWP; lengths between them
// are multiples of 8. It returns [hsmbackend.ErrUnsupported] for a spec whose material is never wrapped.
//
// A secret key has one length. That of a private key is its PKCS #8 PrivateKeyInfo's, which vendors write with and
// without curve and public key (RFC 5915), and whose integers can begin with zeros that DER leaves out: a length 16 bytes
// below the usual one for each of them is not seen in 2^128 keys.
func WrappedSize(name string) (least, most int, err error) {
	s, known := Lookup(name)
	if !known || s.KeyType == "" {
		return 0, 0, fmt.Errorf("%w: key spec %s", hsmbackend.ErrUnsupported, name)
	}
	switch s.family {
	case rsaKeys:
		least, most = rsaSize(s.bits/8, 16), rsaSize(s.bits/8, 0)
	case curves:
		const ecPublicKey = 9 // the object identifier
		algorithm := 3 + tlv(ecPublicKey+s.curve)
		key := 3 + tlv(s.field)
		least = tlv(algorithm + tlv(tlv(key)))
		most = tlv(algorithm + tlv(tlv(key+tlv(s.curve)+tlv(tlv(2+2*s.field)))))
	case edwards:
		least = tlv(3 + tlv(5) + tlv(tlv(s.field)))
		most = least + 2 + tlv(1+s.field) // RFC 8410 with the public key
	default:
		least, most = s.length, s.length
	}
	return kwp(least), kwp(most), nil
}

// tlv is the length of a DER value of n bytes with its head.
func tlv(n int) int {
	switch {
	case n < 128:
		return n + 2
	case n < 256:
		return n + 3
	}
	return n + 4
}

// rsaSize is the length of an RSA key's PrivateKeyInfo, whose modulus has size bytes, and whose exponents and coefficient
// are short bytes shorter than they can be.
func rsaSize(size, short int) int {
	half := tlv(size/2 + 1)
	key := 3 + tlv(size+1) + 5 + tlv(size+1-short) + 2*half + 3*tlv(size/2+1-short)
	const algorithm = 11 + 2 // rsaEncryption, NULL
	return tlv(3 + tlv(algorithm) + tlv(tlv(key)))
}

func kwp(n int) int { return (n+7)/8*8 + 8 }

// MaxPlaintext returns how many bytes a key of the spec encrypts by the algorithm.
func (s Spec) MaxPlaintext(a Algorithm) int {
	if s.family == rsaKeys {
		return s.bits/8 - 2*a.Hash.Size() - 2
	}
	return 4096
}
