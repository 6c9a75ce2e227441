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
func (r *Region) newKeySet(ctx context.Context, k Key, m keyring.Material) (*MultiRegion, error) {
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
		Members:   []keyset.Member{{Region: r.cfg.Name, Incarnation: incarnation, Status: keyset.Active}},
		Materials: []keyset.Material{{ID: m.ID, Status: keyset.Current, Created: m.Created}},
	}
	signed, err := keyset.SignState(ctx, r.ring.RSK(), s)
	if err != nil {
		return nil, fmt.Errorf("sign shared state: %w", err)
	}
	return &MultiRegion{State: &s, Signed: signed, Certificates: [][]byte{genesis}, Incarnation: incarnation}, nil
}

// ErrNotPrimary is answered when a shared change is asked of a Region that is not the key's primary.
var ErrNotPrimary = errors.New("this Region is not the key's primary")

// ChangeShared changes, inside a transaction, the shared state of a key whose primary this Region is: change edits a
// copy, which gets the next sequence number and this Region's signature. When the last replica has left a key that is
// pending replica deletion, its own waiting period begins. It returns the key as committed.
func (r *Region) ChangeShared(ctx context.Context, tx Tx, account, keyID string, change func(k *Key, s *keyset.State) error) (Key, error) {
	k, err := Get[Key](ctx, tx, r.ring, Key{Account: account, KeyID: keyID}.RecordKey())
	if err != nil {
		return k, err
	}
	if k.MultiRegion == nil || k.MultiRegion.State == nil || k.MultiRegion.State.Primary != r.cfg.Name {
		return k, ErrNotPrimary
	}
	next := *k.MultiRegion.State
	next.Members, next.Materials = slices.Clone(next.Members), slices.Clone(next.Materials)
	if err := change(&k, &next); err != nil {
		return k, err
	}
	if k.State == StatePendingReplicaDeletion && len(next.Members) == 1 {
		r.startWindow(&k)
	}
	next.Sequence++
	mr := *k.MultiRegion
	if mr.Signed, err = keyset.SignState(ctx, r.ring.RSK(), next); err != nil {
		return k, fmt.Errorf("sign shared state: %w", err)
	}
	mr.State, k.MultiRegion = &next, &mr
	return k, Put(ctx, tx, r.ring, k)
}
