package regions

import (
	"context"

	"antipode/regions/keyset"
	"antipode/regions/roster"
)

// UpdatePrimaryRegionInput is the request of UpdatePrimaryRegion.
type UpdatePrimaryRegionInput struct {
	KeyID         string `json:"KeyId"`         // of the key that is the primary now
	PrimaryRegion string `json:"PrimaryRegion"` // which has a replica
}

func (in *UpdatePrimaryRegionInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	return validateRegion(in.PrimaryRegion, "primaryRegion")
}

// validateRegion checks what AWS checks of the name of another Region.
func validateRegion(name, field string) error {
	if name == "" {
		return missing(field)
	}
	if err := checkLength(name, field, len(name), 1, 32); err != nil {
		return err
	}
	if !roster.ValidRegion(name) {
		return invalid(name, field, "Member must satisfy regular expression pattern: ^([a-z]+-){2,3}\\d+$")
	}
	return nil
}

// PrimaryOrder is an UpdatePrimaryRegion request that this Region has admitted.
type PrimaryOrder struct {
	Account, KeyID string
	Region         string // that becomes the primary
	Principal      string // ARN of the caller
	RequestID      string
}

// updatePrimaryRegion answers when the other Region is the primary, or, if that does not answer in time, when this one
// has stopped to be: the rest goes on in the background.
func updatePrimaryRegion(ctx context.Context, r *Region, c *Call, in *UpdatePrimaryRegionInput) (*struct{}, error) {
	c.param("keyId", in.KeyID)
	c.param("primaryRegion", in.PrimaryRegion)
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	c.request.Context.PrimaryRegion = in.PrimaryRegion
	if err := r.allow(ctx, c, c.op.Action, v); err != nil {
		return nil, err
	}
	if err := r.mayMovePrimary(c, v, in.PrimaryRegion); err != nil {
		return nil, err
	}
	// A replica that is Creating is told that, as in AWS's table of key states, and not that it is no primary.
	if err := checkState(c.op.Name, r.stateOf(v), v.arn); err != nil {
		return nil, err
	}
	if err := r.checkMove(v, in.PrimaryRegion); err != nil {
		return nil, err
	}
	if err := r.canReach(ctx, in.PrimaryRegion, v.key.Account); err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	return nil, r.replicator.HandOver(ctx, PrimaryOrder{
		Account: v.key.Account, KeyID: v.key.KeyID, Region: in.PrimaryRegion, Principal: c.caller.ARN,
		RequestID: c.caller.RequestID,
	})
}

// checkMove decides whether the key has a primary here that could go to the other Region.
func (r *Region) checkMove(v *view, to string) error {
	if v.shared == nil || v.shared.Primary != r.cfg.Name {
		return Errorf(CodeUnsupportedOperation, "%s is not a multi-region primary key.", v.arn)
	}
	if to == r.cfg.Name {
		return Errorf(CodeUnsupportedOperation, "%s is the primary key already.", v.arn)
	}
	if r.Recovering() {
		return errRecovering(r.cfg.Name)
	}
	there := r.placeIn(to, v.key.Account).Key(v.key.KeyID)
	switch m, member := v.shared.Member(to); {
	case !member:
		return Errorf(CodeNotFound, "Key '%s' does not exist", there)
	case m.Status != keyset.Active:
		return Errorf(CodeInvalidState, "%s is creating.", there)
	}
	if now := v.key.MultiRegion.HandingTo; now != "" && now != to {
		return updatingError(v.arn)
	}
	return nil
}

// updatingError is what AWS answers of a key whose primary is being changed.
func updatingError(arn string) *Error { return Errorf(CodeInvalidState, "%s is updating.", arn) }
