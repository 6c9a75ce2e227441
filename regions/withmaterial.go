package regions

import (
	"context"
	"errors"

	"antipode/hsmbackend"
	"antipode/regions/ciphertext"
	"antipode/regions/keyring"
)

// attempts bounds how often an operation starts again because a copy was lost or the key changed under it.
const attempts = 3

// withMaterial calls fn with a working copy of one of the key's materials. If the token has lost the copy it is made
// again. A change of the key that was committed before the copy was taken is seen: so once DisableKey or
// ScheduleKeyDeletion has answered, no copy of the key is made or used any more.
func (r *Region) withMaterial(ctx context.Context, c *Call, v *view, materialID string, fn func(ciphertext.KeyHandle) error) error {
	for attempt := 0; ; attempt++ {
		m, found := v.materials[materialID]
		if !found {
			return ciphertext.ErrInvalid
		}
		retry, err := r.tryMaterial(ctx, v, m, fn)
		if !retry || attempt == attempts-1 {
			return err
		}
		if v, err = r.views.key(ctx, v.key.KeyID); err != nil {
			return err
		}
		if v == nil {
			return Errorf(CodeNotFound, "Key '%s' does not exist", r.KeyARN(c.caller.Account, m.KeyID))
		}
		if err := checkState(c.op.Name, r.stateOf(v), v.arn); err != nil {
			return err
		}
	}
}

func (r *Region) tryMaterial(ctx context.Context, v *view, m keyring.Material, fn func(ciphertext.KeyHandle) error) (retry bool, err error) {
	w, err := r.ring.Acquire(ctx, m)
	if err != nil {
		return errors.Is(err, hsmbackend.ErrObjectNotFound) || errors.Is(err, hsmbackend.ErrSessionLost), err
	}
	defer w.Release(ctx)
	if !r.views.current(v) {
		w.Lost() // it may be a copy that should not be there any more
		return true, Errorf(CodeInternal, "")
	}
	err = fn(ciphertext.KeyHandle{KeyID: m.KeyID, MaterialID: m.ID, Ref: w.Ref})
	if errors.Is(err, hsmbackend.ErrObjectNotFound) {
		w.Lost()
		return true, err
	}
	return false, err
}

// evict destroys every working copy and derived key of a key on the token before it returns.
func (r *Region) evict(ctx context.Context, materials []MaterialRecord) error {
	ids := make([]string, 0, len(materials))
	for _, m := range materials {
		ids = append(ids, m.ID)
	}
	return r.evictAll(ctx, ids)
}

func (r *Region) evictAll(ctx context.Context, ids []string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	var errs []error
	for _, id := range ids {
		errs = append(errs, r.ring.Evict(ctx, id), r.sealer.Evict(ctx, id))
	}
	return errors.Join(errs...)
}
