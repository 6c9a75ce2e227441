package regions

import (
	"context"
	"errors"

	"antipode/regions/awstime"
	"antipode/regions/keyset"
	"antipode/regions/policy"
)

// ReplicateKeyInput is the request of ReplicateKey.
type ReplicateKeyInput struct {
	KeyID                          string `json:"KeyId"`
	ReplicaRegion                  string `json:"ReplicaRegion"`
	Policy                         string `json:"Policy"`
	BypassPolicyLockoutSafetyCheck bool   `json:"BypassPolicyLockoutSafetyCheck"`
	Description                    string `json:"Description"`
	Tags                           []Tag  `json:"Tags"`
}

// ReplicateKeyOutput is the answer of ReplicateKey.
type ReplicateKeyOutput struct {
	ReplicaKeyMetadata KeyMetadata `json:"ReplicaKeyMetadata"`
	ReplicaPolicy      string      `json:"ReplicaPolicy"`
	ReplicaTags        []Tag       `json:"ReplicaTags"`
}

func (in *ReplicateKeyInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	if err := validateRegion(in.ReplicaRegion, "replicaRegion"); err != nil {
		return err
	}
	if err := validateDescription(in.Description); err != nil {
		return err
	}
	return validateTags(in.Tags)
}

func replicateKey(ctx context.Context, r *Region, c *Call, in *ReplicateKeyInput) (*ReplicateKeyOutput, error) {
	c.param("keyId", in.KeyID)
	c.param("replicaRegion", in.ReplicaRegion)
	c.param("description", in.Description)
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	c.request.Context.ReplicaRegion, c.request.Context.RequestTags = in.ReplicaRegion, policyTags(in.Tags)
	c.request.Context.BypassLockoutCheck = policy.BoolOf(in.BypassPolicyLockoutSafetyCheck)
	if err := r.allow(ctx, c, c.op.Action, v); err != nil {
		return nil, err
	}
	if err := r.mayReplicate(c, v, in.ReplicaRegion, in.Tags); err != nil {
		return nil, err
	}
	order := ReplicaOrder{
		Account: v.key.Account, KeyID: v.key.KeyID, Region: in.ReplicaRegion, Principal: c.caller.ARN,
		Description: in.Description, Tags: in.Tags, RequestID: c.caller.RequestID, Once: c.once,
	}
	if err := r.answered(ctx, c); err != nil {
		before := (*onceAnswer)(nil)
		if !errors.As(err, &before) {
			return nil, err
		}
		// The answer is made anew: it has the members of the key set as they are now.
		c.event.AdditionalEventData.Str(onceReplay, before.record.RequestID)
		if order.Policy, err = r.checkPolicy(ctx, in.Policy, v.key.Account); err != nil {
			return nil, err
		}
		return r.replicaAnswer(c, v, order, before.record.Made), nil
	}
	// A replica that is Creating is told that, as in AWS's table of key states, and not that it is no primary.
	if err := checkState(c.op.Name, r.stateOf(v), v.arn); err != nil {
		return nil, err
	}
	if v.shared == nil || v.shared.Primary != r.cfg.Name {
		// Also what a key with storage TOKEN is told: it is never a multi-Region key.
		return nil, Errorf(CodeUnsupportedOperation, "%s is not a multi-region primary key.", v.arn)
	}
	if r.Recovering() {
		return nil, errRecovering(r.cfg.Name)
	}
	if order.Policy, err = r.checkPolicy(ctx, in.Policy, v.key.Account); err != nil {
		return nil, err
	}
	// Who is Creating may be so because a restored store has lost the exchange; the Replicator knows.
	if m, member := v.shared.Member(in.ReplicaRegion); member && m.Status != keyset.Creating {
		return nil, AlreadyReplicated(v.key.KeyID, in.ReplicaRegion)
	}
	if err := r.canReach(ctx, in.ReplicaRegion, v.key.Account); err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	if err := r.replicator.Replicate(ctx, order); err != nil {
		return nil, err
	}
	if v, err = r.views.key(ctx, v.key.KeyID); err != nil {
		return nil, err
	}
	return r.replicaAnswer(c, v, order, r.Now().UnixMilli()), nil
}

// replicaAnswer is the answer of ReplicateKey, with the policy of the order.
func (r *Region) replicaAnswer(c *Call, v *view, order ReplicaOrder, created int64) *ReplicateKeyOutput {
	m := r.replicaMetadata(v, order, created)
	c.response("replicaKeyArn", m.Arn)
	tags := order.Tags
	if tags == nil {
		tags = []Tag{}
	}
	return &ReplicateKeyOutput{ReplicaKeyMetadata: m, ReplicaPolicy: order.Policy, ReplicaTags: tags}
}

// AlreadyReplicated is the answer to ReplicateKey for a Region that has the key, or is getting it.
func AlreadyReplicated(keyID, region string) *Error {
	return Errorf(CodeAlreadyExists, "The key %s already exists in %s. You can create only one replica of each primary key in each AWS Region.",
		keyID, region)
}

// canReach maps what the roster says of a destination to the errors of the API.
func (r *Region) canReach(ctx context.Context, region, account string) error {
	if r.replicator == nil {
		return Errorf(CodeUnsupportedOperation, "Region %s does not replicate keys.", r.cfg.Name)
	}
	err := r.replicator.CanReach(ctx, region, account)
	var api *Error
	if err == nil || errors.As(err, &api) {
		return err
	}
	return Errorf(CodeValidation, "The Region %s is not one that keys of Region %s can be replicated to.", region, r.cfg.Name)
}

// replicaMetadata describes a replica as ReplicateKey answers it: Creating, whatever it has become since.
func (r *Region) replicaMetadata(v *view, order ReplicaOrder, created int64) KeyMetadata {
	m := r.metadata(v)
	place := r.place(order.Account)
	place.Region = order.Region
	m.Arn, m.Description = place.Key(order.KeyID), order.Description
	m.CreationDate = awstime.FromMillis(created)
	m.KeyState, m.Enabled, m.CurrentKeyMaterialID = StateCreating, false, ""
	m.DeletionDate, m.PendingDeletionWindowInDays = awstime.Timestamp{}, 0
	if m.MultiRegionConfiguration != nil {
		m.MultiRegionConfiguration.MultiRegionKeyType = keyTypeReplica
	}
	return m
}
