package regions

import (
	"context"
	"slices"
	"time"

	"antipode/regions/awstime"
	"antipode/regions/keyset"
)

// EnableKeyRotationInput is the request of EnableKeyRotation.
type EnableKeyRotationInput struct {
	KeyID                string `json:"KeyId"`
	RotationPeriodInDays *int   `json:"RotationPeriodInDays"` // 90 to 2560, default 365
}

func (in *EnableKeyRotationInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	if in.RotationPeriodInDays == nil {
		return nil
	}
	return checkRange(*in.RotationPeriodInDays, "rotationPeriodInDays", minRotationDays, maxRotationDays)
}

// enableKeyRotation begins a period, unless the key is rotated in such periods already.
func enableKeyRotation(ctx context.Context, r *Region, c *Call, in *EnableKeyRotationInput) (*struct{}, error) {
	days := limitOr(in.RotationPeriodInDays, defaultRotationDays)
	c.param("rotationPeriodInDays", days)
	c.request.Context.RotationPeriodInDays = days
	return nil, r.reschedule(ctx, c, in.KeyID, func(s *keyset.Rotation) {
		if s.Enabled && s.PeriodDays == uint64(days) { //nolint:gosec // 90 to 2560
			return
		}
		s.Enabled, s.PeriodDays = true, uint64(days) //nolint:gosec // 90 to 2560
		s.Next = r.Now().Add(time.Duration(days) * day).UnixMilli()
	})
}

func disableKeyRotation(ctx context.Context, r *Region, c *Call, in *KeyInput) (*struct{}, error) {
	return nil, r.reschedule(ctx, c, in.KeyID, func(s *keyset.Rotation) { s.Enabled, s.Next = false, 0 })
}

// reschedule changes when a key is rotated.
func (r *Region) reschedule(ctx context.Context, c *Call, keyID string, edit func(*keyset.Rotation)) error {
	c.param("keyId", keyID)
	v, err := r.find(ctx, c, keyID, false)
	if err != nil {
		return err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return err
	}
	if err := r.checkRotatesHere(c.op.Name, v.key); err != nil {
		return err
	}
	return r.Update(ctx, func(tx Tx) error {
		k, err := Get[Key](ctx, tx, r.ring, v.key.RecordKey())
		if err != nil {
			return err
		}
		if err := r.CheckState(c.op.Name, k); err != nil {
			return err
		}
		if err := r.checkRotatesHere(c.op.Name, k); err != nil {
			return err
		}
		next := k.schedule()
		edit(&next)
		if next == k.schedule() {
			return nil
		}
		return r.changeRotation(ctx, tx, k.RecordKey(), func(_ *Key, s *keyset.Rotation, _ *[]keyset.Material) error {
			*s = next
			return nil
		})
	})
}

// GetKeyRotationStatusOutput is the answer of GetKeyRotationStatus.
type GetKeyRotationStatusOutput struct {
	KeyID                string            `json:"KeyId"` // not the ARN
	KeyRotationEnabled   bool              `json:"KeyRotationEnabled"`
	NextRotationDate     awstime.Timestamp `json:"NextRotationDate,omitzero"`
	RotationPeriodInDays int               `json:"RotationPeriodInDays,omitzero"`
	// OnDemandRotationStartDate is there while a rotation on demand waits for the key's replicas.
	OnDemandRotationStartDate awstime.Timestamp `json:"OnDemandRotationStartDate,omitzero"`
}

// getKeyRotationStatus answers that a key which waits for its deletion is not rotated, as AWS does; when that is
// cancelled the schedule is as before.
func getKeyRotationStatus(ctx context.Context, r *Region, c *Call, in *KeyInput) (*GetKeyRotationStatusOutput, error) {
	c.param("keyId", in.KeyID)
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	out := &GetKeyRotationStatusOutput{KeyID: v.key.KeyID}
	// Of a key that has no rotation by its spec AWS answers that it is off: Terraform, which asks for the status of every key
	// whose origin is AWS_KMS, manages such keys.
	if v.key.Origin == OriginAWSKMS && v.key.Spec != SpecSymmetricDefault {
		return out, nil
	}
	if err := r.checkRotates(c.op.Name, v.key); err != nil {
		return nil, err
	}
	if v.key.State == StatePendingDeletion || v.key.State == StatePendingReplicaDeletion {
		return out, nil
	}
	if v.shared != nil {
		if m, pending := v.shared.Pending(); pending && m.Cause == keyset.OnDemand {
			out.OnDemandRotationStartDate = awstime.FromMillis(m.Created)
		}
	}
	if s := v.key.schedule(); s.Enabled {
		out.KeyRotationEnabled, out.RotationPeriodInDays = true, int(s.PeriodDays) //nolint:gosec // at most 2560
		out.NextRotationDate = awstime.FromMillis(s.Next)
	}
	return out, nil
}

// RotateKeyOnDemandOutput is the answer of RotateKeyOnDemand.
type RotateKeyOnDemandOutput struct {
	KeyID string `json:"KeyId"` // not the ARN
}

