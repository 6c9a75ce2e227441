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
	"antipode/regions/policy"
)

// AssumeRoleInput is the request of AssumeRole. Members that are empty are absent.
type AssumeRoleInput struct {
	RoleARN           string
	RoleSessionName   string
	DurationSeconds   int // 0 is an hour
	Policy            string
	Tags              []identity.Tag
	TransitiveTagKeys []string
	ExternalID        string
	SourceIdentity    string
}

// AssumeRoleOutput is the answer of AssumeRole.
type AssumeRoleOutput struct {
	Credentials    Credentials
	ARN            string // of the session
	AssumedRoleID  string // AROA...:SESSION
	SourceIdentity string
	Packed         int // how much of what a session token holds is used, percent
}

// AssumeRole gives the caller temporary credentials of a role, if the role's trust policy and, unless that names the caller
// himself, the caller's own policies allow it. The error is an [*Error] with a code of STS, or a failure of the service.
func (r *Region) AssumeRole(ctx context.Context, c Caller, in AssumeRoleInput) (AssumeRoleOutput, error) {
	e := r.stsEvent("AssumeRole", c)
	e.RequestParameters.Str("roleArn", in.RoleARN)
	e.RequestParameters.Str("roleSessionName", in.RoleSessionName)
	if in.DurationSeconds != 0 {
		e.RequestParameters.Int("durationSeconds", int64(in.DurationSeconds))
	}
	if in.SourceIdentity != "" {
		e.RequestParameters.Str("sourceIdentity", in.SourceIdentity)
	}
	out, err := r.assumeRole(ctx, &c, in, &e)
	if err == nil {
		e.ResponseElements.Str("accessKeyId", out.Credentials.AccessKeyID)
		e.ResponseElements.Str("expiration", r.eventTime(out.Credentials.Expiration.UnixMilli()))
		e.ResponseElements.Str("assumedRoleArn", out.ARN)
		e.ResponseElements.Str("assumedRoleId", out.AssumedRoleID)
	}
	if err := r.stsOutcome(ctx, e, err); err != nil {
		return AssumeRoleOutput{}, err
	}
	return out, nil
}

