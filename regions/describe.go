package regions

import (
	"context"
	"encoding/base64"

	"antipode/regions/awstime"
	"antipode/regions/keyspec"
)

// KeyMetadata is AWS's structure of the same name.
type KeyMetadata struct {
	AWSAccountID                string             `json:"AWSAccountId"`
	KeyID                       string             `json:"KeyId"`
	Arn                         string             `json:"Arn"`
	CreationDate                awstime.Timestamp  `json:"CreationDate"`
	Enabled                     bool               `json:"Enabled"`
	Description                 string             `json:"Description"`
	KeyUsage                    string             `json:"KeyUsage"`
	KeyState                    KeyState           `json:"KeyState"`
	DeletionDate                awstime.Timestamp  `json:"DeletionDate,omitzero"`
	Origin                      string             `json:"Origin"`
	KeyManager                  string             `json:"KeyManager"`
	CustomerMasterKeySpec       string             `json:"CustomerMasterKeySpec"`
	KeySpec                     string             `json:"KeySpec"`
	EncryptionAlgorithms        []string           `json:"EncryptionAlgorithms,omitempty"`
	SigningAlgorithms           []string           `json:"SigningAlgorithms,omitempty"`
	MacAlgorithms               []string           `json:"MacAlgorithms,omitempty"`
	KeyAgreementAlgorithms      []string           `json:"KeyAgreementAlgorithms,omitempty"`
	MultiRegion                 bool               `json:"MultiRegion"`
	MultiRegionConfiguration    *MultiRegionConfig `json:"MultiRegionConfiguration,omitempty"`
	PendingDeletionWindowInDays int                `json:"PendingDeletionWindowInDays,omitzero"`
	CurrentKeyMaterialID        string             `json:"CurrentKeyMaterialId,omitzero"`
	ExpirationModel             string             `json:"ExpirationModel,omitzero"`
	ValidTo                     awstime.Timestamp  `json:"ValidTo,omitzero"`
}

// MultiRegionConfig is AWS's MultiRegionConfiguration.
type MultiRegionConfig struct {
	MultiRegionKeyType string           `json:"MultiRegionKeyType"` // PRIMARY or REPLICA
	PrimaryKey         MultiRegionKey   `json:"PrimaryKey"`
	ReplicaKeys        []MultiRegionKey `json:"ReplicaKeys"`
}

// MultiRegionKey names one of a set of related multi-Region keys.
type MultiRegionKey struct {
	Arn    string `json:"Arn"`
	Region string `json:"Region"`
}

// DescribeKeyInput is the request of DescribeKey.
type DescribeKeyInput struct {
	KeyID       string   `json:"KeyId"`
	GrantTokens []string `json:"GrantTokens"`
}

// DescribeKeyOutput is the answer of DescribeKey.
type DescribeKeyOutput struct {
	KeyMetadata KeyMetadata `json:"KeyMetadata"`
}

func (in *DescribeKeyInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	return validateGrantTokens(in.GrantTokens)
}

func describeKey(ctx context.Context, r *Region, c *Call, in *DescribeKeyInput) (*DescribeKeyOutput, error) {
	c.param("keyId", in.KeyID)
	v, err := r.find(ctx, c, in.KeyID, true)
	if err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	return &DescribeKeyOutput{KeyMetadata: r.metadata(v)}, nil
}

func (r *Region) metadata(v *view) KeyMetadata {
	k, state := v.key, r.stateOf(v)
	m := KeyMetadata{
		AWSAccountID: k.Account, KeyID: k.KeyID, Arn: v.arn, CreationDate: awstime.FromMillis(k.Created),
		Enabled: state == StateEnabled || state == StateUpdating, Description: k.Description,
		KeyUsage: k.Usage, KeyState: state, Origin: k.Origin, KeyManager: "CUSTOMER",
		CustomerMasterKeySpec: k.Spec, KeySpec: k.Spec, MultiRegion: k.MultiRegion != nil,
		CurrentKeyMaterialID: shownMaterial(&k),
	}
	switch names := v.spec.NamesOn(r.caps, k.Usage); k.Usage {
	case keyspec.EncryptDecrypt:
		m.EncryptionAlgorithms = names
	case keyspec.SignVerify:
		m.SigningAlgorithms = names
	case keyspec.GenerateVerifyMAC:
		m.MacAlgorithms = names
	case keyspec.KeyAgreement:
		m.KeyAgreementAlgorithms = names
	}
	m.ExpirationModel, m.ValidTo = v.expiration()
	switch k.State {
	case StatePendingDeletion:
		m.DeletionDate = awstime.FromMillis(k.DeletionDate)
	case StatePendingReplicaDeletion:
		m.PendingDeletionWindowInDays = int(k.PendingDays)
	case StateEnabled, StateDisabled, StatePendingImport, StateCreating, StateUpdating, StateUnavailable:
	}
	if k.MultiRegion != nil {
		m.MultiRegionConfiguration = r.multiRegionConfig(v)
	}
	return m
}

