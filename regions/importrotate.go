package regions

import (
	"context"
	"fmt"
	"slices"

	"antipode/regions/audit"
	"antipode/regions/awstime"
	"antipode/regions/keyring"
	"antipode/regions/keyset"
)

// pendingIn returns the material that waits to become the key's current one, if there is any.
func pendingIn(imported map[string]ImportedMaterial) (i ImportedMaterial, pending bool) {
	for _, i := range imported {
		if i.Pending {
			return i, true
		}
	}
	return ImportedMaterial{}, false
}

// checkPending refuses records of pending material that no import and no rotation leaves: more than one, of a key that
// takes none, of material that the key is bound to, or without the material.
func checkPending(v *view) error {
	count := 0
	for id, i := range v.imported {
		if !i.Pending {
			continue
		}
		count++
		_, there := v.materials[id]
		if count > 1 || !there || v.key.bound(id) || !v.key.takesPending() {
			return fmt.Errorf("%w: pending material %s of key %s", ErrForgedRecord, id, v.key.KeyID)
		}
	}
	return nil
}

// takesPending reports whether the key can have material that waits for its rotation: it is bound to some, and its
// rotation needs no other Region.
func (k Key) takesPending() bool {
	return k.Origin == OriginExternal && k.Spec == SpecSymmetricDefault && k.MultiRegion == nil && len(k.history()) > 0
}

// admitNext decides whether material with this id may wait for the rotation of a key that is bound to others.
func (r *Region) admitNext(k Key, imported map[string]ImportedMaterial, id string) error {
	at := r.KeyARN(k.Account, k.KeyID)
	switch pending, is := pendingIn(imported); {
	case !k.takesPending():
		return Errorf(CodeUnsupportedOperation, "New key material for a multi-Region key that has material already is not supported "+
			"by this version of Antipode.")
	case k.bound(id):
		return Errorf(CodeIncorrectKeyMaterial, "The key material is already associated with the KMS key.")
	case is && pending.ID != id:
		return Errorf(CodeInvalidState, "New key material (id: %s) cannot be imported into KMS key %s, because another key material "+
			"(id: %s) is pending rotation.", id, at, pending.ID)
	}
	return nil
}

// nextMaterial returns the material that a rotation makes current: the pending one, if its time is not over.
func (r *Region) nextMaterial(ctx context.Context, rd Reader, k Key) (ImportedMaterial, error) {
	imported, err := r.importedOf(ctx, rd, k)
	if err != nil {
		return ImportedMaterial{}, err
	}
	next, pending := pendingIn(imported)
	if !pending || next.expired(r.Now().UnixMilli()) {
		return next, Errorf(CodeInvalidState, "No available key material pending rotation for the key: %s.", r.KeyARN(k.Account, k.KeyID))
	}
	return next, nil
}

// expired reports whether the material's time is over.
func (i ImportedMaterial) expired(now int64) bool { return i.Expires != 0 && i.Expires <= now }

// rotateImported makes the pending material of a key the current one: intent, one transaction, outcome. The token has no
// part in it. Cut off anywhere, the key has its old current material or the new one.
func (r *Region) rotateImported(ctx context.Context, k Key) error {
	err := r.cfg.Store.View(ctx, func(rd Reader) error {
		_, err := r.nextMaterial(ctx, rd, k)
		return err
	})
	if err != nil {
		return err
	}
	return r.Audited(ctx, r.rotateEvent(k, keyset.OnDemand), func(e *audit.Event) error {
		id, err := r.commitImportedRotation(ctx, k)
		if err != nil {
			return err
		}
		e.ServiceEventDetails.Str("currentKeyMaterialId", id)
		return nil
	})
}

// commitImportedRotation binds the key for good to its pending material, which encrypts from then on, and returns its id.
// A commit that reports an error may have happened all the same, and then there is none.
func (r *Region) commitImportedRotation(ctx context.Context, k Key) (id string, err error) {
	at := k.RecordKey()
	err = r.Update(ctx, func(tx Tx) error {
		id = ""
		if err := r.checkBegin(ctx, tx, k, keyset.OnDemand); err != nil {
			return err
		}
		next, err := r.nextMaterial(ctx, tx, k)
		if err != nil {
			return err
		}
		m, err := Get[MaterialRecord](ctx, tx, r.ring, MaterialRecord{keyring.Material{Account: k.Account, KeyID: k.KeyID, ID: next.ID}}.RecordKey())
		if err != nil {
			return err
		}
		next.Pending = false
		if err := Put(ctx, tx, r.ring, next); err != nil {
			return err
		}
		id = next.ID
		return r.changeRotation(ctx, tx, at, func(k *Key, _ *keyset.Rotation, have *[]keyset.Material) error {
			for i := range *have {
				(*have)[i].Status = keyset.NonCurrent
			}
			*have = append(*have, keyset.Material{
				ID: id, Status: keyset.Current, Created: m.Created, Rotated: r.Now().UnixMilli(), Cause: keyset.OnDemand,
			})
			k.Current = id
			return nil
		})
	})
	if err != nil && id != "" && r.encrypts(ctx, at, id) {
		return id, nil
	}
	return id, err
}

// encrypts reports whether this is the key's current material.
func (r *Region) encrypts(ctx context.Context, at RecordKey, id string) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	var k Key
	err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		k, err = Get[Key](ctx, rd, r.ring, at)
		return err
	})
	return err == nil && k.Current == id
}

// listImported completes the list of a key's materials with what was imported, and the pending one at its end.
func (r *Region) listImported(v *view, list []RotationsListEntry, all bool) []RotationsListEntry {
	if v.key.Origin != OriginExternal {
		return list
	}
	list = slices.Clone(list)
	if i, pending := pendingIn(v.imported); pending && all {
		list = append(list, RotationsListEntry{KeyID: v.key.KeyID, KeyMaterialID: i.ID, KeyMaterialState: statePendingRotation})
	}
	now := r.Now().UnixMilli()
	for n := range list {
		e := &list[n]
		i, known := v.imported[e.KeyMaterialID]
		_, there := v.materials[e.KeyMaterialID]
		e.KeyMaterialDescription, e.ImportState = i.Description, importStateGone
		if !known || !there && !i.Pending || i.expired(now) {
			continue
		}
		e.ImportState, e.ExpirationModel = importStateThere, materialStays
		if i.Expires != 0 {
			e.ExpirationModel, e.ValidTo = materialExpires, awstime.FromMillis(i.Expires)
		}
	}
	return list
}