func (r *Region) assumeRole(ctx context.Context, c *Caller, in AssumeRoleInput, e *audit.Event) (AssumeRoleOutput, error) {
	var out AssumeRoleOutput
	if err := in.validate(); err != nil {
		return out, err
	}
	account, path, name, err := identity.ParseRoleARN(in.RoleARN)
	if err != nil {
		return out, stsInvalid("%s is invalid", in.RoleARN)
	}
	e.Resources = append(e.Resources, audit.Resource{AccountID: account, Type: "AWS::IAM::Role", ARN: in.RoleARN})
	role, err := identitySource{r}.Role(ctx, account, name)
	if err != nil && !errors.Is(err, identity.ErrUnknownKey) {
		return out, err
	}
	// One that is not there is denied like one that does not trust the caller.
	if err != nil || role.Path != path || role.Deleted || role.Disabled {
		return out, stsDenied(c.ARN, "sts:AssumeRole", in.RoleARN)
	}
	seconds := int64(in.DurationSeconds)
	if seconds == 0 {
		seconds = identity.DefaultSession
	}
	if c.Kind == PrincipalAssumedRole && seconds > identity.DefaultSession {
		return out, stsInvalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	if seconds > role.MaxSession {
		return out, stsInvalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	session := identity.Session{
		Account: account, Role: name, HolderID: role.ID, Name: in.RoleSessionName, SourceIdentity: c.SourceIdentity,
		Transitive: slices.Concat(in.TransitiveTagKeys, c.TransitiveTags),
	}
	if session.Tags, err = sessionTags(c, in.Tags); err != nil {
		return out, err
	}
	if c.SourceIdentity != "" && in.SourceIdentity != "" && c.SourceIdentity != in.SourceIdentity {
		return out, stsDenied(c.ARN, "sts:SetSourceIdentity", in.RoleARN)
	}
	if in.SourceIdentity != "" {
		session.SourceIdentity = in.SourceIdentity
	}
	if in.Policy != "" {
		session.Policies = []string{in.Policy}
	}
	if err := r.mayAssume(c, role, in, session); err != nil {
		return out, err
	}
	now := r.Now()
	session.Issued, session.Expires = now.UnixMilli(), now.Add(time.Duration(seconds)*time.Second).UnixMilli()
	if out.Credentials, err = r.issue(ctx, session); err != nil {
		return out, err
	}
	out.ARN, out.AssumedRoleID = role.SessionARN(session.Name), role.ID+":"+session.Name
	out.SourceIdentity = session.SourceIdentity
	out.Packed = len(out.Credentials.SessionToken) * 100 / identity.MaxSessionToken
	return out, nil
}

// sessionTags are those that the caller gives the session and those that go on from his own session, which he may not
// change.
func sessionTags(c *Caller, given []identity.Tag) ([]identity.Tag, error) {
	inherited := c.transitive()
	for _, t := range given {
		if slices.ContainsFunc(inherited, func(i identity.Tag) bool { return strings.EqualFold(i.Key, t.Key) }) {
			return nil, Errorf("InvalidParameterValue", "One of the specified transitive tag keys can't be set because it conflicts "+
				"with a transitive tag key from the calling session.")
		}
	}
	tags := slices.Concat(given, inherited)
	if err := identity.ValidateTags(tags); err != nil {
		return nil, stsInvalid("%s", strings.TrimPrefix(err.Error(), identity.ErrInvalid.Error()+": "))
	}
	return tags, nil
}

// mayAssume asks the role's trust policy and the caller's own policies: for sts:AssumeRole, and for what else the request
// does.
func (r *Region) mayAssume(c *Caller, role identity.Role, in AssumeRoleInput, s identity.Session) error {
	trust, err := policy.ParseTrustPolicy(string(role.Trust))
	if err != nil {
		return fmt.Errorf("trust policy of %s: %w", role.ARN(), err)
	}
	req := r.newRequest(c)
	req.Resource, req.ResourceAccount, req.KeyPolicy = role.ARN(), role.Account, trust
	other := map[string][]string{"sts:rolesessionname": {s.Name}}
	if in.ExternalID != "" {
		other["sts:externalid"] = []string{in.ExternalID}
	}
	if s.SourceIdentity != "" {
		other["sts:sourceidentity"] = []string{s.SourceIdentity}
	}
	if len(s.Transitive) > 0 {
		other["sts:transitivetagkeys"] = s.Transitive
	}
	req.Context.Other = other
	for _, t := range role.Tags {
		req.Context.ResourceTags = append(req.Context.ResourceTags, policy.Tag(t))
	}
	for _, t := range s.Tags {
		req.Context.RequestTags = append(req.Context.RequestTags, policy.Tag(t))
	}
	actions := []string{"sts:AssumeRole"}
	if len(s.Tags) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	if s.SourceIdentity != "" {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	for _, action := range actions {
		req.Action = action
		if !policy.Decide(&req).Allowed {
			return stsDenied(c.ARN, action, role.ARN())
		}
	}
	return nil
}

func stsDenied(principal, action, role string) error {
	return Errorf(CodeSTSAccessDenied, "User: %s is not authorized to perform: %s on resource: %s", principal, action, role)
}

func (in *AssumeRoleInput) validate() error {
	if in.RoleARN == "" || in.RoleSessionName == "" {
		field := "roleArn"
		if in.RoleARN != "" {
			field = "roleSessionName"
		}
		return stsInvalid("1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", field)
	}
	if err := stsName(in.RoleSessionName, "roleSessionName", 64); err != nil {
		return err
	}
	if in.DurationSeconds != 0 {
		if err := stsRange(in.DurationSeconds, identity.MaxSession); err != nil {
			return err
		}
	}
	if in.SourceIdentity != "" {
		if err := stsName(in.SourceIdentity, "sourceIdentity", 64); err != nil {
			return err
		}
	}
	if n := len(in.ExternalID); n == 1 || n > 1224 {
		return stsInvalid("1 validation error detected: Value at 'externalId' failed to satisfy constraint: Member must have " +
			"length between 2 and 1224")
	}
	if len(in.TransitiveTagKeys) > identity.MaxTags {
		return stsInvalid("1 validation error detected: Value at 'transitiveTagKeys' failed to satisfy constraint: Member must have "+
			"length less than or equal to %d", identity.MaxTags)
	}
	for _, key := range in.TransitiveTagKeys {
		if !slices.ContainsFunc(in.Tags, func(t identity.Tag) bool { return t.Key == key }) {
			return Errorf("InvalidParameterValue", "The specified transitive tag key must be included in the requested tags.")
		}
	}
	if in.Policy != "" {
		if _, err := policy.ParseSessionPolicy(in.Policy); err != nil {
			if errors.Is(err, policy.ErrTooLarge) {
				return Errorf(CodeSTSPacked, "The session policy is too large.")
			}
			return Errorf(CodeSTSMalformedPolicy, "%s", err)
		}
	}
	return nil
}
