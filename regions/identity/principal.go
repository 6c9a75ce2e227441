package identity

import (
	"crypto/sha256"
	"crypto/subtle"
	"time"
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
	Session         *Session // of temporary credentials, nil for a user's own access key
	Tags            []Tag    // the user's or role's, where a session's take their place
	Policies        []string // policy documents of the user or role, JSON
	SessionPolicies []string
	Administrator   bool // Policies are the administrator's, and no session policy narrows them
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

func userPrincipal(u User) *Principal {
	return &Principal{
		Account: u.Account, Name: u.Name, ARN: u.ARN(), UserID: u.ID, Tags: u.Tags, Policies: documents(u.Policies),
		Administrator: u.Administrator(),
	}
}

func rolePrincipal(r Role, session string) *Principal {
	return &Principal{
		Account: r.Account, Name: r.Name, ARN: r.SessionARN(session), RoleARN: r.ARN(), UserID: r.ID + ":" + session,
		Role: true, Tags: r.Tags, Policies: documents(r.Policies), Administrator: r.Administrator(),
	}
}

// withSession gives the principal the credentials of a session.
func (p *Principal) withSession(s Session, token string) *Principal {
	p.Session, p.AccessKeyID, p.Secret, p.Generation = &s, s.AccessKeyID, s.Secret, 1
	p.token = sha256.Sum256([]byte(token))
	p.Tags, p.SessionPolicies = withTags(p.Tags, s.Tags), s.Policies
	p.Administrator = p.Administrator && len(s.Policies) == 0
	return p
}
