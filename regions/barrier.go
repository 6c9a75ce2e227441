package regions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"antipode/regions/audit"
	"antipode/regions/keyring"
	"antipode/regions/keyset"
)

// The rotation of a key that has replicas goes in two steps. The first one, BeginKeyRotation, puts new material into the
// shared state as pending: every member is brought it, and none encrypts with it. The second one, RotateKey, lets it
// encrypt, when every member has signed that it holds it. Between the two lies the barrier, which may hold for days.

// eventBeginRotation is the audit log's name for the first step of a rotation that waits for replicas.
const eventBeginRotation = "BeginKeyRotation"

// eventHeldRotation is the audit log's name for a rotation that has waited for replicas longer than heldAfter.
const eventHeldRotation = "KeyRotationHeldBack"

// heldAfter is how long a rotation may wait for replicas before the log and the audit log tell of it, once.
const heldAfter = 10 * time.Minute

// errJoined says that a key that had no replica has one now, so that its rotation has to wait for it.
var errJoined = errors.New("a replica has joined")

// errBarrier says that members have not signed yet that they hold a pending material.
var errBarrier = errors.New("not every member holds the pending material")

// PendingRotation is a rotation of a multi-Region key whose new material is on its way to the members of the key set. It
// encrypts nothing yet.
type PendingRotation struct {
	Account, KeyID string
	Material       string // id
	Cause          keyset.RotationCause
	Since          int64 // Unix milliseconds
	// WaitsFor are the Regions that have not signed, in their present incarnation, that they hold the material; in order.
	// It is known in the primary's Region only, and empty there if the key waits for nothing but to be Enabled again.
	WaitsFor []string
}

// PendingRotation returns the rotation of the key that is not complete, nil if there is none.
func (r *Region) PendingRotation(ctx context.Context, rd Reader, k Key) (*PendingRotation, error) {
	if k.MultiRegion == nil || k.MultiRegion.State == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	m, is := k.MultiRegion.State.Pending()
	if !is {
		return nil, nil //nolint:nilnil // there is none
	}
	p := &PendingRotation{Account: k.Account, KeyID: k.KeyID, Material: m.ID, Cause: m.Cause, Since: m.Created}
	if !k.rotates() {
		return p, nil
	}
	lacking, err := r.Unacknowledged(ctx, rd, k, m.ID)
	if err != nil {
		return nil, err
	}
	for _, member := range lacking {
		p.WaitsFor = append(p.WaitsFor, member.Region)
	}
	return p, nil
}

// PendingRotations lists the rotations that wait at this Region's primaries.
func (r *Region) PendingRotations(ctx context.Context) (list []PendingRotation, err error) {
	err = r.eachDue(ctx, func(at RecordKey) error {
		p, err := r.pendingRotation(ctx, at)
		if p != nil {
			list = append(list, *p)
		}
		return err
	})
	return list, err
}

func (r *Region) pendingRotation(ctx context.Context, at RecordKey) (p *PendingRotation, err error) {
	err = r.cfg.Store.View(ctx, func(rd Reader) error {
		k, err := Get[Key](ctx, rd, r.ring, at)
		if isNoRecord(err) {
			return nil
		}
		if err != nil {
			return err
		}
		p, err = r.PendingRotation(ctx, rd, k)
		return err
	})
	return p, err
}

