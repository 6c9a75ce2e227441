package wire

import (
	"fmt"

	"antipode/regions/keyset"
)

const maxReceipt = 128 << 10

// Sync brings a member of a key set the whole shared state as its primary signed it. Any member may send it: what
// counts is who signed the state, not who sent it.
type Sync struct {
	Route
	Account string   `cbor:"5,keyasint"` // 12 digits
	KeyID   string   `cbor:"6,keyasint"` // "mrk-" and 32 hex digits
	State   []byte   `cbor:"7,keyasint"` // keyset.SignState
	Chain   [][]byte `cbor:"8,keyasint"` // the epoch certificates, genesis first
	// Receipt is the newest receipt of the addressee's that the sender has for this key, absent if it has none. A Region
	// that does not know its own receipt has lost what its store held.
	Receipt []byte `cbor:"9,keyasint,omitempty"`
}

// Type returns [TypeSync].
func (*Sync) Type() string { return TypeSync }

func (s *Sync) validate() error {
	if err := s.Route.validate(); err != nil {
		return err
	}
	if !validAccount(s.Account) || !validKeyID(s.KeyID) {
		return fmt.Errorf("%w: account or key id", ErrMalformed)
	}
	if len(s.Receipt) > maxReceipt {
		return fmt.Errorf("%w: receipt of %d bytes", ErrMalformed, len(s.Receipt))
	}
	return validateShared(s.State, s.Chain)
}

// SyncAck says what the addressee of a [Sync] holds after it: the state that was sent, or the higher one that it had.
type SyncAck struct {
	Route
	Sync        [HashSize]byte `cbor:"5,keyasint"` // Hash of the Sync
	Epoch       keyset.Epoch   `cbor:"6,keyasint"` // of the shared state held
	Sequence    uint64         `cbor:"7,keyasint"`
	Incarnation [16]byte       `cbor:"8,keyasint"` // of the replica that holds it
	Materials   []string       `cbor:"9,keyasint"` // ids of all materials of the key held
}

// Type returns [TypeSyncAck].
func (*SyncAck) Type() string { return TypeSyncAck }

func (a *SyncAck) validate() error {
	if err := a.Route.validate(); err != nil {
		return err
	}
	if a.Epoch.Generation == 0 || a.Epoch.Term == 0 || a.Sequence == 0 || a.Incarnation == [16]byte{} {
		return fmt.Errorf("%w: epoch, sequence or incarnation", ErrMalformed)
	}
	return validateIDs(a.Materials)
}

// Answers returns [ErrMismatch] unless a answers this Sync, data as it was sent.
func (a *SyncAck) Answers(data []byte, s *Sync) error {
	if err := answers(a.Route, s.Route); err != nil {
		return err
	}
	if a.Sync != Hash(data) {
		return fmt.Errorf("%w: acknowledges another state", ErrMismatch)
	}
	return nil
}

// Want asks a Region that holds material of a key to supply it. The answer says only that it will: the material comes by
// an exchange of the holder's, with [PurposeSupply].
type Want struct {
	Route
	Account   string   `cbor:"5,keyasint"` // 12 digits
	KeyID     string   `cbor:"6,keyasint"` // "mrk-" and 32 hex digits
	Materials []string `cbor:"7,keyasint"` // ids of what the asker has already
}

// Type returns [TypeWant].
func (*Want) Type() string { return TypeWant }

func (w *Want) validate() error {
	if err := w.Route.validate(); err != nil {
		return err
	}
	if !validAccount(w.Account) || !validKeyID(w.KeyID) {
		return fmt.Errorf("%w: account or key id", ErrMalformed)
	}
	return validateIDs(w.Materials)
}

// WantAck says that the supply is under way.
type WantAck struct {
	Route
	Want   [HashSize]byte `cbor:"5,keyasint"` // Hash of the Want
	Supply [16]byte       `cbor:"6,keyasint"` // id of the exchange that brings it
}

// Type returns [TypeWantAck].
func (*WantAck) Type() string { return TypeWantAck }

func (a *WantAck) validate() error {
	if err := a.Route.validate(); err != nil {
		return err
	}
	if a.Supply == [16]byte{} {
		return fmt.Errorf("%w: no exchange", ErrMalformed)
	}
	return nil
}

// Answers returns [ErrMismatch] unless a answers this Want, data as it was sent.
func (a *WantAck) Answers(data []byte, w *Want) error {
	if err := answers(a.Route, w.Route); err != nil {
		return err
	}
	if a.Want != Hash(data) {
		return fmt.Errorf("%w: acknowledges another want", ErrMismatch)
	}
	return nil
}
