package wire

import (
	"crypto/sha512"
	"encoding/binary"
	"fmt"

	"antipode/regions/canon"
)

// The COSE types of the export of identities.
const (
	TypeIdentityRequest = "antipode/identity-request"
	TypeIdentityExport  = "antipode/identity-export"
)

const (
	// MaxIdentityPages is how many messages one export has at most.
	MaxIdentityPages = 1024
	maxSealedParts   = 16
	// sealedOverhead is what sealing adds to a part: version, nonce, tag.
	sealedOverhead = 1 + 24 + 16
	// SealedPart is how much plaintext one part of a page has at most, in bytes: what a token seals in one call.
	SealedPart = 32 << 10
)

// IdentityRequest asks another Region's operator for its identities. It is carried by hand, never by the transport between
// Regions: a Region gives its identities out on its own operator's word only.
type IdentityRequest struct {
	Route
	Suites []Suite         `cbor:"5,keyasint"` // that the asker's token can do
	Point  []byte          `cbor:"6,keyasint"` // its ephemeral key: an uncompressed P-384 point
	Nonce  [NonceSize]byte `cbor:"7,keyasint"`
}

// Type returns [TypeIdentityRequest].
func (*IdentityRequest) Type() string { return TypeIdentityRequest }

func (q *IdentityRequest) validate() error {
	if err := q.Route.validate(); err != nil {
		return err
	}
	if err := validateSuites(q.Suites); err != nil {
		return err
	}
	if q.Nonce == [NonceSize]byte{} {
		return fmt.Errorf("%w: no nonce", ErrMalformed)
	}
	return CheckPoint(q.Point)
}

// IdentityExport is one page of a Region's identities, sealed for the Region that asked. All pages of an export are carried
// together.
type IdentityExport struct {
	Route
	Request [HashSize]byte `cbor:"5,keyasint"` // Hash of the request
	Suites  []Suite        `cbor:"6,keyasint"` // that the exporter's token can do
	Suite   Suite          `cbor:"7,keyasint"` // the strongest ECDH suite of both
	Point   []byte         `cbor:"8,keyasint"` // the exporter's ephemeral key of this page
	Export  [16]byte       `cbor:"9,keyasint"` // random, the same in all pages of one export
	Page    uint64         `cbor:"10,keyasint"`
	Pages   uint64         `cbor:"11,keyasint"`
	// Sealed is [EncodeIdentities] of the page, in parts of at most [SealedPart] bytes of plaintext, each sealed by
	// XAES-256-GCM under the key that both tokens agree on.
	Sealed [][]byte `cbor:"12,keyasint"`
}

// Type returns [TypeIdentityExport].
func (*IdentityExport) Type() string { return TypeIdentityExport }

func (x *IdentityExport) validate() error {
	if err := x.validateBody(); err != nil {
		return err
	}
	if len(x.Sealed) == 0 || len(x.Sealed) > maxSealedParts {
		return fmt.Errorf("%w: %d sealed parts", ErrMalformed, len(x.Sealed))
	}
	for i, s := range x.Sealed {
		full := i < len(x.Sealed)-1
		if len(s) <= sealedOverhead || len(s) > SealedPart+sealedOverhead || full && len(s) != SealedPart+sealedOverhead {
			return fmt.Errorf("%w: a sealed part of %d bytes", ErrMalformed, len(s))
		}
	}
	return nil
}

func (x *IdentityExport) validateBody() error {
	if err := x.Route.validate(); err != nil {
		return err
	}
	if err := validateSuites(x.Suites); err != nil {
		return err
	}
	if x.Suite != SuiteX963 && x.Suite != SuiteNullECB {
		return fmt.Errorf("%w: suite %.64q", ErrMalformed, x.Suite)
	}
	if x.Export == [16]byte{} || x.Page == 0 || x.Page > x.Pages || x.Pages > MaxIdentityPages {
		return fmt.Errorf("%w: page %d of %d", ErrMalformed, x.Page, x.Pages)
	}
	return CheckPoint(x.Point)
}