// beginRotation is the first step: new material on the token, and one transaction that stores it and lists it as pending.
func (r *Region) beginRotation(ctx context.Context, k Key, cause keyset.RotationCause) error {
	event := r.rotateEvent(k, cause)
	event.EventName = eventBeginRotation
	err := r.Audited(ctx, event, func(e *audit.Event) error {
		m, err := r.makeMaterial(ctx, k, r.Now().UnixMilli())
		if err != nil {
			return err
		}
		if err := r.commitPending(ctx, k, m, cause); err != nil {
			r.abandon(ctx, k, m)
			return err
		}
		e.ServiceEventDetails.Str("pendingKeyMaterialId", m.ID)
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.advance(ctx, k.RecordKey()); err != nil { // the last replica may have left meanwhile
		r.cfg.Log.Error().Err(err).Str("region", r.cfg.Name).Str("key", k.KeyID).Msg("complete a rotation")
	}
	return nil
}

// commitPending stores m and lists it as pending. A commit that reports an error may have happened all the same, and then
// there is none.
func (r *Region) commitPending(ctx context.Context, k Key, m keyring.Material, cause keyset.RotationCause) error {
	err := r.Update(ctx, func(tx Tx) error {
		if err := r.checkBegin(ctx, tx, k, cause); err != nil {
			return err
		}
		if err := r.PutMaterials(ctx, tx, m); err != nil {
			return err
		}
		return r.changeRotation(ctx, tx, k.RecordKey(), func(_ *Key, _ *keyset.Rotation, have *[]keyset.Material) error {
			*have = append(*have, keyset.Material{ID: m.ID, Status: keyset.Pending, Created: m.Created, Cause: cause})
			return nil
		})
	})
	if err != nil && r.hasMaterial(ctx, m) {
		return nil
	}
	return err
}

// AdvanceRotation completes a rotation of the key if one is pending and every member of the key set has signed that it
// holds the material. It is called when a member has signed something or has left, and may be called at any time. While
// the primary is not Enabled, or its Region recovers, the rotation waits.
func (r *Region) AdvanceRotation(ctx context.Context, account, keyID string) error {
	at := Key{Account: account, KeyID: keyID}.RecordKey()
	if p, err := r.pendingRotation(ctx, at); err != nil || p == nil {
		return err
	}
	if err := r.rotating.enter(ctx, at); err != nil {
		return err
	}
	defer r.rotating.end(at)
	return r.advance(ctx, at)
}

// advance is AdvanceRotation for who holds the key in r.rotating.
func (r *Region) advance(ctx context.Context, at RecordKey) error {
	var k Key
	var p PendingRotation
	check := func() error {
		return r.cfg.Store.View(ctx, func(rd Reader) (err error) {
			if k, err = Get[Key](ctx, rd, r.ring, at); err != nil {
				return err
			}
			p, err = r.checkComplete(ctx, rd, k)
			return err
		})
	}
	err := check()
	if errors.Is(err, errBarrier) && slices.Contains(p.WaitsFor, r.cfg.Name) {
		// The material was lost with what a recovery could not bring back. If no other Region has it the next change of the
		// shared state abandons it.
		if err := r.RaiseTerm(ctx, k.Account, k.KeyID); err != nil {
			return err
		}
		err = check()
	}
	switch {
	case errors.Is(err, errNoRotation), isNoRecord(err):
		return nil
	case errors.Is(err, errBarrier):
		return r.tellHeld(ctx, k, p)
	case err != nil:
		return err
	}
	err = r.Audited(ctx, r.rotateEvent(k, p.Cause), func(e *audit.Event) error {
		if err := r.completeRotation(ctx, at, p.Material); err != nil {
			return err
		}
		e.ServiceEventDetails.Str("currentKeyMaterialId", p.Material)
		return nil
	})
	if errors.Is(err, errNoRotation) || errors.Is(err, errBarrier) {
		return nil // the key was changed in this instant; the outcome says so
	}
	return err
}

// checkComplete returns nil if the pending material of the key may encrypt from now on: errNoRotation if there is none,
// or if the primary may not act; errBarrier if members have not signed that they hold it.
func (r *Region) checkComplete(ctx context.Context, rd Reader, k Key) (PendingRotation, error) {
	if r.Recovering() || k.State != StateEnabled || !k.rotates() {
		return PendingRotation{}, errNoRotation
	}
	p, err := r.PendingRotation(ctx, rd, k)
	if err != nil {
		return PendingRotation{}, err
	}
	if p == nil {
		return PendingRotation{}, errNoRotation
	}
	if len(p.WaitsFor) > 0 {
		return *p, fmt.Errorf("%w: %v", errBarrier, p.WaitsFor)
	}
	return *p, nil
}

// completeRotation is the second step: in one transaction the condition is tested again, and the material takes the place
// of the one that encrypts. A commit that reports an error may have happened all the same, and then there is none.
func (r *Region) completeRotation(ctx context.Context, at RecordKey, id string) error {
	err := r.Update(ctx, func(tx Tx) error {
		now, err := Get[Key](ctx, tx, r.ring, at)
		if err != nil {
			return err
		}
		p, err := r.checkComplete(ctx, tx, now)
		if err != nil {
			return err
		}
		if p.Material != id {
			return errNoRotation
		}
		return r.changeRotation(ctx, tx, at, func(k *Key, s *keyset.Rotation, have *[]keyset.Material) error {
			for i, m := range *have {
				switch {
				case m.ID == id:
					(*have)[i].Status, (*have)[i].Rotated = keyset.Current, r.Now().UnixMilli()
				case m.Status == keyset.Current:
					(*have)[i].Status = keyset.NonCurrent
				}
			}
			k.Current, k.HeldBack = id, ""
			if p.Cause == keyset.Automatic && s.Enabled && s.Next <= r.Now().UnixMilli() { // it may have been set anew
				s.Next = r.nextRotation(*s)
			}
			return nil
		})
	})
	if err != nil && r.encryptsWith(ctx, at, id) {
		return nil
	}
	return err
}

// encryptsWith reports whether this is the key's current material.
func (r *Region) encryptsWith(ctx context.Context, at RecordKey, id string) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	var k Key
	err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		k, err = Get[Key](ctx, rd, r.ring, at)
		return err
	})
	return err == nil && k.Current == id
}

