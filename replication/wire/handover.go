package wire

import (
	"fmt"
	"strings"

	"antipode/regions/keyset"
)

// HandOver makes the addressee, which has a replica, the primary of a key. It is from the primary, which does nothing as
// such any more once it has sent it, and is sent as the same bytes until [HandOverAck] or a final [Refusal] answers it.
type HandOver struct {
	Route
	Account string `cbor:"5,keyasint"` // 12 digits
	KeyID   string `cbor:"6,keyasint"` // "mrk-" and 32 hex digits
	// Principal is the ARN of who asked for it, and RequestID names his call, at most 64 bytes.
	Principal string `cbor:"7,keyasint"`
	RequestID string `cbor:"8,keyasint"`
	// State is the last that the sender has signed, and Chain the epoch certificates with, at its end, the one that names
	// the addressee. A dry run's chain is without that one.
	State []byte   `cbor:"9,keyasint"` // keyset.SignState
	Chain [][]byte `cbor:"10,keyasint"`
	// DryRun asks whether it would be accepted. Nothing changes on either side.
	DryRun bool `cbor:"11,keyasint"`
}

// Type returns [TypeHandOver].
func (*HandOver) Type() string { return TypeHandOver }

func (h *HandOver) validate() error {
	if err := h.Route.validate(); err != nil {
		return err
	}
	switch {
	case !validAccount(h.Account) || !validKeyID(h.KeyID):
		return fmt.Errorf("%w: account or key id", ErrMalformed)
	case !strings.HasPrefix(h.Principal, "arn:") || len(h.Principal) > 2048:
		return fmt.Errorf("%w: principal", ErrMalformed)
	case len(h.RequestID) > 64:
		return fmt.Errorf("%w: request id of %d bytes", ErrMalformed, len(h.RequestID))
	case !h.DryRun && len(h.Chain) < 2:
		return fmt.Errorf("%w: no certificate of the addressee", ErrMalformed)
	}
	return validateShared(h.State, h.Chain)
}

// HandOverAck says that the addressee of a [HandOver] is the primary, or was it after it and has handed on, with the
// newest state that it holds. A dry run is answered without state and chain.
type HandOverAck struct {
	Route
	HandOver [HashSize]byte `cbor:"5,keyasint"` // Hash of the message
	State    []byte         `cbor:"6,keyasint,omitempty"`
	Chain    [][]byte       `cbor:"7,keyasint,omitempty"`
}

// Type returns [TypeHandOverAck].
func (*HandOverAck) Type() string { return TypeHandOverAck }

func (a *HandOverAck) validate() error {
	if err := a.Route.validate(); err != nil {
		return err
	}
	if len(a.State) == 0 && len(a.Chain) == 0 {
		return nil
	}
	return validateShared(a.State, a.Chain)
}

// Answers returns [ErrMismatch] unless a answers this message, data as it was sent: with a state and a chain that
// goes on from the one sent, or with neither for a dry run.
func (a *HandOverAck) Answers(data []byte, h *HandOver) error {
	if err := answers(a.Route, h.Route); err != nil {
		return err
	}
	switch {
	case a.HandOver != Hash(data):
		return fmt.Errorf("%w: acknowledges another message", ErrMismatch)
	case h.DryRun != (len(a.State) == 0):
		return fmt.Errorf("%w: a state belongs to what is no dry run, and only there", ErrMismatch)
	case h.DryRun:
		return nil
	case len(a.Chain) < len(h.Chain):
		return fmt.Errorf("%w: a chain of %d certificates for one of %d", ErrMismatch, len(a.Chain), len(h.Chain))
	}
	for i, c := range h.Chain {
		if keyset.Hash(a.Chain[i]) != keyset.Hash(c) {
			return fmt.Errorf("%w: the chain is another one", ErrMismatch)
		}
	}
	return nil
}
