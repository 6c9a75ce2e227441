package regions

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"antipode/hsmbackend"
	"antipode/regions/keyset"
)

// Tombstone is what stays, for ever, of a key that was deleted: for each of its incarnations in this Region, and for each
// exchange that ended here without one. While Due is not 0 it is also the note of what is still to be done for it:
// objects to be destroyed on the token (the Region does that), and the primary to be told (package replication).
type Tombstone struct {
	Account string `cbor:"1,keyasint"`
	KeyID   string `cbor:"2,keyasint"`
	// Incarnation is the deleted replica's, or the exchange's; zero for a single-Region key.
	Incarnation [16]byte `cbor:"3,keyasint"`
	// Epoch and Sequence are those of the shared state that was held at last; zero if there was none.
	Epoch    keyset.Epoch `cbor:"4,keyasint"`
	Sequence uint64       `cbor:"5,keyasint"`
	Deleted  int64        `cbor:"6,keyasint"` // Unix milliseconds
	// Primary is the Region that is to be told, or was; "" if nobody is. Gone is the signed message, as long as it is not
	// acknowledged; empty before it was made.
	Primary string `cbor:"7,keyasint"`
	Gone    []byte `cbor:"8,keyasint"`
	// Objects are the token objects of the key's material that are not known to be destroyed, by CKA_ID.
	Objects  []hsmbackend.ID `cbor:"9,keyasint"`
	Due      int64           `cbor:"10,keyasint"` // Unix milliseconds of the next attempt; 0 if nothing is left to be done
	Attempts uint32          `cbor:"11,keyasint"` // of telling the primary
}

// RecordKey implements [Body].
func (t Tombstone) RecordKey() RecordKey {
	return RecordKey{Kind: KindTombstone, Account: t.Account, ID: t.KeyID, Sub: t.ref()}
}

// RecordIndex implements [Body]: a tombstone is found by its incarnation.
func (t Tombstone) RecordIndex() (string, int64) { return t.ref(), t.Due }

func (t Tombstone) ref() string {
	if t.Incarnation == [16]byte{} {
		return ""
	}
	return hex.EncodeToString(t.Incarnation[:])
}

// ErrBuried says that what was received is of a key, or of a state of it, that this Region has deleted.
var ErrBuried = errors.New("deleted in this Region")

// CheckIncarnation returns [ErrBuried] if the replica that this exchange made, or would have made, was deleted here. Who
// asks has nothing but the exchange's id.
func (r *Region) CheckIncarnation(ctx context.Context, rd Reader, incarnation [16]byte) error {
	t := Tombstone{Incarnation: incarnation}
	found, err := List[Tombstone](ctx, rd, r.ring, Query{Kind: KindTombstone, Ref: t.ref(), Limit: 1})
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("%w: incarnation %s of %s", ErrBuried, t.ref(), found[0].KeyID)
	}
	return nil
}

// CheckNewer returns [ErrBuried] unless a shared state that arrived is newer than every one that this Region held of the
// key before it deleted it.
func (r *Region) CheckNewer(ctx context.Context, s keyset.State) error {
	return r.cfg.Store.View(ctx, func(rd Reader) error { return r.checkGraves(ctx, rd, s) })
}

// checkGraves is CheckNewer, and refuses a state that lists this Region by an incarnation that was deleted.
func (r *Region) checkGraves(ctx context.Context, rd Reader, s keyset.State) error {
	if s.Account == "" || s.KeyID == "" { // would be the graves of all keys
		return fmt.Errorf("%w: state of no key", keyset.ErrInvalid)
	}
	graves, err := List[Tombstone](ctx, rd, r.ring, Query{Kind: KindTombstone, Account: s.Account, ID: s.KeyID})
	if err != nil {
		return err
	}
	me, listed := s.Member(r.cfg.Name)
	for _, t := range graves {
		if listed && t.Incarnation == me.Incarnation {
			return fmt.Errorf("%w: incarnation %s of %s", ErrBuried, t.ref(), t.KeyID)
		}
		if cmp.Or(s.Epoch.Compare(t.Epoch), cmp.Compare(s.Sequence, t.Sequence)) <= 0 {
			return fmt.Errorf("%w: a state of %s as new as %v/%d", ErrBuried, s.KeyID, t.Epoch, t.Sequence)
		}
	}
	return nil
}

// NeverTook returns nil if this Region has deleted its replica of a key before it could have become the primary by the
// last certificate of the chain, which it therefore never will.
func (r *Region) NeverTook(ctx context.Context, account, keyID string, chain [][]byte) error {
	to, err := keyset.VerifyChain(chain, nil, r.Roster())
	if err != nil {
		return err
	}
	return r.cfg.Store.View(ctx, func(rd Reader) error {
		graves, err := List[Tombstone](ctx, rd, r.ring, Query{Kind: KindTombstone, Account: account, ID: keyID})
		if err != nil {
			return err
		}
		for _, t := range graves {
			if t.Epoch.Compare(to.Epoch) >= 0 {
				return fmt.Errorf("%w: %s at %v", ErrBuried, keyID, t.Epoch)
			}
		}
		return nil
	})
}
