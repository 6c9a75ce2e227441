package regions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"antipode/regions/keyset"
)

// Rotation is the schedule and the history of a single-Region key's material. A multi-Region key's are part of what its
// Regions share.
type Rotation struct {
	Schedule keyset.Rotation `cbor:"1,keyasint"`
	// Materials are all of the key's materials in order, from the first rotation on; before it the key has one.
	Materials []keyset.Material `cbor:"2,keyasint"`
}

// What can be asked of the materials of a key whose material is imported.
const (
	opRotate        = "RotateKeyOnDemand"
	opListRotations = "ListKeyRotations"
)

// AWS's limits of rotation.
const (
	minRotationDays     = 90
	maxRotationDays     = 2560
	defaultRotationDays = 365
	maxOnDemand         = 25 // rotations on demand, in a key's life
	// quietTime is how long before an automatic rotation none can be asked for.
	quietTime = 20 * time.Minute
)

// schedule returns when the key is rotated.
func (k Key) schedule() keyset.Rotation {
	switch {
	case k.MultiRegion != nil && k.MultiRegion.State != nil:
		return k.MultiRegion.State.Rotation
	case k.MultiRegion == nil && k.Rotation != nil:
		return k.Rotation.Schedule
	}
	return keyset.Rotation{}
}

// history returns the key's materials, the first one first. It is not to be changed.
func (k Key) history() []keyset.Material {
	switch {
	case k.MultiRegion != nil && k.MultiRegion.State != nil:
		return k.MultiRegion.State.Materials
	case k.MultiRegion == nil && k.Rotation != nil && len(k.Rotation.Materials) > 0:
		return k.Rotation.Materials
	case k.MultiRegion == nil && k.Current != "":
		return []keyset.Material{{ID: k.Current, Status: keyset.Current, Created: k.Created}}
	}
	return nil
}

// alone reports whether the key is in this Region only.
func (k Key) alone() bool {
	return k.MultiRegion == nil || k.MultiRegion.State != nil && len(k.MultiRegion.State.Members) == 1
}

// rotates reports whether it is this Region that rotates the key: it has the key's primary or the only one.
func (k Key) rotates() bool {
	if k.MultiRegion == nil {
		return true
	}
	if k.MultiRegion.State == nil {
		return false
	}
	primary, _ := k.MultiRegion.State.Member(k.MultiRegion.State.Primary)
	return primary.Incarnation == k.MultiRegion.Incarnation
}

// rotationDue is when the key's material is to be rotated, 0 for never, and in the past while a rotation is pending. A
// key that is not Enabled is not rotated.
func (k Key) rotationDue() int64 {
	if k.State != StateEnabled || !k.rotates() {
		return 0
	}
	if k.MultiRegion != nil {
		if m, pending := k.MultiRegion.State.Pending(); pending {
			return max(m.Created, 1)
		}
	}
	return k.schedule().Next
}

// changeRotation changes, inside a transaction, the schedule and the materials of a key, and what change does to the key
// besides. For a multi-Region key it is a change of what is shared; see [Region.ChangeShared].
func (r *Region) changeRotation(ctx context.Context, tx Tx, at RecordKey, change func(k *Key, s *keyset.Rotation, m *[]keyset.Material) error) error {
	k, err := Get[Key](ctx, tx, r.ring, at)
	if err != nil {
		return err
	}
	if k.MultiRegion != nil {
		_, err := r.ChangeShared(ctx, tx, k.Account, k.KeyID, func(k *Key, s *keyset.State) error {
			return change(k, &s.Rotation, &s.Materials)
		})
		return err
	}
	next := Rotation{Schedule: k.schedule(), Materials: slices.Clone(k.history())}
	if err := change(&k, &next.Schedule, &next.Materials); err != nil {
		return err
	}
	k.Rotation = &next
	return Put(ctx, tx, r.ring, k)
}

