package regions

import (
	"context"

	"antipode/regions/policy"
)

// RevokeGrantInput is the request of RevokeGrant.
type RevokeGrantInput struct {
	KeyID   string `json:"KeyId"`
	GrantID string `json:"GrantId"`
	DryRun  bool   `json:"DryRun"`
}

func (in *RevokeGrantInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	if in.GrantID == "" {
		return missing("grantId")
	}
	return checkGrantID(in.GrantID)
}

func revokeGrant(ctx context.Context, r *Region, c *Call, in *RevokeGrantInput) (*struct{}, error) {
	c.param("keyId", in.KeyID)
	c.param("grantId", in.GrantID)
	c.dryRun = in.DryRun
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	c.request.Context.GrantIsForAWSResource = policy.False
	if err := r.allow(ctx, c, c.op.Action, v); err != nil {
		return nil, err
	}
	return nil, r.endGrant(ctx, c, v, in.GrantID)
}

// endGrant ends a grant for a caller who may do so.
func (r *Region) endGrant(ctx context.Context, c *Call, v *view, id string) error {
	if err := checkState(c.op.Name, r.stateOf(v), v.arn); err != nil {
		return err
	}
	g := v.grant(id)
	if g == nil {
		return noGrant(id)
	}
	if err := r.proceed(ctx, c); err != nil {
		return err
	}
	c.response("keyId", v.arn)
	return r.deleteGrant(ctx, g.RecordKey())
}

// RetireGrantInput is the request of RetireGrant, which names a grant by a token, or by key and id.
type RetireGrantInput struct {
	GrantToken string `json:"GrantToken"`
	KeyID      string `json:"KeyId"`
	GrantID    string `json:"GrantId"`
	DryRun     bool   `json:"DryRun"`
}

func (in *RetireGrantInput) validate() error {
	byID := in.KeyID != "" && in.GrantID != ""
	if in.GrantToken != "" {
		if in.KeyID != "" || in.GrantID != "" {
			return Errorf(CodeValidation, "You can specify a grant token or a key ARN and grant ID, but not both.")
		}
		return validateGrantTokens([]string{in.GrantToken})
	}
	if !byID {
		return Errorf(CodeValidation, "You must specify either a grant token or a key ARN and grant ID.")
	}
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	return checkGrantID(in.GrantID)
}

func retireGrant(ctx context.Context, r *Region, c *Call, in *RetireGrantInput) (*struct{}, error) {
	c.dryRun = in.DryRun
	keyID, grantID := in.KeyID, in.GrantID
	if in.GrantToken != "" {
		g, err := r.openGrantToken(ctx, in.GrantToken)
		if err != nil {
			return nil, err
		}
		keyID, grantID = r.KeyARN(g.account, g.keyID), g.id
	}
	c.param("keyId", keyID)
	c.param("grantId", grantID)
	v, err := r.find(ctx, c, keyID, false)
	if err != nil {
		return nil, err
	}
	c.resource(v.arn, v.key.Account)
	if err := r.askKey(ctx, c, c.op.Action, v); err != nil {
		return nil, err
	}
	// A grant that gives RetireGrant gives it for itself alone, so that the key's other grants are not asked.
	c.request.Grants = nil
	var d policy.Decision
	if g := v.grant(grantID); g != nil {
		asked := g.policy()
		d = policy.DecideRetire(&c.request, &asked)
	} else {
		d = policy.Decide(&c.request)
	}
	if err := c.settle(c.op.Action, v.arn, v.key.Account, d); err != nil {
		return nil, err
	}
	return nil, r.endGrant(ctx, c, v, grantID)
}
