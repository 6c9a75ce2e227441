package regions

import "context"

// DeleteImportedKeyMaterialInput is the request of DeleteImportedKeyMaterial.
type DeleteImportedKeyMaterialInput struct {
	KeyID         string `json:"KeyId"`
	KeyMaterialID string `json:"KeyMaterialId"` // the current one by default
}

// DeleteImportedKeyMaterialOutput is the answer of DeleteImportedKeyMaterial.
type DeleteImportedKeyMaterialOutput struct {
	KeyID         string `json:"KeyId"` // ARN
	KeyMaterialID string `json:"KeyMaterialId,omitzero"`
}

func (in *DeleteImportedKeyMaterialInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	return validateMaterialID(in.KeyMaterialID)
}

func deleteImportedKeyMaterial(ctx context.Context, r *Region, c *Call, in *DeleteImportedKeyMaterialInput) (*DeleteImportedKeyMaterialOutput, error) {
	c.param("keyId", in.KeyID)
	if in.KeyMaterialID != "" {
		c.param("keyMaterialId", in.KeyMaterialID)
	}
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if err := r.admitImported(ctx, c, v); err != nil {
		return nil, err
	}
	id := in.KeyMaterialID
	if id == "" {
		id = v.key.Current
	}
	if _, known := v.imported[id]; !known && id != "" {
		return nil, Errorf(CodeNotFound, "Key material %s does not exist in key %s", id, v.arn)
	}
	if err := r.proceed(ctx, c); err != nil {
		return nil, err
	}
	if id != "" {
		err := r.removeMaterial(ctx, ImportedMaterial{Account: v.key.Account, KeyID: v.key.KeyID, ID: id}, func(k Key, _ ImportedMaterial) error {
			return checkState(c.op.Name, k.State, v.arn)
		})
		if isNoRecord(err) { // it was pending, and another call was first
			return nil, Errorf(CodeNotFound, "Key material %s does not exist in key %s", id, v.arn)
		}
		if err != nil {
			return nil, err
		}
		c.response("keyMaterialId", id)
	}
	c.response("keyId", v.arn)
	if v.key.Spec != SpecSymmetricDefault {
		id = "" // as AWS: such keys have one material
	}
	return &DeleteImportedKeyMaterialOutput{KeyID: v.arn, KeyMaterialID: id}, nil
}

// removeMaterial deletes one imported material of a key, if check agrees in the transaction, and takes every copy of it
// from the token before it returns: also if it was gone already, because an earlier attempt may have left a copy. The key
// is PendingImport afterwards, unless it is to be deleted. Pending material goes with its record, and the key stays as it is.
func (r *Region) removeMaterial(ctx context.Context, at ImportedMaterial, check func(Key, ImportedMaterial) error) error {
	err := r.Update(ctx, func(tx Tx) error {
		k, err := Get[Key](ctx, tx, r.ring, Key{Account: at.Account, KeyID: at.KeyID}.RecordKey())
		if err != nil {
			return err
		}
		i, err := Get[ImportedMaterial](ctx, tx, r.ring, at.RecordKey())
		if err != nil {
			return err
		}
		if err := check(k, i); err != nil {
			return err
		}
		if err := tx.Delete(ctx, RecordKey{Kind: KindMaterial, Account: at.Account, ID: at.KeyID, Sub: at.ID}); err != nil {
			return err
		}
		if i.Pending {
			return tx.Delete(ctx, i.RecordKey())
		}
		i.Expires = 0
		if err := Put(ctx, tx, r.ring, i); err != nil {
			return err
		}
		if k.State == StateEnabled || k.State == StateDisabled || k.State == StateUpdating {
			k.State = StatePendingImport
		}
		return Put(ctx, tx, r.ring, k)
	})
	if err != nil {
		return err
	}
	return r.evictAll(ctx, []string{at.ID})
}
