// Package signed authenticates requests that are signed by AWS Signature Version 4, for every front that AWS clients
// speak to.
//
// Invariants:
//   - Nothing of a request but its headers, and no more than MaxBody of its body, is looked at before its signature is
//     verified; what an [Authenticator] returns is covered by the signature.
//   - No verdict is kept: each request is verified, its credentials' expiry included.
package signed

import (
	"context"
	"errors"
	"net/http"
	"time"

	"antipode/regions"
	"antipode/regions/edge"
	"antipode/regions/identity"
	"antipode/regions/sigv4"
)

// MaxBody is the largest body in bytes of a request that [Authenticator.Authenticate] takes.
const MaxBody = edge.MaxBody

// lookUpTime bounds the look-up of an access key, which may ask store and token.
const lookUpTime = 30 * time.Second

// Authenticator authenticates the requests of one service for one or more Regions; a request goes to the one whose name
// its signature is scoped to. It is safe for concurrent use.
type Authenticator struct {
	regions  map[string]*regions.Region
	verifier *sigv4.Verifier
}

// Request is a request whose signature was verified.
type Request struct {
	Region *regions.Region
	Caller regions.Caller
	Body   []byte
}

// New returns an authenticator of a service, "kms". now is the real clock, by which signatures are dated.
func New(service string, served []*regions.Region, now func() time.Time) (*Authenticator, error) {
	verifier, err := sigv4.NewVerifier(sigv4.Config{Service: service, Now: now})
	if err != nil {
		return nil, err
	}
	a := &Authenticator{regions: map[string]*regions.Region{}, verifier: verifier}
	for _, r := range served {
		a.regions[r.Name()] = r
	}
	return a, nil
}

// Authenticate reads and verifies a request. Refusals are [*sigv4.Error], and [*regions.Error]
// for a body that is too large or can't be read; other errors are failures of the service.
func (a *Authenticator) Authenticate(w http.ResponseWriter, req *http.Request, requestID string) (Request, error) {
	return a.AuthenticateUpTo(w, req, requestID, MaxBody)
}

// AuthenticateUpTo is [Authenticator.Authenticate] for a request whose body may have up to limit bytes.
func (a *Authenticator) AuthenticateUpTo(w http.ResponseWriter, req *http.Request, requestID string, limit int64) (Request, error) {
	signature, err := sigv4.Parse(req)
	if err != nil {
		return Request{}, err
	}
	region, served := a.regions[signature.Region]
	if !served {
		return Request{}, sigv4.Refusal(sigv4.ErrRegion)
	}
	body, err := edge.ReadBody(w, req, limit)
	if err != nil {
		return Request{}, err
	}
	ctx, cancel := context.WithTimeout(req.Context(), lookUpTime)
	defer cancel()
	p, err := region.Directory().Resolve(ctx, signature.AccessKeyID, signature.SessionToken())
	if errors.Is(err, identity.ErrUnknownKey) {
		return Request{}, sigv4.Refusal(sigv4.ErrUnknownKey)
	}
	if err != nil {
		return Request{}, err
	}
	// The directory has compared the session token with the one that the access key belongs to.
	key := sigv4.Key{Secret: p.Secret.Reveal(), Generation: p.Generation, SessionToken: signature.SessionToken()}
	if err := a.verifier.Verify(signature, body, key); err != nil {
		return Request{}, err
	}
	if p.Expired(region.Now()) {
		return Request{}, sigv4.Refusal(sigv4.ErrTokenExpired)
	}
	caller := regions.CallerOf(p)
	edge.Seen(&caller, req, requestID)
	return Request{Region: region, Caller: caller, Body: body}, nil
}
