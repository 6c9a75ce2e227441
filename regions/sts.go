package regions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"antipode/regions/audit"
	"antipode/regions/identity"
)

// The error codes of STS, which differ from those of KMS.
const (
	CodeSTSAccessDenied    = "AccessDenied"
	CodeSTSValidation      = "ValidationError"
	CodeSTSMalformedPolicy = "MalformedPolicyDocument"
	CodeSTSPacked          = "PackedPolicyTooLarge"
)

// stsSource is the event source of STS in the audit log.
const stsSource = "sts.amazonaws.com"

// Credentials are temporary credentials.
type Credentials struct {
	AccessKeyID  string
	Secret       identity.Secret
	SessionToken string // a secret
	Expiration   time.Time
}

// CallerIdentity answers GetCallerIdentity, which nobody needs permission for. It is in the audit log when it returns.
func (r *Region) CallerIdentity(ctx context.Context, c Caller) (arn, userID, account string, err error) {
	e := r.stsEvent("GetCallerIdentity", c)
	if err := r.cfg.Audit.Data(ctx, e); err != nil {
		return "", "", "", fmt.Errorf("audit: %w", err)
	}
	return c.ARN, c.UserID, c.Account, nil
}

// SessionToken answers GetSessionToken: temporary credentials that are the user's own, for 900 to 129,600 seconds, 12
// hours if seconds is 0.
func (r *Region) SessionToken(ctx context.Context, c Caller, seconds int) (Credentials, error) {
	const longest, normal = 129600, 43200
	e := r.stsEvent("GetSessionToken", c)
	if seconds == 0 {
		seconds = normal
	}
	err := stsRange(seconds, longest)
	if err == nil && (c.Session || c.Kind != PrincipalUser) {
		err = Errorf(CodeSTSAccessDenied, "Cannot call GetSessionToken with session credentials")
	}
	if err != nil {
		return Credentials{}, r.stsOutcome(ctx, e, err)
	}
	now := r.Now()
	made, err := r.issue(ctx, identity.Session{
		Account: c.Account, User: c.UserName, HolderID: c.UserID, Issued: now.UnixMilli(),
		Expires: now.Add(time.Duration(seconds) * time.Second).UnixMilli(),
	})
	if err == nil {
		e.ResponseElements.Str("accessKeyId", made.AccessKeyID)
	}
	return made, r.stsOutcome(ctx, e, err)
}

func (r *Region) issue(ctx context.Context, s identity.Session) (Credentials, error) {
	s, token, err := r.sessions.Issue(ctx, r.cfg.Random, s)
	if errors.Is(err, identity.ErrPacked) {
		return Credentials{}, Errorf(CodeSTSPacked, "The session policies and tags are too large together.")
	}
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{s.AccessKeyID, s.Secret, token, time.UnixMilli(s.Expires)}, nil
}

func (r *Region) stsEvent(name string, c Caller) audit.Event {
	e := r.newEvent(&Call{op: Operation{Name: name, Class: ClassRead}, caller: c})
	e.EventSource = stsSource
	return e
}

// stsOutcome writes a call's one record of the audit log and returns the call's error. Nothing of the store changes in
// such a call, so that it has no intent; credentials that were made are given out only if the record was written.
func (r *Region) stsOutcome(ctx context.Context, e audit.Event, err error) error {
	if err != nil {
		api := AsError(err)
		e.ErrorCode, e.ErrorMessage = api.Code, api.Message
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	if auditErr := r.cfg.Audit.Data(ctx, e); auditErr != nil {
		return fmt.Errorf("audit: %w", auditErr)
	}
	return err
}

func stsInvalid(format string, args ...any) error { return Errorf(CodeSTSValidation, format, args...) }

func stsRange(seconds, longest int) error {
	const text = "1 validation error detected: Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value "
	switch {
	case seconds < identity.MinSession:
		return stsInvalid(text+"greater than or equal to %d", seconds, identity.MinSession)
	case seconds > longest:
		return stsInvalid(text+"less than or equal to %d", seconds, longest)
	}
	return nil
}

// stsName checks a member that is 2 to limit of the characters that names of sessions have.
func stsName(value, field string, limit int) error {
	const text = "1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must "
	switch {
	case len(value) < 2:
		return stsInvalid(text+"have length greater than or equal to 2", value, field)
	case len(value) > limit:
		return stsInvalid(text+"have length less than or equal to %d", value, field, limit)
	}
	for i := range len(value) {
		c := value[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("_+=,.@-", c) < 0 {
			return stsInvalid(text+`satisfy regular expression pattern: [\w+=,.@-]*`, value, field)
		}
	}
	return nil
}

// transitive are the session tags that go on to a role that the caller assumes.
func (c *Caller) transitive() (tags []identity.Tag) {
	for _, t := range c.Tags {
		if slices.ContainsFunc(c.TransitiveTags, func(k string) bool { return strings.EqualFold(k, t.Key) }) {
			tags = append(tags, identity.Tag(t))
		}
	}
	return tags
}
