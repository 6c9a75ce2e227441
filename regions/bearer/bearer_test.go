package bearer_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	stdjson "encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"antipode/regions/bearer"
	"antipode/regions/identity"
	"antipode/regions/regionstest"
)

const (
	roleARN = "arn:aws:iam::" + regionstest.Account + ":role/deployer"
	userARN = "arn:aws:iam::" + regionstest.Account + ":user/alice"
)

// world is a Region with a role and a user, an issuer that serves its keys over HTTPS, and an authenticator of both.
type world struct {
	*regionstest.Fixture
	a      *bearer.Authenticator
	role   identity.Role
	user   identity.User
	now    atomic.Int64 // Unix time of the authenticator's clock
	rsa    *rsa.PrivateKey
	ec     *ecdsa.PrivateKey
	served struct {
		sync.Mutex
		body  []byte
		calls int
	}
	issuer string
	token  string // static, of the user
	// expiring is another, which works for 3600 seconds.
	expiring string
	ca       *x509.Certificate
	caKey    *ecdsa.PrivateKey
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Fixture: regionstest.Open(t, "us-east-2")}
	w.now.Store(time.Now().Unix())
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}]}`
	var err error
	if w.role, err = identity.NewRole(rand.Reader, regionstest.Account, "deployer", []byte(trust), 1); err != nil {
		t.Fatal(err)
	}
	w.role = w.role.WithPolicy("p", []byte(identity.AdministratorPolicy))
	w.Apply(t, identity.Bundle{Role: &w.role})
	if w.user, err = identity.NewUser(rand.Reader, regionstest.Account, "alice", 1); err != nil {
		t.Fatal(err)
	}
	w.Apply(t, identity.Bundle{User: &w.user})
	if w.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if w.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	w.serve(t, w.keys(t))
	server := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		w.served.Lock()
		defer w.served.Unlock()
		w.served.calls++
		if w.served.body == nil {
			out.WriteHeader(http.StatusInternalServerError)
			return
		}
		if _, err := out.Write(w.served.body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	w.issuer = server.URL
	token, hash, err := bearer.NewToken(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.token = token
	expiring, expiringHash, err := bearer.NewToken(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.expiring = expiring
	w.caKey, w.ca = w.certificate(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	w.a, err = bearer.New(w.Region.Directory(), bearer.Config{
		Tokens: []bearer.Token{
			{SHA256: hash, Principal: userARN},
			{SHA256: expiringHash, Principal: userARN, Expires: time.Unix(w.now.Load()+3601, 0)},
		},
		Certificates: []bearer.Certificate{{Name: "uri:spiffe://example/app", Principal: roleARN, Session: "app"}, {Name: "dns:app.example", Principal: userARN}},
		ClientCAs:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.ca.Raw}),
		OIDC: []bearer.Issuer{{
			Issuer: w.issuer, Audience: "antipode", JWKS: w.issuer, Algorithms: []string{"RS256", "ES256"},
			Roles: []bearer.ClaimRole{{Claim: "groups", Value: "deployers", Role: roleARN}},
		}},
	}, server.Client(), func() time.Time { return time.Unix(w.now.Load(), 0) })
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) keys(t *testing.T) jose.JSONWebKeySet {
	t.Helper()
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: &w.rsa.PublicKey, KeyID: "rsa", Use: "sig", Algorithm: "RS256"},
		{Key: &w.ec.PublicKey, KeyID: "ec"},
		{Key: &w.rsa.PublicKey, KeyID: "twice"},
		{Key: &w.ec.PublicKey, KeyID: "twice"},
		{Key: &w.rsa.PublicKey, KeyID: "enc", Use: "enc"},
		{Key: []byte("a symmetric key that was published"), KeyID: "oct"},
	}}
}

func (w *world) serve(t *testing.T, set jose.JSONWebKeySet) {
	t.Helper()
	raw, err := stdjson.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	w.served.Lock()
	defer w.served.Unlock()
	w.served.body = raw
}

func (w *world) certificate(t *testing.T, c *x509.Certificate, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(2), pkix.Name{CommonName: "test"}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent, by = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return key, made
}

func (w *world) claims(edit func(map[string]any)) []byte {
	c := map[string]any{
		"iss": w.issuer, "sub": "ci-7", "aud": []string{"other", "antipode"}, "iat": w.now.Load() - 5, "exp": w.now.Load() + 300,
		"groups": []string{"readers", "deployers"},
	}
	if edit != nil {
		edit(c)
	}
	raw, err := stdjson.Marshal(c)
	if err != nil {
		panic(err)
	}
	return raw
}

func sign(t *testing.T, alg jose.SignatureAlgorithm, key any, headers map[jose.HeaderKey]any, payload []byte) string {
	t.Helper()
	opts := &jose.SignerOptions{ExtraHeaders: headers}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	made, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (w *world) jwt(t *testing.T, edit func(map[string]any)) string {
	t.Helper()
	return sign(t, jose.RS256, w.rsa, map[jose.HeaderKey]any{"kid": "rsa", "typ": "JWT"}, w.claims(edit))
}

func (w *world) ask(t *testing.T, authorization string) (arn string, err error) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/keys", nil)
	req.Header.Set("Authorization", authorization)
	c, err := w.a.Authenticate(t.Context(), req)
	return c.ARN, err
}

const sessionARN = "arn:aws:sts::" + regionstest.Account + ":assumed-role/deployer/"

func TestOIDC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	set := func(name string, value any) func(map[string]any) { return func(c map[string]any) { c[name] = value } }
	kid := func(id string) map[jose.HeaderKey]any { return map[jose.HeaderKey]any{"kid": id} }
	publicPEM := func() []byte {
		der, err := x509.MarshalPKIXPublicKey(&w.rsa.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := w.jwt(t, nil)
	parts := strings.Split(good, ".")
	for name, c := range map[string]struct{ token, want string }{
		"RS256":                     {good, sessionARN + "ci-7"},
		"ES256":                     {sign(t, jose.ES256, w.ec, kid("ec"), w.claims(nil)), sessionARN + "ci-7"},
		"audience as a text":        {w.jwt(t, set("aud", "antipode")), sessionARN + "ci-7"},
		"claim as a text":           {w.jwt(t, set("groups", "deployers")), sessionARN + "ci-7"},
		"a subject with other text": {w.jwt(t, set("sub", "a b")), sessionARN + "sha256-c8687a08aa5d6ed2044328fa6a697ab8"},
		"access token's type":       {sign(t, jose.RS256, w.rsa, map[jose.HeaderKey]any{"kid": "rsa", "typ": "at+JWT"}, w.claims(nil)), sessionARN + "ci-7"},

		"alg none":                               {"eyJhbGciOiJub25lIiwia2lkIjoicnNhIn0." + parts[1] + ".", ""},
		"no signature":                           {parts[0] + "." + parts[1] + ".", ""},
		"HS256 by the public key":                {sign(t, jose.HS256, publicPEM, kid("rsa"), w.claims(nil)), ""},
		"HS256 by a published key":               {sign(t, jose.HS256, []byte("a symmetric key that was published"), kid("oct"), w.claims(nil)), ""},
		"an algorithm that is not this issuer's": {sign(t, jose.PS256, w.rsa, kid("rsa"), w.claims(nil)), ""},
		"its own key in the header":              {sign(t, jose.ES256, jose.JSONWebKey{Key: own, KeyID: "ec"}, nil, w.claims(nil)), ""},
		"jwk beside kid":                         {sign(t, jose.ES256, own, map[jose.HeaderKey]any{"kid": "ec", "jwk": jose.JSONWebKey{Key: &own.PublicKey}}, w.claims(nil)), ""},
		"jku":                                    {sign(t, jose.RS256, w.rsa, map[jose.HeaderKey]any{"kid": "rsa", "jku": "https://x"}, w.claims(nil)), ""},
		"key of another type":                    {sign(t, jose.ES256, w.ec, kid("rsa"), w.claims(nil)), ""},
		"key for encryption":                     {sign(t, jose.RS256, w.rsa, kid("enc"), w.claims(nil)), ""},
		"kid that is there twice":                {sign(t, jose.RS256, w.rsa, kid("twice"), w.claims(nil)), ""},
		"no kid":                                 {sign(t, jose.RS256, w.rsa, nil, w.claims(nil)), ""},
		"kid is a path":                          {sign(t, jose.RS256, w.rsa, kid("../../etc/passwd"), w.claims(nil)), ""},
		"another's signature":                    {sign(t, jose.ES256, own, kid("ec"), w.claims(nil)), ""},
		"another type":                           {sign(t, jose.RS256, w.rsa, map[jose.HeaderKey]any{"kid": "rsa", "typ": "logout+jwt"}, w.claims(nil)), ""},
		"another payload":                        {parts[0] + "." + strings.Split(w.jwt(t, set("sub", "x")), ".")[1] + "." + parts[2], ""},
		"another issuer":                         {w.jwt(t, set("iss", w.issuer+"/")), ""},
		"another audience":                       {w.jwt(t, set("aud", "antipodes")), ""},
		"no audience":                            {w.jwt(t, set("aud", nil)), ""},
		"expired":                                {w.jwt(t, set("exp", w.now.Load()-61)), ""},
		"expired within the leeway":              {w.jwt(t, set("exp", w.now.Load()-59)), sessionARN + "ci-7"},
		"no end":                                 {w.jwt(t, func(c map[string]any) { delete(c, "exp") }), ""},
		"no time of issue":                       {w.jwt(t, func(c map[string]any) { delete(c, "iat") }), ""},
		"issued in the future":                   {w.jwt(t, set("iat", w.now.Load()+100)), ""},
		"issued days ago":                        {w.jwt(t, set("iat", w.now.Load()-100000)), ""},
		"not yet":                                {w.jwt(t, set("nbf", w.now.Load()+100)), ""},
		"no subject":                             {w.jwt(t, set("sub", "")), ""},
		"no role":                                {w.jwt(t, set("groups", []string{"deployer"})), ""},
		"claims of another form":                 {w.jwt(t, set("groups", map[string]any{"deployers": true})), ""},
		"a claim twice":                          {sign(t, jose.RS256, w.rsa, kid("rsa"), append(bytes.TrimSuffix(w.claims(nil), []byte("}")), `,"sub":"y"}`...)), ""},
		"not a token":                            {"x", ""},
	} {
		arn, err := w.ask(t, "Bearer "+c.token)
		if arn != c.want || (c.want == "") != errors.Is(err, bearer.ErrRefused) {
			t.Errorf("%s: %q, %v", name, arn, err)
		}
	}
	// What happens to the role counts at once; what was issued before a revocation is out.
	for name, edit := range map[string]func(*identity.Role){
		"disabled": func(r *identity.Role) { r.Disabled = true },
		"revoked":  func(r *identity.Role) { r.RevokedUntil = w.now.Load() * 1000 },
	} {
		changed := w.role
		edit(&changed)
		w.put(t, changed)
		if arn, err := w.ask(t, "Bearer "+good); !errors.Is(err, bearer.ErrRefused) {
			t.Errorf("%s: %q, %v", name, arn, err)
		}
		w.put(t, w.role)
		if arn, err := w.ask(t, "Bearer "+good); err != nil {
			t.Errorf("after %s: %q, %v", name, arn, err)
		}
	}
}

// put stores a role as its next version.
func (w *world) put(t *testing.T, r identity.Role) {
	t.Helper()
	r.Version = w.role.Version + 1
	w.role.Version = r.Version
	w.Apply(t, identity.Bundle{Role: &r})
}

// The issuer's keys are read seldom whatever tokens name, follow its rotation, and outlive its absence for a day.
func TestKeySet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	calls := func() int { w.served.Lock(); defer w.served.Unlock(); return w.served.calls }
	for i := range 20 {
		token := sign(t, jose.RS256, w.rsa, map[jose.HeaderKey]any{"kid": strings.Repeat("x", i+1)}, w.claims(nil))
		if _, err := w.ask(t, "Bearer "+token); !errors.Is(err, bearer.ErrRefused) {
			t.Error(err)
		}
	}
	if n := calls(); n != 1 {
		t.Errorf("%d calls for 20 unknown keys", n)
	}
	next, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.serve(t, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: next.Public(), KeyID: "next"}}})
	w.now.Add(61)
	if _, err := w.ask(t, "Bearer "+sign(t, jose.ES256, next, map[jose.HeaderKey]any{"kid": "next"}, w.claims(nil))); err != nil {
		t.Errorf("a new key: %v", err)
	}
	if _, err := w.ask(t, "Bearer "+w.jwt(t, nil)); !errors.Is(err, bearer.ErrRefused) {
		t.Errorf("a withdrawn key: %v", err)
	}
	for name, body := range map[string][]byte{"failing": nil, "too large": bytes.Repeat([]byte(" "), 600<<10), "no set": []byte("[]"), "empty": []byte(`{"keys":[]}`)} {
		w.served.Lock()
		w.served.body = body
		w.served.Unlock()
		w.now.Add(3700)
		before := calls()
		if _, err := w.ask(t, "Bearer "+sign(t, jose.ES256, next, map[jose.HeaderKey]any{"kid": "next"}, w.claims(nil))); err != nil || calls() != before+1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.now.Add(24 * 3600)
	if _, err := w.ask(t, "Bearer "+sign(t, jose.ES256, next, map[jose.HeaderKey]any{"kid": "next"}, w.claims(nil))); !errors.Is(err, bearer.ErrUnavailable) {
		t.Errorf("after a day: %v", err)
	}
}

func TestStaticToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if arn, err := w.ask(t, "bearer "+w.token); err != nil || arn != userARN {
		t.Errorf("%q, %v", arn, err)
	}
	w.now.Add(3600)
	if _, err := w.ask(t, "Bearer "+w.expiring); err != nil {
		t.Errorf("before it expires: %v", err)
	}
	w.now.Add(1)
	if arn, err := w.ask(t, "Bearer "+w.expiring); !errors.Is(err, bearer.ErrRefused) {
		t.Errorf("when it expires: %q, %v", arn, err)
	}
	for _, bad := range []string{"Bearer " + w.token + "x", "Bearer " + w.token[:len(w.token)-1], "Bearer antipode_", "Basic " + w.token, "Bearer", ""} {
		if arn, err := w.ask(t, bad); !errors.Is(err, bearer.ErrRefused) || strings.Contains(err.Error(), w.token[9:]) {
			t.Errorf("%q: %q, %v", bad, arn, err)
		}
	}
	u := w.user
	u.Disabled, u.Version = true, 2
	w.Apply(t, identity.Bundle{User: &u})
	if arn, err := w.ask(t, "Bearer "+w.token); !errors.Is(err, bearer.ErrRefused) {
		t.Errorf("a disabled user: %q, %v", arn, err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	bad := bearer.Config{
		Tokens:       []bearer.Token{{SHA256: "x", Principal: "x"}, {SHA256: strings.Repeat("a", 64), Principal: roleARN}},
		Certificates: []bearer.Certificate{{Name: "cn:x", Principal: userARN, Session: "s1"}},
		OIDC:         []bearer.Issuer{{JWKS: "http://x", Algorithms: []string{"HS256"}}},
	}
	_, err := bearer.New(nil, bad, http.DefaultClient, time.Now)
	for _, text := range []string{"tokens[0].sha256", "tokens[0]: principal", "tokens[1]: principal", "certificates[0].name", "certificates[0]: principal", "no CA", "oidc[0]: issuer", "oidc[0].jwks", "oidc[0].algorithms", "oidc[0].roles"} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("no %q in %v", text, err)
		}
	}
}
