package regions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"antipode/hsmbackend"
	"antipode/regions/keyring"
	"antipode/regions/roster"
)

// RSKRotation is the record of a replication signing key that takes the place of another on one of the Region's tokens:
//
//	planned     it has a name; it may be on the token
//	introduced  it is in the Region's entry of itself, which the peers are told; the old one signs
//	signing     every peer knows it, and it signs; the old one is still active, for what it has signed
//
// and when nothing that the old one signed is on its way any more it is retired, and the record is gone.
type RSKRotation struct {
	Serial string        `cbor:"1,keyasint"` // of the token
	Name   hsmbackend.ID `cbor:"2,keyasint"` // CKA_ID of the new key
	Old    []byte        `cbor:"3,keyasint"` // DER SubjectPublicKeyInfo of the old key
	New    []byte        `cbor:"4,keyasint"` // and of the new one, empty while planned
	// Without are the peers that nobody waits for: their operators enrol the Region again.
	Without []string `cbor:"5,keyasint"`
	Signing bool     `cbor:"6,keyasint"`
}

// RecordKey implements [Body].
func (RSKRotation) RecordKey() RecordKey { return RecordKey{Kind: KindRotateRSK} }

// RecordIndex implements [Body].
func (RSKRotation) RecordIndex() (string, int64) { return "", 0 }

// ErrNotRotating says that no replication signing key is being rotated, or not as far as that.
var ErrNotRotating = errors.New("no replication signing key is being rotated")

// RotateRSK begins to replace the replication signing key of the token in use: a new one is made there and written into
// the Region's entry of itself. It is introduced to the peers, used, and the old one retired, by package replication. If a
// rotation is under way it goes on; without are further peers that are not waited for. It may be repeated after a crash at
// any point, and makes nothing twice.
func (r *Region) RotateRSK(ctx context.Context, without []string) (rot RSKRotation, err error) {
	done, err := r.changeKeys(ctx)
	if err != nil {
		return rot, err
	}
	defer done()
	if rot, err = r.planRSK(ctx, without); err != nil {
		return rot, fmt.Errorf("rotate replication signing key: %w", err)
	}
	if len(rot.New) > 0 {
		return rot, nil
	}
	if rot.Serial != r.cfg.Token.Info().Serial {
		return rot, fmt.Errorf("rotate replication signing key: it was begun on token %q, and the Region runs on another", rot.Serial)
	}
	signer, err := keyring.NewRSK(ctx, r.cfg.Token, rot.Name, r.cfg.Name)
	if err != nil {
		return rot, fmt.Errorf("rotate replication signing key: %w", err)
	}
	proof, err := roster.ProvePossession(ctx, signer, r.cfg.Name, signer.SPKI())
	if err != nil {
		return rot, err
	}
	return r.introduceRSK(ctx, signer.SPKI(), proof)
}

// planRSK returns the rotation under way, or a new one, with the peers that are not waited for.
func (r *Region) planRSK(ctx context.Context, without []string) (rot RSKRotation, err error) {
	raw, err := r.cfg.Token.Random(ctx, 16)
	if err != nil {
		return rot, err
	}
	ro := r.Roster()
	for _, name := range without {
		if _, err := ro.Entry(name); err != nil || name == r.cfg.Name {
			return rot, errors.Join(fmt.Errorf("%s is no peer", name), err)
		}
	}
	err = r.Update(ctx, func(tx Tx) error {
		rot, err = Get[RSKRotation](ctx, tx, r.ring, RSKRotation{}.RecordKey())
		switch {
		case errors.Is(err, ErrNoRecord):
			rot = RSKRotation{
				Serial: r.cfg.Token.Info().Serial, Name: hsmbackend.ID(raw), Old: r.ring.RSK().SPKI(), New: []byte{}, Without: []string{},
			}
		case err != nil:
			return err
		}
		for _, name := range without {
			if !slices.Contains(rot.Without, name) {
				rot.Without = append(rot.Without, name)
			}
		}
		return Put(ctx, tx, r.ring, rot)
	})
	return rot, err
}