// checkRotates returns the error for an operation on the rotation of a key that has none, or none here.
func (r *Region) checkRotates(operation string, k Key) error {
	arn := r.KeyARN(k.Account, k.KeyID)
	switch {
	case k.Origin != OriginAWSKMS && operation != opRotate && operation != opListRotations:
		return Errorf(CodeUnsupportedOperation, "%s origin is %s which is not valid for this operation.", arn, k.Origin)
	case k.Spec != SpecSymmetricDefault || k.Usage != UsageEncryptDecrypt:
		return Errorf(CodeUnsupportedOperation, "%s key spec is %s which is not valid for %s.", arn, k.Spec, operation)
	case k.Origin != OriginAWSKMS && k.MultiRegion != nil && operation == opRotate:
		return Errorf(CodeUnsupportedOperation, "Rotation of the imported key material of a multi-Region key is not supported by this "+
			"version of Antipode.")
	}
	return nil
}

// checkRotatesHere is checkRotates, and refuses what only the primary may do.
func (r *Region) checkRotatesHere(operation string, k Key) error {
	if err := r.checkRotates(operation, k); err != nil {
		return err
	}
	if !k.rotates() {
		return Errorf(CodeUnsupportedOperation, "%s is not a multi-Region primary key.", r.KeyARN(k.Account, k.KeyID))
	}
	if k.MultiRegion != nil && r.Recovering() {
		return errRecovering(r.cfg.Name)
	}
	return nil
}

// checkJoined refuses to begin a rotation while a replica is on its way: it was offered the materials of before.
func (r *Region) checkJoined(k Key) error {
	if k.MultiRegion == nil {
		return nil
	}
	for _, m := range k.MultiRegion.State.Members {
		if m.Status == keyset.Creating {
			return Errorf(CodeConflict, "%s is being replicated to %s.", r.KeyARN(k.Account, k.KeyID), m.Region)
		}
	}
	return nil
}

// overdue reports whether the key's rotation should have begun.
func (r *Region) overdue(k Key) bool {
	due := k.rotationDue()
	return due != 0 && due <= r.Now().UnixMilli()
}

// RotateDue rotates the keys whose date has come by this Region's clock, and completes the rotations that waited for other
// Regions and wait no more. A Region that recovers rotates nothing: it may
// have rotated already, and have lost that. It may be called again at any time, and goes on past a key that can't be
// rotated; the error joins those of all such keys.
func (r *Region) RotateDue(ctx context.Context) error {
	if r.Recovering() {
		return nil
	}
	return r.eachDue(ctx, func(at RecordKey) error {
		p, err := r.pendingRotation(ctx, at)
		switch {
		case err != nil:
		case p != nil:
			err = r.AdvanceRotation(ctx, at.Account, at.ID)
		default:
			err = r.rotate(ctx, at, keyset.Automatic)
		}
		if err == nil || errors.Is(err, errNoRotation) || errors.Is(err, &Error{Code: CodeConflict}) {
			return nil
		}
		return fmt.Errorf("rotate key %s: %w", at.ID, err)
	})
}

// runRotation looks for keys to rotate until ctx ends, at the interval of [Config] and when an overdue key was enabled. A
// pending rotation is looked at as soon as a member of its key set has signed something, or has left.
func (r *Region) runRotation(ctx context.Context) {
	tick := time.NewTicker(r.cfg.RotationTick)
	defer tick.Stop()
	look := r.RotateDue
	for {
		if err := look(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Log.Error().Err(err).Str("region", r.cfg.Name).Msg("rotate keys whose date has come")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			look = r.RotateDue
		case <-r.rotateNow:
			look = r.RotateDue
		case <-r.stirred.now:
			look = r.advanceStirred
		}
	}
}

// wakeRotation lets runRotation look at once. It doesn't wait.
func (r *Region) wakeRotation() {
	select {
	case r.rotateNow <- struct{}{}:
	default: // it is awake
	}
}
