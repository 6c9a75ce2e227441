package wire

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"slices"

	"antipode/regions/canon"
	"antipode/regions/keyset"
)

// Limits of a transfer.
const (
	maxBlob        = 8192
	maxPublic      = 1024
	maxState       = 256 << 10
	maxCertificate = 16 << 10
)

// Transfer is m3: the material, wrapped under a key that only the two tokens have, with the whole shared state. By the
// kind of the suite either RAKA is there or RWK, never both or none.
type Transfer struct {
	Route
	Offer  [HashSize]byte `cbor:"5,keyasint"` // Hash of m1
	Accept [HashSize]byte `cbor:"6,keyasint"` // Hash of m2
	// RAKA is the source's public half in an ECDH suite, an uncompressed P-384 point.
	RAKA  []byte `cbor:"7,keyasint,omitempty"`
	Token string `cbor:"8,keyasint"` // serial number of the token that wrapped
	// Materials are those of the offer in its order.
	Materials []Wrapped `cbor:"9,keyasint"`
	State     []byte    `cbor:"10,keyasint"` // keyset.SignState
	Chain     [][]byte  `cbor:"11,keyasint"` // the epoch certificates, genesis first
	// RWK is the wrapping key in an RSA suite, under RAKB by RSAES-OAEP, [RSAWrappedSize] bytes.
	RWK []byte `cbor:"12,keyasint,omitempty"`
}

// Wrapped is one version of the key material, wrapped.
type Wrapped struct {
	ID   string `cbor:"1,keyasint"` // material id
	Blob []byte `cbor:"2,keyasint,omitempty"`
	// Public is a key pair's DER SubjectPublicKeyInfo, of which the material id is made; absent for other keys.
	Public []byte `cbor:"3,keyasint,omitempty"`
}

// Type returns [TypeTransfer].
func (*Transfer) Type() string { return TypeTransfer }

func (t *Transfer) validate() error {
	if err := t.validateBody(); err != nil {
		return err
	}
	for _, w := range t.Materials {
		if len(w.Blob) == 0 || len(w.Blob) > maxBlob {
			return fmt.Errorf("%w: blob of %d bytes", ErrMalformed, len(w.Blob))
		}
		if len(w.Public) > maxPublic {
			return fmt.Errorf("%w: public key of %d bytes", ErrMalformed, len(w.Public))
		}
	}
	return nil
}

// validateBody checks all but the blobs.
func (t *Transfer) validateBody() error {
	if err := t.Route.validate(); err != nil {
		return err
	}
	switch {
	case (len(t.RAKA) > 0) == (len(t.RWK) > 0):
		return fmt.Errorf("%w: one of RAKA and RWK is needed", ErrMalformed)
	case len(t.RWK) > 0 && len(t.RWK) != RSAWrappedSize:
		return fmt.Errorf("%w: RWK of %d bytes", ErrMalformed, len(t.RWK))
	case len(t.RAKA) > 0:
		if err := CheckPoint(t.RAKA); err != nil {
			return err
		}
	}
	switch {
	case t.Token == "" || len(t.Token) > 64:
		return fmt.Errorf("%w: token", ErrMalformed)
	case len(t.Materials) > MaxMaterials: // none, of a key whose material is imported
		return fmt.Errorf("%w: %d materials", ErrMalformed, len(t.Materials))
	}
	if err := validateShared(t.State, t.Chain); err != nil {
		return err
	}
	seen := make(map[string]bool, len(t.Materials))
	for _, w := range t.Materials {
		if !keyset.ValidMaterialID(w.ID) || seen[w.ID] {
			return fmt.Errorf("%w: material id malformed or repeated", ErrMalformed)
		}
		seen[w.ID] = true
	}
	return nil
}

// Follows returns [ErrMismatch] unless t carries out this offer and acceptance, m1 and m2 as they were sent: the same
// exchange, in the form of the chosen suite, the offered materials in order, each blob as long as the spec demands, the
// chain that ends in the offered certificate; in a supply the offered state and chain. It returns [ErrUnsupported] for a
// spec that can't be sent.
func (t *Transfer) Follows(m1, m2 []byte, o *Offer, a *Accept) error {
	if t.ExchangeID != o.ExchangeID || t.From != o.From || t.To != o.To {
		return fmt.Errorf("%w: another exchange or region", ErrMismatch)
	}
	if err := answers(a.Route, o.Route); err != nil {
		return err
	}
	if t.Offer != Hash(m1) || t.Accept != Hash(m2) || a.Offer != t.Offer {
		return fmt.Errorf("%w: carries out another offer", ErrMismatch)
	}
	if o.DryRun || len(a.RAKB) == 0 {
		return fmt.Errorf("%w: nothing follows a dry run", ErrMismatch)
	}
	if a.Suite.RSA() != (len(t.RWK) > 0) {
		return fmt.Errorf("%w: not a transfer of suite %s", ErrMismatch, a.Suite)
	}
	if len(t.Materials) != len(o.Materials) {
		return fmt.Errorf("%w: %d materials, %d were offered", ErrMismatch, len(t.Materials), len(o.Materials))
	}
	for i, w := range t.Materials {
		if w.ID != o.Materials[i].ID {
			return fmt.Errorf("%w: materials are not those offered", ErrMismatch)
		}
		if err := CheckBlob(o.Spec, w); err != nil {
			return err
		}
	}
	if keyset.Hash(t.Chain[len(t.Chain)-1]) != o.Certificate {
		return fmt.Errorf("%w: the chain does not end in the offered certificate", ErrMismatch)
	}
	if o.Purpose == PurposeSupply && (!bytes.Equal(t.State, o.State) || !slices.EqualFunc(t.Chain, o.Chain, bytes.Equal)) {
		return fmt.Errorf("%w: a supply with another state or chain than was offered", ErrMismatch)
	}
	return nil
}

// Transcript returns the hash to which both tokens bind the wrapping key: SHA-384 over "antipode/transcript/1", the
// suite's name, m1, m2 and the body of m3 without the wrapped materials' blobs (their ids stay), each with its length
// before it as 4 bytes, big-endian. The source computes it before it wraps, so t's blobs may be there or not.
//
// [SuiteX963] uses all 48 bytes as shared info, [SuiteNullECB] the first 32. The RSA suites derive nothing from it.
func Transcript(suite Suite, m1, m2 []byte, t *Transfer) ([HashSize]byte, error) {
	bare := *t
	bare.Materials = make([]Wrapped, len(t.Materials))
	for i, w := range t.Materials {
		bare.Materials[i].ID = w.ID
	}
	if err := bare.validateBody(); err != nil {
		return [HashSize]byte{}, err
	}
	if t.Offer != Hash(m1) || t.Accept != Hash(m2) {
		return [HashSize]byte{}, fmt.Errorf("%w: transcript of two exchanges", ErrMismatch)
	}
	body, err := canon.Marshal(&bare)
	if err != nil {
		return [HashSize]byte{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	h := sha512.New384()
	for _, part := range [][]byte{[]byte("antipode/transcript/1"), []byte(suite), m1, m2, body} {
		if len(part) > MaxSize {
			return [HashSize]byte{}, fmt.Errorf("%w: part of %d bytes", ErrMalformed, len(part))
		}
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) //nolint:gosec // at most MaxSize
		h.Write(part)
	}
	return [HashSize]byte(h.Sum(nil)), nil
}