func (r *Region) multiRegionConfig(v *view) *MultiRegionConfig {
	related := func(region string) MultiRegionKey {
		place := r.place(v.key.Account)
		place.Region = region
		return MultiRegionKey{Arn: place.Key(v.key.KeyID), Region: region}
	}
	if v.shared == nil {
		return &MultiRegionConfig{
			MultiRegionKeyType: r.multiRegionKeyType(v), PrimaryKey: related(v.key.MultiRegion.Source),
			ReplicaKeys: []MultiRegionKey{related(r.cfg.Name)},
		}
	}
	out := &MultiRegionConfig{
		MultiRegionKeyType: r.multiRegionKeyType(v), PrimaryKey: related(v.shared.Primary), ReplicaKeys: []MultiRegionKey{},
	}
	for _, m := range v.shared.Members {
		if m.Region != v.shared.Primary {
			out.ReplicaKeys = append(out.ReplicaKeys, related(m.Region))
		}
	}
	return out
}

// multiRegionKeyType is PRIMARY or REPLICA, "" for a single-Region key.
func (r *Region) multiRegionKeyType(v *view) string {
	switch {
	case v.key.MultiRegion == nil:
		return ""
	case v.shared != nil && v.shared.Primary == r.cfg.Name:
		return keyTypePrimary
	default:
		return keyTypeReplica
	}
}

const (
	keyTypePrimary = "PRIMARY"
	keyTypeReplica = "REPLICA"
)

// ListKeysInput is the request of ListKeys.
type ListKeysInput struct {
	Limit  *int   `json:"Limit"`
	Marker string `json:"Marker"`
}

// ListKeysOutput is the answer of ListKeys.
type ListKeysOutput struct {
	Keys       []KeyListEntry `json:"Keys"`
	NextMarker string         `json:"NextMarker,omitzero"`
	Truncated  bool           `json:"Truncated"`
}

// KeyListEntry names one key.
type KeyListEntry struct {
	KeyArn string `json:"KeyArn"`
	KeyID  string `json:"KeyId"`
}

func (in *ListKeysInput) validate() error { return validatePage(in.Limit, 1000, in.Marker) }

func listKeys(ctx context.Context, r *Region, c *Call, in *ListKeysInput) (*ListKeysOutput, error) {
	if err := r.admitAccount(ctx, c); err != nil {
		return nil, err
	}
	after, err := decodeMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	limit := limitOr(in.Limit, 100)
	q := Query{Kind: KindKey, Account: c.caller.Account, Limit: limit + 1}
	if after != "" {
		q.After = RecordKey{Kind: KindKey, Account: c.caller.Account, ID: after}
	}
	var keys []Key
	err = r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		keys, err = List[Key](ctx, rd, r.ring, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &ListKeysOutput{Keys: []KeyListEntry{}}
	if len(keys) > limit {
		keys, out.Truncated = keys[:limit], true
		out.NextMarker = encodeMarker(keys[limit-1].KeyID)
	}
	for _, k := range keys {
		out.Keys = append(out.Keys, KeyListEntry{KeyArn: r.KeyARN(k.Account, k.KeyID), KeyID: k.KeyID})
	}
	return out, nil
}

// Markers are opaque to clients: the base64 of the name after which the next page starts.
func encodeMarker(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

func decodeMarker(marker string) (string, error) {
	if marker == "" {
		return "", nil
	}
	name, err := base64.RawURLEncoding.DecodeString(marker)
	if err != nil || len(name) == 0 {
		return "", Errorf(CodeInvalidMarker, "Could not deserialize marker")
	}
	return string(name), nil
}

func validatePage(limit *int, most int, marker string) error {
	if limit != nil {
		if err := checkRange(*limit, "limit", 1, most); err != nil {
			return err
		}
	}
	return checkLength(marker, "marker", len(marker), 0, 1024)
}

func limitOr(limit *int, otherwise int) int {
	if limit == nil {
		return otherwise
	}
	return *limit
}

// validateKeyID checks what AWS checks of a KeyId parameter before it looks for the key.
func validateKeyID(id, field string) error {
	if id == "" {
		return missing(field)
	}
	return checkLength(id, field, len(id), 1, 2048)
}

// validateGrantTokens checks AWS's limits. There are no grants yet, so the tokens themselves mean nothing.
func validateGrantTokens(tokens []string) error {
	const shown = "[...]" // they grant power
	if err := checkLength(shown, "grantTokens", len(tokens), 0, 10); err != nil {
		return err
	}
	for _, t := range tokens {
		if err := checkLength(shown, "grantTokens", len(t), 1, 8192); err != nil {
			return err
		}
	}
	return nil
}
