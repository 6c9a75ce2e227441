package identity

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"time"

	"antipode/regions/policy"
)

// Principal is who makes a call. It is shared between calls and must not be changed.
type Principal struct {
	Account string
	Name    string // of the user or role
	// ARN is the user's, or of a role's session arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION.
	ARN     string
	RoleARN string // of a role's session: the role's; else ""
	UserID  string // AIDA..., or of a role's session AROA...:SESSION
	// Role says that it is a session of a role.
	Role            bool
	Session         *Session     // of temporary credentials, nil for a user's own access key
	Tags            []policy.Tag // the user's or role's, where a session's take their place
	Policies        []*policy.Document
	PolicyNames     []string // of Policies
	SessionPolicies []*policy.Document
	AccessKeyID     string
	Secret          Secret
	Generation      uint64 // of the access key
	token           [sha256.Size]byte
}

// Expired reports whether the principal's credentials are temporary and have ended.
func (p *Principal) Expired(now time.Time) bool { return p.Session != nil && p.Session.Expired(now) }

// hasToken reports whether the principal was found by this session token, "" for none.
func (p *Principal) hasToken(token string) bool {
	if p.Session == nil {
		return token == ""
	}
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sum[:], p.token[:]) == 1
}

func userPrincipal(u User) (*Principal, error) {
	p := &Principal{Account: u.Account, Name: u.Name, ARN: u.ARN(), UserID: u.ID}
	return p, p.compile(u.Policies, u.Tags)
}

func rolePrincipal(r Role, session string) (*Principal, error) {
	p := &Principal{
		Account: r.Account, Name: r.Name, ARN: r.SessionARN(session), RoleARN: r.ARN(), UserID: r.ID + ":" + session,
		Role: true,
	}
	return p, p.compile(r.Policies, r.Tags)
}

func (p *Principal) compile(policies []Policy, tags []Tag) error {
	for _, document := range policies {
		d, err := policy.ParseIdentityPolicy(string(document.Document))
		if err != nil {
			return fmt.Errorf("policy %s of %s: %w", document.Name, p.ARN, err)
		}
		p.Policies, p.PolicyNames = append(p.Policies, d), append(p.PolicyNames, document.Name)
	}
	p.setTags(tags)
	return nil
}

func (p *Principal) setTags(tags []Tag) {
	p.Tags = nil
	for _, t := range tags {
		p.Tags = append(p.Tags, policy.Tag(t))
	}
}

// withSession gives the principal the credentials of a session. tags are the user's or role's own.
func (p *Principal) withSession(s Session, token string, tags []Tag) (*Principal, error) {
	p.Session, p.AccessKeyID, p.Secret, p.Generation = &s, s.AccessKeyID, s.Secret, 1
	p.token = sha256.Sum256([]byte(token))
	p.setTags(withTags(tags, s.Tags))
	for _, text := range s.Policies {
		d, err := policy.ParseSessionPolicy(text)
		if err != nil {
			return nil, fmt.Errorf("session policy of %s: %w", p.ARN, err)
		}
		p.SessionPolicies = append(p.SessionPolicies, d)
	}
	return p, nil
}
