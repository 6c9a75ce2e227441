package regions

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"antipode/regions/keyring"
	"antipode/regions/keyset"
)

// newKeySet makes what a new multi-Region primary key shares: the genesis certificate and the first state, signed by
// this Region's RSK.
func (r *Region) newKeySet(ctx context.Context, k Key, materials ...keyring.Material) (*MultiRegion, error) {
	raw, err := r.cfg.Token.Random(ctx, 16)
	if err != nil {
		return nil, err
	}
	incarnation := [16]byte(raw)
	genesis, err := keyset.SignCertificate(ctx, r.ring.RSK(), keyset.Certificate{
		Account: k.Account, KeyID: k.KeyID, To: keyset.First(), Primary: r.cfg.Name,
		RosterVersion: r.Roster().Version, IssuedAt: k.Created,
	})
	if err != nil {
		return nil, fmt.Errorf("sign genesis certificate: %w", err)
	}
	s := keyset.State{
		Account: k.Account, KeyID: k.KeyID, Spec: k.Spec, Usage: k.Usage, Origin: k.Origin, Created: k.Created,
		Epoch: keyset.First(), Certificate: keyset.Hash(genesis), Primary: r.cfg.Name, Sequence: 1,
		Members: []keyset.Member{{Region: r.cfg.Name, Incarnation: incarnation, Status: keyset.Active}},
	}
	for _, m := range materials {
		s.Materials = append(s.Materials, keyset.Material{ID: m.ID, Status: keyset.Current, Created: m.Created})
	}
	signed, err := keyset.SignState(ctx, r.ring.RSK(), s)
	if err != nil {
		return nil, fmt.Errorf("sign shared state: %w", err)
	}
	return &MultiRegion{State: &s, Signed: signed, Certificates: [][]byte{genesis}, Incarnation: incarnation, Fence: r.Recovery().Since}, nil
}

// ErrNotPrimary is answered when a shared change is asked of a Region that is not the key's primary.
var ErrNotPrimary = errors.New("this Region is not the key's primary")

// ChangeShared changes, inside a transaction, the shared state of a key whose primary this Region is: change edits a
// copy, which gets the next sequence number and this Region's signature. When the last replica has left a key that is
// pending replica deletion, its own waiting period begins. In the same transaction the other members are noted as behind,
// and are sent the state; see [MemberStanding]. It returns the key as committed, or [ErrNotPrimary], or [ErrRecovering].
//
// The first change after a recovery also raises the term: a certificate by which this Region follows itself. Whatever
// numbers it had given out before its store was rolled back are of the term before, so none is used twice.
//
// A key that is being handed over to another Region is not changed: that is an [*Error] which says that it is updating.
func (r *Region) ChangeShared(ctx context.Context, tx Tx, account, keyID string, change func(k *Key, s *keyset.State) error) (Key, error) {
	if r.Recovering() {
		return Key{}, ErrRecovering
	}
	return r.changeShared(ctx, tx, account, keyID, change)
}

// RaiseTerm raises the term of a key whose primary this Region is, if it was not raised since the last recovery. What
// names the key's last certificate before it changes the shared state (an offer) needs that.
func (r *Region) RaiseTerm(ctx context.Context, account, keyID string) error {
	due := func(ctx context.Context, rd Reader) (bool, error) {
		k, err := Get[Key](ctx, rd, r.ring, Key{Account: account, KeyID: keyID}.RecordKey())
		if err != nil {
			return false, err
		}
		return k.MultiRegion != nil && k.MultiRegion.State != nil && k.MultiRegion.State.Primary == r.cfg.Name &&
			k.MultiRegion.Fence < r.Recovery().Since, nil
	}
	raise := false
	err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		raise, err = due(ctx, rd)
		return err
	})
	if err != nil || !raise {
		return err
	}
	return r.Update(ctx, func(tx Tx) error {
		if raise, err := due(ctx, tx); err != nil || !raise {
			return err
		}
		_, err := r.ChangeShared(ctx, tx, account, keyID, func(*Key, *keyset.State) error { return nil })
		return err
	})
}

func (r *Region) changeShared(ctx context.Context, tx Tx, account, keyID string, change func(k *Key, s *keyset.State) error) (Key, error) {
	return r.changeSharedAs(ctx, tx, account, keyID, acting, change)
}

// actingAs is by what right a Region changes what is shared.
type actingAs uint8

