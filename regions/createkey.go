package regions

import (
	"context"
	"encoding/hex"
	"slices"
	"unicode/utf8"

	"github.com/google/uuid"

	"antipode/hsmbackend"
	"antipode/regions/keyring"
	"antipode/regions/keyspec"
	"antipode/regions/policy"
)

// CreateKeyInput is the request of CreateKey.
type CreateKeyInput struct {
	Policy                         string `json:"Policy"`
	Description                    string `json:"Description"` // up to 8192 characters
	KeyUsage                       string `json:"KeyUsage"`
	CustomerMasterKeySpec          string `json:"CustomerMasterKeySpec"`
	KeySpec                        string `json:"KeySpec"`
	Origin                         string `json:"Origin"`
	CustomKeyStoreID               string `json:"CustomKeyStoreId"`
	XksKeyID                       string `json:"XksKeyId"`
	BypassPolicyLockoutSafetyCheck bool   `json:"BypassPolicyLockoutSafetyCheck"`
	Tags                           []Tag  `json:"Tags"` // up to 50
	MultiRegion                    bool   `json:"MultiRegion"`
}

// CreateKeyOutput is the answer of CreateKey.
type CreateKeyOutput struct {
	KeyMetadata KeyMetadata `json:"KeyMetadata"`
}

var (
	keyUsages = []string{
		keyspec.SignVerify, keyspec.EncryptDecrypt, keyspec.GenerateVerifyMAC, keyspec.KeyAgreement, keyspec.EncapsulateDecapsulate,
	}
	origins = []string{OriginAWSKMS, OriginExternal, "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"}
)

