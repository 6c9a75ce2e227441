package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"go.yaml.in/yaml/v3"

	"antipode/hsmbackend/p11"
	"antipode/regions/keyring"
	"antipode/regions/roster"
)

// config is the configuration file of one node of one Region. Unknown fields are refused.
type config struct {
	// Region is the Region's name, like us-east-2.
	Region string `yaml:"region"`
	// Data is the folder of the store and the audit log, an absolute path. `antipode init` makes it.
	Data string `yaml:"data"`
	// AuditDir is the folder of the audit log, an absolute path; "" means the folder audit in Data.
	AuditDir string `yaml:"audit_dir"`
	// Listen is the address of the API, like 127.0.0.1:4566. Plain HTTP is served on loopback addresses only; for any
	// other, TLS is needed.
	Listen string `yaml:"listen"`
	// TLS names the certificate and key of the API, PEM files. Both or none.
	TLS struct {
		Certificate string `yaml:"certificate"`
		Key         string `yaml:"key"`
	} `yaml:"tls"`
	// Callers is the file, an absolute path, that says who may call the REST API with a bearer token, a client certificate
	// or a token of an OpenID Connect issuer; "" means that requests must be signed.
	Callers string `yaml:"callers"`
	// PeerListen is the address on which other Regions reach this one, by mutual TLS, like 0.0.0.0:4570.
	PeerListen string `yaml:"peer_listen"`
	// PeerEndpoint is the same address as the others see it, like https://kms.us-east-2.example.net:4570. It goes into
	// the entry that they are given to trust.
	PeerEndpoint string `yaml:"peer_endpoint"`
	// Relay is how Regions are reached, and reach this one, that have no route to each other: by `antipode relay`. With it
	// peer_listen and peer_endpoint may be empty.
	Relay relayLinkConfig `yaml:"relay"`
	// Storage is where the material of single-Region keys is kept: wrapped (the default: in the store, under the domain
	// key) or token (it never leaves the token, and is in no backup of the store). Multi-Region keys' is always wrapped.
	Storage string `yaml:"storage"`
	// MaxKeys is how many keys each account may have in this Region, replicas and keys pending deletion included: the
	// quota that CreateKey and ReplicateKey answer LimitExceededException at. 0, the default, means 100000.
	MaxKeys int `yaml:"max_keys"`
	// MaxAliasesPerKey and MaxGrantsPerKey are the quotas that CreateAlias, UpdateAlias and CreateGrant answer
	// LimitExceededException at, of each key in this Region. 0, the default, means 50 and 50000. What is there already stays.
	MaxAliasesPerKey int `yaml:"max_aliases_per_key"`
	MaxGrantsPerKey  int `yaml:"max_grants_per_key"`
	// CompareEvery is how often the shared states of keys are compared with each other Region's, like 1m, which is the
	// default: so long a replica may stay behind if a push was lost on a Region's own side. At least a second.
	CompareEvery time.Duration `yaml:"compare_every"`
	// FIPS demands key derivations that FIPS 140-3 approves: init and serve refuse a token that does not derive message
	// keys by CKM_SP800_108_COUNTER_KDF with AES-CMAC, encrypt under them itself, and exchange keys by ECDH with
	// CKD_SHA384_KDF or by RSA-OAEP with SHA-256; they say what it lacks. The suites with CKD_NULL and with SHA-1 are then
	// not offered to other Regions, nor taken. It says nothing of the token's own certificate or mode, which are the operator's to check. SoftHSM2 is
	// always refused.
	FIPS bool `yaml:"fips"`
	// Token is the PKCS#11 token that the Region's keys are on.
	Token tokenConfig `yaml:"token"`
	// FurtherTokens are other tokens that hold the Region's keys, or are to: they are opened only while `antipode
	// domain-key new` loads a new version of the domain key into them. `antipode token add` makes a token one of the
	// Region's. Each needs its serial.
	FurtherTokens []tokenConfig `yaml:"further_tokens"`
}

// tokenConfig says which token to use.
type tokenConfig struct {
	// Module is the absolute path of the vendor's PKCS#11 library.
	Module string `yaml:"module" json:"module"`
	// Label and Serial choose the token; at least one is needed, and each one given must match.
	Label  string `yaml:"label" json:"label"`
	Serial string `yaml:"serial" json:"serial"`
	// PINFile holds the user PIN and nothing else but a line end. Only its owner may read it (mode 0400 or 0600).
	PINFile string `yaml:"pin_file" json:"pin_file"`
	// Profile names what is particular to the vendor: softhsm.
	Profile string `yaml:"profile" json:"profile"`
	// Env is set while the library starts, NAME=VALUE each, for instance SOFTHSM2_CONF=/etc/softhsm2.conf.
	Env []string `yaml:"env" json:"env"`
}

