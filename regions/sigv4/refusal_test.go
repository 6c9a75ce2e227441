package sigv4_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"antipode/regions/sigv4"
)

func kmsNow() time.Time { return time.Date(2026, 11, 22, 0, 10, 0, 0, time.UTC) }

// signedKMS is an Encrypt call signed by the official signer at kmsNow.
func signedKMS(t testing.TB, body []byte, token string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:4566/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService.Encrypt")
	resign(t, r, body, token, "kms", "us-east-2", kmsNow())
	return r
}

func resign(t testing.TB, r *http.Request, body []byte, token, service, region string, at time.Time) {
	t.Helper()
	err := v4.NewSigner().SignHTTP(t.Context(),
		aws.Credentials{AccessKeyID: suiteID, SecretAccessKey: suiteSecret, SessionToken: token},
		r, hexSum(body), service, region, at)
	if err != nil {
		t.Fatal(err)
	}
}

// check parses and verifies.
func check(v *sigv4.Verifier, r *http.Request, body []byte, key sigv4.Key) error {
	q, err := sigv4.Parse(r)
	if err != nil {
		return err
	}
	return v.Verify(q, body, key)
}

const mismatchText = "The request signature we calculated does not match the signature you provided. Check your AWS " +
	"Secret Access Key and signing method. Consult the service documentation for details."

