package main_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	stdjson "encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/go-jose/go-jose/v4"

	"antipode/regions/identity"
)

// authority is a CA.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	var a authority
	c := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "CA"}}
	issued := a.issue(t, c, time.Hour)
	a.key = issued.PrivateKey.(*ecdsa.PrivateKey)
	a.cert = issued.Leaf
	return a
}

// issue makes a certificate, by itself if there is no CA yet, that is valid until then.
func (a authority) issue(t *testing.T, c *x509.Certificate, valid time.Duration) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(7), time.Now().Add(-2*time.Hour), time.Now().Add(valid)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}
}

func (a authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// callersWorld is a Region that is served over TLS, an issuer of OpenID Connect tokens, and CAs.
type callersWorld struct {
	site                 *site
	p                    *program
	serverCA, clientCA   authority
	callersFile, profile string
	issuer               string
	issuerCA             string
	keys                 atomic.Pointer[[]byte] // the issuer's key set
	ec, ec2              *ecdsa.PrivateKey
	roots                *x509.CertPool
}

func newCallersWorld(t *testing.T) *callersWorld {
	t.Helper()
	w := &callersWorld{site: newSite(t), serverCA: newAuthority(t), clientCA: newAuthority(t), roots: x509.NewCertPool()}
	w.callersFile, w.profile = filepath.Join(w.site.dir, "callers.yaml"), filepath.Join(w.site.dir, "credentials")
	var err error
	for _, k := range []**ecdsa.PrivateKey{&w.ec, &w.ec2} {
		if *k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	w.publish(t, map[string]*ecdsa.PrivateKey{"k1": w.ec})
	issuer := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		if _, err := out.Write(*w.keys.Load()); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(issuer.Close)
	w.issuer = issuer.URL
	w.issuerCA = w.file(t, "issuer-ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw}))

	w.roots.AddCert(w.serverCA.cert)
	server := w.serverCA.issue(t, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, time.Hour)
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile := w.file(t, "server.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate[0]}))
	keyFile := w.file(t, "server.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	w.site.write(t, east, func(text string) string {
		return text + fmt.Sprintf("callers: %s\ntls:\n  certificate: %s\n  key: %s\n", w.callersFile, certFile, keyFile)
	})
	return w
}

func (w *callersWorld) file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(w.site.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// start makes the Region and its users, and serves.
func (w *callersWorld) start(t *testing.T) {
	t.Helper()
	w.site.init(t, "--credentials", w.profile)
	w.p = launch(t, "serve", "--config", w.site.config)
	if err := w.p.waitReady(); err != nil {
		t.Fatalf("%v\n%s", err, w.p.stderr(t))
	}
	const account = "111122223333"
	trust := w.file(t, "trust.json", []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+account+`"},"Action":"sts:AssumeRole"}]}`))
	policy := w.file(t, "policy.json", []byte(identity.AdministratorPolicy))
	w.identity(t, "role", "create", "--account", account, "--name", "deployer", "--trust", trust)
	w.identity(t, "policy", "put", "--account", account, "--role", "deployer", "--policy", "p", "--document", policy)
	w.identity(t, "user", "create", "--account", account, "--name", "bob")
	w.identity(t, "policy", "put", "--account", account, "--user", "bob", "--policy", "p", "--document", policy)
	w.identity(t, "user", "create", "--account", account, "--name", "nobody")
}

func (w *callersWorld) socket() string { return filepath.Join(w.site.data, "admin.sock") }

func (w *callersWorld) identity(t *testing.T, args ...string) {
	t.Helper()
	c := launch(t, append(append([]string{"identity"}, args...), "--socket", w.socket())...)
	if status, _ := c.wait(t); status != 0 {
		t.Fatalf("%v: %s", args, c.stderr(t))
	}
}

func (w *callersWorld) reload(t *testing.T, good bool) {
	t.Helper()
	c := launch(t, "callers", "reload", "--socket", w.socket())
	if status, _ := c.wait(t); (status == 0) != good {
		t.Fatalf("reload: exit status %d, %s", status, c.stderr(t))
	}
}

// staticToken is what `antipode callers token` prints.
type staticToken struct{ secret, entry string }

func (w *callersWorld) newToken(t *testing.T, args ...string) staticToken {
	t.Helper()
	c := launch(t, append([]string{"callers", "token"}, args...)...)
	status, out := c.wait(t)
	first, rest, _ := strings.Cut(out, "\n")
	secret, is := strings.CutPrefix(first, "token ")
	if status != 0 || !is || strings.Contains(rest, secret) {
		t.Fatalf("%v: %d %q %s", args, status, out, c.stderr(t))
	}
	return staticToken{secret, rest}
}

// writeCallers writes the file of callers with these tokens.
func (w *callersWorld) writeCallers(t *testing.T, tokens ...staticToken) {
	t.Helper()
	text := "client_ca: " + w.file(t, "client-ca.pem", w.clientCA.pem()) + `
certificates:
  - name: uri:spiffe://example/app
    principal: arn:aws:iam::111122223333:role/deployer
    session: app
oidc:
  - issuer: ` + w.issuer + `
    audience: antipode
    jwks: ` + w.issuer + `/keys
    jwks_ca: ` + w.issuerCA + `
    algorithms: [ES256]
    roles:
      - {claim: groups, value: deployers, role: "arn:aws:iam::111122223333:role/deployer"}
tokens:
`
	for _, one := range tokens {
		text += one.entry
	}
	w.file(t, filepath.Base(w.callersFile), []byte(text))
}

// publish replaces the issuer's key set.
func (w *callersWorld) publish(t *testing.T, keys map[string]*ecdsa.PrivateKey) {
	t.Helper()
	var set jose.JSONWebKeySet
	for id, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: &k.PublicKey, KeyID: id})
	}
	raw, err := stdjson.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	w.keys.Store(&raw)
}

