package main_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	stdjson "encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"antipode/regions/audit"
)

// Every way to call REST without a signature, over real TLS to the real binary: each encrypts and decrypts; who is
// wrong, expired, not mapped, withdrawn or not allowed does not; the audit log says who it was and no secret.
func TestCallers(t *testing.T) {
	t.Parallel()
	w := newCallersWorld(t)
	role := "arn:aws:iam::111122223333:role/deployer"
	session := "arn:aws:sts::111122223333:assumed-role/deployer/"

	batch := w.newToken(t, "--principal", role, "--session", "batch")
	bob := w.newToken(t, "--principal", "arn:aws:iam::111122223333:user/bob", "--days", "0")
	nobody := w.newToken(t, "--principal", "arn:aws:iam::111122223333:user/nobody")
	old := w.newToken(t, "--principal", role, "--session", "batch", "--days", "1")
	old.entry = strings.Replace(old.entry, time.Now().UTC().AddDate(0, 0, 1).Format("2006-01-02"), "2020-01-02", 1)
	w.writeCallers(t, batch, bob, nobody, old)
	w.start(t)
	keyID := w.createKey(t)

	deployer := w.jwt(t, "k1", w.ec, "deployers", time.Minute)
	for name, c := range map[string]struct {
		bearer string
		cert   *tls.Certificate
		status int
		who    string // ARN in the audit log
		how    string
	}{
		"static token of a role":     {bearer: batch.secret, status: 200, who: session + "batch", how: "BearerToken"},
		"static token of a user":     {bearer: bob.secret, status: 200, who: "arn:aws:iam::111122223333:user/bob", how: "BearerToken"},
		"OpenID Connect":             {bearer: deployer, status: 200, who: session + "ci-7", how: "OpenIDConnect"},
		"client certificate":         {cert: w.client(t, "spiffe://example/app", w.clientCA, time.Hour), status: 200, who: session + "app", how: "ClientCertificate"},
		"allowed nothing":            {bearer: nobody.secret, status: 403},
		"none":                       {status: 401},
		"wrong token":                {bearer: batch.secret[:len(batch.secret)-1] + "_", status: 401},
		"expired token":              {bearer: old.secret, status: 401},
		"expired OpenID Connect":     {bearer: w.jwt(t, "k1", w.ec, "deployers", -2*time.Minute), status: 401},
		"no role for the claim":      {bearer: w.jwt(t, "k1", w.ec, "others", time.Minute), status: 401},
		"unknown signer":             {bearer: w.jwt(t, "k1", w.ec2, "deployers", time.Minute), status: 401},
		"unmapped certificate":       {cert: w.client(t, "spiffe://example/other", w.clientCA, time.Hour), status: 401},
		"expired certificate":        {cert: w.client(t, "spiffe://example/app", w.clientCA, -time.Hour), status: 401},
		"certificate of a foreigner": {cert: w.client(t, "spiffe://example/app", newAuthority(t), time.Hour), status: 401},
		"wrong token beside a certificate": {
			bearer: "antipode_x", cert: w.client(t, "spiffe://example/app", w.clientCA, time.Hour), status: 401,
		},
	} {
		status, answer := w.rest(t, c.cert, c.bearer, keyID+":encrypt", map[string]string{"Plaintext": "cGxhaW4="})
		if status != c.status {
			t.Errorf("%s: encrypt answers %d %v", name, status, answer)
			continue
		}
		if status != http.StatusOK {
			continue
		}
		status, answer = w.rest(t, c.cert, c.bearer, keyID+":decrypt", map[string]string{"CiphertextBlob": answer["CiphertextBlob"]})
		if status != http.StatusOK || answer["Plaintext"] != "cGxhaW4=" {
			t.Errorf("%s: decrypt answers %d %v", name, status, answer)
		}
		e := w.lastEvent(t, "Decrypt")
		if e.UserIdentity.ARN != c.who || e.AdditionalEventData["authentication"] != c.how {
			t.Errorf("%s: the audit log has %+v", name, e)
		}
		if issuer := e.UserIdentity.SessionContext.SessionIssuer; strings.HasPrefix(c.who, session) != (issuer.ARN == role) {
			t.Errorf("%s: session of %+v", name, issuer)
		}
		web := e.UserIdentity.SessionContext.WebID
		if (c.how == "OpenIDConnect") != (web.Provider == w.issuer && web.Attributes["sub"] == "ci-7") {
			t.Errorf("%s: vouched for by %+v", name, web)
		}
	}

	tries := func(what, bearer string, want int) {
		t.Helper()
		if status, answer := w.rest(t, nil, bearer, keyID+":encrypt", map[string]string{"Plaintext": "cGxhaW4="}); status != want {
			t.Errorf("%s: %d %v", what, status, answer)
		}
	}
	// The issuer's keys change: they are read again by the next reload, or within an hour, or a minute for an unknown key.
	w.publish(t, map[string]*ecdsa.PrivateKey{"k2": w.ec2})
	next := w.jwt(t, "k2", w.ec2, "deployers", time.Minute)
	w.reload(t, true)
	tries("a token by the new key", next, 200)
	tries("a token by the withdrawn key", deployer, 401)
	// A file with a fault changes nothing; a token that is taken out is refused from then on.
	if err := os.WriteFile(w.callersFile, []byte("tokens: []\ntoken: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.reload(t, false)
	tries("after a file with a fault", batch.secret, 200)
	w.writeCallers(t, bob)
	w.reload(t, true)
	tries("a token that was taken out", batch.secret, 401)
	tries("one that was left in", bob.secret, 200)
	// What happens to the principal counts at once.
	w.identity(t, "role", "revoke-sessions", "--account", "111122223333", "--name", "deployer")
	tries("sessions revoked", next, 401)
	w.identity(t, "user", "disable", "--account", "111122223333", "--name", "bob")
	tries("user disabled", bob.secret, 401)
	w.p.stop(t)
	none := filepath.Join(w.site.dir, "none")
	fails(t, []string{"dev", "--data", none, "--callers", w.callersFile}, "--callers", "not served by TLS")
	if _, err := os.Stat(none); !os.IsNotExist(err) {
		t.Error("a file with a fault left a data folder")
	}
	w.file(t, filepath.Base(w.callersFile), []byte("tokns: []"))
	fails(t, []string{"serve", "--config", w.site.config}, w.site.config, "callers:", "field tokns not found")

	if _, err := audit.Verify(t.Context(), filepath.Join(w.site.data, "audit")); err != nil {
		t.Error(err)
	}
	log := []byte(w.p.stderr(t))
	for _, raw := range w.logs(t) {
		log = append(log, raw...)
	}
	for _, secret := range []string{batch.secret, bob.secret, deployer, next} {
		if bytes.Contains(log, []byte(secret)) || bytes.Contains(log, []byte(secret[len(secret)-40:])) {
			t.Errorf("a log has the token %.12s...", secret)
		}
	}
}

// rest calls the API as an application does, and returns the members of its answer that are texts.
func (w *callersWorld) rest(t *testing.T, cert *tls.Certificate, bearer, path string, body map[string]string) (int, map[string]string) {
	t.Helper()
	raw, err := stdjson.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.p.origin+"/v1/regions/"+east+"/keys/"+path, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	client := w.https(cert)
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if raw, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := stdjson.Unmarshal(raw, &members); err != nil {
		t.Fatalf("%d %s: %v", resp.StatusCode, raw, err)
	}
	out := map[string]string{}
	for name, value := range members {
		if text, is := value.(string); is {
			out[name] = text
		}
	}
	return resp.StatusCode, out
}

func (w *callersWorld) createKey(t *testing.T) string {
	t.Helper()
	c := w.signing(t)
	made, err := c.CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	return *made.KeyMetadata.KeyId
}