// TestRefusals changes one thing in a request that would be accepted; each case has AWS's code and text.
func TestRefusals(t *testing.T) {
	t.Parallel()
	body := []byte(`{"KeyId":"mrk-1234abcd12ab34cd56ef1234567890ab","Plaintext":"aGk="}`)
	auth := func(change func(string) string) func(testing.TB, *http.Request) {
		return func(_ testing.TB, r *http.Request) {
			r.Header.Set("Authorization", change(r.Header.Get("Authorization")))
		}
	}
	replace := func(from, to string) func(testing.TB, *http.Request) {
		return auth(func(a string) string { return strings.Replace(a, from, to, 1) })
	}
	at := func(at time.Time) func(testing.TB, *http.Request) {
		return func(t testing.TB, r *http.Request) { resign(t, r, body, "", "kms", "us-east-2", at) }
	}
	const fiveElements = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."
	cases := []struct {
		name    string
		change  func(testing.TB, *http.Request)
		kind    error
		code    string
		message string // "..." at the end: a prefix
	}{
		{"wrong signature", replace("Signature=", "Signature=0"), sigv4.ErrMismatch, sigv4.CodeInvalid, mismatchText},
		{"signature in upper case", auth(func(a string) string {
			i := strings.Index(a, "Signature=") + len("Signature=")
			return a[:i] + strings.ToUpper(a[i:])
		}), sigv4.ErrMismatch, sigv4.CodeInvalid, mismatchText},
		{"signature not hexadecimal", auth(func(a string) string { return a[:len(a)-1] + "g" }), sigv4.ErrMismatch, sigv4.CodeInvalid, mismatchText},
		{
			"301 s old", at(kmsNow().Add(-301 * time.Second)), sigv4.ErrExpired, sigv4.CodeInvalid,
			"Signature expired: 20261122T000459Z is now earlier than 20261122T000500Z (20261122T001000Z - 5 min.)",
		},
		{
			"10 min old", at(kmsNow().Add(-10 * time.Minute)), sigv4.ErrExpired, sigv4.CodeInvalid,
			"Signature expired: 20261122T000000Z is now earlier than 20261122T000500Z (20261122T001000Z - 5 min.)",
		},
		{
			"301 s early", at(kmsNow().Add(301 * time.Second)), sigv4.ErrNotYetCurrent, sigv4.CodeInvalid,
			"Signature not yet current: 20261122T001501Z is still later than 20261122T001500Z (20261122T001000Z + 5 min.)",
		},
		{
			"another service", func(t testing.TB, r *http.Request) { resign(t, r, body, "", "s3", "us-east-2", kmsNow()) },
			sigv4.ErrService, sigv4.CodeInvalid, "Credential should be scoped to correct service: 'kms'.",
		},
		{"another region", replace("/us-east-2/", "/us-west-1/"), sigv4.ErrMismatch, sigv4.CodeInvalid, mismatchText},
		{
			"another day", replace("/20261122/", "/20261121/"), sigv4.ErrScopeDate, sigv4.CodeInvalid,
			"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20261121' != '20261122', from '20261122T001000Z'.",
		},
		{
			"another terminator", replace("aws4_request", "aws5_request"), sigv4.ErrMismatch, sigv4.CodeInvalid,
			"Credential should be scoped with a valid terminator: 'aws4_request'.",
		},
		{
			"no Authorization", func(_ testing.TB, r *http.Request) { r.Header.Del("Authorization") },
			sigv4.ErrMissing, sigv4.CodeMissing, "Missing Authentication Token",
		},
		{
			"presigned", func(_ testing.TB, r *http.Request) {
				r.Header.Del("Authorization")
				r.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00"
			},
			sigv4.ErrPresigned, sigv4.CodeIncomplete, "Presigned requests...",
		},
		{
			"two Authorizations", func(_ testing.TB, r *http.Request) {
				r.Header.Add("Authorization", r.Header.Get("Authorization"))
			},
			sigv4.ErrIncomplete, sigv4.CodeIncomplete, "Authorization header is there more than once.",
		},
		{
			"another scheme", auth(func(string) string { return "Bearer abc" }), sigv4.ErrIncomplete, sigv4.CodeIncomplete,
			"Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. " +
				"Authorization header requires 'SignedHeaders' parameter. (Hashed with SHA-256...",
		},
		{"scheme runs on", replace("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256X "), sigv4.ErrIncomplete, sigv4.CodeIncomplete, "Authorization header requires 'Credential'..."},
		{"no signature", replace("Signature=", "Signature= ,Signature="), sigv4.ErrIncomplete, sigv4.CodeIncomplete, "Authorization header has a parameter twice..."},
		{"empty signature", auth(func(a string) string { return a[:strings.Index(a, "Signature=")+10] }), sigv4.ErrIncomplete, sigv4.CodeIncomplete, "Authorization header requires 'Signature' parameter. (..."},
		{"unknown parameter", replace("Credential=", "Extra=1, Credential="), sigv4.ErrIncomplete, sigv4.CodeIncomplete, "Unknown parameter..."},
		{"no equals sign", replace("Credential=", "Credential"), sigv4.ErrIncomplete, sigv4.CodeIncomplete, "Not a valid key=value pair (missing equal-sign)..."},
		{"4 elements", replace("/kms/", "/"), sigv4.ErrIncomplete, sigv4.CodeIncomplete, fiveElements},
		{"6 elements", replace("aws4_request", "aws4_request/x"), sigv4.ErrIncomplete, sigv4.CodeIncomplete, fiveElements},
		{"empty access key", replace(suiteID, ""), sigv4.ErrIncomplete, sigv4.CodeIncomplete, fiveElements},
		{"odd date", replace("/20261122/", "/2026112x/"), sigv4.ErrIncomplete, sigv4.CodeIncomplete, "Date in Credential scope must be YYYYMMDD."},
		{"too long", auth(func(a string) string { return a + strings.Repeat(" ", sigv4.MaxAuthorization) }), sigv4.ErrIncomplete, sigv4.CodeIncomplete, "Authorization header is too long."},
		{"too many headers", replace("x-amz-date", "x-amz-date"+strings.Repeat(";y", sigv4.MaxSignedHeaders)), sigv4.ErrIncomplete, sigv4.CodeIncomplete, "Too many SignedHeaders..."},
		{"unsorted headers", replace("content-length;content-type", "content-type;content-length"), sigv4.ErrIncomplete, sigv4.CodeIncomplete, "SignedHeaders in the..."},
		{"repeated header", replace("host;", "host;host;"), sigv4.ErrIncomplete, sigv4.CodeIncomplete, "SignedHeaders in the..."},
		{"upper-case header", replace("host", "Host"), sigv4.ErrIncomplete, sigv4.CodeIncomplete, "SignedHeaders in the..."},
		{"empty header name", replace("SignedHeaders=", "SignedHeaders=;"), sigv4.ErrIncomplete, sigv4.CodeIncomplete, "SignedHeaders in the..."},
		{"host unsigned", replace("host;", ""), sigv4.ErrUnsignedHeader, sigv4.CodeInvalid, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{"target unsigned", replace(";x-amz-target", ""), sigv4.ErrUnsignedHeader, sigv4.CodeInvalid, "There were headers present in the request which were not signed: x-amz-target"},
		{"date unsigned", replace(";x-amz-date", ""), sigv4.ErrUnsignedHeader, sigv4.CodeInvalid, "There were headers present in the request which were not signed: x-amz-date"},
		{
			"token added", func(_ testing.TB, r *http.Request) { r.Header.Set("X-Amz-Security-Token", "t") },
			sigv4.ErrUnsignedHeader, sigv4.CodeInvalid, "There were headers present in the request which were not signed: x-amz-security-token",
		},
		{
			"any x-amz- header added", func(_ testing.TB, r *http.Request) { r.Header["x-AMZ-Whatever"] = []string{""} },
			sigv4.ErrUnsignedHeader, sigv4.CodeInvalid, "There were headers present in the request which were not signed: x-amz-whatever",
		},
		{"signed header absent", replace("host;", "host;nowhere;"), sigv4.ErrMismatch, sigv4.CodeInvalid, mismatchText},
		{
			"second target", func(_ testing.TB, r *http.Request) { r.Header.Add("X-Amz-Target", "TrentService.Decrypt") },
			sigv4.ErrMismatch, sigv4.CodeInvalid, mismatchText,
		},
		{
			"target in two spellings", func(_ testing.TB, r *http.Request) {
				r.Header["X-AMZ-Target"] = []string{"TrentService.Encrypt"}
			},
			sigv4.ErrIncomplete, sigv4.CodeIncomplete, "A header is there in two spellings: x-amz-target",
		},
		{
			"two dates", func(_ testing.TB, r *http.Request) { r.Header.Add("X-Amz-Date", "20261122T001000Z") },
			sigv4.ErrIncomplete, sigv4.CodeIncomplete, "The date of the request is there more than once.",
		},
		{
			"date in another format", func(_ testing.TB, r *http.Request) { r.Header.Set("X-Amz-Date", "2026-11-22T00:10:00Z") },
			sigv4.ErrIncomplete, sigv4.CodeIncomplete, "Date must be in ISO-8601 'basic format'...",
		},
		{
			"no date", func(t testing.TB, r *http.Request) {
				r.Header.Del("X-Amz-Date")
				replace(";x-amz-date", "")(t, r)
			},
			sigv4.ErrIncomplete, sigv4.CodeIncomplete, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. (Hashed...",
		},
		{
			"odd HTTP date", func(t testing.TB, r *http.Request) {
				r.Header.Del("X-Amz-Date")
				r.Header.Set("Date", "yesterday")
				replace(";x-amz-date", "")(t, r)
			},
			sigv4.ErrIncomplete, sigv4.CodeIncomplete, "Date header must be an HTTP date.",
		},
		{
			"unsigned payload", func(t testing.TB, r *http.Request) {
				r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
				resign(t, r, body, "", "kms", "us-east-2", kmsNow())
			},
			sigv4.ErrMismatch, sigv4.CodeInvalid, mismatchText,
		},
		{
			"hash of another body", func(t testing.TB, r *http.Request) {
				r.Header.Set("X-Amz-Content-Sha256", strings.Repeat("0", 64))
				resign(t, r, body, "", "kms", "us-east-2", kmsNow())
			},
			sigv4.ErrMismatch, sigv4.CodeInvalid, mismatchText,
		},
		{
			"token of somebody else", func(t testing.TB, r *http.Request) {
				resign(t, r, body, "stolen", "kms", "us-east-2", kmsNow())
			},
			sigv4.ErrUnknownKey, sigv4.CodeUnknownKey, "The security token included in the request is invalid.",
		},
		{
			"query too long", func(_ testing.TB, r *http.Request) { r.URL.RawQuery = strings.Repeat("a", sigv4.MaxCanonical) },
			sigv4.ErrIncomplete, sigv4.CodeIncomplete, "The query is too long.",
		},
		{
			"query of too many pairs", func(_ testing.TB, r *http.Request) {
				r.URL.RawQuery = strings.Repeat("a&", sigv4.MaxQueryPairs)
			},
			sigv4.ErrIncomplete, sigv4.CodeIncomplete, "The query has too many parameters.",
		},
		{
			"query that net/url would drop", func(_ testing.TB, r *http.Request) { r.URL.RawQuery = "a=%zz" },
			sigv4.ErrMismatch, sigv4.CodeInvalid, mismatchText,
		},
		{
			"headers too long", func(_ testing.TB, r *http.Request) {
				r.Header.Set("Content-Type", strings.Repeat("a", sigv4.MaxCanonical))
			},
			sigv4.ErrIncomplete, sigv4.CodeIncomplete, "The signed headers are too long.",
		},
	}
	v := verifier(t, sigv4.Config{Service: "kms", Now: kmsNow})
	key := sigv4.Key{Secret: []byte(suiteSecret)}
	if err := check(v, signedKMS(t, body, ""), body, key); err != nil {
		t.Fatalf("the unchanged request: %v", err)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := signedKMS(t, body, "")
			c.change(t, r)
			err := check(v, r, body, key)
			if !errors.Is(err, c.kind) {
				t.Fatalf("got %v, want %v", err, c.kind)
			}
			var e *sigv4.Error
			if !errors.As(err, &e) {
				t.Fatalf("%T is no *Error", err)
			}
			prefix, open := strings.CutSuffix(c.message, "...")
			if e.Code != c.code || !strings.HasPrefix(e.Message, prefix) || !open && e.Message != c.message {
				t.Errorf("got  %s: %s\nwant %s: %s", e.Code, e.Message, c.code, c.message)
			}
			if strings.Contains(err.Error(), suiteSecret) {
				t.Error("the error holds the secret")
			}
		})
	}
}