// jwt is a token of the issuer that ends then.
func (w *callersWorld) jwt(t *testing.T, kid string, key *ecdsa.PrivateKey, group string, valid time.Duration) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := stdjson.Marshal(map[string]any{
		"iss": w.issuer, "sub": "ci-7", "aud": "antipode", "groups": []string{group},
		"iat": time.Now().Add(-10 * time.Minute).Unix(), "exp": time.Now().Add(valid).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	made, err := s.Sign(raw)
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// client is a client certificate with this URI.
func (w *callersWorld) client(t *testing.T, uri string, ca authority, valid time.Duration) *tls.Certificate {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	return ca.issue(t, &x509.Certificate{URIs: []*url.URL{u}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, valid)
}

func (w *callersWorld) https(cert *tls.Certificate) *http.Client {
	cfg := &tls.Config{RootCAs: w.roots, MinVersion: tls.VersionTLS12}
	if cert != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}}
}

// signing is the official client as the administrator.
func (w *callersWorld) signing(t *testing.T) *kms.Client {
	t.Helper()
	c := clientOf(t, w.p.origin, w.profile, east)
	return kms.New(c.Options(), func(o *kms.Options) { o.HTTPClient = w.https(nil) })
}

// loggedEvent is what is read of an event of the audit log.
type loggedEvent struct {
	EventName    string `json:"eventName"`
	UserIdentity struct {
		ARN            string `json:"arn"`
		SessionContext struct {
			SessionIssuer struct {
				ARN string `json:"arn"`
			} `json:"sessionIssuer"`
			WebID struct {
				Provider   string            `json:"federatedProvider"`
				Attributes map[string]string `json:"attributes"`
			} `json:"webIdFederationData"`
		} `json:"sessionContext"`
	} `json:"userIdentity"`
	AdditionalEventData map[string]string `json:"additionalEventData"`
}

func (w *callersWorld) logs(t *testing.T) (all [][]byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.site.data, "audit", "*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d audit files, %v", len(files), err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, raw)
	}
	return all
}

// lastEvent is the newest event of this name.
func (w *callersWorld) lastEvent(t *testing.T, name string) (last loggedEvent) {
	t.Helper()
	for _, raw := range w.logs(t) {
		lines := bufio.NewScanner(bytes.NewReader(raw))
		lines.Buffer(nil, 2<<20)
		for lines.Scan() {
			var rec struct {
				Event loggedEvent `json:"event"`
			}
			if stdjson.Unmarshal(lines.Bytes(), &rec) == nil && rec.Event.EventName == name {
				last = rec.Event
			}
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return last
}
