package regions

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"antipode/regions/audit"
	"antipode/regions/keyset"
)

// Shared is the shared state of a multi-Region key as another Region sent it.
type Shared struct {
	Account, KeyID string
	From           string   // who sent it, which proves nothing
	Signed         []byte   // keyset.SignState
	Chain          [][]byte // the epoch certificates, genesis first
}

// What a shared state is refused for, beside the errors of package keyset.
var (
	// ErrNotMember says that one of the two Regions is no member of the key set, or not of this incarnation.
	ErrNotMember = errors.New("not a member of the key set")
	// ErrUnknownKey says that the key is not here, and nobody here asked for it.
	ErrUnknownKey = errors.New("the key is not in this Region")
	// ErrNothingMissing says that all that was offered is held already.
	ErrNothingMissing = errors.New("all of it is held already")
	// ErrRolledBack says that what was sent proves that this Region has lost what it once signed.
	ErrRolledBack = errors.New("this Region's store lacks what the Region once signed")
)

// Standing is how what this Region holds of a key compares with a shared state that was sent.
type Standing struct {
	Sent keyset.State // as sent, certified
	// Key is this Region's record, nil if there is none.
	Key *Key
	// Held are the ids of the materials that this Region holds.
	Held []string
	// Newer says that the state sent is higher than the one held.
	Newer bool
}

