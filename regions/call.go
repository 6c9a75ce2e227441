package regions

import (
	"context"
	"errors"
	"time"

	"antipode/regions/arn"
	"antipode/regions/audit"
	"antipode/regions/policy"
)

// Call is one call in progress.
type Call struct {
	op     Operation
	caller Caller
	event  audit.Event
	intent *audit.Ticket // set once the intent is in the log
	dryRun bool
}

// auditTimeout bounds how long an outcome may take to reach the audit log after the caller has gone.
const auditTimeout = 10 * time.Second

// Do makes one call: it checks the input, runs the operation, which authorises itself, and writes the audit records
// that the operation's class asks for. The answer is given only if they were written. The error, if any, is an
// [*Error], which holds nothing that the caller may not see.
func (r *Region) Do(ctx context.Context, op Operation, caller Caller, input any) (any, error) {
	c := &Call{op: op, caller: caller}
	c.event = r.newEvent(c)
	out, err := r.run(ctx, c, input)
	if err != nil {
		apiErr := AsError(err)
		if apiErr.Code == CodeInternal {
			r.cfg.Log.Error().Err(err).Str("region", r.cfg.Name).Str("op", op.Name).Str("request", caller.RequestID).
				Msg("operation failed")
		}
		c.event.ErrorCode, c.event.ErrorMessage = apiErr.Code, apiErr.Message
		err, out = apiErr, nil
	}
	if auditErr := r.writeOutcome(ctx, c); auditErr != nil {
		r.cfg.Log.Error().Err(auditErr).Str("region", r.cfg.Name).Str("op", op.Name).Str("request", caller.RequestID).
			Msg("audit log can't be written")
		return nil, &Error{Code: CodeInternal}
	}
	return out, err
}

func (r *Region) run(ctx context.Context, c *Call, input any) (any, error) {
	if !c.op.Built() {
		return nil, Errorf(CodeUnsupportedOperation, "%s is not supported by this version of Antipode.", c.op.Name)
	}
	if v, checks := input.(interface{ validate() error }); checks {
		if err := v.validate(); err != nil {
			return nil, err
		}
	}
	return c.op.run(ctx, r, c, input)
}

func (r *Region) writeOutcome(ctx context.Context, c *Call) error {
	// The effect may stand already, so the record is owed even if the caller has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	if c.intent != nil {
		return r.cfg.Audit.Outcome(ctx, *c.intent, c.event)
	}
	return r.cfg.Audit.Data(ctx, c.event)
}

// admit authorises the call on a key and checks the key's state, in this order, as AWS does; for an operation that
// changes something the intent is in the audit log on disk when it returns nil. Nothing may have any effect before it.
func (r *Region) admit(ctx context.Context, c *Call, v *view) error {
	c.resource(v.arn, v.key.Account)
	if err := r.allow(c, c.op.Name, v.arn, v.policy, v.key.Account); err != nil {
		return err
	}
	if err := checkState(c.op.Name, v.key.State, v.arn); err != nil {
		return err
	}
	return r.proceed(ctx, c)
}

// admitAccount authorises a call that is not on a key, for the caller's own account.
func (r *Region) admitAccount(ctx context.Context, c *Call, actions ...string) error {
	for _, action := range actions {
		if !c.caller.Administrator {
			return denied(c.caller.ARN, action, "*")
		}
	}
	return r.proceed(ctx, c)
}

func (r *Region) proceed(ctx context.Context, c *Call) error {
	if c.dryRun {
		return Errorf(CodeDryRun, "The request would have succeeded, but the DryRun option is set.")
	}
	if c.op.Class != ClassManage {
		return nil
	}
	ticket, err := r.cfg.Audit.Intent(ctx, c.event)
	if err != nil {
		return err
	}
	c.intent = &ticket
	return nil
}

// allow asks the key's policy.
func (r *Region) allow(c *Call, action, resource string, p *policy.Document, account string) error {
	req := policy.Request{
		Principal: policy.Principal{
			Type: policy.PrincipalType(c.caller.Kind), ARN: c.caller.ARN, RoleARN: c.caller.RoleARN,
			Account: c.caller.Account, UserName: c.caller.UserName, UserID: c.caller.UserID,
		},
		Action: "kms:" + action, Resource: resource, ResourceAccount: account, KeyPolicy: p,
	}
	if req.Principal.Type == "" {
		req.Principal.Type = policy.User
	}
	if c.caller.Administrator {
		req.Identity = []*policy.Document{r.administrator}
	}
	if !policy.Decide(&req).Allowed {
		return denied(c.caller.ARN, action, resource)
	}
	return nil
}

func denied(principal, action, resource string) *Error {
	return Errorf(CodeAccessDenied, "User: %s is not authorized to perform: kms:%s on resource: %s because no "+
		"identity-based policy allows the kms:%s action", principal, action, resource, action)
}

// find returns the view of the key that a KeyId parameter names. aliases says whether an alias will do.
func (r *Region) find(ctx context.Context, c *Call, keyID string, aliases bool) (*view, error) {
	name, err := arn.Resolve(keyID, r.place(c.caller.Account))
	if err != nil {
		return nil, nameError(err)
	}
	if name.Place.Account != c.caller.Account {
		// Until policies can admit other accounts, nothing of theirs is shown, not even whether it exists.
		return nil, denied(c.caller.ARN, c.op.Name, keyID)
	}
	id := name.ID
	if name.Kind.IsAlias() {
		if !aliases {
			return nil, Errorf(CodeNotFound, "Invalid keyId '%s'", keyID) // as AWS answers an alias where it takes none
		}
		if id, err = r.views.alias(ctx, name.Place.Account, name.ID); err != nil {
			return nil, err
		}
		if id == "" {
			return nil, Errorf(CodeNotFound, "Alias %s is not found.", name.ARN())
		}
	}
	v, err := r.views.key(ctx, id)
	if err != nil {
		return nil, err
	}
	if v == nil || v.key.Account != name.Place.Account {
		return nil, Errorf(CodeNotFound, "Key '%s' does not exist", r.KeyARN(name.Place.Account, id))
	}
	return v, nil
}

// nameError gives the AWS error for a name that package arn refused; its text is AWS's already.
func nameError(err error) error {
	code := CodeNotFound
	switch {
	case errors.Is(err, arn.ErrAliasLength), errors.Is(err, arn.ErrAliasCharacters), errors.Is(err, arn.ErrAliasPrefix):
		code = CodeValidation
	case errors.Is(err, arn.ErrAliasReserved):
		code = CodeNotAuthorized
	}
	return &Error{Code: code, Message: err.Error()}
}
