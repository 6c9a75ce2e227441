package ciphertext

import (
	"encoding/hex"
	"strings"
)

const (
	version1         = 0x01
	algorithmXAES    = 0x01
	kindMultiRegion  = 0x01
	kindSingleRegion = 0x02

	keyIDOffset    = 2 // its kind, then its 16 bytes
	materialOffset = 19
	headerLength   = 51
	prefixLength   = 12
	ivLength       = 12
	nonceLength    = 24
	tagLength      = 16

	multiRegionPrefix = "mrk-"
)

// header is the clear and authenticated beginning of a blob: what finds the key.
type header [headerLength]byte

// materialID is a key material id in its 32 bytes.
type materialID [32]byte

// Blob is a ciphertext, parsed.
type Blob struct {
	header header
	nonce  [nonceLength]byte
	sealed []byte // ciphertext and tag
}

// Parse reads a blob. Its only error is [ErrInvalid]. The Blob keeps a reference to raw.
func Parse(raw []byte) (Blob, error) {
	if len(raw) < headerLength+nonceLength+tagLength || len(raw) > MaxBlob {
		return Blob{}, ErrInvalid
	}
	var b Blob
	n := copy(b.header[:], raw)
	n += copy(b.nonce[:], raw[n:])
	b.sealed = raw[n:]
	kind := b.header[keyIDOffset]
	if b.header[0] != version1 || b.header[1] != algorithmXAES || (kind != kindMultiRegion && kind != kindSingleRegion) {
		return Blob{}, ErrInvalid
	}
	return b, nil
}

// Append appends the blob's encoding to dst.
func (b Blob) Append(dst []byte) []byte {
	dst = append(dst, b.header[:]...)
	dst = append(dst, b.nonce[:]...)
	return append(dst, b.sealed...)
}

// KeyID returns the id of the key that made the blob: "mrk-" and 32 lower-case hex digits, or a lower-case UUID.
func (b Blob) KeyID() string {
	id := b.header[keyIDOffset+1 : materialOffset]
	if b.header[keyIDOffset] == kindMultiRegion {
		return multiRegionPrefix + hex.EncodeToString(id)
	}
	h := hex.EncodeToString(id)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// MaterialID returns the id of the key material that made the blob, 64 lower-case hex digits.
func (b Blob) MaterialID() string { return hex.EncodeToString(b.header[materialOffset:]) }

// newHeader returns the header for a key, and false if an id does not have the form that [Blob.KeyID] and
// [Blob.MaterialID] state.
func newHeader(keyID, material string) (header, bool) {
	h := header{version1, algorithmXAES}
	id := h[keyIDOffset+1 : materialOffset]
	if digits, ok := strings.CutPrefix(keyID, multiRegionPrefix); ok {
		h[keyIDOffset] = kindMultiRegion
		return h, unhex(id, digits) && unhex(h[materialOffset:], material)
	}
	h[keyIDOffset] = kindSingleRegion
	if len(keyID) != 36 || keyID[8] != '-' || keyID[13] != '-' || keyID[18] != '-' || keyID[23] != '-' {
		return header{}, false
	}
	return h, unhex(id[:4], keyID[:8]) && unhex(id[4:6], keyID[9:13]) && unhex(id[6:8], keyID[14:18]) &&
		unhex(id[8:10], keyID[19:23]) && unhex(id[10:], keyID[24:]) && unhex(h[materialOffset:], material)
}

func (h header) material() materialID { return materialID(h[materialOffset:]) }

// unhex fills dst from exactly as many lower-case hex digits as it takes.
func unhex(dst []byte, digits string) bool {
	if len(digits) != 2*len(dst) {
		return false
	}
	for i := range dst {
		hi, ok1 := nibble(digits[2*i])
		lo, ok2 := nibble(digits[2*i+1])
		if !ok1 || !ok2 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

func nibble(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	default:
		return 0, false
	}
}
