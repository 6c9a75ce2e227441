package regions

import (
	"time"

	"antipode/regions/identity"
	"antipode/regions/policy"
)

// PrincipalKind says what kind of principal a caller is, in the words of the condition key aws:PrincipalType.
type PrincipalKind string

// The kinds. The zero value counts as [PrincipalUser].
const (
	PrincipalUser        PrincipalKind = "User"        // with an access key of his own, or a session from GetSessionToken
	PrincipalAssumedRole PrincipalKind = "AssumedRole" // a session of a role
	PrincipalAccount     PrincipalKind = "Account"     // the root user of an account
)

// Caller is who makes a call, as the front has authenticated it, with all that policies may ask about him. It is a value
// of its own for each call; what it refers to is shared between calls and must not be changed.
type Caller struct {
	Kind PrincipalKind
	// ARN names the caller in answers and in the audit log: arn:aws:iam::ACCOUNT:user/NAME, or of a role's session
	// arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION.
	ARN string
	// RoleARN is arn:aws:iam::ACCOUNT:role/PATH/ROLE of a role's session, "" for others: what aws:PrincipalArn says, and
	// what policies and grants that name the role mean.
	RoleARN string
	Account string // 12 digits
	// UserName is the user's name, "" for a role's session.
	UserName string
	// UserID is the unique id, aws:userid: "AIDA..." of a user, "AROA...:SESSION" of a role's session.
	UserID string
	// SessionName is the RoleSessionName of a role's session.
	SessionName string
	// SourceIdentity is what the caller of AssumeRole said who he is, "" if nothing; aws:SourceIdentity.
	SourceIdentity string
	// Tags are the principal's, aws:PrincipalTag/KEY: those of the user or role, where a session's own replace them.
	Tags []policy.Tag
	// TransitiveTags are the keys of those Tags that go on to roles assumed with this session.
	TransitiveTags []string
	// Policies are the IAM policies of the user or role.
	Policies []*policy.Document
	// Session says that the credentials are temporary; SessionPolicies then narrow Policies, if there are any: both must
	// allow.
	Session         bool
	SessionPolicies []*policy.Document
	// TokenIssued is when temporary credentials were issued, aws:TokenIssueTime; zero for others.
	TokenIssued time.Time
	// MultiFactor is aws:MultiFactorAuthPresent. Nothing sets it: there are no MFA devices.
	MultiFactor bool
	AccessKeyID string
	// Proof says how a caller was authenticated who has not signed; zero for a signature.
	Proof    Proof
	SourceIP string // without a port, "" if unknown
	// SecureTransport says that the call came over TLS; aws:SecureTransport.
	SecureTransport bool
	UserAgent       string
	RequestID       string
}

// PrincipalARN is what aws:PrincipalArn says: the role's ARN for a role's session, else the caller's own.
func (c *Caller) PrincipalARN() string {
	if c.RoleARN != "" {
		return c.RoleARN
	}
	return c.ARN
}

// Principal is what policies are asked about the caller.
func (c *Caller) Principal() policy.Principal {
	p := policy.Principal{
		Type: policy.PrincipalType(c.Kind), ARN: c.ARN, RoleARN: c.RoleARN, Account: c.Account, UserName: c.UserName,
		UserID: c.UserID, SourceIdentity: c.SourceIdentity, Tags: c.Tags, TokenIssued: c.TokenIssued,
	}
	if c.Kind == "" {
		p.Type = policy.User
	}
	if c.Session {
		p.MultiFactor = policy.BoolOf(c.MultiFactor)
	}
	return p
}

// CallerOf is the caller that a principal makes; the front adds what it knows of the call.
func CallerOf(p *identity.Principal) Caller {
	c := Caller{
		Kind: PrincipalUser, ARN: p.ARN, RoleARN: p.RoleARN, Account: p.Account, UserName: p.Name, UserID: p.UserID,
		Tags: p.Tags, Policies: p.Policies, AccessKeyID: p.AccessKeyID,
	}
	if p.Role {
		c.Kind, c.UserName = PrincipalAssumedRole, ""
	}
	if s := p.Session; s != nil {
		c.Session, c.SessionPolicies, c.SessionName = true, p.SessionPolicies, s.Name
		c.SourceIdentity, c.TokenIssued = s.SourceIdentity, time.UnixMilli(s.Issued)
		c.TransitiveTags = s.Transitive
	}
	return c
}
