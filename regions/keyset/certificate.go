package keyset

import (
	"context"
	"crypto/ecdsa"
	"fmt"

	"antipode/regions/canon"
	"antipode/regions/cose"
)

// Certificate opens an epoch of one key and names its primary. There are three kinds, told apart by From and To:
//
//	genesis     (0,0) -> (1,1)        signed by the first primary
//	term        (g,t) -> (g,t+1)      signed by the primary of (g,t)
//	generation  (g,t) -> (g+n,1)      signed by the new primary, with the operators' approvals
type Certificate struct {
	Account string `cbor:"1,keyasint"` // 12 digits
	KeyID   string `cbor:"2,keyasint"` // "mrk-" and 32 hex digits
	From    Epoch  `cbor:"3,keyasint"`
	To      Epoch  `cbor:"4,keyasint"`
	// PreviousPrimary is the Region that was primary in From, "" for genesis.
	PreviousPrimary string `cbor:"5,keyasint"`
	Primary         string `cbor:"6,keyasint"` // the Region that is primary in To
	// Previous is [Hash] of the certificate before, empty for genesis.
	Previous      []byte     `cbor:"7,keyasint"`
	RosterVersion uint64     `cbor:"8,keyasint"` // of the roster that the signer held
	IssuedAt      int64      `cbor:"9,keyasint"` // Unix milliseconds on the signer's clock; informative, decides nothing
	Approvals     []Approval `cbor:"10,keyasint,omitempty"`
}

// kind of a certificate.
type kind uint8

const (
	genesis kind = iota + 1
	term
	generation
)

func (c Certificate) kind() kind {
	switch {
	case c.From == Epoch{} && c.To == First():
		return genesis
	case c.From.Term > 0 && c.To.Generation == c.From.Generation && c.To.Term == c.From.Term+1:
		return term
	case c.From.Term > 0 && c.To.Generation > c.From.Generation && c.To.Term == 1:
		return generation
	}
	return 0
}

// Validate returns [ErrInvalid] with the first rule of form that the certificate breaks. Whether it is signed and
// approved by who may is for [VerifyChain].
func (c Certificate) Validate() error {
	if !validAccount(c.Account) || !validKeyID(c.KeyID) {
		return fmt.Errorf("%w: certificate's account or key id", ErrInvalid)
	}
	if !validName(c.Primary) {
		return fmt.Errorf("%w: certificate's primary", ErrInvalid)
	}
	k := c.kind()
	if k == 0 {
		return fmt.Errorf("%w: no certificate leads from %v to %v", ErrInvalid, c.From, c.To)
	}
	if k == genesis {
		if c.PreviousPrimary != "" || len(c.Previous) != 0 {
			return fmt.Errorf("%w: genesis has a predecessor", ErrInvalid)
		}
	} else if !validName(c.PreviousPrimary) || len(c.Previous) != HashSize {
		return fmt.Errorf("%w: certificate's predecessor", ErrInvalid)
	}
	if (k == generation) != (len(c.Approvals) > 0) {
		return fmt.Errorf("%w: approvals belong to a new generation, and only there", ErrInvalid)
	}
	return validApprovals(c.Approvals)
}

// signer returns the Region that must have signed the certificate.
func (c Certificate) signer() string {
	if c.kind() == term {
		return c.PreviousPrimary
	}
	return c.Primary
}

// SignCertificate returns the signed certificate. s must be the RSK of the Region that its kind names.
func SignCertificate(ctx context.Context, s cose.Signer, c Certificate) ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	payload, err := canon.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode epoch certificate: %w", err)
	}
	return cose.Sign(ctx, s, TypeCertificate, payload)
}

// openCertificate parses a certificate and verifies its signature by the Region that had to sign it. key is one of
// the methods of [Trust].
func openCertificate(data []byte, key func(string, []byte) (*ecdsa.PublicKey, error)) (Certificate, error) {
	c, err := decodeCertificate(data)
	if err != nil {
		return Certificate{}, err
	}
	signer := c.signer()
	_, err = cose.Verify(data, TypeCertificate, func(id []byte) (*ecdsa.PublicKey, error) { return key(signer, id) })
	if err != nil {
		return Certificate{}, fmt.Errorf("%w: certificate of %v: %w", ErrUncertified, c.To, err)
	}
	return c, nil
}

// decodeCertificate reads who should have signed, before it is known whether he did: its result proves nothing.
func decodeCertificate(data []byte) (Certificate, error) {
	payload, err := cose.Unverified(data, TypeCertificate)
	if err != nil {
		return Certificate{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var c Certificate
	if err := canon.Unmarshal(payload, &c); err != nil {
		return Certificate{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return c, c.Validate()
}
