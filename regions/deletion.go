package regions

import (
	"context"
	"time"

	"antipode/regions/awstime"
)

const day = 24 * time.Hour

// ScheduleKeyDeletionInput is the request of ScheduleKeyDeletion.
type ScheduleKeyDeletionInput struct {
	KeyID               string `json:"KeyId"`
	PendingWindowInDays *int   `json:"PendingWindowInDays"` // 7 to 30, default 30
}

// ScheduleKeyDeletionOutput is the answer of ScheduleKeyDeletion.
type ScheduleKeyDeletionOutput struct {
	KeyID               string            `json:"KeyId"` // ARN
	DeletionDate        awstime.Timestamp `json:"DeletionDate,omitzero"`
	KeyState            KeyState          `json:"KeyState"`
	PendingWindowInDays int               `json:"PendingWindowInDays"`
}

func (in *ScheduleKeyDeletionInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	if in.PendingWindowInDays == nil {
		return nil
	}
	return checkRange(*in.PendingWindowInDays, "pendingWindowInDays", 7, 30)
}

func scheduleKeyDeletion(ctx context.Context, r *Region, c *Call, in *ScheduleKeyDeletionInput) (*ScheduleKeyDeletionOutput, error) {
	window := limitOr(in.PendingWindowInDays, 30)
	c.param("keyId", in.KeyID)
	c.param("pendingWindowInDays", window)
	c.request.Context.PendingWindowInDays = window
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	if r.Recovering() && v.key.MultiRegion != nil {
		// Its list of replicas may be short, and a primary must wait for all of them.
		return nil, errRecovering(r.cfg.Name)
	}
	k, err := r.changeKey(ctx, c, v, func(k *Key) error {
		k.PendingDays = uint8(window) //nolint:gosec // 7 to 30
		if r.waitsForReplicas(*k) {
			k.State, k.DeletionDate = StatePendingReplicaDeletion, 0
			return nil
		}
		r.startWindow(k)
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := &ScheduleKeyDeletionOutput{KeyID: v.arn, KeyState: k.State, PendingWindowInDays: window}
	if k.State == StatePendingDeletion {
		out.DeletionDate = awstime.FromMillis(k.DeletionDate)
		c.response("deletionDate", r.eventTime(k.DeletionDate))
	}
	c.response("keyState", string(k.State))
	return out, nil
}

// startWindow begins the waiting period of PendingDays at whose end the key is deleted.
func (r *Region) startWindow(k *Key) {
	k.State, k.DeletionDate = StatePendingDeletion, r.Now().Add(time.Duration(k.PendingDays)*day).UnixMilli()
}

// waitsForReplicas reports whether the key is a primary that any replica, in whatever state, still depends on.
func (r *Region) waitsForReplicas(k Key) bool {
	return k.MultiRegion != nil && k.MultiRegion.State != nil && k.MultiRegion.State.Primary == r.cfg.Name &&
		len(k.MultiRegion.State.Members) > 1
}

// CancelKeyDeletionOutput is the answer of CancelKeyDeletion.
type CancelKeyDeletionOutput struct {
	KeyID string `json:"KeyId"` // ARN
}

func cancelKeyDeletion(ctx context.Context, r *Region, c *Call, in *KeyInput) (*CancelKeyDeletionOutput, error) {
	c.param("keyId", in.KeyID)
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	_, err = r.changeKey(ctx, c, v, func(k *Key) error {
		k.State, k.DeletionDate, k.PendingDays = StateDisabled, 0, 0
		if k.MultiRegion != nil && k.MultiRegion.State == nil {
			k.State = StateCreating // its material has not come yet
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &CancelKeyDeletionOutput{KeyID: v.arn}, nil
}
