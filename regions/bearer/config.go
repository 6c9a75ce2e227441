package bearer

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"antipode/regions/identity"
)

// Config says who may call without signing by SigV4, and as whom. A principal is the ARN of a user, or of a role, of which
// the call is then a session.
type Config struct {
	// Tokens are static bearer tokens, of which only the hashes are kept.
	Tokens []Token `yaml:"tokens"`
	// Certificates are clients' TLS certificates, issued by one of ClientCAs.
	Certificates []Certificate `yaml:"certificates"`
	// ClientCAs are the CA certificates, PEM.
	ClientCAs []byte `yaml:"-"`
	// OIDC are the issuers whose JSON Web Tokens are accepted.
	OIDC []Issuer `yaml:"oidc"`
}

// Token is a static bearer token. It stops working when it is taken out of the configuration, or its principal is disabled.
type Token struct {
	// SHA256 is the hash of the whole token in 64 hex digits; see [NewToken].
	SHA256 string `yaml:"sha256"`
	// Principal is a user's or a role's ARN.
	Principal string `yaml:"principal"`
	// Session names the sessions of a role; needed with a role, and only there.
	Session string `yaml:"session"`
	// Expires is when the token stops working, like 2027-03-31T00:00:00Z; none means never.
	Expires time.Time `yaml:"expires"`
}

// Certificate maps client certificates to a principal.
type Certificate struct {
	// Name is what the certificate has: "uri:", "dns:" or "email:" and a subject alternative name, or "subject:" and the
	// whole subject in RFC 2253's form. It must be the same text.
	Name string `yaml:"name"`
	// Principal and Session are as a token's.
	Principal string `yaml:"principal"`
	Session   string `yaml:"session"`
}

// Issuer is an OpenID Connect issuer, and what its tokens mean here. Whether a role's trust policy names the issuer is not
// asked: this mapping is what lets its tokens act as the role.
type Issuer struct {
	// Issuer is compared with the claim iss, as it stands.
	Issuer string `yaml:"issuer"`
	// Audience must be in the claim aud.
	Audience string `yaml:"audience"`
	// JWKS is where the issuer's public keys are: an https URL or an absolute path.
	JWKS string `yaml:"jwks"`
	// JWKSCA is the absolute path of the CA certificates, PEM, that vouch for an https URL; "" means those of the machine.
	JWKSCA string `yaml:"jwks_ca"`
	// Algorithms are those accepted: RS256, PS256, ES256, ES384 or EdDSA. None means RS256 and ES256.
	Algorithms []string `yaml:"algorithms"`
	// Roles are tried in order; the first that fits is the caller's.
	Roles []ClaimRole `yaml:"roles"`
}

// ClaimRole gives tokens with a claim a role. The claim is a text or an array of texts; one of them is Value, as it stands.
type ClaimRole struct {
	Claim string `yaml:"claim"`
	Value string `yaml:"value"`
	Role  string `yaml:"role"` // ARN
}

// Validate returns all faults of the configuration joined, or nil.
func (c Config) Validate() error {
	var errs []error
	seen := map[string]bool{}
	for i, t := range c.Tokens {
		if raw, err := hex.DecodeString(t.SHA256); err != nil || len(raw) != sha256.Size || strings.ToLower(t.SHA256) != t.SHA256 || seen[t.SHA256] {
			errs = append(errs, fmt.Errorf("tokens[%d].sha256: not 64 hex digits in lower case, or there twice", i))
		}
		seen[t.SHA256] = true
		errs = append(errs, checkPrincipal(fmt.Sprintf("tokens[%d]", i), t.Principal, t.Session))
	}
	for i, m := range c.Certificates {
		kind, name, _ := strings.Cut(m.Name, ":")
		if !slices.Contains([]string{"uri", "dns", "email", "subject"}, kind) || name == "" || seen[m.Name] {
			errs = append(errs, fmt.Errorf("certificates[%d].name: not uri:, dns:, email: or subject: and a name, or there twice", i))
		}
		seen[m.Name] = true
		errs = append(errs, checkPrincipal(fmt.Sprintf("certificates[%d]", i), m.Principal, m.Session))
	}
	if len(c.Certificates) > 0 && !x509.NewCertPool().AppendCertsFromPEM(c.ClientCAs) {
		errs = append(errs, errors.New("certificates: no CA certificate to verify them by"))
	}
	for i, o := range c.OIDC {
		errs = append(errs, o.validate(fmt.Sprintf("oidc[%d]", i), seen))
	}
	return errors.Join(errs...)
}

func (o Issuer) validate(at string, seen map[string]bool) error {
	var errs []error
	if o.Issuer == "" || o.Audience == "" || seen[o.Issuer] {
		errs = append(errs, fmt.Errorf("%s: issuer and audience are needed, and an issuer once only", at))
	}
	seen[o.Issuer] = true
	if u, err := url.Parse(o.JWKS); !filepath.IsAbs(o.JWKS) && (err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil) {
		errs = append(errs, fmt.Errorf("%s.jwks: neither an https URL nor an absolute path", at))
	}
	if o.JWKSCA != "" && (!filepath.IsAbs(o.JWKSCA) || filepath.IsAbs(o.JWKS)) {
		errs = append(errs, fmt.Errorf("%s.jwks_ca: an absolute path, and only with an https URL", at))
	}
	for _, a := range o.Algorithms {
		if !slices.Contains([]string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}, a) {
			errs = append(errs, fmt.Errorf("%s.algorithms: %.20q is not accepted", at, a))
		}
	}
	if len(o.Roles) == 0 {
		errs = append(errs, fmt.Errorf("%s.roles: no role, so no token would be of use", at))
	}
	for j, r := range o.Roles {
		if _, _, _, err := identity.ParseRoleARN(r.Role); err != nil || r.Claim == "" || r.Value == "" {
			errs = append(errs, fmt.Errorf("%s.roles[%d]: claim, value and a role's ARN are needed", at, j))
		}
	}
	return errors.Join(errs...)
}

func checkPrincipal(at, arn, session string) error {
	if _, _, _, err := identity.ParseUserARN(arn); err == nil && session == "" {
		return nil
	}
	if _, _, _, err := identity.ParseRoleARN(arn); err == nil && validSession(session) {
		return nil
	}
	return fmt.Errorf("%s: principal is a user's ARN, or a role's with a session name of 2 to 64 letters, digits and +=,.@_-", at)
}

func validSession(name string) bool { return len(name) >= 2 && identity.ValidateUserName(name) == nil }
