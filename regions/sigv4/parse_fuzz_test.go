package sigv4_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"antipode/regions/sigv4"
)

// FuzzParse feeds arbitrary headers, path and query. What parses is a signature whose parts, written out in the one
// canonical way, parse to the same; what does not is refused with an *Error whose text is clean; nothing is ever
// accepted by Verify, for no fuzzer can sign.
func FuzzParse(f *testing.F) {
	for _, c := range suiteCases {
		f.Add("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders="+c.signed+
			", Signature="+c.signature, "20150830T123600Z", "", "My-Header1", "/a/../b", "a=1&b=%20")
	}
	f.Add("AWS4-HMAC-SHA256 Signature=,,SignedHeaders=host", "", "Sun, 30 Aug 2015 12:36:00 GMT", "X-Amz-Target", "/%2e", "a;b")
	f.Add("AWS4-HMAC-SHA256 Credential=/////", "x", "x", "x-amz-", "//", "&&=")
	v := suiteVerifier(f)
	f.Fuzz(func(t *testing.T, auth, amzDate, date, name, path, query string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			u = &url.URL{Path: path}
		}
		u.RawQuery = query
		r := &http.Request{Method: http.MethodPost, URL: u, Host: "h", Header: http.Header{"Authorization": {auth}}}
		if amzDate != "" {
			r.Header["X-Amz-Date"] = []string{amzDate}
		}
		if date != "" {
			r.Header["Date"] = []string{date}
		}
		r.Header[http.CanonicalHeaderKey(name)] = append(r.Header[http.CanonicalHeaderKey(name)], "v")
		q, err := sigv4.Parse(r)
		if err != nil {
			refused(t, err)
			return
		}
		if err := v.Verify(q, nil, sigv4.Key{Secret: []byte(suiteSecret)}); err != nil {
			refused(t, err)
		} else if !strings.Contains(auth, knownSignature(auth)) {
			t.Errorf("accepted %q", auth)
		}
		value := func(parameter string) string {
			_, rest, _ := strings.Cut(auth, parameter+"=")
			rest, _, _ = strings.Cut(rest, ",")
			return strings.TrimRight(rest, " \t")
		}
		r.Header["Authorization"] = []string{fmt.Sprintf(
			"AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=%s, Signature=%s",
			q.AccessKeyID, q.Date, q.Region, q.Service, value("SignedHeaders"), value("Signature"),
		)}
		again, err := sigv4.Parse(r)
		if err != nil {
			t.Fatalf("canonical form of %q: %v", auth, err)
		}
		if again.Credential != q.Credential || again.SignedAt() != q.SignedAt() {
			t.Errorf("%q parses to %+v, its canonical form to %+v", auth, q.Credential, again.Credential)
		}
	})
}

// knownSignature returns the published signature that the header holds, which alone may be accepted.
func knownSignature(auth string) string {
	for _, c := range suiteCases {
		if strings.Contains(auth, c.signature) {
			return c.signature
		}
	}
	return "none"
}

func refused(t *testing.T, err error) {
	t.Helper()
	var e *sigv4.Error
	if !errors.As(err, &e) || e.Code == "" || e.Message == "" {
		t.Fatalf("%#v is no refusal", err)
	}
	if len(e.Message) > 1024 {
		t.Errorf("text of %d bytes", len(e.Message))
	}
}
