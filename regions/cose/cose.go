// Package cose signs and verifies the one form of COSE_Sign1 (RFC 9052) that Regions exchange and keep.
//
// Invariants:
//   - A message is an untagged COSE_Sign1 in deterministic CBOR. Its protected header holds exactly alg (1) = ES384
//     (-35), kid (4) = 32 bytes of [KeyID] and typ (16, RFC 9596) = text; the unprotected header is empty; the payload
//     is attached; there is no external data. Anything else is refused.
//   - Verification is over the bytes as received; nothing of a message but what [Peek] returns is looked at before.
//   - The type is part of what is signed: a message of one type never passes for one of another.
//   - A third party can't make a second valid form of a message: the encoding is unique and the signature's s is at
//     most half the order (ECDSA's other solution is refused). So a hash over the whole message is one over what its
//     signer said, and can be put into the next message.
//   - Private keys are on a token; this package sees digests and signatures.
package cose

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	gocose "github.com/veraison/go-cose"

	"antipode/regions/canon"
)

// Sizes in bytes.
const (
	// MaxSize is the largest message.
	MaxSize = 512 << 10
	// KeyIDSize is the length of a key id.
	KeyIDSize = sha256.Size
	// SignatureSize is the length of an ES384 signature, r||s.
	SignatureSize = 96
	maxType       = 64
)

var (
	// ErrMalformed says that the bytes are not a message in the one form this package makes.
	ErrMalformed = errors.New("malformed COSE_Sign1 message")
	// ErrSignature says that the signature is not one of that key over that message.
	ErrSignature = errors.New("wrong COSE signature")
	// ErrType says that the message is of another type than the wanted one.
	ErrType = errors.New("COSE message of another type")
	// ErrKey says that a public key is not a P-384 key in its one DER form.
	ErrKey = errors.New("not a P-384 public key")
)

// Signer is one ECDSA P-384 key on a token.
type Signer interface {
	// KeyID returns [KeyID] of the public key.
	KeyID() []byte
	// SignDigest signs a SHA-384 digest (48 bytes) and returns r||s (96 bytes).
	SignDigest(ctx context.Context, digest []byte) (rs []byte, err error)
}

// Message is what a verified message says.
type Message struct {
	Type    string
	KeyID   []byte
	Payload []byte
}

// KeyID returns the id of a public key: SHA-256 of its DER SubjectPublicKeyInfo, 32 bytes.
func KeyID(spki []byte) []byte {
	sum := sha256.Sum256(spki)
	return sum[:]
}

// ParseKey returns the P-384 public key of a DER SubjectPublicKeyInfo, or [ErrKey]. Only the one encoding with a named
// curve and an uncompressed point is accepted, so that a key has one id.
func ParseKey(spki []byte) (*ecdsa.PublicKey, error) {
	if len(spki) > 256 {
		return nil, fmt.Errorf("%w: %d bytes", ErrKey, len(spki))
	}
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P384() {
		return nil, ErrKey
	}
	again, err := x509.MarshalPKIXPublicKey(key)
	if err != nil || !bytes.Equal(again, spki) {
		return nil, fmt.Errorf("%w: not in its one DER form", ErrKey)
	}
	return key, nil
}

// tokenSigner gives go-cose a signer whose work is done elsewhere.
type tokenSigner func(content []byte) ([]byte, error)

func (tokenSigner) Algorithm() gocose.Algorithm { return gocose.AlgorithmES384 }

func (s tokenSigner) Sign(_ io.Reader, content []byte) ([]byte, error) { return s(content) }

// Sign returns the message of this type (1 to 64 printable ASCII characters) and payload (not empty), signed by s. The
// errors are those of s, and [ErrMalformed] for a type, payload or signature that can't be used.
func Sign(ctx context.Context, s Signer, typ string, payload []byte) ([]byte, error) {
	if len(payload) == 0 {
		return nil, fmt.Errorf("%w: empty payload", ErrMalformed)
	}
	head, err := canon.Marshal(header{Alg: int64(gocose.AlgorithmES384), KeyID: s.KeyID(), Type: typ})
	if err != nil {
		return nil, fmt.Errorf("encode COSE header: %w", err)
	}
	if _, err := parseHeader(head); err != nil {
		return nil, err
	}
	msg := gocose.UntaggedSign1Message{
		Headers: gocose.Headers{
			Protected: gocose.ProtectedHeader{
				gocose.HeaderLabelAlgorithm: gocose.AlgorithmES384,
				gocose.HeaderLabelKeyID:     s.KeyID(),
				gocose.HeaderLabelType:      typ,
			},
		},
		Payload: payload,
	}
	sign := tokenSigner(func(content []byte) ([]byte, error) {
		digest := sha512.Sum384(content)
		rs, err := s.SignDigest(ctx, digest[:])
		if err != nil {
			return nil, err
		}
		return lowS(rs)
	})
	if err := msg.Sign(nil, nil, sign); err != nil {
		return nil, fmt.Errorf("sign %s: %w", typ, err)
	}
	data, err := msg.MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", typ, err)
	}
	if _, _, err := parse(data); err != nil { // the library's encoder agrees with our rules, or nothing leaves
		return nil, err
	}
	return data, nil
}

// Verify returns what data says, if it is a message of type typ whose signature is one of the key that lookup returns
// for the key id. lookup decides whether that key may sign here and now; its error is returned wrapped. Otherwise the
// errors are [ErrMalformed], [ErrType], [ErrKey] and [ErrSignature].
func Verify(data []byte, typ string, lookup func(keyID []byte) (*ecdsa.PublicKey, error)) (Message, error) {
	env, head, err := parse(data)
	if err != nil {
		return Message{}, err
	}
	if head.Type != typ {
		return Message{}, fmt.Errorf("%w: %q, not %q", ErrType, head.Type, typ)
	}
	key, err := lookup(head.KeyID)
	if err != nil {
		return Message{}, fmt.Errorf("find key of COSE message: %w", err)
	}
	if key == nil || key.Curve != elliptic.P384() { // go-cose takes any curve for ES384
		return Message{}, ErrKey
	}
	verifier, err := gocose.NewVerifier(gocose.AlgorithmES384, key)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	var msg gocose.UntaggedSign1Message
	if err := msg.UnmarshalCBOR(data); err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := msg.Verify(nil, verifier); err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return Message{Type: head.Type, KeyID: head.KeyID, Payload: env.Payload}, nil
}

// Peek returns the type and key id that data claims, without verifying anything: for routing and logs only.
func Peek(data []byte) (typ string, keyID []byte, err error) {
	_, head, err := parse(data)
	if err != nil {
		return "", nil, err
	}
	return head.Type, head.KeyID, nil
}

// Unverified returns the payload of a message of type typ without verifying its signature: only for payloads that
// themselves say which key must have signed, to find it, and for what this Region verified before it stored it.
func Unverified(data []byte, typ string) ([]byte, error) {
	env, head, err := parse(data)
	if err != nil {
		return nil, err
	}
	if head.Type != typ {
		return nil, fmt.Errorf("%w: %q, not %q", ErrType, head.Type, typ)
	}
	return env.Payload, nil
}
