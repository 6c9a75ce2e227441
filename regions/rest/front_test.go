package rest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	stdjson "encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"antipode/regions"
	"antipode/regions/regionstest"
	"antipode/regions/rest"
)

const home = "us-east-2"

// front is a handler on a real HTTP server, before one real Region.
type front struct {
	*regionstest.Fixture
	url      string
	contract *contract
	tb       testing.TB // that the front lives in
}

func newFront(t testing.TB, opts ...regionstest.Option) *front {
	t.Helper()
	f := regionstest.Open(t, home, opts...)
	url := serve(t, rest.Config{Served: []*regions.Region{f.Region}, Now: time.Now, Log: zerolog.Nop()})
	return &front{f, url, newContract(t, url), t}
}

func serve(t testing.TB, cfg rest.Config) (url string) {
	t.Helper()
	h, err := rest.NewHandler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// request is a call as a client makes it.
type request struct {
	method, path string // path below the Region's
	body         string
	media        string // application/json if there is a body
	accept       string
	region       string // that is signed for
	accessKey    string
	secret       string
	after        func(*http.Request) // after it was signed
	loose        bool                // accepted although a part of it is not as the document has it
}

func call(method, path, body string) request {
	r := request{method: method, path: path, body: body, region: home, accessKey: regionstest.AccessKeyID, secret: regionstest.Secret}
	if body != "" {
		r.media = "application/json"
	}
	return r
}

type answer struct {
	status int
	header http.Header
	body   []byte
	req    *http.Request
}

type problem struct {
	Type, Title, Detail, Instance, Code string
	Status                              int
}

func (f *front) build(t testing.TB, r request) *http.Request {
	t.Helper()
	path := r.path
	if !strings.HasPrefix(path, "/v1") {
		path = "/v1/regions/" + home + path
	}
	req, err := http.NewRequestWithContext(t.Context(), r.method, f.url+path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if r.media != "" {
		req.Header.Set("Content-Type", r.media)
	}
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	sum := sha256.Sum256([]byte(r.body))
	creds := aws.Credentials{AccessKeyID: r.accessKey, SecretAccessKey: r.secret}
	if err := v4.NewSigner().SignHTTP(t.Context(), creds, req, hex.EncodeToString(sum[:]), "kms", r.region, time.Now()); err != nil {
		t.Fatal(err)
	}
	if r.after != nil {
		r.after(req)
	}
	return req
}

// send makes the call and checks what every answer has in common.
func (f *front) send(t testing.TB, r request) answer {
	t.Helper()
	req := f.build(t, r)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: no answer: %v", r.method, r.path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("answer cut off: %v", err)
	}
	a := answer{resp.StatusCode, resp.Header, body, req}
	f.contract.check(t, r, a)
	id := resp.Header.Get("X-Amzn-Requestid")
	if _, err := uuid.Parse(id); err != nil {
		t.Errorf("request id: %v", err)
	}
	if resp.StatusCode < 300 {
		if (len(body) == 0) != (resp.Header.Get("Content-Type") == "") {
			t.Errorf("%s %s: %d bytes of %q", r.method, r.path, len(body), resp.Header.Get("Content-Type"))
		}
		return a
	}
	if p := a.problem(t); resp.Header.Get("Content-Type") != "application/problem+json" || p.Type != "urn:antipode:error:"+p.Code ||
		p.Code == "" || p.Status != resp.StatusCode || p.Instance != "urn:uuid:"+id || p.Title != http.StatusText(p.Status) {
		t.Errorf("%s %s: malformed problem %s", r.method, r.path, body)
	}
	return a
}

func (a answer) problem(t testing.TB) (p problem) {
	t.Helper()
	dec := stdjson.NewDecoder(bytes.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		t.Errorf("malformed problem %s: %v", a.body, err)
	}
	return p
}

// must makes a call that must be answered with this status, and decodes its answer.
func (f *front) must(t testing.TB, r request, status int) map[string]any {
	t.Helper()
	a := f.send(t, r)
	if a.status != status {
		t.Fatalf("%s %s %.200s: %d %s", r.method, r.path, r.body, a.status, a.body)
	}
	out := map[string]any{}
	if len(a.body) > 0 {
		if err := stdjson.Unmarshal(a.body, &out); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// refused makes a call that must be refused.
func (f *front) refused(t testing.TB, r request, status int, code, detail string) {
	t.Helper()
	a := f.send(t, r)
	if p := a.problem(t); a.status != status || p.Code != code || p.Detail != detail {
		t.Errorf("%s %s %.100s\ngot  %d %.300s\nwant %d %s: %s", r.method, r.path, r.body, a.status, a.body, status, code, detail)
	}
}
