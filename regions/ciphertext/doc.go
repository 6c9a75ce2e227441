// Package ciphertext makes and opens the ciphertexts that symmetric KMS keys produce: XAES-256-GCM
// (https://c2sp.org/XAES-256-GCM) with the key derivation and the encryption on the token.
//
// A blob, version 1, all integers big-endian:
//
//	offset  length  field
//	0       1       version, 0x01
//	1       1       algorithm, 0x01: XAES-256-GCM
//	2       1       kind of key id, 0x01: multi-Region ("mrk-" and 32 hex digits), 0x02: single-Region (UUID)
//	3       16      key id: the 16 bytes that its lower-case hex digits stand for
//	19      32      key material id
//	51      24      nonce: bytes 0-11 choose the derived key, bytes 12-23 are its AES-GCM IV
//	75      n       ciphertext, as long as the plaintext, 0 to 4096
//	75+n    16      AES-GCM tag
//
// Bytes 0 to 50 are the header. What is authenticated with the ciphertext (AAD) is
//
//	"antipode/aad/1"        14 bytes of ASCII
//	u16                     length of the header, 51
//	header                  as it stands in the blob
//	encryption context      see [Canonical]: u32 number of pairs, then for each pair in the order of the names'
//	                        bytes: u32 length, name, u32 length, value
//
// The nonce is not repeated in the AAD, because a token that makes its own IV tells it only afterwards; the tag depends on
// all 24 bytes through the derived key and the IV.
//
// Where and how a token derives and encrypts is its own matter ([hsmbackend.XAESWay]): the blob is the same. A token that
// makes its own IV supplies the last 12 bytes of the nonce, the random source the first 12. On a token without AES-GCM
// the derived key and AES-GCM are in host memory for the time of a call.
//
// Invariants:
//   - The blob of one key opens in every Region that has the key: nothing in it depends on the Region or on the token.
//   - A blob has one encoding. What [Parse] accepts is what [Blob.Append] makes, byte for byte; trailing bytes belong to
//     the ciphertext and fail its tag.
//   - Everything that is wrong with a ciphertext, from its first byte to its tag, is [ErrInvalid] and nothing more.
//   - The key is chosen by the header, never by trying.
//   - One derived key encrypts at most [MaxMessages] messages, all begun within [MaxAge], and all 24 bytes of every nonce
//     come from the random source or the token, never from a counter. With m messages per derived key and Q messages per
//     key material, over all nodes and Regions, two messages share key and IV with a probability of at most
//     Q*m/2^97 + Q^2/2^193: 2^-32 for m = 2^10 and Q = 2^55.
//   - Where AES-GCM runs in host memory, each message has a derived key of its own, and none is kept.
//   - A derived key exists on the token while it is in use or in a bounded cache, and is destroyed there afterwards, never
//     while a call uses it.
package ciphertext

import "errors"

// MaxPlaintext is the length in bytes of the longest plaintext.
const MaxPlaintext = 4096

// MaxBlob is the length in bytes of the longest blob of this version. It is below the 6144 bytes that AWS KMS allows for a
// CiphertextBlob.
const MaxBlob = headerLength + nonceLength + MaxPlaintext + tagLength

var (
	// ErrInvalid means that the ciphertext was not made by this key with this context, or is no ciphertext at all. It says no more,
	// so that nobody learns from it how far a forgery got.
	ErrInvalid = errors.New("invalid ciphertext")
	// ErrContext means that the encryption context can't be used: invalid UTF-8, or longer than [MaxContext].
	ErrContext = errors.New("invalid encryption context")
	// ErrPlaintext means that the plaintext is longer than [MaxPlaintext].
	ErrPlaintext = errors.New("plaintext too long")
	// ErrClosed means that the Sealer was closed.
	ErrClosed = errors.New("sealer is closed")
)
