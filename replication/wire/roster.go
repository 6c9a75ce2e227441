package wire

import "fmt"

// MaxRoster is the largest of the two parts of [Roster] in bytes.
const MaxRoster = 192 << 10

// Roster is what a Region says of itself and of its partition: its own entry, with its signing keys, its TLS key and its
// endpoint, and what the operators have decided. What it holds is proven by itself; see packages roster and keyset. It is
// answered by [RosterAck], and by nothing else.
type Roster struct {
	Route
	Entry     []byte `cbor:"5,keyasint"` // roster.Entry, its one encoding
	Operators []byte `cbor:"6,keyasint"` // canonical array of roster.OperatorSet, oldest first
	Removals  []byte `cbor:"7,keyasint"` // canonical array of roster.Removal
}

// Type returns [TypeRoster].
func (*Roster) Type() string { return TypeRoster }

func (m *Roster) validate() error {
	if err := m.Route.validate(); err != nil {
		return err
	}
	for _, part := range [][]byte{m.Entry, m.Operators, m.Removals} {
		if len(part) == 0 || len(part) > MaxRoster {
			return fmt.Errorf("%w: roster part of %d bytes", ErrMalformed, len(part))
		}
	}
	if len(m.Entry)+len(m.Operators)+len(m.Removals) > 2*MaxRoster {
		return fmt.Errorf("%w: roster is too large", ErrMalformed)
	}
	return nil
}

// RosterAck says what a Region holds after a [Roster].
type RosterAck struct {
	Route
	Roster [HashSize]byte `cbor:"5,keyasint"` // Hash of the message
	// Own is the version of the asker's entry, by the asker's own count, that is held here.
	Own uint64 `cbor:"6,keyasint"`
	// Operators is the version of the operators held here, 0 for none; Removals is how many of the asker's removals are not.
	Operators uint64 `cbor:"7,keyasint"`
	Removals  uint64 `cbor:"8,keyasint"`
	// Fault says why something was not taken, for people, at most 1,024 bytes; empty if all was.
	Fault string `cbor:"9,keyasint"`
}

// Type returns [TypeRosterAck].
func (*RosterAck) Type() string { return TypeRosterAck }

func (a *RosterAck) validate() error {
	if err := a.Route.validate(); err != nil {
		return err
	}
	if len(a.Fault) > 1024 {
		return fmt.Errorf("%w: text of %d bytes", ErrMalformed, len(a.Fault))
	}
	return nil
}

// Answers returns [ErrMismatch] unless a answers this message, data as it was sent.
func (a *RosterAck) Answers(data []byte, m *Roster) error {
	if err := answers(a.Route, m.Route); err != nil {
		return err
	}
	if a.Roster != Hash(data) {
		return fmt.Errorf("%w: acknowledges another message", ErrMismatch)
	}
	return nil
}
