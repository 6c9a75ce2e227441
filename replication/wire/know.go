package wire

import (
	"cmp"
	"fmt"

	"antipode/regions/keyset"
)

// MaxKnown is the largest number of keys in one answer to [Know].
const MaxKnown = 64

// Know asks a Region what it knows of multi-Region keys, a page at a time in order of account and key id.
type Know struct {
	Route
	After Cursor `cbor:"5,keyasint"` // the page begins after this key; zero for the first page
	Limit uint64 `cbor:"6,keyasint"` // the most keys in the answer, 1 to [MaxKnown]
	// States asks for the signed states and chains too, not for their hashes alone.
	States bool            `cbor:"7,keyasint"`
	Nonce  [NonceSize]byte `cbor:"8,keyasint"` // so that no old answer fits
}

// Cursor is a place in the order of keys.
type Cursor struct {
	Account string `cbor:"1,keyasint"`
	KeyID   string `cbor:"2,keyasint"`
}

// Compare orders cursors.
func (c Cursor) Compare(o Cursor) int {
	return cmp.Or(cmp.Compare(c.Account, o.Account), cmp.Compare(c.KeyID, o.KeyID))
}

// validate allows any key id: the place may be that of a single-Region key, which no page shows.
func (c Cursor) validate() error {
	if c == (Cursor{}) {
		return nil
	}
	if !validAccount(c.Account) || c.KeyID == "" || len(c.KeyID) > 64 {
		return fmt.Errorf("%w: cursor", ErrMalformed)
	}
	return nil
}

// Type returns [TypeKnow].
func (*Know) Type() string { return TypeKnow }

func (k *Know) validate() error {
	if err := k.Route.validate(); err != nil {
		return err
	}
	if err := k.After.validate(); err != nil {
		return err
	}
	if k.Limit == 0 || k.Limit > MaxKnown || k.Nonce == [NonceSize]byte{} {
		return fmt.Errorf("%w: limit or nonce", ErrMalformed)
	}
	return nil
}

// Known is one page of what a Region knows.
type Known struct {
	Route
	Know [HashSize]byte `cbor:"5,keyasint"` // Hash of the question
	Keys []KnownKey     `cbor:"6,keyasint"` // in order of account and key id
	// Next is where the next page begins; zero says that there is none.
	Next Cursor `cbor:"7,keyasint"`
}

// KnownKey is what a Region knows of one key.
type KnownKey struct {
	Account  string                `cbor:"1,keyasint"`
	KeyID    string                `cbor:"2,keyasint"`
	Epoch    keyset.Epoch          `cbor:"3,keyasint"` // of the shared state that it holds
	Sequence uint64                `cbor:"4,keyasint"`
	Hash     [keyset.HashSize]byte `cbor:"5,keyasint"` // SHA-384 of the signed state
	// Asker is the asker's incarnation in that state, zeros if it is no member. Own is that of the Region that answers.
	Asker [16]byte `cbor:"6,keyasint"`
	Own   [16]byte `cbor:"7,keyasint"`
	// Materials are the ids of all materials of the key that the Region holds.
	Materials []string `cbor:"8,keyasint"`
	// Underway says that an exchange that makes the asker a replica is open and will end by itself.
	Underway bool `cbor:"9,keyasint"`
	// State and Chain are there if they were asked for.
	State []byte   `cbor:"10,keyasint,omitempty"`
	Chain [][]byte `cbor:"11,keyasint,omitempty"`
	// Receipt is the asker's own newest receipt for this key, absent if the Region has none.
	Receipt []byte `cbor:"12,keyasint,omitempty"`
}

// Place is where the key stands in the order of pages.
func (k KnownKey) Place() Cursor { return Cursor{Account: k.Account, KeyID: k.KeyID} }

func (k KnownKey) validate() error {
	switch {
	case !validAccount(k.Account) || !validKeyID(k.KeyID):
		return fmt.Errorf("%w: account or key id", ErrMalformed)
	case k.Epoch.Generation == 0 || k.Epoch.Term == 0 || k.Sequence == 0 || k.Own == [16]byte{}:
		return fmt.Errorf("%w: epoch, sequence or incarnation", ErrMalformed)
	case len(k.Receipt) > maxReceipt:
		return fmt.Errorf("%w: receipt of %d bytes", ErrMalformed, len(k.Receipt))
	}
	if len(k.State) != 0 || len(k.Chain) != 0 {
		if err := validateShared(k.State, k.Chain); err != nil {
			return err
		}
		if keyset.Hash(k.State) != k.Hash {
			return fmt.Errorf("%w: state of another hash", ErrMalformed)
		}
	}
	return validateIDs(k.Materials)
}

// Type returns [TypeKnown].
func (*Known) Type() string { return TypeKnown }

func (k *Known) validate() error {
	if err := k.Route.validate(); err != nil {
		return err
	}
	if len(k.Keys) > MaxKnown {
		return fmt.Errorf("%w: %d keys", ErrMalformed, len(k.Keys))
	}
	var last Cursor
	for _, key := range k.Keys {
		if err := key.validate(); err != nil {
			return err
		}
		if last.Compare(key.Place()) >= 0 {
			return fmt.Errorf("%w: keys repeated or out of order", ErrMalformed)
		}
		last = key.Place()
	}
	if k.Next != (Cursor{}) && k.Next.Compare(last) < 0 {
		return fmt.Errorf("%w: the next page begins inside this one", ErrMalformed)
	}
	return k.Next.validate()
}

// Answers returns [ErrMismatch] unless k answers this question, data as it was sent, and goes on from there.
func (k *Known) Answers(data []byte, q *Know) error {
	if err := answers(k.Route, q.Route); err != nil {
		return err
	}
	if k.Know != Hash(data) {
		return fmt.Errorf("%w: answers another question", ErrMismatch)
	}
	if uint64(len(k.Keys)) > q.Limit {
		return fmt.Errorf("%w: %d keys, %d were asked for", ErrMismatch, len(k.Keys), q.Limit)
	}
	if len(k.Keys) > 0 && k.Keys[0].Place().Compare(q.After) <= 0 || k.Next != (Cursor{}) && k.Next.Compare(q.After) <= 0 {
		return fmt.Errorf("%w: the page does not go on", ErrMismatch)
	}
	for _, key := range k.Keys {
		if q.States != (len(key.State) > 0) {
			return fmt.Errorf("%w: states that were not asked for, or missing ones", ErrMismatch)
		}
	}
	return nil
}
