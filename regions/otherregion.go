package regions

import (
	"context"
	"errors"

	"antipode/regions/identity"
	"antipode/regions/policy"
)

// What is done in two Regions is decided in both. The Region that is called knows the caller and his session, and decides
// by the key's policy and all of his. The other one knows his ARN, from a message that the first has signed, and decides by
// its own identities and its own key. So that a session can't do elsewhere what it may not, the first also asks the
// caller's policies for what the other one will ask about.

// replicaActions is what a principal needs in the Region that a replica is to be made in.
func replicaActions(tags []Tag) []string {
	if len(tags) > 0 {
		return []string{actionCreateKey, actionTagResource}
	}
	return []string{actionCreateKey}
}

// askReplica is what policies are asked about a replica that is to be made in a Region.
func askReplica(a *policy.Context, spec, usage, origin, region string, tags []Tag) {
	a.KeySpec, a.KeyUsage, a.KeyOrigin, a.MultiRegion = spec, usage, origin, policy.True
	a.MultiRegionKeyType, a.RequestTags, a.RequestedRegion = keyTypeReplica, policyTags(tags), region
}

// mayReplicate asks the caller's own policies, those of his session with them, whether he may make the replica in the
// other Region.
func (r *Region) mayReplicate(c *Call, v *view, region string, tags []Tag) error {
	there := &Call{op: c.op, caller: c.caller, request: r.newRequest(&c.caller)}
	askReplica(&there.request.Context, v.key.Spec, v.key.Usage, v.key.Origin, region, tags)
	for _, action := range replicaActions(tags) {
		if err := r.allowOn(there, action, "*"); err != nil {
			return err
		}
	}
	return nil
}

// mayMovePrimary asks the caller's own policies, those of his session with them, whether they leave it to the key's
// policy in the other Region that he makes that key the primary. What that says is for the other Region alone.
func (r *Region) mayMovePrimary(c *Call, v *view, region string) error {
	there := &Call{op: c.op, caller: c.caller, request: r.newRequest(&c.caller)}
	req := &there.request
	req.Action, req.Resource, req.ResourceAccount = c.op.Action, r.placeIn(region, v.key.Account).Key(v.key.KeyID), v.key.Account
	a := &req.Context
	a.KeySpec, a.KeyUsage, a.KeyOrigin, a.MultiRegion = v.key.Spec, v.key.Usage, v.key.Origin, policy.True
	a.MultiRegionKeyType, a.PrimaryRegion, a.RequestedRegion = keyTypeReplica, region, region
	if d := policy.DecideElsewhere(req); !d.Allowed {
		return denied(there, req.Action, req.Resource, v.key.Account, d)
	}
	return nil
}

// named is a call that another Region makes for a principal of its own, decided by what this Region knows of him. It
// returns nil for whom this Region does not know. The other Region speaks for him over TLS, as an AWS service does.
func (r *Region) named(ctx context.Context, operation, principal, account string) (*Call, error) {
	known, err := r.directory.Named(ctx, principal)
	if errors.Is(err, identity.ErrUnknownKey) || (err == nil && known.Account != account) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := &Call{op: Operation{Name: operation, Action: actionPrefix + operation}, caller: CallerOf(known)}
	c.caller.SecureTransport = true
	c.request = r.newRequest(&c.caller)
	c.request.Context.ViaAWSService = policy.True
	return c, nil
}

func unknownHere(principal, account, action, resource string) error {
	c := &Call{caller: Caller{ARN: principal, Account: account}}
	return denied(c, action, resource, account, policy.Decision{Reason: policy.NoIdentityPolicy})
}

// mayCreate asks this Region's own identities about the principal of another Region's caller.
func (r *Region) mayCreate(ctx context.Context, p Replica) error {
	c, err := r.named(ctx, "CreateKey", p.Principal, p.Account)
	if err != nil {
		return err
	}
	if c == nil {
		return unknownHere(p.Principal, p.Account, actionCreateKey, "*")
	}
	askReplica(&c.request.Context, p.Spec, p.Usage, p.Origin, r.cfg.Name, p.Tags)
	for _, action := range replicaActions(p.Tags) {
		if err := r.allowOn(c, action, "*"); err != nil {
			return err
		}
	}
	return nil
}

// CheckNewPrimary decides whether the principal of another Region's caller may make this Region's replica of the key the
// primary: kms:UpdatePrimaryRegion on the key here, beside that on the primary there. It changes nothing; the error is an
// [*Error] for a refusal.
func (r *Region) CheckNewPrimary(ctx context.Context, principal, account, keyID string) error {
	const operation = "UpdatePrimaryRegion"
	v, err := r.views.key(ctx, keyID)
	if err != nil {
		return err
	}
	if v == nil || v.key.Account != account || v.key.MultiRegion == nil {
		return Errorf(CodeNotFound, "Key '%s' does not exist", r.KeyARN(account, keyID))
	}
	c, err := r.named(ctx, operation, principal, account)
	if err != nil {
		return err
	}
	if c == nil {
		return unknownHere(principal, account, actionPrefix+operation, v.arn)
	}
	c.request.Context.PrimaryRegion = r.cfg.Name
	return r.allow(ctx, c, c.op.Action, v)
}
