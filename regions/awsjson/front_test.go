package awsjson_test

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
	"antipode/regions/awsjson"
	"antipode/regions/regionstest"
)

const home = "us-east-2"

// front is a handler on a real HTTP server, before one real Region.
type front struct {
	*regionstest.Fixture
	url string
}

// newFront serves a fresh Region. The server's limits are those of the real one, but for the read timeout.
func newFront(t testing.TB) *front {
	t.Helper()
	return newFrontLogging(t, zerolog.Nop())
}

func newFrontLogging(t testing.TB, log zerolog.Logger, opts ...regionstest.Option) *front {
	t.Helper()
	f := regionstest.Open(t, home, opts...)
	return &front{f, serveRegions(t, log, f.Region)}
}

// readTimeout is short, so that a slow client can be waited for.
const readTimeout = 2 * time.Second

func serveRegions(t testing.TB, log zerolog.Logger, served ...*regions.Region) (url string) {
	t.Helper()
	h, err := awsjson.NewHandler(served, time.Now, log)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Config.MaxHeaderBytes, s.Config.ReadTimeout = 32<<10, readTimeout
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// request is a call as an ordinary client makes it, until a test changes it.
type request struct {
	operation string
	body      string
	region    string
	service   string
	accessKey string
	secret    string
	token     string
	at        time.Time
	before    func(*http.Request) // before it is signed
	after     func(*http.Request) // after it was signed
}

func ordinary(operation, body string) request {
	return request{
		operation: operation, body: body, region: home, service: "kms", accessKey: regionstest.AccessKeyID,
		secret: regionstest.Secret, at: time.Now(),
	}
}

// answer is what a client got.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	Type    string `json:"__type"`
	Message string `json:"message"`
}

func (a answer) refusal() string { return a.Type + ": " + a.Message }

// build makes the signed request.
func (f *front) build(t testing.TB, r request) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/", strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "TrentService."+r.operation)
	if r.before != nil {
		r.before(req)
	}
	sum := sha256.Sum256([]byte(r.body))
	creds := aws.Credentials{AccessKeyID: r.accessKey, SecretAccessKey: r.secret, SessionToken: r.token}
	err = v4.NewSigner().SignHTTP(t.Context(), creds, req, hex.EncodeToString(sum[:]), r.service, r.region, r.at)
	if err != nil {
		t.Fatal(err)
	}
	if r.after != nil {
		r.after(req)
	}
	return req
}

// send makes the call and checks what every answer has in common, whatever was asked.
func (f *front) send(t testing.TB, r request) answer {
	t.Helper()
	resp, err := http.DefaultClient.Do(f.build(t, r))
	if err != nil {
		t.Fatalf("%s: no answer: %v", r.operation, err)
	}
	return readAnswer(t, resp)
}

func readAnswer(t testing.TB, resp *http.Response) answer {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("answer cut off: %v", err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: body}
	if _, err := uuid.Parse(resp.Header.Get("X-Amzn-Requestid")); err != nil {
		t.Errorf("x-amzn-requestid: %v", err)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/x-amz-json-1.1" {
		t.Errorf("content-type %q", ct)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if resp.Header.Get("X-Amzn-Errortype") != "" || bytes.Contains(body, []byte("__type")) {
			t.Errorf("success with an error in it: %s", body)
		}
	case http.StatusBadRequest:
		if resp.Request.Method == http.MethodHead {
			a.Type = resp.Header.Get("X-Amzn-Errortype")
			break
		}
		dec := stdjson.NewDecoder(bytes.NewReader(body))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&a); err != nil || a.Type == "" || a.Type != resp.Header.Get("X-Amzn-Errortype") {
			t.Errorf("malformed refusal %s (errortype %q): %v", body, resp.Header.Get("X-Amzn-Errortype"), err)
		}
	default:
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return a
}

// refused makes an ordinary call that must be refused with this code and text.
func (f *front) refused(t testing.TB, r request, code, message string) {
	t.Helper()
	a := f.send(t, r)
	if a.status != http.StatusBadRequest || a.Type != code || a.Message != message {
		t.Errorf("%s %.200s\ngot  %d %.300s\nwant %d %.300s", r.operation, r.body, a.status, a.refusal(),
			http.StatusBadRequest, code+": "+message)
	}
}

// must makes an ordinary call that must succeed, and decodes its answer.
func (f *front) must(t testing.TB, operation, body string) map[string]any {
	t.Helper()
	a := f.send(t, ordinary(operation, body))
	if a.status != http.StatusOK {
		t.Fatalf("%s %.200s: %d %s", operation, body, a.status, a.body)
	}
	out := map[string]any{}
	if len(a.body) > 0 {
		if err := stdjson.Unmarshal(a.body, &out); err != nil {
			t.Fatalf("%s: %v", operation, err)
		}
	}
	return out
}