func (in *CreateKeyInput) validate() error {
	for _, e := range []struct {
		value, field string
		allowed      []string
	}{
		{in.KeySpec, "keySpec", keyspec.Names()},
		{in.CustomerMasterKeySpec, "customerMasterKeySpec", keyspec.Names()},
		{in.KeyUsage, "keyUsage", keyUsages},
		{in.Origin, "origin", origins},
	} {
		if e.value != "" && !slices.Contains(e.allowed, e.value) {
			return invalidEnum(e.value, e.field, e.allowed...)
		}
	}
	if in.KeySpec != "" && in.CustomerMasterKeySpec != "" && in.KeySpec != in.CustomerMasterKeySpec {
		return Errorf(CodeValidation, "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
	}
	if err := validateDescription(in.Description); err != nil {
		return err
	}
	return validateTags(in.Tags)
}

func (in *CreateKeyInput) spec() string {
	switch {
	case in.KeySpec != "":
		return in.KeySpec
	case in.CustomerMasterKeySpec != "":
		return in.CustomerMasterKeySpec
	}
	return SpecSymmetricDefault
}

func validateDescription(d string) error {
	return checkLength(d, "description", utf8.RuneCountInString(d), 0, 8192)
}

// validateTags checks AWS's rules for tags: up to 50, keys of 1 to 128 characters that are unique and not AWS's own,
// values of up to 256 characters.
func validateTags(tags []Tag) error {
	if len(tags) > maxTags {
		return Errorf(CodeTag, "Too many tags")
	}
	seen := map[string]bool{}
	for _, t := range tags {
		if err := checkLength(t.TagKey, "tags.tagKey", utf8.RuneCountInString(t.TagKey), 1, 128); err != nil {
			return err
		}
		if err := checkLength(t.TagValue, "tags.tagValue", utf8.RuneCountInString(t.TagValue), 0, 256); err != nil {
			return err
		}
		if len(t.TagKey) >= 4 && t.TagKey[:4] == "aws:" {
			return Errorf(CodeTag, "aws: prefixed tag key names are not allowed for external use.")
		}
		if seen[t.TagKey] {
			return Errorf(CodeTag, "Duplicate tag keys")
		}
		seen[t.TagKey] = true
	}
	return nil
}

// chooseKind checks that there can be keys of this spec and usage here, and says where their material is kept.
func (r *Region) chooseKind(name, usage string, multiRegion bool) (string, keyring.Storage, error) {
	spec, _ := keyspec.Lookup(name) // it is one of the enumeration
	switch {
	case usage == "" && name != SpecSymmetricDefault:
		return "", "", Errorf(CodeValidation, "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
	case usage == "":
		usage = UsageEncryptDecrypt
	case !spec.Has(usage):
		return "", "", Errorf(CodeValidation, "KeyUsage %s is not compatible with KeySpec %s", usage, name)
	}
	if missing := spec.Missing(r.caps, usage); missing != "" {
		return "", "", Errorf(CodeUnsupportedOperation, "KeySpec %s with KeyUsage %s is not supported in Region %s: its token lacks %s.",
			name, usage, r.cfg.Name, missing)
	}
	if !spec.Built() {
		return "", "", Errorf(CodeUnsupportedOperation, "KeySpec %s is not supported by this version of Antipode.", name)
	}
	switch {
	case spec.Wrapped(r.caps) && multiRegion:
		return usage, keyring.StorageWrapped, nil
	case spec.Wrapped(r.caps):
		return usage, r.cfg.Storage, nil
	case multiRegion:
		return "", "", Errorf(CodeUnsupportedOperation, "KeySpec %s cannot be multi-Region in Region %s: its token cannot wrap %s keys, "+
			"so their material can never leave it.", name, r.cfg.Name, spec.KeyType)
	}
	return usage, keyring.StorageToken, nil
}

func createKey(ctx context.Context, r *Region, c *Call, in *CreateKeyInput) (*CreateKeyOutput, error) {
	spec := in.spec()
	c.param("keySpec", spec)
	c.param("multiRegion", in.MultiRegion)
	c.param("description", in.Description)
	if in.CustomKeyStoreID != "" || in.XksKeyID != "" {
		return nil, Errorf(CodeUnsupportedOperation, "Custom key stores are not supported: this Region's keys are on its own HSM.")
	}
	usage, storage, err := r.chooseKind(spec, in.KeyUsage, in.MultiRegion)
	if err != nil {
		return nil, err
	}
	origin, err := r.chooseOrigin(in.Origin, spec)
	if err != nil {
		return nil, err
	}
	c.param("origin", origin)
	account := c.caller.Account
	a := &c.request.Context
	a.KeySpec, a.KeyUsage, a.KeyOrigin, a.MultiRegion = spec, usage, origin, policy.BoolOf(in.MultiRegion)
	if in.MultiRegion {
		a.MultiRegionKeyType = keyTypePrimary
	}
	a.RequestTags, a.BypassLockoutCheck = policyTags(in.Tags), policy.BoolOf(in.BypassPolicyLockoutSafetyCheck)
	actions := []string{c.op.Action}
	if len(in.Tags) > 0 {
		actions = append(actions, actionTagResource)
	}
	for _, action := range actions {
		if err := r.allowOn(c, action, "*"); err != nil {
			return nil, err
		}
	}
	if err := r.answered(ctx, c); err != nil {
		return nil, err
	}
	document, err := r.checkPolicy(ctx, in.Policy, account)
	if err != nil {
		return nil, err
	}
	// Before the token makes anything; the commit checks it again.
	err = r.cfg.Store.View(ctx, func(rd Reader) error { return r.checkQuota(ctx, rd, account, 1) })
	if err != nil {
		return nil, err
	}
	id, err := r.newKeyID(ctx, in.MultiRegion)
	if err != nil {
		return nil, err
	}
	if err := keepsControl(c, document, r.KeyARN(account, id), account, in.BypassPolicyLockoutSafetyCheck); err != nil {
		return nil, err
	}
	if err := r.proceed(ctx, c); err != nil {
		return nil, err
	}
	now := r.Now().UnixMilli()
	k := Key{
		Account: account, KeyID: id, Spec: spec, Usage: usage, Origin: origin,
		Description: in.Description, State: StateEnabled, Created: now, Tags: in.Tags, Storage: storage,
	}
	if origin == OriginExternal {
		k = newImportedKey(k)
	}
	c.resource(r.KeyARN(account, id), account)
	out, err := r.makeKey(ctx, c, k, document, in.MultiRegion)
	if err != nil {
		return nil, err
	}
	c.response("keyId", out.KeyMetadata.KeyID)
	return out, nil
}

// newKeyID makes a key id from the token's random numbers: "mrk-" and 32 hex digits, or a UUID.
func (r *Region) newKeyID(ctx context.Context, multiRegion bool) (string, error) {
	raw, err := r.cfg.Token.Random(ctx, 16)
	if err != nil {
		return "", err
	}
	if multiRegion {
		return "mrk-" + hex.EncodeToString(raw), nil
	}
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80 // RFC 9562 version 4
	return uuid.UUID(raw).String(), nil
}

// makeKey makes the material of a new key, unless it is to be imported, and commits all its records at once.
func (r *Region) makeKey(ctx context.Context, c *Call, k Key, document string, multiRegion bool) (*CreateKeyOutput, error) {
	if k.Origin == OriginExternal {
		if multiRegion {
			mr, err := r.newKeySet(ctx, k)
			if err != nil {
				return nil, err
			}
			k.MultiRegion = mr
		}
		out := r.newKeyAnswer(k)
		return out, r.Update(ctx, func(tx Tx) error {
			if err := r.putNew(ctx, tx, k, document); err != nil {
				return err
			}
			return r.putOnce(ctx, tx, c, out)
		})
	}
	m, err := r.makeMaterial(ctx, k, k.Created)
	if err != nil {
		return nil, err
	}
	k.Current = m.ID
	if multiRegion {
		if k.MultiRegion, err = r.newKeySet(ctx, k, m); err != nil {
			return nil, err
		}
	}
	out := r.newKeyAnswer(k)
	err = r.Update(ctx, func(tx Tx) error {
		if err := r.putNew(ctx, tx, k, document, m); err != nil {
			return err
		}
		if err := r.putOnce(ctx, tx, c, out); err != nil {
			return err
		}
		return tx.Delete(ctx, TokenKey{Account: k.Account, KeyID: k.KeyID}.RecordKey())
	})
	if err != nil {
		r.abandon(ctx, k, m)
		return nil, err
	}
	return out, nil
}

// newKeyAnswer is the answer of CreateKey.
func (r *Region) newKeyAnswer(k Key) *CreateKeyOutput {
	made := view{key: k, arn: r.KeyARN(k.Account, k.KeyID)}
	made.spec, _ = keyspec.Lookup(k.Spec)
	if k.MultiRegion != nil {
		made.shared = k.MultiRegion.State
	}
	return &CreateKeyOutput{KeyMetadata: r.metadata(&made)}
}

// makeMaterial makes new material for a key on the token. If that fails nothing of it stays.
func (r *Region) makeMaterial(ctx context.Context, k Key, created int64) (m keyring.Material, err error) {
	m = keyring.Material{Account: k.Account, KeyID: k.KeyID, Spec: k.Spec, Usage: k.Usage, Origin: k.Origin, Created: created}
	if k.Storage == keyring.StorageToken {
		m, err = r.makeTokenKey(ctx, m)
	} else {
		m, err = r.ring.Generate(ctx, m)
	}
	if err != nil && m.Object != (hsmbackend.ID{}) {
		r.abandon(ctx, k, m)
	}
	return m, err
}

// abandon takes from the token what was made and could not be committed. A commit that reported an error may
// have happened all the same, so an object on the token goes only if the store says that no key has it; what
// can't be settled now is settled when the Region opens again.
func (r *Region) abandon(ctx context.Context, k Key, m keyring.Material) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	err := r.ring.Evict(ctx, m.ID)
	if k.Storage == keyring.StorageToken && err == nil {
		err = r.settleTokenKey(ctx, TokenKey{Account: k.Account, KeyID: k.KeyID, Object: m.Object})
	}
	if err != nil {
		r.cfg.Log.Error().Err(err).Str("key", k.KeyID).Msg("material that was not committed leaves something on the token")
	}
}

// putNew writes the records of a key that is not there yet, if the account's quota allows another one.
func (r *Region) putNew(ctx context.Context, tx Tx, k Key, document string, materials ...keyring.Material) error {
	if err := r.checkQuota(ctx, tx, k.Account, 1); err != nil {
		return err
	}
	for _, b := range []Body{k, PolicyRecord{Account: k.Account, KeyID: k.KeyID, Document: document}} {
		if err := Put(ctx, tx, r.ring, b); err != nil {
			return err
		}
	}
	return r.PutMaterials(ctx, tx, materials...)
}

// makeTokenKey makes material that stays on the token. Its object's name is in the store before the object is made.
func (r *Region) makeTokenKey(ctx context.Context, m keyring.Material) (keyring.Material, error) {
	raw, err := r.cfg.Token.Random(ctx, 16)
	if err != nil {
		return m, err
	}
	copy(m.Object[:], raw)
	err = r.Update(ctx, func(tx Tx) error {
		return Put(ctx, tx, r.ring, TokenKey{Account: m.Account, KeyID: m.KeyID, Object: m.Object})
	})
	if err != nil {
		return m, err
	}
	return r.ring.GenerateOnToken(ctx, m)
}