// tellHeld tells, once for each rotation, that it has waited long.
func (r *Region) tellHeld(ctx context.Context, k Key, p PendingRotation) error {
	if k.HeldBack == p.Material || r.Now().Sub(time.UnixMilli(p.Since)) < heldAfter {
		return nil
	}
	r.cfg.Log.Warn().Str("region", r.cfg.Name).Str("key", k.KeyID).Strs("waits_for", p.WaitsFor).
		Msg("a rotation is held back by members that have not signed that they hold the new material")
	e := r.serviceEvent(r.rotateEvent(k, p.Cause))
	e.EventName = eventHeldRotation
	e.ServiceEventDetails.Str("pendingKeyMaterialId", p.Material)
	e.ServiceEventDetails.Strs("waitsFor", p.WaitsFor)
	if err := r.cfg.Audit.Service(ctx, e); err != nil {
		return err
	}
	return r.Update(ctx, func(tx Tx) error {
		now, err := Get[Key](ctx, tx, r.ring, k.RecordKey())
		if err != nil {
			return err
		}
		now.HeldBack = p.Material
		return Put(ctx, tx, r.ring, now)
	})
}

// stirred are the keys of which a commit has changed what their members have signed.
type stirred struct {
	mu   sync.Mutex
	keys map[RecordKey]struct{}
	now  chan struct{} // signals that there are some
}

// stirRotations notes the keys whose barrier a commit may have lifted. It doesn't wait; what is not looked at because the
// process ends is looked at when the next one starts.
func (r *Region) stirRotations(touched map[RecordKey]struct{}) {
	r.stirred.mu.Lock()
	defer r.stirred.mu.Unlock()
	for k := range touched {
		if k.Kind != KindStanding {
			continue
		}
		if r.stirred.keys == nil {
			r.stirred.keys = map[RecordKey]struct{}{}
		}
		r.stirred.keys[Key{Account: k.Account, KeyID: k.ID}.RecordKey()] = struct{}{}
	}
	if len(r.stirred.keys) == 0 {
		return
	}
	select {
	case r.stirred.now <- struct{}{}:
	default: // it is signalled
	}
}

// advanceStirred completes the rotations of those keys that wait for nothing any more.
func (r *Region) advanceStirred(ctx context.Context) error {
	r.stirred.mu.Lock()
	keys := r.stirred.keys
	r.stirred.keys = nil
	r.stirred.mu.Unlock()
	var errs []error
	for at := range keys {
		if err := r.AdvanceRotation(ctx, at.Account, at.ID); err != nil {
			errs = append(errs, fmt.Errorf("key %s: %w", at.ID, err))
		}
	}
	return errors.Join(errs...)
}