// Answers returns [ErrMismatch] unless x is a page for this request, data as it was sent, in the strongest ECDH suite of
// both that is not weaker than least; if there is none it returns [ErrNoSuite].
func (x *IdentityExport) Answers(data []byte, q *IdentityRequest, least Suite) error {
	if err := answers(x.Route, q.Route); err != nil {
		return err
	}
	if x.Request != Hash(data) {
		return fmt.Errorf("%w: answers another request", ErrMismatch)
	}
	best, err := Choose(WithoutRSA(q.Suites), x.Suites, least)
	if err != nil {
		return err
	}
	if x.Suite != best {
		return fmt.Errorf("%w: chose %s where both have %s", ErrMismatch, x.Suite, best)
	}
	return nil
}

// WithoutRSA returns the ECDH suites of a list.
func WithoutRSA(list []Suite) (out []Suite) {
	for _, s := range list {
		if !s.RSA() {
			out = append(out, s)
		}
	}
	return out
}

// IdentityTranscript returns the hash to which both tokens bind the sealing key of a page: SHA-384 over
// "antipode/identity-transcript/1", the suite's name, the request as it was sent, and the body of the page with no sealed
// parts, each with its length before it as 4 bytes, big-endian.
func IdentityTranscript(request []byte, x *IdentityExport) ([HashSize]byte, error) {
	bare := *x
	bare.Sealed = nil
	if err := bare.validateBody(); err != nil {
		return [HashSize]byte{}, err
	}
	if x.Request != Hash(request) {
		return [HashSize]byte{}, fmt.Errorf("%w: transcript of another request", ErrMismatch)
	}
	body, err := canon.Marshal(&bare)
	if err != nil {
		return [HashSize]byte{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	h := sha512.New384()
	for _, part := range [][]byte{[]byte("antipode/identity-transcript/1"), []byte(x.Suite), request, body} {
		if len(part) > MaxSize {
			return [HashSize]byte{}, fmt.Errorf("%w: part of %d bytes", ErrMalformed, len(part))
		}
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) //nolint:gosec // at most MaxSize
		h.Write(part)
	}
	return [HashSize]byte(h.Sum(nil)), nil
}

// SealedAAD is the additional authenticated data of a sealed part, the index counted from 0.
func SealedAAD(transcript [HashSize]byte, index, parts int) []byte {
	aad := append([]byte("antipode/identity-export/1"), transcript[:]...)
	aad = binary.BigEndian.AppendUint32(aad, uint32(index))  //nolint:gosec // at most maxSealedParts
	return binary.BigEndian.AppendUint32(aad, uint32(parts)) //nolint:gosec // at most maxSealedParts
}

// JoinPages returns the file that carries the signed pages of an export: each with its length before it as 4 bytes,
// big-endian.
func JoinPages(pages [][]byte) []byte {
	var out []byte
	for _, p := range pages {
		out = binary.BigEndian.AppendUint32(out, uint32(len(p))) //nolint:gosec // at most MaxSize
		out = append(out, p...)
	}
	return out
}

// SplitPages is the inverse of [JoinPages]. It returns [ErrMalformed] for what is no such file; nothing is verified.
func SplitPages(file []byte) ([][]byte, error) {
	var out [][]byte
	for len(file) > 0 {
		if len(file) < 4 {
			return nil, fmt.Errorf("%w: the file is cut off", ErrMalformed)
		}
		n := binary.BigEndian.Uint32(file)
		if n == 0 || n > MaxSize {
			return nil, fmt.Errorf("%w: this is no file of identities", ErrMalformed)
		}
		if len(file)-4 < int(n) {
			return nil, fmt.Errorf("%w: the file is cut off", ErrMalformed)
		}
		if len(out) == MaxIdentityPages {
			return nil, fmt.Errorf("%w: more than %d pages", ErrMalformed, MaxIdentityPages)
		}
		out, file = append(out, file[4:4+n]), file[4+n:]
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: the file is empty", ErrMalformed)
	}
	return out, nil
}
