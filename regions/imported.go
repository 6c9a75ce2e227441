package regions

import (
	"context"
	"fmt"
	"slices"

	"antipode/regions/awstime"
	"antipode/regions/keyring"
	"antipode/regions/keyset"
	"antipode/regions/keyspec"
)

// The kinds of records that imported key material has beside those of every key.
const (
	KindImported   RecordKind = "imported"
	KindImportPair RecordKind = "import-pair"
)

// ImportedMaterial is one key material that was imported into a key, present or not: the key is bound to it for good. The record
// stays when the material goes, so that only the same material can come back. Only what is pending is not bound yet, is
// present, and leaves nothing when it goes.
type ImportedMaterial struct {
	Account     string `cbor:"1,keyasint"`
	KeyID       string `cbor:"2,keyasint"`
	ID          string `cbor:"3,keyasint"` // material id
	Description string `cbor:"4,keyasint"` // KeyMaterialDescription
	Updated     int64  `cbor:"5,keyasint"` // Unix milliseconds of the last import
	// Expires is when the material goes (Unix milliseconds); 0 if it does not expire, or is gone.
	Expires int64 `cbor:"6,keyasint"`
	// Pending is that the material waits for RotateKeyOnDemand: until then nothing is encrypted with it.
	Pending bool `cbor:"7,keyasint,omitempty"`
}

// RecordKey implements [Body].
func (i ImportedMaterial) RecordKey() RecordKey {
	return RecordKey{Kind: KindImported, Account: i.Account, ID: i.KeyID, Sub: i.ID}
}

// RecordIndex implements [Body]: imported material wants attention when it expires.
func (i ImportedMaterial) RecordIndex() (string, int64) { return "", i.Expires }

// What ExpirationModel may be.
const (
	materialExpires = "KEY_MATERIAL_EXPIRES"
	materialStays   = "KEY_MATERIAL_DOES_NOT_EXPIRE"
)

// importedOf reads what was imported into a key; nothing for a key of another origin.
func (r *Region) importedOf(ctx context.Context, rd Reader, k Key) (map[string]ImportedMaterial, error) {
	if k.Origin != OriginExternal {
		return nil, nil
	}
	list, err := List[ImportedMaterial](ctx, rd, r.ring, Query{Kind: KindImported, Account: k.Account, ID: k.KeyID})
	if err != nil {
		return nil, err
	}
	out := make(map[string]ImportedMaterial, len(list))
	for _, i := range list {
		out[i.ID] = i
	}
	return out, nil
}

// checkImported refuses records of imported material that don't go together: material that the key is not bound to, or
// whose expiry is not on record.
func checkImported(v *view) error {
	if v.key.Origin != OriginExternal {
		return nil
	}
	if err := checkPending(v); err != nil {
		return err
	}
	for id, i := range v.imported {
		if !i.Pending && !v.key.bound(id) {
			return fmt.Errorf("%w: material %s is not of key %s", ErrForgedRecord, id, v.key.KeyID)
		}
	}
	for id := range v.materials {
		if _, recorded := v.imported[id]; !recorded {
			return fmt.Errorf("%w: nothing says how material %s came into key %s", ErrForgedRecord, id, v.key.KeyID)
		}
	}
	return nil
}

// bound reports whether this is one of the key's materials, present or not.
func (k Key) bound(id string) bool {
	return slices.ContainsFunc(k.history(), func(m keyset.Material) bool { return m.ID == id })
}

// isComplete reports whether all material that the key is bound to is there, and there is some: only then it can be used.
func (k Key) isComplete(present func(id string) bool) bool {
	for _, m := range k.history() {
		if !present(m.ID) {
			return false
		}
	}
	return len(k.history()) > 0
}

// settleImported makes a change of a key's state true to its material: a key of origin EXTERNAL that lacks any is
// PendingImport where it would be Enabled or Disabled.
func settleImported(k *Key, materials []MaterialRecord) {
	if k.Origin == OriginExternal && (k.State == StateEnabled || k.State == StateDisabled) && !k.isComplete(presentIn(materials)) {
		k.State = StatePendingImport
	}
}

func presentIn(materials []MaterialRecord) func(id string) bool {
	there := make(map[string]bool, len(materials))
	for _, m := range materials {
		there[m.ID] = true
	}
	return func(id string) bool { return there[id] }
}

// expires is when the first of the materials that the key is bound to goes, in Unix milliseconds, or 0.
func (v *view) expires() (first int64) {
	for _, i := range v.imported {
		if !i.Pending && i.Expires != 0 && (first == 0 || i.Expires < first) {
			first = i.Expires
		}
	}
	return first
}

// stateOf is the key's state now: without all of its material it is not used, and material whose time is over is not used
// any more, also before it is removed.
func (r *Region) stateOf(v *view) KeyState {
	expired := v.firstExpiry != 0 && v.firstExpiry <= r.Now().UnixMilli()
	if (expired || v.incomplete) && (v.key.State == StateEnabled || v.key.State == StateDisabled) {
		return StatePendingImport
	}
	return v.key.State
}

// chooseOrigin decides where the material of a new key comes from.
func (r *Region) chooseOrigin(origin, name string) (string, error) {
	spec, _ := keyspec.Lookup(name) // it is one of the enumeration
	switch {
	case origin == "" || origin == OriginAWSKMS:
		return OriginAWSKMS, nil
	case origin != OriginExternal:
		return "", Errorf(CodeUnsupportedOperation, "Origin %s is not supported by this version of Antipode.", origin)
	case !spec.Wrapped(r.caps):
		return "", Errorf(CodeUnsupportedOperation, "Key material of key spec %s can't be imported in Region %s: its token cannot wrap %s keys.",
			name, r.cfg.Name, spec.KeyType)
	}
	return origin, nil
}

// newImportedKey completes a new key whose material is to be imported. Its owner has the material anyway, so it is kept
// wrapped also where the Region keeps its own keys' on the token.
func newImportedKey(k Key) Key {
	k.State, k.Storage = StatePendingImport, keyring.StorageWrapped
	return k
}

// expiration is what DescribeKey says, if the current material is there: when the first of the materials goes that the key
// is bound to.
func (v *view) expiration() (model string, validTo awstime.Timestamp) {
	_, known := v.imported[v.key.Current]
	if _, there := v.materials[v.key.Current]; !known || !there {
		return "", validTo
	}
	if v.firstExpiry == 0 {
		return materialStays, validTo
	}
	return materialExpires, awstime.FromMillis(v.firstExpiry)
}
