package bearer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
)

const (
	maxJWKS      = 512 << 10
	maxKeys      = 100
	fetchTime    = 10 * time.Second
	refreshAfter = time.Hour      // a set of this age is read again
	retryAfter   = time.Minute    // at most one attempt in this time, whatever tokens name
	staleAfter   = 24 * time.Hour // a set that can't be read again is used so long
)

// issuer is a configured issuer with the keys that it was last seen to have.
type issuer struct {
	Issuer
	algorithms []string
	client     *http.Client
	now        func() time.Time

	mu    sync.Mutex
	set   jose.JSONWebKeySet
	read  time.Time // of set
	tried time.Time
	fault error // of the last attempt
}

func newIssuer(o Issuer, client *http.Client, now func() time.Time) (*issuer, error) {
	own := *client
	if o.JWKSCA != "" {
		raw, err := os.ReadFile(filepath.Clean(o.JWKSCA))
		if err != nil {
			return nil, fmt.Errorf("jwks_ca: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("jwks_ca: %s has no certificate", o.JWKSCA)
		}
		own.Transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: fetchTime, IdleConnTimeout: fetchTime, ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		}
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("redirected") }
	own.Timeout = fetchTime
	i := &issuer{Issuer: o, algorithms: o.Algorithms, client: &own, now: now}
	if len(i.algorithms) == 0 {
		i.algorithms = []string{string(jose.RS256), string(jose.ES256)}
	}
	return i, nil
}

// key returns the one key of the issuer's set with this id, [ErrRefused] if there is none or several, and [ErrUnavailable] if
// the set can't be read and was not read for a day.
func (i *issuer) key(ctx context.Context, id string) (jose.JSONWebKey, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	found := i.set.Key(id)
	now := i.now()
	if (len(found) == 0 || now.Sub(i.read) > refreshAfter) && (i.tried.IsZero() || now.Sub(i.tried) >= retryAfter) {
		i.tried = now
		set, err := i.fetch(ctx)
		if i.fault = err; err == nil {
			i.set, i.read = set, now
		}
		found = i.set.Key(id)
	}
	switch {
	case i.read.IsZero() || now.Sub(i.read) > staleAfter:
		return jose.JSONWebKey{}, fmt.Errorf("%w: %w", ErrUnavailable, i.fault)
	case len(found) != 1:
		return jose.JSONWebKey{}, fmt.Errorf("%w: the issuer has %d keys of the id that the token names", ErrRefused, len(found))
	}
	return found[0], nil
}

func (i *issuer) fetch(ctx context.Context) (set jose.JSONWebKeySet, err error) {
	var body io.ReadCloser
	if filepath.IsAbs(i.JWKS) {
		if body, err = os.Open(filepath.Clean(i.JWKS)); err != nil {
			return set, err
		}
	} else {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.JWKS, nil)
		if err != nil {
			return set, err
		}
		resp, err := i.client.Do(req)
		if err != nil {
			return set, err
		}
		body = resp.Body
		if resp.StatusCode != http.StatusOK {
			return set, errors.Join(fmt.Errorf("the issuer answers %s", resp.Status), body.Close())
		}
	}
	raw, err := io.ReadAll(io.LimitReader(body, maxJWKS+1))
	if err := errors.Join(err, body.Close()); err != nil {
		return set, err
	}
	if len(raw) > maxJWKS {
		return set, fmt.Errorf("the key set has more than %d bytes", maxJWKS)
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		return set, errors.New("the key set is no JWKS")
	}
	if len(set.Keys) == 0 || len(set.Keys) > maxKeys {
		return set, fmt.Errorf("the key set has %d keys", len(set.Keys))
	}
	return set, nil
}