// introduceRSK commits the new key to the Region's entry of itself.
func (r *Region) introduceRSK(ctx context.Context, spki, proof []byte) (rot RSKRotation, err error) {
	err = r.updateRoster(ctx, func(tx Tx, current roster.Roster) (roster.Roster, error) {
		if rot, err = Get[RSKRotation](ctx, tx, r.ring, RSKRotation{}.RecordKey()); err != nil {
			return current, err
		}
		rot.New = spki
		if err := Put(ctx, tx, r.ring, rot); err != nil {
			return current, err
		}
		return changeEntry(current, r.cfg.Name, func(e *roster.Entry) {
			if !slices.ContainsFunc(e.RSKs, func(k roster.RSK) bool { return bytes.Equal(k.SPKI, spki) }) {
				e.RSKs = append(e.RSKs, roster.RSK{SPKI: spki, State: roster.Active, Since: e.Version, Proof: proof})
			}
		})
	})
	if err != nil {
		return rot, fmt.Errorf("introduce replication signing key: %w", err)
	}
	return rot, nil
}

// RotationOfRSK returns the rotation under way, or [ErrNotRotating].
func (r *Region) RotationOfRSK(ctx context.Context) (rot RSKRotation, err error) {
	err = r.cfg.Store.View(ctx, func(rd Reader) error {
		rot, err = Get[RSKRotation](ctx, rd, r.ring, RSKRotation{}.RecordKey())
		return err
	})
	if errors.Is(err, ErrNoRecord) {
		err = ErrNotRotating
	}
	return rot, err
}

// UseNewRSK makes the Region sign with the new key from now on. Whoever calls it has had every peer acknowledge it. It may
// be repeated. It returns [ErrNotRotating] if none was introduced.
func (r *Region) UseNewRSK(ctx context.Context) error {
	done, err := r.changeKeys(ctx)
	if err != nil {
		return err
	}
	defer done()
	_, err = r.updateHierarchy(ctx, func(tx Tx, h *keyring.Hierarchy) error {
		rot, err := Get[RSKRotation](ctx, tx, r.ring, RSKRotation{}.RecordKey())
		if err != nil {
			return err
		}
		at := slices.IndexFunc(h.Tokens, func(k keyring.TokenKeys) bool { return k.Serial == rot.Serial })
		if len(rot.New) == 0 || at < 0 {
			return ErrNotRotating
		}
		h.Tokens[at].RSK, h.Tokens[at].RSKPublic = rot.Name, rot.New
		rot.Signing = true
		return Put(ctx, tx, r.ring, rot)
	})
	if err != nil {
		return fmt.Errorf("use the new replication signing key: %w", err)
	}
	return nil
}

// RetireOldRSK ends the rotation: the old key is retired in the Region's entry of itself, and introduces nothing any more.
// It stays on the token, because older backups of the store name it. Whoever calls it has seen to it that the peers have
// what it signed. It returns [ErrNotRotating] if the new key does not sign.
func (r *Region) RetireOldRSK(ctx context.Context) error {
	err := r.updateRoster(ctx, func(tx Tx, current roster.Roster) (roster.Roster, error) {
		rot, err := Get[RSKRotation](ctx, tx, r.ring, RSKRotation{}.RecordKey())
		if err != nil {
			return current, err
		}
		if !rot.Signing {
			return current, ErrNotRotating
		}
		if err := tx.Delete(ctx, rot.RecordKey()); err != nil {
			return current, err
		}
		return changeEntry(current, r.cfg.Name, func(e *roster.Entry) { retire(e, rot.Old) })
	})
	if err != nil {
		return fmt.Errorf("retire replication signing key: %w", err)
	}
	return nil
}

// retire gives a key of an entry that is active the state retired.
func retire(e *roster.Entry, spki []byte) (changed bool) {
	for i, k := range e.RSKs {
		if bytes.Equal(k.SPKI, spki) && k.State == roster.Active {
			e.RSKs[i].State, e.RSKs[i].Since, changed = roster.Retired, e.Version, true
		}
	}
	return changed
}

// changeEntry returns the roster with a Region's entry of itself changed.
func changeEntry(current roster.Roster, name string, change func(*roster.Entry)) (roster.Roster, error) {
	e, err := current.Entry(name)
	if err != nil {
		return current, err
	}
	e.Version++
	e.Own = e.Version
	change(&e)
	return current.With(e)
}

// endRSKRotation drops the rotation on a token that the Region forgets, and returns its keys, which introduce nothing then.
func (r *Region) endRSKRotation(ctx context.Context, tx Tx, serial string) ([][]byte, error) {
	rot, err := Get[RSKRotation](ctx, tx, r.ring, RSKRotation{}.RecordKey())
	if errors.Is(err, ErrNoRecord) || err == nil && rot.Serial != serial {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return [][]byte{rot.Old, rot.New}, tx.Delete(ctx, rot.RecordKey())
}
