package awsjson_test

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"antipode/regions/regionstest"
)

// traceConn notes the local address of the connection that a request is sent by.
func traceConn(ctx context.Context, local *string) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { *local = info.Conn.LocalAddr().String() },
	})
}

// Each way in which a signature can be wrong has AWS's code and text.
func TestSignatureRefusals(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	const (
		mismatch = "InvalidSignatureException: The request signature we calculated does not match the signature you provided. " +
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
		token = "UnrecognizedClientException: The security token included in the request is invalid."
		stamp = `\d{8}T\d{6}Z`
	)
	header := func(name, value string) func(*request) {
		return func(r *request) { r.after = func(q *http.Request) { q.Header.Set(name, value) } }
	}
	// Cases are regular expressions where AWS's text holds times or digests.
	cases := map[string]struct {
		change func(*request)
		want   string
	}{
		"wrong secret": {func(r *request) { r.secret = strings.ToUpper(regionstest.Secret) }, regexp.QuoteMeta(mismatch)},
		"body changed": {func(r *request) {
			r.after = func(q *http.Request) { q.Body = http.NoBody; q.ContentLength = 0 }
		}, regexp.QuoteMeta(mismatch)},
		"target changed": {header("X-Amz-Target", "TrentService.ListAliases"), regexp.QuoteMeta(mismatch)},
		"path changed": {func(r *request) {
			r.after = func(q *http.Request) { q.URL.Path = "/x" }
		}, regexp.QuoteMeta(mismatch)},
		"unknown access key": {func(r *request) { r.accessKey = "AKIABBBBBBBBBBBBBBBB" }, regexp.QuoteMeta(token)},
		"session token":      {func(r *request) { r.token = "FwoGZXIvYXdzEBY" }, regexp.QuoteMeta(token)},
		"unserved Region": {
			func(r *request) { r.region = "eu-central-1" },
			regexp.QuoteMeta("InvalidSignatureException: Credential should be scoped to a valid region."),
		},
		"Region in capitals": {
			func(r *request) { r.region = "US-EAST-2" },
			regexp.QuoteMeta("InvalidSignatureException: Credential should be scoped to a valid region."),
		},
		"another service": {
			func(r *request) { r.service = "s3" },
			regexp.QuoteMeta("InvalidSignatureException: Credential should be scoped to correct service: 'kms'."),
		},
		"expired": {
			func(r *request) { r.at = time.Now().Add(-5*time.Minute - 5*time.Second) },
			`InvalidSignatureException: Signature expired: ` + stamp + ` is now earlier than ` + stamp + ` \(` + stamp + ` - 5 min\.\)`,
		},
		"from the future": {
			func(r *request) { r.at = time.Now().Add(5*time.Minute + 10*time.Second) },
			`InvalidSignatureException: Signature not yet current: ` + stamp + ` is still later than ` + stamp + ` \(` + stamp + ` \+ 5 min\.\)`,
		},
		"unsigned": {
			func(r *request) { r.after = func(q *http.Request) { q.Header.Del("Authorization") } },
			"MissingAuthenticationTokenException: Missing Authentication Token",
		},
		"empty Authorization": {header("Authorization", ""), "MissingAuthenticationTokenException: Missing Authentication Token"},
		"Basic": {
			header("Authorization", "Basic dXNlcjpwYXNz"),
			`IncompleteSignatureException: Authorization header requires 'Credential' parameter\. .*Hashed with SHA-256.*`,
		},
		"garbage after the algorithm": {
			header("Authorization", "AWS4-HMAC-SHA256 nonsense"), `IncompleteSignatureException: Not a valid key=value pair .*`,
		},
		"short credential": {
			header("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-2, SignedHeaders=host, Signature="+strings.Repeat("0", 64)),
			`IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, .*`,
		},
		"long Authorization": {header("Authorization", "AWS4-HMAC-SHA256 "+strings.Repeat("a", 8000)), `IncompleteSignatureException: .*`},
		"no date": {
			func(r *request) {
				r.after = func(q *http.Request) {
					q.Header.Del("X-Amz-Date")
					q.Header.Set("Authorization", strings.Replace(q.Header.Get("Authorization"), "x-amz-date;", "", 1))
				}
			},
			`IncompleteSignatureException: Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header\. .*`,
		},
		"signed date removed": {
			func(r *request) { r.after = func(q *http.Request) { q.Header.Del("X-Amz-Date") } }, regexp.QuoteMeta(mismatch),
		},
		"presigned": {func(r *request) {
			r.after = func(q *http.Request) {
				q.Header.Del("Authorization")
				q.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=" + strings.Repeat("0", 64)
			}
		}, `IncompleteSignatureException: Presigned requests are not supported: sign with the Authorization header\.`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := ordinary("ListKeys", "{}")
			c.change(&r)
			a := f.send(t, r)
			if a.status != http.StatusBadRequest || !regexp.MustCompile(`^`+c.want+`$`).MatchString(a.refusal()) {
				t.Errorf("got  %d %s\nwant %s", a.status, a.refusal(), c.want)
			}
		})
	}
	t.Run("presigned by the official signer", func(t *testing.T) {
		t.Parallel()
		req := f.build(t, ordinary("ListKeys", "{}"))
		req.Header.Del("Authorization")
		creds := aws.Credentials{AccessKeyID: regionstest.AccessKeyID, SecretAccessKey: regionstest.Secret}
		url, _, err := v4.NewSigner().PresignHTTP(t.Context(), creds, req, "UNSIGNED-PAYLOAD", "kms", home, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		presigned, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(presigned)
		if err != nil {
			t.Fatal(err)
		}
		if a := readAnswer(t, resp); a.Type != "IncompleteSignatureException" {
			t.Errorf("got %s", a.refusal())
		}
	})
	// Just inside the five minutes, either way, and the same bytes again: accepted, as retries need it.
	for _, skew := range []time.Duration{-4*time.Minute - 45*time.Second, 4*time.Minute + 45*time.Second} {
		r := ordinary("ListKeys", "{}")
		r.at = r.at.Add(skew)
		for range 2 {
			if a := f.send(t, r); a.status != http.StatusOK {
				t.Errorf("signed %v from now: %s", skew, a.refusal())
			}
		}
	}
}

// Nothing of a request is looked at before its signature: an unknown caller learns nothing by asking.
func TestSignatureComesFirst(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	key := f.CreateKey(t, false)
	for _, r := range []request{
		ordinary("Nope", "{}"), ordinary("Encrypt", "{"), ordinary("DescribeKey", `{"KeyId":"`+key.KeyID+`"}`),
		ordinary("DescribeKey", `{"KeyId":"11111111-2222-4333-8444-555555555555"}`),
	} {
		r.secret = "not the secret"
		if a := f.send(t, r); a.Type != "InvalidSignatureException" {
			t.Errorf("%s: %s", r.operation, a.refusal())
		}
		r.accessKey = "AKIABBBBBBBBBBBBBBBB"
		if a := f.send(t, r); a.Type != "UnrecognizedClientException" {
			t.Errorf("%s: %s", r.operation, a.refusal())
		}
	}
}
