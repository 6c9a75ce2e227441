package ciphertext

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// MaxContext bounds the sum of the lengths in bytes of all names and values of an encryption context. AWS publishes no
// limit for cryptographic operations; this one bounds what a token is handed, and is far above what policies (384
// characters per grant constraint) can use.
const MaxContext = 8192

const aadLabel = "antipode/aad/1"

// Canonical returns the one encoding of an encryption context: u32 number of pairs, then, sorted by the UTF-8 bytes of
// the names, u32 length, name, u32 length, value; big-endian. nil equals the empty context, four zero bytes. Strings
// are taken as they are, without Unicode normalisation. It returns [ErrContext] for invalid UTF-8 and for more than
// [MaxContext] bytes.
func Canonical(context map[string]string) ([]byte, error) { return appendCanonical(nil, context) }

func appendCanonical(dst []byte, context map[string]string) ([]byte, error) {
	total := 0
	for name, value := range context {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return nil, fmt.Errorf("%w: not UTF-8", ErrContext)
		}
		if total += len(name) + len(value); total > MaxContext {
			return nil, fmt.Errorf("%w: more than %d bytes", ErrContext, MaxContext)
		}
	}
	dst = slices.Grow(dst, 4+8*len(context)+total)
	dst = appendLength(dst, len(context))
	for _, name := range slices.Sorted(maps.Keys(context)) {
		value := context[name]
		dst = append(appendLength(dst, len(name)), name...)
		dst = append(appendLength(dst, len(value)), value...)
	}
	return dst, nil
}

// appendLength appends n, which MaxContext bounds.
func appendLength(dst []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(n)) //nolint:gosec // at most MaxContext+1 pairs
}

// aad returns what the package documentation calls AAD.
func (h header) aad(context map[string]string) ([]byte, error) {
	dst := append(make([]byte, 0, 256), aadLabel...)
	dst = binary.BigEndian.AppendUint16(dst, headerLength)
	return appendCanonical(append(dst, h[:]...), context)
}
