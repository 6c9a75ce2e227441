package regions

import (
	"strings"
	"time"

	"antipode/regions/audit"
)

// Proof is how a caller was authenticated otherwise than by a signature. It goes into the audit log, and holds nothing
// that could be used to authenticate.
type Proof struct {
	// Kind is BearerToken, ClientCertificate or OpenIDConnect; "" for a signature.
	Kind string
	// Credential is which one it was: "sha256:" and digits of the hash of a static token or of a certificate, or the id of
	// the key that has signed an OpenID Connect token.
	Credential string
	// Issuer, Subject and Audience are the claims iss, sub and the accepted aud of an OpenID Connect token.
	Issuer, Subject, Audience string
}

func (p *Proof) fields() (f audit.Fields) {
	if p.Kind == "" {
		return f
	}
	f.Str("authentication", p.Kind)
	f.Str("credential", p.Credential)
	return f
}

// identity is the caller in CloudTrail's form.
func (c *Caller) identity() audit.UserIdentity {
	u := audit.UserIdentity{
		Type: "IAMUser", PrincipalID: c.UserID, ARN: c.ARN, AccountID: c.Account, AccessKeyID: c.AccessKeyID, UserName: c.UserName,
	}
	switch c.Kind {
	case PrincipalAssumedRole:
		u.Type = "AssumedRole"
	case PrincipalAccount:
		u.Type = "Root"
	case PrincipalUser:
	}
	if c.Session {
		u.SessionContext = c.sessionContext()
	}
	return u
}

// sessionContext says whose session it is, who vouched for it, and since when.
func (c *Caller) sessionContext() (f audit.Fields) {
	if c.RoleARN != "" {
		var issuer audit.Fields
		id, _, _ := strings.Cut(c.UserID, ":")
		issuer.Str("type", "Role")
		issuer.Str("principalId", id)
		issuer.Str("arn", c.RoleARN)
		issuer.Str("accountId", c.Account)
		issuer.Str("userName", c.RoleARN[strings.LastIndexByte(c.RoleARN, '/')+1:])
		f.Object("sessionIssuer", issuer)
	}
	if c.Proof.Issuer != "" {
		var web audit.Fields
		web.Str("federatedProvider", c.Proof.Issuer)
		web.Map("attributes", map[string]string{"aud": c.Proof.Audience, "sub": c.Proof.Subject})
		f.Object("webIdFederationData", web)
	}
	f.Map("attributes", map[string]string{
		"creationDate": c.TokenIssued.UTC().Format(time.RFC3339), "mfaAuthenticated": trueOrFalse(c.MultiFactor),
	})
	if c.SourceIdentity != "" {
		f.Str("sourceIdentity", c.SourceIdentity)
	}
	return f
}

func trueOrFalse(b bool) string {
	if b {
		return "true"
	}
	return "false"
}
