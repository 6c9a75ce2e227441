package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.yaml.in/yaml/v3"

	"antipode/regions"
	"antipode/regions/bearer"
	"antipode/regions/rest"
)

// callersFile says who may call the REST API without an AWS signature, and as whom. Unknown fields are refused. It holds
// no secret, but who can write it can call as anybody: only its owner may.
type callersFile struct {
	bearer.Config `yaml:",inline"`
	// ClientCA is the absolute path of the CA certificates, PEM, that the certificates of clients are issued by.
	ClientCA string `yaml:"client_ca"`
}

// readCallers reads and checks such a file; all faults are told at once. overTLS says that the API is served by TLS,
// without which there are no client certificates.
func readCallers(path string, overTLS bool) (bearer.Config, error) {
	var f callersFile
	info, err := os.Stat(path)
	if err != nil {
		return f.Config, err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return f.Config, fmt.Errorf("%s has mode %04o; only its owner may write it: chmod go-w", path, info.Mode().Perm())
	}
	raw, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return f.Config, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil && !errors.Is(err, io.EOF) { // an empty file lets nobody call
		return f.Config, fmt.Errorf("%s: %w", path, err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return f.Config, fmt.Errorf("%s: more than one document", path)
	}
	var errs []error
	if f.ClientCA != "" {
		if !filepath.IsAbs(f.ClientCA) {
			errs = append(errs, fmt.Errorf("client_ca: %q is not an absolute path", f.ClientCA))
		} else if f.ClientCAs, err = os.ReadFile(filepath.Clean(f.ClientCA)); err != nil {
			errs = append(errs, fmt.Errorf("client_ca: %w", err))
		}
	}
	if len(f.Certificates) > 0 && !overTLS {
		errs = append(errs, errors.New("certificates: the API is not served by TLS, so no client can show one"))
	}
	if err := errors.Join(append(errs, f.Validate())...); err != nil {
		return f.Config, fmt.Errorf("%s: %w", path, err)
	}
	return f.Config, nil
}

// callers authenticates those who don't sign, for all Regions of the process, by the file as it was read last.
type callers struct {
	path    string
	overTLS bool
	client  *http.Client // of issuers' keys

	reading sync.Mutex
	regions map[string]*callersOf // by name; not changed
}

// callersOf is a [rest.Authenticator] of one Region.
type callersOf struct {
	region  *regions.Region
	current atomic.Pointer[bearer.Authenticator]
}

// Authenticate implements [rest.Authenticator].
func (c *callersOf) Authenticate(ctx context.Context, req *http.Request) (regions.Caller, error) {
	return c.current.Load().Authenticate(ctx, req)
}

// openCallers reads the file for these Regions. Without one it returns nil, and signatures alone are taken.
func openCallers(path string, overTLS bool, nodes []*node) (*callers, error) {
	if path == "" {
		return nil, nil
	}
	c := &callers{path: path, overTLS: overTLS, client: &http.Client{}, regions: map[string]*callersOf{}}
	for _, n := range nodes {
		c.regions[n.name] = &callersOf{region: n.region}
	}
	if _, err := c.read(); err != nil {
		return nil, err
	}
	for _, n := range nodes {
		n.callers = c
	}
	return c, nil
}

// callersAnswer is what the operator is told of what was read.
type callersAnswer struct {
	File         string `json:"file"`
	Tokens       int    `json:"tokens"`
	Certificates int    `json:"certificates"`
	Issuers      int    `json:"issuers"`
}

// read reads the file and lets it count from now on. After an error all is as it was.
func (c *callers) read() (callersAnswer, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	a := callersAnswer{File: c.path}
	cfg, err := readCallers(c.path, c.overTLS)
	if err != nil {
		return a, err
	}
	made := map[string]*bearer.Authenticator{}
	for name, of := range c.regions {
		if made[name], err = bearer.New(of.region.Directory(), cfg, c.client, time.Now); err != nil {
			return a, fmt.Errorf("%s: %w", c.path, err)
		}
	}
	for name, of := range c.regions {
		of.current.Store(made[name])
	}
	a.Tokens, a.Certificates, a.Issuers = len(cfg.Tokens), len(cfg.Certificates), len(cfg.OIDC)
	return a, nil
}

// authenticators are those of the REST front.
func (c *callers) authenticators() map[string]rest.Authenticator {
	if c == nil {
		return nil
	}
	out := map[string]rest.Authenticator{}
	for name, of := range c.regions {
		out[name] = of
	}
	return out
}

// reloadCallers reads the file again, for the operator of n, in whose audit log that is. It counts for all Regions of the process.
func (n *node) reloadCallers(ctx context.Context) (a callersAnswer, err error) {
	if n.callers == nil {
		return a, errors.New("no file of callers is configured: see 'callers' of the configuration, or --callers of dev")
	}
	err = n.asOperator(ctx, "ReloadCallers", n.callers.path, func(context.Context) error {
		a, err = n.callers.read()
		return err
	})
	return a, err
}
