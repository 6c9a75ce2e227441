package wire

import (
	"fmt"
	"slices"
)

// Accept is m2: the destination would take the key, and its token made RAKB, the key that this exchange and no other
// uses.
type Accept struct {
	Route
	Offer  [HashSize]byte `cbor:"5,keyasint"` // Hash of m1
	Suites []Suite        `cbor:"6,keyasint"` // that the destination's token can do
	Suite  Suite          `cbor:"7,keyasint"` // the strongest of both
	// RAKB is the public half: an uncompressed P-384 point, or for an RSA suite DER SubjectPublicKeyInfo, see [CheckKey];
	// absent from the answer to a dry run.
	RAKB []byte `cbor:"8,keyasint,omitempty"`
	// Token and Node are where RAKB lives: the token's serial number and the node that Transfer must reach.
	Token string `cbor:"9,keyasint"`
	Node  string `cbor:"10,keyasint"`
	// Incarnation is that of the replica that will hold the key.
	Incarnation [16]byte        `cbor:"11,keyasint"`
	Nonce       [NonceSize]byte `cbor:"12,keyasint"`
}

// Type returns [TypeAccept].
func (*Accept) Type() string { return TypeAccept }

func (a *Accept) validate() error {
	if err := a.Route.validate(); err != nil {
		return err
	}
	if err := validateSuites(a.Suites); err != nil {
		return err
	}
	if !slices.Contains(Strength(), a.Suite) {
		return fmt.Errorf("%w: chosen suite %.64q", ErrMalformed, a.Suite)
	}
	if len(a.RAKB) > 0 {
		if err := CheckKey(a.Suite, a.RAKB); err != nil {
			return err
		}
	}
	switch {
	case a.Token == "" || len(a.Token) > 64 || a.Node == "" || len(a.Node) > 128:
		return fmt.Errorf("%w: token or node", ErrMalformed)
	case a.Incarnation == [16]byte{}:
		return fmt.Errorf("%w: no incarnation", ErrMalformed)
	case a.Nonce == [NonceSize]byte{}:
		return fmt.Errorf("%w: no nonce", ErrMalformed)
	}
	return nil
}

// Answers returns [ErrMismatch] unless a accepts this offer, m1 as it was sent, and chose the strongest suite of both
// that is not weaker than least (see [Choose]), in which case it may also return [ErrNoSuite].
func (a *Accept) Answers(m1 []byte, o *Offer, least Suite) error {
	if err := answers(a.Route, o.Route); err != nil {
		return err
	}
	if a.Offer != Hash(m1) {
		return fmt.Errorf("%w: accepts another offer", ErrMismatch)
	}
	best, err := Choose(o.Suites, a.Suites, least)
	if err != nil {
		return err
	}
	if a.Suite != best {
		return fmt.Errorf("%w: chose %s where both have %s", ErrMismatch, a.Suite, best)
	}
	if o.DryRun != (len(a.RAKB) == 0) {
		return fmt.Errorf("%w: RAKB belongs to an exchange that is not a dry run, and only there", ErrMismatch)
	}
	if o.Nonce == a.Nonce {
		return fmt.Errorf("%w: nonce echoed", ErrMismatch)
	}
	return nil
}

// answers: b goes back where a came from.
func answers(b, a Route) error {
	if b.ExchangeID != a.ExchangeID || b.From != a.To || b.To != a.From {
		return fmt.Errorf("%w: another exchange or region", ErrMismatch)
	}
	return nil
}
