package wire

import (
	"fmt"

	"antipode/regions/keyset"
)

// Gone says that the sender has deleted its replica: it holds no material of that incarnation, nor ever will. It is sent
// to the primary until [GoneAck] answers it. Its exchange id is the incarnation.
type Gone struct {
	Route
	Account     string       `cbor:"5,keyasint"` // 12 digits
	KeyID       string       `cbor:"6,keyasint"` // "mrk-" and 32 hex digits
	Incarnation [16]byte     `cbor:"7,keyasint"`
	Epoch       keyset.Epoch `cbor:"8,keyasint"` // of the shared state that was held at last
	Sequence    uint64       `cbor:"9,keyasint"`
}

// Type returns [TypeGone].
func (*Gone) Type() string { return TypeGone }

func (g *Gone) validate() error {
	if err := g.Route.validate(); err != nil {
		return err
	}
	switch {
	case !validAccount(g.Account) || !validKeyID(g.KeyID):
		return fmt.Errorf("%w: account or key id", ErrMalformed)
	case g.Incarnation != g.ExchangeID:
		return fmt.Errorf("%w: incarnation", ErrMalformed)
	case g.Epoch.Generation == 0 || g.Epoch.Term == 0 || g.Sequence == 0:
		return fmt.Errorf("%w: epoch or sequence", ErrMalformed)
	}
	return nil
}

// GoneAck answers [Gone]: the sender's key set does not have that incarnation any more, or never had it.
type GoneAck struct {
	Route
	Gone [HashSize]byte `cbor:"5,keyasint"` // Hash of the message
}

// Type returns [TypeGoneAck].
func (*GoneAck) Type() string { return TypeGoneAck }

func (a *GoneAck) validate() error { return a.Route.validate() }

// Answers returns [ErrMismatch] unless a acknowledges this message, data as it was sent with this route.
func (a *GoneAck) Answers(data []byte, sent Route) error {
	if err := answers(a.Route, sent); err != nil {
		return err
	}
	if a.Gone != Hash(data) {
		return fmt.Errorf("%w: acknowledges another message", ErrMismatch)
	}
	return nil
}
