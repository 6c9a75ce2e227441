package regions

import (
	"context"
)

// KeyInput is the request of the operations that take nothing but a key.
type KeyInput struct {
	KeyID string `json:"KeyId"`
}

func (in *KeyInput) validate() error { return validateKeyID(in.KeyID, "keyId") }

func enableKey(ctx context.Context, r *Region, c *Call, in *KeyInput) (*struct{}, error) {
	return nil, r.switchKey(ctx, c, in.KeyID, StateEnabled)
}

func disableKey(ctx context.Context, r *Region, c *Call, in *KeyInput) (*struct{}, error) {
	return nil, r.switchKey(ctx, c, in.KeyID, StateDisabled)
}

func (r *Region) switchKey(ctx context.Context, c *Call, keyID string, to KeyState) error {
	c.param("keyId", keyID)
	v, err := r.find(ctx, c, keyID, false)
	if err != nil {
		return err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return err
	}
	k, err := r.changeKey(ctx, c, v, func(k *Key) error {
		k.State = to
		return nil
	})
	if err == nil && r.overdue(k) { // while it was disabled it was not rotated
		r.wakeRotation()
	}
	return err
}

// changeKey changes a key's own record. The state is checked again inside the transaction, on the record as it is
// then. If the key is not usable afterwards, every copy of its material on the token is destroyed before it returns.
func (r *Region) changeKey(ctx context.Context, c *Call, v *view, change func(*Key) error) (Key, error) {
	var k Key
	var materials []MaterialRecord
	err := r.Update(ctx, func(tx Tx) (err error) {
		if k, err = Get[Key](ctx, tx, r.ring, v.key.RecordKey()); err != nil {
			return err
		}
		if err := checkState(c.op.Name, k.State, v.arn); err != nil {
			return err
		}
		if err := change(&k); err != nil {
			return err
		}
		// Those of this moment: a replica's may have come since v was read.
		if materials, err = List[MaterialRecord](ctx, tx, r.ring, Query{Kind: KindMaterial, Account: k.Account, ID: k.KeyID}); err != nil {
			return err
		}
		settleImported(&k, materials)
		return Put(ctx, tx, r.ring, k)
	})
	if err != nil {
		return k, err
	}
	if checkState("Decrypt", k.State, v.arn) != nil {
		return k, r.evict(ctx, materials)
	}
	return k, nil
}
