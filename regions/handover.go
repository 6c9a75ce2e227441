package regions

import (
	"context"
	"errors"
	"fmt"

	"antipode/regions/keyset"
)

// A hand-over makes the Region of a replica the primary of a key. The primary stops to act in one commit, [Region.StopActing],
// and tells the successor with a certificate that it has signed. It is the primary again only when the successor has
// signed that it will never take the certificate, [Region.TakeBack]; it is a replica when it learns of a state that the
// successor has signed, from whomever. Until then the key is Updating, and nothing that is shared changes here.

// HandOver is the record, in the Region of the old primary, of a hand-over that has not ended.
type HandOver struct {
	ID        [16]byte `cbor:"1,keyasint"` // of the message
	Account   string   `cbor:"2,keyasint"`
	KeyID     string   `cbor:"3,keyasint"`
	Successor string   `cbor:"4,keyasint"`
	Message   []byte   `cbor:"5,keyasint"` // to the successor, as it is sent each time
	Due       int64    `cbor:"6,keyasint"` // Unix milliseconds of the next attempt
	Attempts  uint32   `cbor:"7,keyasint"`
}

// RecordKey implements [Body]: a key has one at a time.
func (h HandOver) RecordKey() RecordKey {
	return RecordKey{Kind: KindHandOver, Account: h.Account, ID: h.KeyID}
}

// RecordIndex implements [Body].
func (h HandOver) RecordIndex() (string, int64) { return "", h.Due }

// ErrMoved says that the key is not any more what a hand-over was prepared for.
var ErrMoved = errors.New("the key has changed meanwhile")

// CheckHandOver reads a key and decides whether it could be handed over to the successor: it is Enabled, its primary is
// here, all its members hold it, and the successor is one of them. It returns an [*Error] for what the caller of the API
// may know.
func (r *Region) CheckHandOver(ctx context.Context, rd Reader, account, keyID, successor string) (Key, error) {
	k, err := Get[Key](ctx, rd, r.ring, Key{Account: account, KeyID: keyID}.RecordKey())
	if err != nil {
		return k, err
	}
	arn := r.KeyARN(account, keyID)
	if r.Recovering() {
		return k, errRecovering(r.cfg.Name)
	}
	if k.MultiRegion == nil || k.MultiRegion.State == nil || k.MultiRegion.State.Primary != r.cfg.Name {
		return k, Errorf(CodeUnsupportedOperation, "%s is not a multi-region primary key.", arn)
	}
	if err := r.CheckState("UpdatePrimaryRegion", k); err != nil {
		return k, err
	}
	if k.State != StateEnabled || k.MultiRegion.HandingTo != "" {
		return k, updatingError(arn)
	}
	s := k.MultiRegion.State
	for _, m := range s.Members {
		if m.Status != keyset.Active {
			// Who made it a member must see its receipt.
			return k, Errorf(CodeInvalidState, "%s is creating.", r.placeIn(m.Region, account).Key(keyID))
		}
	}
	if _, member := s.Member(successor); !member {
		return k, Errorf(CodeNotFound, "Key '%s' does not exist", r.placeIn(successor, account).Key(keyID))
	}
	if len(k.MultiRegion.Certificates) >= keyset.MaxChain-reservedCertificates {
		return k, Errorf(CodeLimitExceeded, "The primary key of %s was changed %d times and can't be changed any more.", arn,
			len(k.MultiRegion.Certificates)-1)
	}
	return k, nil
}

// reservedCertificates of a chain are for what is no hand-over: recoveries and decisions of the operators.
const reservedCertificates = 32

// CertifySuccessor returns the certificate, signed by this Region, that ends its term over the key and names the
// successor. It has no effect until it is sent.
func (r *Region) CertifySuccessor(ctx context.Context, k Key, successor string) ([]byte, error) {
	s := k.MultiRegion.State
	return keyset.SignCertificate(ctx, r.ring.RSK(), keyset.Certificate{
		Account: s.Account, KeyID: s.KeyID, From: s.Epoch, To: nextTerm(s.Epoch), PreviousPrimary: r.cfg.Name, Primary: successor,
		Previous: s.Certificate[:], RosterVersion: r.Roster().Version, IssuedAt: r.Now().UnixMilli(),
	})
}

func nextTerm(e keyset.Epoch) keyset.Epoch {
	e.Term++
	return e
}

// StopActing ends, inside a transaction, what this Region does as the primary of a key, and keeps the hand-over that is
// to be sent. k is the key as the hand-over was prepared for it; if its shared state is another one now, or it can't be
// handed over any more, it returns [ErrMoved] or the error of [Region.CheckHandOver].
func (r *Region) StopActing(ctx context.Context, tx Tx, k Key, h HandOver) error {
	now, err := r.CheckHandOver(ctx, tx, h.Account, h.KeyID, h.Successor)
	if err != nil {
		return err
	}
	mr := *now.MultiRegion
	if string(mr.Signed) != string(k.MultiRegion.Signed) || mr.Fence < r.Recovery().Since {
		return ErrMoved
	}
	now.State, mr.HandingTo = StateUpdating, h.Successor
	now.MultiRegion = &mr
	if err := Put(ctx, tx, r.ring, now); err != nil {
		return err
	}
	return Put(ctx, tx, r.ring, h)
}

// TakeBack makes this Region, inside a transaction, the primary again of a key whose hand-over the successor has refused
// for good. The term rises, so that the certificate that was refused contradicts every later state.
func (r *Region) TakeBack(ctx context.Context, tx Tx, h HandOver) error {
	k, err := Get[Key](ctx, tx, r.ring, Key{Account: h.Account, KeyID: h.KeyID}.RecordKey())
	if err != nil {
		return fmt.Errorf("take %s back: %w", h.KeyID, err)
	}
	if k.MultiRegion == nil || k.MultiRegion.State == nil || k.MultiRegion.HandingTo != h.Successor {
		return fmt.Errorf("take %s back: %w", h.KeyID, ErrMoved)
	}
	if err := tx.Delete(ctx, h.RecordKey()); err != nil {
		return err
	}
	_, err = r.changeSharedAs(ctx, tx, k.Account, k.KeyID, tookBack, func(*Key, *keyset.State) error { return nil })
	return err
}

// EndHandOver removes, inside a transaction, the record of a hand-over of which this Region has learnt that it succeeded.
// It returns [ErrMoved] if it has not.
func (r *Region) EndHandOver(ctx context.Context, tx Tx, h HandOver) error {
	k, err := Get[Key](ctx, tx, r.ring, Key{Account: h.Account, KeyID: h.KeyID}.RecordKey())
	if err != nil && !isNoRecord(err) {
		return err
	}
	if err == nil && k.MultiRegion != nil && k.MultiRegion.HandingTo != "" {
		return ErrMoved
	}
	return tx.Delete(ctx, h.RecordKey())
}
