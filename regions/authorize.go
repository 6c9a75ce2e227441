package regions

import (
	"context"
	"net/netip"

	"antipode/regions/policy"
)

// newRequest is what every decision of the call has in common: who calls, and how.
func (r *Region) newRequest(caller *Caller) policy.Request {
	req := policy.Request{Principal: caller.Principal(), Identity: caller.Policies, Session: caller.SessionPolicies}
	req.Context = policy.Context{
		Time: r.Now(), SecureTransport: policy.BoolOf(caller.SecureTransport), RequestedRegion: r.cfg.Name,
		UserAgent: caller.UserAgent, ViaAWSService: policy.False,
	}
	if ip, err := netip.ParseAddr(caller.SourceIP); err == nil {
		req.Context.SourceIP = ip
	}
	return req
}

// admit authorises the call on a key and checks the key's state, in this order, as AWS does; for an operation that
// changes something the intent is in the audit log on disk when it returns nil. Nothing may have any effect before it.
func (r *Region) admit(ctx context.Context, c *Call, v *view) error {
	if err := r.allow(ctx, c, c.op.Action, v); err != nil {
		return err
	}
	if err := checkState(c.op.Name, r.stateOf(v), v.arn); err != nil {
		return err
	}
	return r.proceed(ctx, c)
}

// admitAccount authorises a call that is on no key, for the caller's own account.
func (r *Region) admitAccount(ctx context.Context, c *Call) error {
	if err := r.allowOn(c, c.op.Action, "*"); err != nil {
		return err
	}
	return r.proceed(ctx, c)
}

// allow asks all policies and grants whether the caller may do the action on the key.
func (r *Region) allow(ctx context.Context, c *Call, action string, v *view) error {
	c.resource(v.arn, v.key.Account)
	if err := r.askKey(ctx, c, action, v); err != nil {
		return err
	}
	return c.settle(action, v.arn, v.key.Account, policy.Decide(&c.request))
}

// settle takes note of a decision. A call that has none in its favour goes no further than [Region.proceed].
func (c *Call) settle(action, resource, owner string, d policy.Decision) error {
	if !d.Allowed {
		return denied(c, action, resource, owner, d)
	}
	c.allowed = true
	return nil
}

// askKey completes the call's request with what it asks about the key.
func (r *Region) askKey(ctx context.Context, c *Call, action string, v *view) error {
	req, k := &c.request, &v.key
	req.Action, req.Resource, req.ResourceAccount = action, v.arn, k.Account
	req.KeyPolicy, req.Grants = v.policy, v.grants
	a := &req.Context
	a.KeySpec, a.KeyUsage, a.KeyOrigin = k.Spec, k.Usage, k.Origin
	a.MultiRegion, a.MultiRegionKeyType = policy.BoolOf(k.MultiRegion != nil), r.multiRegionKeyType(v)
	a.ResourceTags, a.ResourceAliases = v.tags, nil
	if v.asksAliases || asksAliases(req.Identity) || asksAliases(req.Session) {
		aliases, err := r.aliasesOf(ctx, k.Account, k.KeyID)
		if err != nil {
			return err
		}
		for _, one := range aliases {
			a.ResourceAliases = append(a.ResourceAliases, one.Name)
		}
	}
	return nil
}

// asksAliases reports whether any of the documents asks for the names of a key's aliases, which have to be read first.
func asksAliases(documents []*policy.Document) bool {
	for _, d := range documents {
		if d.Asks("kms:ResourceAliases") {
			return true
		}
	}
	return false
}

func (r *Region) aliasesOf(ctx context.Context, account, keyID string) (aliases []Alias, err error) {
	err = r.cfg.Store.View(ctx, func(rd Reader) error {
		aliases, err = List[Alias](ctx, rd, r.ring, Query{Kind: KindAlias, Account: account, Ref: keyID})
		return err
	})
	return aliases, err
}

// allowOn asks the caller's own policies about an action on what is no key: an alias of his account, or "*".
func (r *Region) allowOn(c *Call, action, resource string) error {
	req := &c.request
	req.Action, req.Resource, req.ResourceAccount = action, resource, c.caller.Account
	return c.settle(action, resource, c.caller.Account, policy.DecideIdentity(req))
}

// denied is AWS's text. What a caller learns of a key of another account is always the same, whether there is such a key
// or not.
func denied(c *Call, action, resource, owner string, d policy.Decision) *Error {
	why := d.Because(action)
	if owner != c.caller.Account {
		why = "because the resource does not exist in this Region, no resource-based policies allow access, or a " +
			"resource-based policy explicitly denies access"
	}
	return Errorf(CodeAccessDenied, "User: %s is not authorized to perform: %s on resource: %s %s", c.caller.ARN, action,
		resource, why)
}
