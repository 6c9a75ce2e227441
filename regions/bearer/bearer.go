// Package bearer authenticates requests that are not signed: by static bearer tokens, by OpenID Connect tokens, and by
// clients' TLS certificates.
//
// Invariants:
//   - What a caller may do is read from the store at each call: a principal that is disabled, deleted or revoked is refused
//     by the next one. Nothing of a verdict is kept.
//   - Only the hash of a static token is known; no error and no log has a token or what it claims.
//   - An OpenID Connect token is believed only after its signature was verified by a key of its issuer's own set that its
//     header names, under an algorithm of the configuration. What else its header offers as a key refuses it.
//   - A request with an Authorization header is judged by that alone, and one that is refused is not tried by its
//     certificate.
package bearer

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"antipode/regions"
	"antipode/regions/identity"
)

var (
	// ErrRefused says that the request has no credentials that are accepted here. Its text says why, for the log.
	ErrRefused = errors.New("credentials refused")
	// ErrUnavailable says that an issuer's keys can't be read, so that nothing can be said of its tokens.
	ErrUnavailable = errors.New("the issuer's keys are not to be had")
)

const (
	tokenPrefix = "antipode_"
	tokenLength = len(tokenPrefix) + 43 // of 32 bytes in base64url
	maxToken    = 16 << 10
)

// Identities finds principals; *identity.Directory does.
type Identities interface {
	Named(ctx context.Context, arn string) (*identity.Principal, error)
	RoleSession(ctx context.Context, roleARN, session string, issued time.Time) (*identity.Principal, error)
}

// Authenticator authenticates requests. It is safe for concurrent use.
type Authenticator struct {
	identities Identities
	tokens     map[[sha256.Size]byte]Token
	certs      map[string]Certificate
	roots      *x509.CertPool
	issuers    map[string]*issuer
	now        func() time.Time
}

// New returns an authenticator. client fetches issuers' keys, and now is the real clock, by which tokens and certificates
// are dated.
func New(identities Identities, cfg Config, client *http.Client, now func() time.Time) (*Authenticator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("bearer: %w", err)
	}
	a := &Authenticator{
		identities: identities, tokens: map[[sha256.Size]byte]Token{}, certs: map[string]Certificate{},
		roots: x509.NewCertPool(), issuers: map[string]*issuer{}, now: now,
	}
	for _, t := range cfg.Tokens {
		raw, err := hex.DecodeString(t.SHA256)
		if err != nil {
			return nil, fmt.Errorf("bearer: %w", err)
		}
		a.tokens[[sha256.Size]byte(raw)] = t
	}
	a.roots.AppendCertsFromPEM(cfg.ClientCAs)
	for _, c := range cfg.Certificates {
		a.certs[c.Name] = c
	}
	for _, o := range cfg.OIDC {
		i, err := newIssuer(o, client, now)
		if err != nil {
			return nil, fmt.Errorf("bearer: issuer %s: %w", o.Issuer, err)
		}
		a.issuers[o.Issuer] = i
	}
	return a, nil
}

// NewToken makes a static bearer token of 256 random bits, "antipode_" and 43 characters, and the hash that a [Token] has.
func NewToken(random io.Reader) (token, hash string, err error) {
	raw := make([]byte, 32)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", "", fmt.Errorf("make bearer token: %w", err)
	}
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(raw)
	sum := sha256.Sum256([]byte(token))
	return token, hex.EncodeToString(sum[:]), nil
}

// Authenticate returns who makes a request. It returns [ErrRefused], [ErrUnavailable], or a failure of the store.
func (a *Authenticator) Authenticate(ctx context.Context, req *http.Request) (regions.Caller, error) {
	caller, err := a.authenticate(ctx, req)
	if errors.Is(err, identity.ErrUnknownKey) {
		return regions.Caller{}, fmt.Errorf("%w: its principal is not there, or not enabled", ErrRefused)
	}
	if err != nil {
		return regions.Caller{}, err
	}
	if host, _, err := net.SplitHostPort(req.RemoteAddr); err == nil {
		caller.SourceIP = host
	}
	caller.UserAgent, caller.SecureTransport = req.UserAgent(), req.TLS != nil
	return caller, nil
}

