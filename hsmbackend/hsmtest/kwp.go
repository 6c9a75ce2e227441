package hsmtest

import (
	"crypto/aes"
	"encoding/binary"
	"errors"
)

// wrapKWP is RFC 5649 in software, so that tests can bring key material of their own onto a token.
func wrapKWP(kek, material []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	if len(material) == 0 {
		return nil, errors.New("nothing to wrap")
	}
	padded := (len(material) + 7) / 8 * 8
	buf := make([]byte, 8+padded)
	binary.BigEndian.PutUint32(buf, 0xA65959A6)
	binary.BigEndian.PutUint32(buf[4:], uint32(len(material)))
	copy(buf[8:], material)
	if padded == 8 {
		block.Encrypt(buf, buf)
		return buf, nil
	}
	n := padded / 8
	var b [16]byte
	copy(b[:8], buf[:8])
	for j := range 6 {
		for i := 1; i <= n; i++ {
			copy(b[8:], buf[8*i:])
			block.Encrypt(b[:], b[:])
			copy(buf[8*i:], b[8:])
			t := uint64(n*j + i)
			binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:8])^t)
		}
	}
	copy(buf, b[:8])
	return buf, nil
}