// The limits of the clock are inclusive, and a fraction of a second does not move them.
func TestSkewLimits(t *testing.T) {
	t.Parallel()
	body := []byte("{}")
	now := func() time.Time { return kmsNow().Add(999 * time.Millisecond) }
	v := verifier(t, sigv4.Config{Service: "kms", Now: now})
	for _, d := range []time.Duration{-sigv4.MaxSkew, 0, sigv4.MaxSkew} {
		r := signedKMS(t, body, "")
		resign(t, r, body, "", "kms", "us-east-2", kmsNow().Add(d))
		if err := check(v, r, body, sigv4.Key{Secret: []byte(suiteSecret)}); err != nil {
			t.Errorf("%v from now: %v", d, err)
		}
	}
}

// A session's token must come with its key, and no other way round.
func TestSessionToken(t *testing.T) {
	t.Parallel()
	body := []byte("{}")
	v := verifier(t, sigv4.Config{Service: "kms", Now: kmsNow})
	key := sigv4.Key{Secret: []byte(suiteSecret), SessionToken: "tok/en=="}
	if err := check(v, signedKMS(t, body, "tok/en=="), body, key); err != nil {
		t.Errorf("with its token: %v", err)
	}
	for _, token := range []string{"", "tok/en=", "other"} {
		if err := check(v, signedKMS(t, body, token), body, key); !errors.Is(err, sigv4.ErrUnknownKey) {
			t.Errorf("with token %q: %v", token, err)
		}
	}
}

func TestRefusalTexts(t *testing.T) {
	t.Parallel()
	for kind, want := range map[error]string{
		sigv4.ErrRegion:       "InvalidSignatureException: Credential should be scoped to a valid region.",
		sigv4.ErrUnknownKey:   "UnrecognizedClientException: The security token included in the request is invalid.",
		sigv4.ErrTokenExpired: "ExpiredTokenException: The security token included in the request is expired",
		sigv4.ErrExpired:      "InvalidSignatureException: " + mismatchText,
	} {
		if got := sigv4.Refusal(kind); got.Error() != want {
			t.Errorf("Refusal(%v) = %v", kind, got)
		}
	}
}

func TestNewVerifierRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]sigv4.Config{
		"no service": {Now: kmsNow}, "no clock": {Service: "kms"}, "negative cache": {Service: "kms", Now: kmsNow, DerivedKeys: -1},
	} {
		if v, err := sigv4.NewVerifier(c); err == nil || v != nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
