package regions

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"antipode/regions/keyset"
)

// Succession is a hand-over as the Region that is to become the primary is told of it. Signed is the last state of the
// old primary, From; Chain ends in the certificate that names this Region, or is as it was before in a dry run.
type Succession struct {
	Shared
	DryRun bool
}

// SuccessionAnswer is the record, in the Region that a hand-over was sent to, of the answer. There is one for each
// certificate, and it stays for ever: what was refused for good must not be accepted later, in whatever message, nor the
// other way round, also when the key is no more.
type SuccessionAnswer struct {
	Certificate []byte `cbor:"1,keyasint"` // keyset.Hash of the one that names this Region
	From        string `cbor:"2,keyasint"`
	Account     string `cbor:"3,keyasint"`
	KeyID       string `cbor:"4,keyasint"`
	Asked       []byte `cbor:"5,keyasint"` // SHA-384 of the message
	Answer      []byte `cbor:"6,keyasint"` // as it was signed
}

// RecordKey implements [Body].
func (a SuccessionAnswer) RecordKey() RecordKey {
	return RecordKey{Kind: KindSuccession, Account: a.Account, ID: a.KeyID, Sub: hex.EncodeToString(a.Certificate)}
}

// RecordIndex implements [Body].
func (a SuccessionAnswer) RecordIndex() (string, int64) { return "", 0 }

// KeepAnswer keeps, inside a transaction, the one answer to a certificate. It returns [ErrMoved] if there is another one.
func (r *Region) KeepAnswer(ctx context.Context, tx Tx, a SuccessionAnswer) error {
	if _, err := tx.Get(ctx, a.RecordKey()); !isNoRecord(err) {
		return errors.Join(ErrMoved, err)
	}
	return Put(ctx, tx, r.ring, a)
}

// What a succession is refused for, beside what a shared state is.
var (
	// ErrSucceeded says that this Region holds the certificate already: it has become the primary by it.
	ErrSucceeded = errors.New("the key was handed over before")
	// ErrLacksMaterial says that this Region does not hold all materials of the key yet.
	ErrLacksMaterial = errors.New("some material of the key is not here yet")
)

// CheckSuccession decides whether this Region may become the primary: the sender is the certified primary and the state
// its last one, both Regions are members, all materials are here, and the key is Enabled. Whether the principal may is for
// [Region.CheckNewPrimary]. It changes nothing. It returns how the key stands, Sent being the old primary's last state.
//
// It returns [ErrSucceeded], [ErrLacksMaterial], [ErrNotMember], [ErrUnknownKey], [ErrBuried], [ErrRolledBack], the errors
// of package keyset, or an [*Error] for the key's own state, which ends the matter.
func (r *Region) CheckSuccession(ctx context.Context, rd Reader, s Succession) (Standing, error) {
	before := s.Shared
	if !s.DryRun {
		before.Chain = s.Chain[:len(s.Chain)-1]
	}
	held, err := r.heldChain(ctx, rd, s.Account, s.KeyID)
	if err != nil {
		return Standing{}, err
	}
	if !s.DryRun && len(held) >= len(s.Chain) && bytes.Equal(held[len(s.Chain)-1], s.Chain[len(s.Chain)-1]) {
		return Standing{}, ErrSucceeded
	}
	if !s.DryRun {
		if err := r.checkNamed(s, held); err != nil {
			return Standing{}, err
		}
	}
	st, err := r.Compare(ctx, rd, before)
	if err != nil {
		return st, err
	}
	if r.rolledBack(st) {
		return st, fmt.Errorf("%w: %s hands over %v/%d of %s", ErrRolledBack, s.From, st.Sent.Epoch, st.Sent.Sequence, s.KeyID)
	}
	if st.Sent.Primary != s.From {
		return st, fmt.Errorf("%w: %s is not the primary", keyset.ErrUncertified, s.From)
	}
	if st.Key == nil || st.Key.MultiRegion == nil || st.Key.MultiRegion.State == nil {
		return st, fmt.Errorf("%w: %s", ErrUnknownKey, s.KeyID)
	}
	if me, listed := st.Sent.Member(r.cfg.Name); !listed || me.Status != keyset.Active || me.Incarnation != st.Key.MultiRegion.Incarnation {
		return st, fmt.Errorf("%w: %s", ErrNotMember, r.cfg.Name)
	}
	if err := r.CheckState("UpdatePrimaryRegion", *st.Key); err != nil {
		return st, err
	}
	if len(st.Missing()) > 0 {
		return st, ErrLacksMaterial
	}
	return st, nil
}

// checkNamed verifies the chain of a hand-over: at its end its sender hands the next term to this Region.
func (r *Region) checkNamed(s Succession, held [][]byte) error {
	ro := r.Roster()
	named, err := keyset.VerifyChain(s.Chain, held, ro)
	if err != nil {
		return err
	}
	before, err := keyset.VerifyChain(s.Chain[:len(s.Chain)-1], held, ro)
	if err != nil {
		return err
	}
	if named.Primary != r.cfg.Name || before.Primary != s.From || named.Epoch != nextTerm(before.Epoch) {
		return fmt.Errorf("%w: the chain does not end with the hand-over by %s to %s", keyset.ErrUncertified, s.From, r.cfg.Name)
	}
	return nil
}

// heldChain returns the certificates that this Region holds of a key, nil if there is none.
func (r *Region) heldChain(ctx context.Context, rd Reader, account, keyID string) ([][]byte, error) {
	k, err := Get[Key](ctx, rd, r.ring, Key{Account: account, KeyID: keyID}.RecordKey())
	if isNoRecord(err) || err == nil && k.MultiRegion == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return k.MultiRegion.Certificates, nil
}

// Succeed makes this Region, inside a transaction, the primary: it keeps the chain with the certificate, and signs the
// first state of the new epoch, which is the old primary's last one in all that is not the epoch, to be sent to all other
// members. All is checked again. It returns the key as it is then.
func (r *Region) Succeed(ctx context.Context, tx Tx, s Succession) (Key, error) {
	if r.Recovering() {
		return Key{}, ErrRecovering
	}
	st, err := r.CheckSuccession(ctx, tx, s)
	if err != nil {
		return Key{}, err
	}
	next := st.Sent
	next.Epoch, next.Sequence, next.Primary = nextTerm(next.Epoch), 1, r.cfg.Name
	next.Certificate = keyset.Hash(s.Chain[len(s.Chain)-1])
	k, mr := *st.Key, *st.Key.MultiRegion
	if mr.Signed, err = keyset.SignState(ctx, r.ring.RSK(), next); err != nil {
		return k, fmt.Errorf("sign shared state: %w", err)
	}
	// The fence stays where it was: should the store have been restored, it may have forgotten that it took this
	// certificate before, and what it did then.
	mr.State, mr.Certificates = &next, slices.Clone(s.Chain)
	k.endHandOver(&mr) // an earlier one, whose successor hands back before this Region has heard of its success
	if slices.Contains(st.Held, next.Current()) {
		k.Current = next.Current()
	}
	k.MultiRegion = &mr
	if err := Put(ctx, tx, r.ring, k); err != nil {
		return k, err
	}
	return k, r.KeepStandings(ctx, tx, k)
}