// rotateKeyOnDemand answers when the new material encrypts. If the key has replicas it answers when the rotation is
// durable: the material encrypts when every one of them holds it.
func rotateKeyOnDemand(ctx context.Context, r *Region, c *Call, in *KeyInput) (*RotateKeyOnDemandOutput, error) {
	c.param("keyId", in.KeyID)
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	if err := r.rotate(ctx, v.key.RecordKey(), keyset.OnDemand); err != nil {
		return nil, err
	}
	c.response("keyId", v.key.KeyID)
	return &RotateKeyOnDemandOutput{KeyID: v.key.KeyID}, nil
}

// ListKeyRotationsInput is the request of ListKeyRotations.
type ListKeyRotationsInput struct {
	KeyID              string `json:"KeyId"`
	IncludeKeyMaterial string `json:"IncludeKeyMaterial"` // ROTATIONS_ONLY, which is the default, or ALL_KEY_MATERIAL
	Limit              *int   `json:"Limit"`              // 1 to 1000, default 100
	Marker             string `json:"Marker"`
}

// ListKeyRotationsOutput is the answer of ListKeyRotations.
type ListKeyRotationsOutput struct {
	Rotations  []RotationsListEntry `json:"Rotations"` // the oldest first
	NextMarker string               `json:"NextMarker,omitzero"`
	Truncated  bool                 `json:"Truncated"`
}

// RotationsListEntry is one key material. The first one has no date and no type, and a pending one no date.
type RotationsListEntry struct {
	KeyID            string               `json:"KeyId"` // not the ARN
	KeyMaterialID    string               `json:"KeyMaterialId"`
	KeyMaterialState string               `json:"KeyMaterialState"` // CURRENT, NON_CURRENT or PENDING_ROTATION
	RotationDate     awstime.Timestamp    `json:"RotationDate,omitzero"`
	RotationType     keyset.RotationCause `json:"RotationType,omitzero"`

	// Of imported material only; model and date while it is there.
	ImportState            string            `json:"ImportState,omitzero"` // IMPORTED or PENDING_IMPORT
	KeyMaterialDescription string            `json:"KeyMaterialDescription,omitzero"`
	ExpirationModel        string            `json:"ExpirationModel,omitzero"`
	ValidTo                awstime.Timestamp `json:"ValidTo,omitzero"`
}

// What ListKeyRotations says of imported material, and of material that does not encrypt yet.
const (
	importStateThere     = "IMPORTED"
	importStateGone      = "PENDING_IMPORT"
	statePendingRotation = "PENDING_ROTATION"
)

// What ListKeyRotations may be asked to include.
const (
	includeRotations = "ROTATIONS_ONLY"
	includeAll       = "ALL_KEY_MATERIAL"
)

func (in *ListKeyRotationsInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	switch in.IncludeKeyMaterial {
	case "", includeAll, includeRotations:
	default:
		return invalidEnum(in.IncludeKeyMaterial, "includeKeyMaterial", includeAll, includeRotations)
	}
	return validatePage(in.Limit, 1000, in.Marker)
}

func listKeyRotations(ctx context.Context, r *Region, c *Call, in *ListKeyRotationsInput) (*ListKeyRotationsOutput, error) {
	c.param("keyId", in.KeyID)
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	if err := r.checkRotates(c.op.Name, v.key); err != nil {
		return nil, err
	}
	after, err := decodeMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	var list []RotationsListEntry
	for _, m := range v.key.history() {
		if e, listed := entryOf(v.key.KeyID, m); listed && (m.Cause != "" && m.Status != keyset.Pending || in.IncludeKeyMaterial == includeAll) {
			list = append(list, e)
		}
	}
	list = r.listImported(v, list, in.IncludeKeyMaterial == includeAll)
	if after != "" {
		i := slices.IndexFunc(list, func(e RotationsListEntry) bool { return e.KeyMaterialID == after })
		if i < 0 {
			return nil, Errorf(CodeInvalidMarker, "Could not deserialize marker")
		}
		list = list[i+1:]
	}
	out := &ListKeyRotationsOutput{Rotations: []RotationsListEntry{}}
	if limit := limitOr(in.Limit, 100); len(list) > limit {
		list, out.Truncated, out.NextMarker = list[:limit], true, encodeMarker(list[limit-1].KeyMaterialID)
	}
	out.Rotations = append(out.Rotations, list...)
	return out, nil
}

// entryOf lists a material, unless it was abandoned.
func entryOf(keyID string, m keyset.Material) (e RotationsListEntry, listed bool) {
	e = RotationsListEntry{KeyID: keyID, KeyMaterialID: m.ID, RotationType: m.Cause}
	switch m.Status {
	case keyset.Current:
		e.KeyMaterialState = "CURRENT"
	case keyset.NonCurrent:
		e.KeyMaterialState = "NON_CURRENT"
	case keyset.Pending:
		e.KeyMaterialState = statePendingRotation
		return e, true
	case keyset.Abandoned:
		return e, false
	}
	switch {
	case m.Rotated != 0:
		e.RotationDate = awstime.FromMillis(m.Rotated)
	case m.Cause != "":
		e.RotationDate = awstime.FromMillis(m.Created)
	}
	return e, true
}
