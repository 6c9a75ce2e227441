package regions

import (
	"context"
	"errors"
	"unicode/utf8"

	"antipode/regions/awstime"
	"antipode/regions/keyring"
	"antipode/regions/keyset"
)

// ImportKeyMaterialInput is the request of ImportKeyMaterial.
type ImportKeyMaterialInput struct {
	KeyID                  string            `json:"KeyId"`
	ImportToken            []byte            `json:"ImportToken"`
	EncryptedKeyMaterial   []byte            `json:"EncryptedKeyMaterial"`
	ValidTo                awstime.Timestamp `json:"ValidTo"`
	ExpirationModel        string            `json:"ExpirationModel"` // KEY_MATERIAL_EXPIRES by default
	ImportType             string            `json:"ImportType"`
	KeyMaterialDescription *string           `json:"KeyMaterialDescription"` // up to 256 characters
	KeyMaterialID          string            `json:"KeyMaterialId"`
}

// ImportKeyMaterialOutput is the answer of ImportKeyMaterial.
type ImportKeyMaterialOutput struct {
	KeyID         string `json:"KeyId"`                  // ARN
	KeyMaterialID string `json:"KeyMaterialId,omitzero"` // of a symmetric key
}

// What ImportType may be.
const (
	importNew      = "NEW_KEY_MATERIAL"
	importExisting = "EXISTING_KEY_MATERIAL"
)

// longestValidity is how far ahead ValidTo may be.
const longestValidity = 365 * day

// maxImportBlob is AWS's limit for import tokens and wrapped key material.
const maxImportBlob = 6144

func (in *ImportKeyMaterialInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	for _, blob := range []struct {
		value []byte
		field string
	}{{in.ImportToken, "importToken"}, {in.EncryptedKeyMaterial, "encryptedKeyMaterial"}} {
		if blob.value == nil {
			return missing(blob.field)
		}
		if err := checkLength(hidden, blob.field, len(blob.value), 1, maxImportBlob); err != nil {
			return err
		}
	}
	switch in.ExpirationModel {
	case "", materialExpires, materialStays:
	default:
		return invalidEnum(in.ExpirationModel, "expirationModel", materialStays, materialExpires)
	}
	switch in.ImportType {
	case "", importNew, importExisting:
	default:
		return invalidEnum(in.ImportType, "importType", importExisting, importNew)
	}
	if d := in.KeyMaterialDescription; d != nil {
		if err := checkLength(*d, "keyMaterialDescription", utf8.RuneCountInString(*d), 0, 256); err != nil {
			return err
		}
	}
	if err := validateMaterialID(in.KeyMaterialID); err != nil {
		return err
	}
	switch {
	case in.KeyMaterialID != "" && in.ImportType == importNew:
		return Errorf(CodeValidation, "KeyMaterialId cannot be specified when ImportType is NEW_KEY_MATERIAL.")
	case in.model() == materialExpires && in.ValidTo.IsZero():
		return Errorf(CodeValidation, "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES")
	case in.model() == materialStays && !in.ValidTo.IsZero():
		return Errorf(CodeValidation, "A validTo date cannot be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE")
	}
	return nil
}

// validateMaterialID checks a KeyMaterialId, which may be left out.
func validateMaterialID(id string) error {
	if id == "" || keyset.ValidMaterialID(id) {
		return nil
	}
	return invalid(id, "keyMaterialId", "Member must satisfy regular expression pattern: ^[a-f0-9]{64}$")
}

func (in *ImportKeyMaterialInput) model() string {
	if in.ExpirationModel == "" {
		return materialExpires
	}
	return in.ExpirationModel
}

// fits refuses what AWS has for symmetric keys only.
func (in *ImportKeyMaterialInput) fits(k Key) error {
	if k.Spec != SpecSymmetricDefault && (in.ImportType != "" || in.KeyMaterialDescription != nil || in.KeyMaterialID != "") {
		return Errorf(CodeValidation, "ImportType, KeyMaterialDescription and KeyMaterialId can only be specified for symmetric encryption keys.")
	}
	return nil
}

// checkValidTo: the date is in the future, and not too far, by the Region's clock.
func (r *Region) checkValidTo(in *ImportKeyMaterialInput) error {
	if in.ValidTo.IsZero() {
		return nil
	}
	ahead := in.ValidTo.Time().Sub(r.Now())
	switch {
	case ahead <= 0:
		return Errorf(CodeValidation, "The validTo date must be in the future.")
	case ahead > longestValidity:
		return Errorf(CodeValidation, "The validTo date must be no more than 365 days in the future.")
	}
	return nil
}

