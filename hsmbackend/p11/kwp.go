package p11

import (
	"crypto/aes"
	"encoding/binary"
)

// wrapKWP is AES-KWP (RFC 5649, section 4.1) in host memory, for material that is there anyway; it has 9 bytes or more.
func wrapKWP(kek, value []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	n := (len(value) + 7) / 8
	out := make([]byte, 8*(n+1))
	copy(out, []byte{0xa6, 0x59, 0x59, 0xa6})
	binary.BigEndian.PutUint32(out[4:], uint32(len(value))) //nolint:gosec // at most maxWrapped
	copy(out[8:], value)
	var b [16]byte
	defer clear(b[:])
	copy(b[:8], out)
	for j := range uint64(6) {
		for i := 1; i <= n; i++ {
			copy(b[8:], out[8*i:])
			block.Encrypt(b[:], b[:])
			binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])^(j*uint64(n)+uint64(i)))
			copy(out[8*i:], b[8:])
		}
	}
	copy(out, b[:8])
	return out, nil
}