// readConfig reads and checks a configuration file; all faults are told at once.
func readConfig(path string) (config, error) {
	var c config
	raw, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return c, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&c); errors.Is(err, io.EOF) {
		return c, fmt.Errorf("%s is empty", path)
	} else if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("%s: more than one document: a file configures one node", path)
	}
	if err := c.validate(); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func (c config) validate() error {
	var errs []error
	if !roster.ValidRegion(c.Region) {
		errs = append(errs, fmt.Errorf("region: %q is not a Region's name, like us-east-2", c.Region))
	}
	if !filepath.IsAbs(c.Data) {
		errs = append(errs, fmt.Errorf("data: %q is not an absolute path", c.Data))
	}
	errs = append(errs, c.Token.validate("token"))
	for i, t := range c.FurtherTokens {
		name := fmt.Sprintf("further_tokens[%d]", i)
		errs = append(errs, t.validate(name))
		if t.Serial == "" {
			errs = append(errs, fmt.Errorf("%s: serial is needed", name))
		}
	}
	if c.AuditDir != "" && !filepath.IsAbs(c.AuditDir) {
		errs = append(errs, fmt.Errorf("audit_dir: %q is not an absolute path", c.AuditDir))
	}
	if c.Storage != "" && c.Storage != "wrapped" && c.Storage != "token" {
		errs = append(errs, fmt.Errorf("storage: %q is neither wrapped nor token", c.Storage))
	}
	for _, q := range []struct {
		name string
		most int
	}{{"max_keys", c.MaxKeys}, {"max_aliases_per_key", c.MaxAliasesPerKey}, {"max_grants_per_key", c.MaxGrantsPerKey}} {
		if q.most < 0 {
			errs = append(errs, fmt.Errorf("%s: %d is negative", q.name, q.most))
		}
	}
	if c.CompareEvery != 0 && c.CompareEvery < time.Second {
		errs = append(errs, fmt.Errorf("compare_every: %s is less than a second", c.CompareEvery))
	}
	return errors.Join(errs...)
}

// validate checks one token; name is what it is called in the configuration.
func (t tokenConfig) validate(name string) error {
	var errs []error
	for _, f := range []struct{ name, path string }{{"module", t.Module}, {"pin_file", t.PINFile}} {
		if !filepath.IsAbs(f.path) {
			errs = append(errs, fmt.Errorf("%s.%s: %q is not an absolute path", name, f.name, f.path))
		}
	}
	if t.Label == "" && t.Serial == "" {
		errs = append(errs, fmt.Errorf("%s: label or serial is needed", name))
	}
	if t.Profile != "softhsm" {
		errs = append(errs, fmt.Errorf("%s.profile: %q is unknown; softhsm is built so far", name, t.Profile))
	}
	return errors.Join(errs...)
}

// validateServe checks what only `antipode serve` needs.
func (c config) validateServe() error {
	var errs []error
	host, _, err := net.SplitHostPort(c.Listen)
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("listen: %w", err))
	case (c.TLS.Certificate == "") != (c.TLS.Key == ""):
		errs = append(errs, errors.New("tls: certificate and key are needed together"))
	case c.TLS.Certificate == "" && !isLoopback(host):
		errs = append(errs, fmt.Errorf("listen: %s is not a loopback address, so tls is needed", c.Listen))
	}
	if c.Callers != "" && !filepath.IsAbs(c.Callers) {
		errs = append(errs, fmt.Errorf("callers: %q is not an absolute path", c.Callers))
	} else if c.Callers != "" {
		if _, err := readCallers(c.Callers, c.TLS.Certificate != ""); err != nil {
			errs = append(errs, fmt.Errorf("callers: %w", err))
		}
	}
	errs = append(errs, c.Relay.validate())
	if _, _, err := net.SplitHostPort(c.PeerListen); err != nil && (c.PeerListen != "" || c.Relay.Address == "") {
		errs = append(errs, fmt.Errorf("peer_listen: %w", err))
	}
	if !strings.HasPrefix(c.PeerEndpoint, "https://") && (c.PeerEndpoint != "" || c.Relay.Address == "") {
		errs = append(errs, fmt.Errorf("peer_endpoint: %q is not like https://host:port", c.PeerEndpoint))
	}
	return errors.Join(errs...)
}

func (c config) api() apiConfig {
	return apiConfig{listen: c.Listen, certificate: c.TLS.Certificate, key: c.TLS.Key}
}

func (c config) storage() keyring.Storage {
	if c.Storage == "token" {
		return keyring.StorageToken
	}
	return keyring.StorageWrapped
}

// readPIN reads a PIN file that only its owner can read.
func readPIN(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o; it must not be readable by others: chmod 0400", path, info.Mode().Perm())
	}
	raw, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	pin := bytes.TrimRight(raw, "\r\n")
	if len(pin) == 0 {
		return nil, fmt.Errorf("%s is empty", path)
	}
	return pin, nil
}

// p11 is how the Region's token is opened.
func (c config) p11(log zerolog.Logger) p11.Config { return c.Token.p11(c.FIPS, log) }

func (t tokenConfig) p11(fips bool, log zerolog.Logger) p11.Config {
	return p11.Config{
		Module: t.Module, Label: t.Label, Serial: t.Serial, Env: t.Env, Profile: p11.SoftHSM(), ApprovedOnly: fips, Log: log,
		PIN: func() ([]byte, error) { return readPIN(t.PINFile) },
	}
}

// further is how a token beside the one that the Region runs on is opened: SoftHSM2 has one folder of tokens for each
// loaded library, so it gets a library of its own.
func (t tokenConfig) further(fips bool, log zerolog.Logger) p11.Config {
	c := t.p11(fips, log)
	c.PrivateCopy = t.Profile == "softhsm"
	return c
}