func importKeyMaterial(ctx context.Context, r *Region, c *Call, in *ImportKeyMaterialInput) (*ImportKeyMaterialOutput, error) {
	c.param("keyId", in.KeyID)
	c.param("expirationModel", in.model())
	c.request.Context.ExpirationModel = in.model()
	if !in.ValidTo.IsZero() {
		c.param("validTo", r.eventTime(in.ValidTo.Millis()))
		c.request.Context.ValidTo = in.ValidTo.Time()
	}
	if in.ImportType != "" {
		c.param("importType", in.ImportType)
	}
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if err := r.admitImported(ctx, c, v); err != nil {
		return nil, err
	}
	if err := r.checkValidTo(in); err != nil {
		return nil, err
	}
	if err := in.fits(v.key); err != nil {
		return nil, err
	}
	p, err := r.openImportToken(ctx, v.key, in.ImportToken)
	if err != nil {
		return nil, err
	}
	if err := r.proceed(ctx, c); err != nil {
		return nil, err
	}
	k := v.key
	m := keyring.Material{
		Account: k.Account, KeyID: k.KeyID, Spec: k.Spec, Usage: k.Usage, Origin: k.Origin, Created: r.Now().UnixMilli(),
	}
	m, err = r.ring.Import(ctx, p.Pair, p.Algorithm, in.EncryptedKeyMaterial, m, func(id string) error {
		_, err := r.admitMaterial(in, v.key, v.imported, id)
		return err
	})
	if err != nil {
		return nil, importError(err)
	}
	if err := r.commitImport(ctx, c, v, in, m); err != nil {
		return nil, err
	}
	c.response("keyId", v.arn)
	c.response("keyMaterialId", m.ID)
	if v.key.Spec != SpecSymmetricDefault {
		return &ImportKeyMaterialOutput{KeyID: v.arn}, nil
	}
	return &ImportKeyMaterialOutput{KeyID: v.arn, KeyMaterialID: m.ID}, nil
}

// importError is what a caller may see of what the key ring refuses.
func importError(err error) error {
	switch {
	case errors.Is(err, keyring.ErrNotOpened):
		return &Error{Code: CodeInvalidCiphertext}
	case errors.Is(err, keyring.ErrMaterialLength):
		return Errorf(CodeIncorrectKeyMaterial, "The key material is not of the length that the key spec of the KMS key requires.")
	}
	return err
}

// admitMaterial decides whether material with this id may be imported into a key, and whether it waits for a rotation there.
func (r *Region) admitMaterial(in *ImportKeyMaterialInput, k Key, imported map[string]ImportedMaterial, id string) (pending bool, err error) {
	kind, first := in.ImportType, len(k.history()) == 0
	if kind == "" && first {
		kind = importNew
	}
	switch {
	case in.KeyMaterialID != "" && in.KeyMaterialID != id:
		return false, Errorf(CodeIncorrectKeyMaterial, "The key material is not the one with the id %s.", in.KeyMaterialID)
	case kind == importNew && first:
		return false, nil
	case kind == importNew:
		return true, r.admitNext(k, imported, id)
	case imported[id].Pending:
		return true, nil
	case !k.bound(id):
		return false, Errorf(CodeIncorrectKeyMaterial, "The key material is not the same key material that was previously imported into "+
			"this KMS key.")
	}
	return false, nil
}

// commitImport puts imported material in its place. What was decided on the view is decided again on the key as it is
// then.
func (r *Region) commitImport(ctx context.Context, c *Call, v *view, in *ImportKeyMaterialInput, m keyring.Material) error {
	return r.Update(ctx, func(tx Tx) error {
		k, err := Get[Key](ctx, tx, r.ring, v.key.RecordKey())
		if err != nil {
			return err
		}
		if err := checkState(c.op.Name, k.State, v.arn); err != nil {
			return err
		}
		imported, err := r.importedOf(ctx, tx, k)
		if err != nil {
			return err
		}
		pending, err := r.admitMaterial(in, k, imported, m.ID)
		if err != nil {
			return err
		}
		now := ImportedMaterial{
			Account: k.Account, KeyID: k.KeyID, ID: m.ID, Updated: m.Created, Expires: in.ValidTo.Millis(),
			Description: imported[m.ID].Description, Pending: pending,
		}
		if in.KeyMaterialDescription != nil {
			now.Description = *in.KeyMaterialDescription
		}
		if err := r.PutMaterials(ctx, tx, m); err != nil {
			return err
		}
		if err := Put(ctx, tx, r.ring, now); err != nil {
			return err
		}
		return r.putWithMaterial(ctx, tx, k, m.ID)
	})
}

// putWithMaterial writes a key that was given material: it encrypts with the first, and is Enabled when none is missing.
func (r *Region) putWithMaterial(ctx context.Context, tx Tx, k Key, id string) error {
	materials, err := List[MaterialRecord](ctx, tx, r.ring, Query{Kind: KindMaterial, Account: k.Account, ID: k.KeyID})
	if err != nil {
		return err
	}
	if len(k.history()) == 0 && k.MultiRegion != nil {
		return r.shareFirst(ctx, tx, k, id)
	}
	if k.Current == "" {
		k.Current = id
	}
	if k.State == StatePendingImport && k.isComplete(presentIn(materials)) {
		k.State = StateEnabled
	}
	return Put(ctx, tx, r.ring, k)
}

// shareFirst binds a multi-Region key to its first material, in all of its Regions: the primary's import says which it is.
func (r *Region) shareFirst(ctx context.Context, tx Tx, k Key, id string) error {
	_, err := r.ChangeShared(ctx, tx, k.Account, k.KeyID, func(k *Key, s *keyset.State) error {
		s.Materials = append(s.Materials, keyset.Material{ID: id, Status: keyset.Current, Created: r.Now().UnixMilli()})
		k.Current = id
		if k.State == StatePendingImport {
			k.State = StateEnabled
		}
		return nil
	})
	if errors.Is(err, ErrRecovering) {
		return errRecovering(r.cfg.Name)
	}
	return err
}