// Missing returns the ids of the materials that the state sent asks a member to hold, and that are not held.
func (s Standing) Missing() (ids []string) {
	for _, m := range s.Sent.Needed() {
		if !slices.Contains(s.Held, m.ID) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// Compare reads what this Region holds of the key and verifies the state sent against it. It changes nothing. It
// returns the errors of keyset.VerifyChain, OpenState and Accept, or [ErrBuried] for a replica that was deleted here; with keyset.ErrStale the Standing is that of what is
// held, and Sent is empty.
func (r *Region) Compare(ctx context.Context, rd Reader, s Shared) (Standing, error) {
	var st Standing
	k, err := Get[Key](ctx, rd, r.ring, Key{Account: s.Account, KeyID: s.KeyID}.RecordKey())
	switch {
	case isNoRecord(err):
	case err != nil:
		return st, err
	default:
		st.Key = &k
		materials, err := List[MaterialRecord](ctx, rd, r.ring, Query{Kind: KindMaterial, Account: s.Account, ID: s.KeyID})
		if err != nil {
			return st, err
		}
		for _, m := range materials {
			st.Held = append(st.Held, m.ID)
		}
	}
	var chain [][]byte
	var have *keyset.State
	if st.Key != nil && st.Key.MultiRegion != nil {
		chain, have = st.Key.MultiRegion.Certificates, st.Key.MultiRegion.State
	}
	ro := r.Roster()
	head, err := keyset.VerifyChain(s.Chain, chain, ro)
	if err != nil {
		return st, err
	}
	if head.Account != s.Account || head.KeyID != s.KeyID {
		return st, fmt.Errorf("%w: chain of another key", keyset.ErrUncertified)
	}
	sent, err := keyset.OpenState(s.Signed, head, ro)
	if err != nil {
		return st, err
	}
	if st.Newer, err = keyset.Accept(have, sent); err != nil {
		return st, err
	}
	st.Sent = sent
	if st.Key == nil {
		return st, r.checkGraves(ctx, rd, sent)
	}
	return st, nil
}

// rolledBack reports whether the state sent proves that this Region's store was rolled back: the Region signed it as the
// primary, and does not know it.
func (r *Region) rolledBack(st Standing) bool {
	return st.Newer && st.Sent.Primary == r.cfg.Name && !r.Recovering()
}

// Learn takes over a shared state that another Region sent, if it is certified and higher than the one held. A state
// that is lower or the same changes nothing. It returns how this Region stands then, [ErrRolledBack], [ErrUnknownKey],
// [ErrNotMember], or the errors of [Region.Compare] but keyset.ErrStale.
//
// Only a Region that recovers learns that it is no member any more, or is one of another incarnation: its copy of the
// key is of a time before the key was deleted here. The key is Disabled then.
func (r *Region) Learn(ctx context.Context, s Shared) (Standing, error) {
	st, err := r.standing(ctx, s)
	if err != nil || !st.Newer {
		return st, err
	}
	var details audit.Fields
	details.Str("from", s.From)
	details.Str("epoch", st.Sent.Epoch.String())
	details.Int("sequence", int64(st.Sent.Sequence)) //nolint:gosec // for people
	event := r.SynchronizeEvent(st.Sent)
	event.ServiceEventDetails = details
	err = r.Audited(ctx, event, func(e *audit.Event) error {
		var left bool
		err := r.Update(ctx, func(tx Tx) error {
			if st, err = r.Compare(ctx, tx, s); err != nil || !st.Newer {
				return err
			}
			left = r.adopt(&st, s)
			if err := Put(ctx, tx, r.ring, *st.Key); err != nil {
				return err
			}
			return r.KeepStandings(ctx, tx, *st.Key)
		})
		if errors.Is(err, keyset.ErrStale) { // another message was faster
			err = nil
		}
		if left {
			e.ServiceEventDetails.Str("reason", "the key was deleted here after the backup was made; it is Disabled")
		}
		if err == nil && left {
			err = r.evictAll(ctx, st.Held)
		}
		return err
	})
	return st, err
}

// SynchronizeEvent is the event of a shared state, or material that it names, that this Region takes over from another one. As
// with AWS it is a call that the service makes for the account; its one resource is the primary.
func (r *Region) SynchronizeEvent(s keyset.State) audit.Event {
	primary := r.place(s.Account)
	primary.Region = s.Primary
	e := audit.Event{
		EventName: "SynchronizeMultiRegionKey", EventType: audit.TypeAPICall, RecipientAccountID: s.Account,
		UserIdentity: audit.UserIdentity{AccountID: s.Account, InvokedBy: "AWS Internal"},
		Resources:    []audit.Resource{{ARN: primary.Key(s.KeyID), AccountID: s.Account}},
	}
	e.ResponseElements.Str("keyId", r.KeyARN(s.Account, s.KeyID))
	return e
}

// standing is what Learn checks before it begins.
func (r *Region) standing(ctx context.Context, s Shared) (st Standing, err error) {
	err = r.cfg.Store.View(ctx, func(rd Reader) error {
		st, err = r.Compare(ctx, rd, s)
		return err
	})
	if errors.Is(err, keyset.ErrStale) {
		st.Newer = false
		if st.Key == nil || st.Key.MultiRegion == nil || st.Key.MultiRegion.State == nil {
			return st, err
		}
		st.Sent = *st.Key.MultiRegion.State // and whoever is behind is told so
		return st, nil
	}
	if err != nil {
		return st, err
	}
	if r.rolledBack(st) {
		return st, fmt.Errorf("%w: %s sent %v/%d of %s", ErrRolledBack, s.From, st.Sent.Epoch, st.Sent.Sequence, s.KeyID)
	}
	if st.Key == nil || st.Key.MultiRegion == nil || st.Key.MultiRegion.State == nil {
		return st, fmt.Errorf("%w: %s", ErrUnknownKey, s.KeyID)
	}
	me, listed := st.Sent.Member(r.cfg.Name)
	if (!listed || me.Incarnation != st.Key.MultiRegion.Incarnation) && !r.Recovering() {
		return st, fmt.Errorf("%w: %s", ErrNotMember, r.cfg.Name)
	}
	if _, listed := st.Sent.Member(s.From); !listed && !r.Recovering() {
		return st, fmt.Errorf("%w: %s", ErrNotMember, s.From)
	}
	return st, nil
}

// adopt gives the key in st the state sent. What encrypts changes only to material that is here. It reports whether this
// Region's replica is not the one of the state sent.
func (r *Region) adopt(st *Standing, s Shared) (left bool) {
	k := *st.Key
	mr := *k.MultiRegion
	me, listed := st.Sent.Member(r.cfg.Name)
	left = !listed || me.Incarnation != mr.Incarnation
	if listed {
		mr.Incarnation = me.Incarnation
	}
	if left && k.State != StatePendingDeletion {
		k.State, k.DeletionDate, k.PendingDays = StateDisabled, 0, 0
	}
	k.endHandOver(&mr)
	sent := st.Sent
	mr.State, mr.Signed, mr.Certificates = &sent, s.Signed, s.Chain
	if slices.Contains(st.Held, sent.Current()) {
		k.Current = sent.Current()
	}
	k.MultiRegion, st.Key = &mr, &k
	return left
}

// endHandOver ends Updating, as a later epoch is known: that of the successor, or the operators' decision.
func (k *Key) endHandOver(mr *MultiRegion) {
	if mr.HandingTo == "" {
		return
	}
	mr.HandingTo = ""
	if k.State == StateUpdating {
		k.State = StateEnabled
	}
}