func (a *Authenticator) authenticate(ctx context.Context, req *http.Request) (regions.Caller, error) {
	header := req.Header.Values("Authorization")
	switch {
	case len(header) > 1:
		return regions.Caller{}, fmt.Errorf("%w: several Authorization headers", ErrRefused)
	case len(header) == 1:
		scheme, token, ok := strings.Cut(header[0], " ")
		if !ok || !strings.EqualFold(scheme, "Bearer") || len(token) > maxToken {
			return regions.Caller{}, fmt.Errorf("%w: not a bearer token", ErrRefused)
		}
		if strings.HasPrefix(token, tokenPrefix) {
			return a.static(ctx, token)
		}
		return a.oidc(ctx, token)
	case req.TLS != nil && len(req.TLS.PeerCertificates) > 0:
		return a.certificate(ctx, req.TLS.PeerCertificates)
	}
	return regions.Caller{}, fmt.Errorf("%w: there are none", ErrRefused)
}

// static looks a token up by its hash, so that how long it takes says nothing about any token.
func (a *Authenticator) static(ctx context.Context, token string) (regions.Caller, error) {
	t, known := a.tokens[sha256.Sum256([]byte(token))]
	if !known || len(token) != tokenLength {
		return regions.Caller{}, fmt.Errorf("%w: unknown token", ErrRefused)
	}
	if !t.Expires.IsZero() && !a.now().Before(t.Expires) {
		return regions.Caller{}, fmt.Errorf("%w: the token has expired", ErrRefused)
	}
	return a.principal(ctx, t.Principal, t.Session, regions.Proof{Kind: "BearerToken", Credential: credential(t.SHA256)})
}

// credential names a token or certificate by its hash in hex.
func credential(hash string) string { return "sha256:" + hash[:32] }

func (a *Authenticator) certificate(ctx context.Context, chain []*x509.Certificate) (regions.Caller, error) {
	leaf, between := chain[0], x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: a.roots, Intermediates: between, CurrentTime: a.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return regions.Caller{}, fmt.Errorf("%w: client certificate: %w", ErrRefused, err)
	}
	var found []Certificate
	for _, name := range certificateNames(leaf) {
		if m, ok := a.certs[name]; ok {
			found = append(found, m)
		}
	}
	if len(found) != 1 {
		return regions.Caller{}, fmt.Errorf("%w: the certificate has %d of the names that are mapped", ErrRefused, len(found))
	}
	sum := sha256.Sum256(leaf.Raw)
	return a.principal(ctx, found[0].Principal, found[0].Session,
		regions.Proof{Kind: "ClientCertificate", Credential: credential(hex.EncodeToString(sum[:]))})
}

func certificateNames(c *x509.Certificate) []string {
	names := []string{"subject:" + c.Subject.String()}
	for _, u := range c.URIs {
		names = append(names, "uri:"+u.String())
	}
	for _, d := range c.DNSNames {
		names = append(names, "dns:"+d)
	}
	for _, e := range c.EmailAddresses {
		names = append(names, "email:"+e)
	}
	return names
}

// principal is the user, or a session of the role that begins now.
func (a *Authenticator) principal(ctx context.Context, arn, session string, proof regions.Proof) (regions.Caller, error) {
	if session != "" {
		return a.session(ctx, arn, session, a.now(), proof)
	}
	p, err := a.identities.Named(ctx, arn)
	if err != nil {
		return regions.Caller{}, err
	}
	c := regions.CallerOf(p)
	c.Proof = proof
	return c, nil
}

func (a *Authenticator) session(ctx context.Context, role, session string, issued time.Time, proof regions.Proof) (regions.Caller, error) {
	p, err := a.identities.RoleSession(ctx, role, session, issued)
	if err != nil {
		return regions.Caller{}, err
	}
	c := regions.CallerOf(p)
	c.Session, c.SessionName, c.TokenIssued, c.Proof = true, session, issued, proof
	return c, nil
}