const (
	acting   actingAs = iota // as the primary that it is
	tookBack                 // as one whose hand-over was refused for good, and which is the primary again by a new term
)

func (r *Region) changeSharedAs(ctx context.Context, tx Tx, account, keyID string, as actingAs,
	change func(k *Key, s *keyset.State) error,
) (Key, error) {
	k, err := Get[Key](ctx, tx, r.ring, Key{Account: account, KeyID: keyID}.RecordKey())
	if err != nil {
		return k, err
	}
	if k.MultiRegion == nil || k.MultiRegion.State == nil || k.MultiRegion.State.Primary != r.cfg.Name {
		return k, ErrNotPrimary
	}
	next := *k.MultiRegion.State
	next.Members, next.Materials = slices.Clone(next.Members), slices.Clone(next.Materials)
	mr := *k.MultiRegion
	switch {
	case as == tookBack:
		k.State, mr.HandingTo = StateEnabled, ""
	case mr.HandingTo != "":
		return k, updatingError(r.KeyARN(account, keyID))
	}
	if as == tookBack || mr.Fence < r.Recovery().Since {
		if err := r.raiseTerm(ctx, &mr, &next); err != nil {
			return k, err
		}
		if as == acting {
			if err := r.abandonLost(ctx, tx, &next); err != nil {
				return k, err
			}
		}
	}
	if err := change(&k, &next); err != nil {
		return k, err
	}
	if k.State == StatePendingReplicaDeletion && len(next.Members) == 1 {
		r.startWindow(&k)
	}
	next.Sequence++
	if mr.Signed, err = keyset.SignState(ctx, r.ring.RSK(), next); err != nil {
		return k, fmt.Errorf("sign shared state: %w", err)
	}
	mr.State, k.MultiRegion = &next, &mr
	if err := Put(ctx, tx, r.ring, k); err != nil {
		return k, err
	}
	return k, r.KeepStandings(ctx, tx, k)
}

// raiseTerm makes this Region its own successor: nothing of the new term was ever signed.
func (r *Region) raiseTerm(ctx context.Context, mr *MultiRegion, s *keyset.State) error {
	if len(mr.Certificates) == 0 || len(mr.Certificates) >= keyset.MaxChain {
		return fmt.Errorf("raise the term of %s: %d certificates", s.KeyID, len(mr.Certificates))
	}
	to := nextTerm(s.Epoch)
	certificate, err := keyset.SignCertificate(ctx, r.ring.RSK(), keyset.Certificate{
		Account: s.Account, KeyID: s.KeyID, From: s.Epoch, To: to, PreviousPrimary: r.cfg.Name, Primary: r.cfg.Name,
		Previous: s.Certificate[:], RosterVersion: r.Roster().Version, IssuedAt: r.Now().UnixMilli(),
	})
	if err != nil {
		return fmt.Errorf("raise the term of %s: %w", s.KeyID, err)
	}
	mr.Certificates = append(slices.Clip(mr.Certificates), certificate)
	mr.Fence = r.Recovery().Since
	s.Epoch, s.Sequence, s.Certificate = to, 0, keyset.Hash(certificate)
	return nil
}

// abandonLost gives up pending material that is not here, in the first change after a recovery: the recovery would have
// brought it if any Region had it, so it has never encrypted, and waiting for every member to hold it would never end.
func (r *Region) abandonLost(ctx context.Context, rd Reader, s *keyset.State) error {
	for i, m := range s.Materials {
		if m.Status != keyset.Pending {
			continue
		}
		held, err := r.holdsMaterial(ctx, rd, s.Account, s.KeyID, m.ID)
		if err != nil {
			return err
		}
		if !held {
			r.cfg.Log.Warn().Str("region", r.cfg.Name).Str("key", s.KeyID).Str("material", m.ID).
				Msg("a pending rotation is given up: its material was lost before any Region had it")
			s.Materials[i].Status = keyset.Abandoned
		}
	}
	return nil
}

// holdsMaterial reports whether a material is in this Region's store.
func (r *Region) holdsMaterial(ctx context.Context, rd Reader, account, keyID, id string) (bool, error) {
	_, err := Get[MaterialRecord](ctx, rd, r.ring, MaterialRecord{keyring.Material{Account: account, KeyID: keyID, ID: id}}.RecordKey())
	if isNoRecord(err) {
		return false, nil
	}
	return err == nil, err
}
