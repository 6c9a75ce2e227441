package arn

import (
	"encoding/hex"
	"strings"
)

const (
	multiRegionPrefix = "mrk-"
	multiRegionLength = len(multiRegionPrefix) + 32
	uuidLength        = 36
)

// IsKeyID reports whether s has the form of a key id: "mrk-" and 32 lower-case hex digits for a multi-Region key, or a
// lower-case UUID for a single-Region key.
func IsKeyID(s string) bool { return IsMultiRegionKeyID(s) || isUUID(s) }

// IsMultiRegionKeyID reports whether s has the form of a multi-Region key's id.
func IsMultiRegionKeyID(s string) bool {
	return len(s) == multiRegionLength && strings.HasPrefix(s, multiRegionPrefix) && isHex(s[len(multiRegionPrefix):])
}

// MultiRegionKeyID returns the multi-Region key id made of 16 random bytes. All 128 bits are kept.
func MultiRegionKeyID(random [16]byte) string {
	return multiRegionPrefix + hex.EncodeToString(random[:])
}

// SingleRegionKeyID returns the single-Region key id made of 16 random bytes, a version 4 UUID (RFC 9562): 122 of the
// bits are kept.
func SingleRegionKeyID(random [16]byte) string {
	random[6] = random[6]&0x0f | 0x40
	random[8] = random[8]&0x3f | 0x80
	var b [uuidLength]byte
	hex.Encode(b[0:8], random[0:4])
	hex.Encode(b[9:13], random[4:6])
	hex.Encode(b[14:18], random[6:8])
	hex.Encode(b[19:23], random[8:10])
	hex.Encode(b[24:36], random[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// isUUID accepts any version and variant: an id is only ever compared with one that was made here.
func isUUID(s string) bool {
	return len(s) == uuidLength && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' &&
		isHex(s[0:8]) && isHex(s[9:13]) && isHex(s[14:18]) && isHex(s[19:23]) && isHex(s[24:36])
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
