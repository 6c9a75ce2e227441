package regions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"antipode/hsmbackend"
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
	// allowed: a decision was made, in the caller's favour. admitted: all decisions were, and proceed has been passed, as
	// every call must have that is answered.
	allowed, admitted bool
	// once is to be recorded with what the call creates, nil without an idempotency key; onceBusy says that another call is
	// being made under it.
	once     *OnceRecord
	onceBusy bool
	// request is what policies are asked; its Context is filled in by the operation before it is admitted.
	request policy.Request
}

// auditTimeout bounds how long an outcome may take to reach the audit log after the caller has gone.
const auditTimeout = 10 * time.Second

// Do makes one call: it checks the input, runs the operation, which authorises itself, and writes the audit records
// that the operation's class asks for. The answer is given only if they were written. The error, if any, is an
// [*Error], which holds nothing that the caller may not see.
func (r *Region) Do(ctx context.Context, op Operation, caller Caller, input any) (any, error) {
	return r.do(ctx, &Call{op: op, caller: caller}, input)
}

func (r *Region) do(ctx context.Context, c *Call, input any) (any, error) {
	op, caller := c.op, &c.caller
	c.request = r.newRequest(&c.caller)
	c.event = r.newEvent(c)
	out, err := r.run(ctx, c, input)
	if err != nil {
		apiErr := AsError(err)
		if apiErr.Code == CodeInternal {
			r.cfg.Log.Error().Err(err).Str("region", r.cfg.Name).Str("op", op.Name).Str("request", caller.RequestID).
				Msg("operation failed")
			apiErr = c.unavailable(err, apiErr)
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

// unavailable is the error of a cryptographic operation that failed because the token does not answer: one that AWS lists
// for it and that clients repeat. Such an operation changes nothing, so that it can be repeated.
func (c *Call) unavailable(err error, otherwise *Error) *Error {
	_, onKey := keyStates[c.op.Name]
	switch {
	case c.op.Class != ClassData || !errors.Is(err, hsmbackend.ErrUnavailable):
		return otherwise
	case !onKey: // GenerateRandom
		return Errorf(CodeDependencyTimeout, "The token does not answer. Try again.")
	}
	return Errorf(CodeKeyUnavailable, "The token that holds the key does not answer. Try again.")
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
	if err := r.checkGrantTokens(ctx, input); err != nil {
		return nil, err
	}
	out, err := c.op.run(ctx, r, c, input)
	if before := (*onceAnswer)(nil); errors.As(err, &before) {
		return c.replay(before)
	}
	if err == nil && !c.admitted {
		return nil, fmt.Errorf("%s has answered without having been allowed", c.op.Name)
	}
	return out, err
}

func (r *Region) writeOutcome(ctx context.Context, c *Call) error {
	// The effect may stand already, so the record is owed even if the caller has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	if c.intent != nil {
		return r.cfg.Audit.Outcome(ctx, *c.intent, c.event)
	}
	seq, err := r.cfg.Audit.DataOf(ctx, &c.event)
	if err == nil && c.op.Class == ClassData && c.event.ErrorCode == "" {
		r.usage.note(seq, &c.event)
	}
	return err
}

// proceed ends the part of a call that only asks. Everything that could refuse the call has been asked before it.
func (r *Region) proceed(ctx context.Context, c *Call) error {
	if !c.allowed {
		return fmt.Errorf("%s goes on without a decision", c.op.Name)
	}
	c.admitted = true
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

// find returns the view of the key that a KeyId parameter names. aliases says whether an alias will do.
func (r *Region) find(ctx context.Context, c *Call, keyID string, aliases bool) (*view, error) {
	name, err := arn.Resolve(keyID, r.place(c.caller.Account))
	if err != nil {
		return nil, nameError(err)
	}
	foreign := name.Place.Account != c.caller.Account
	if foreign && !c.op.otherAccounts() {
		return nil, denied(c, c.op.Action, keyID, name.Place.Account, policy.Decision{Reason: policy.OtherAccount})
	}
	id := name.ID
	if name.Kind.IsAlias() {
		if !aliases {
			return nil, Errorf(CodeNotFound, "Invalid keyId '%s'", keyID) // as AWS answers an alias where it takes none
		}
		if id, err = r.views.alias(ctx, name.Place.Account, name.ID); err != nil {
			return nil, err
		}
		if id == "" && foreign {
			return nil, denied(c, c.op.Action, keyID, name.Place.Account, policy.Decision{Reason: policy.OtherAccount})
		}
		if id == "" {
			return nil, Errorf(CodeNotFound, "Alias %s is not found.", name.ARN())
		}
		c.request.Context.RequestAlias = name.ID
	}
	v, err := r.views.key(ctx, id)
	if err != nil {
		return nil, err
	}
	if foreign && (v == nil || v.key.Account != name.Place.Account) {
		// Nothing of another account's is shown to whom it is not open, not even whether it exists.
		return nil, denied(c, c.op.Action, keyID, name.Place.Account, policy.Decision{Reason: policy.OtherAccount})
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
