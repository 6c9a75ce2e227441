package sigv4_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"antipode/regions/sigv4"
)

// TestOfficialSigner signs random requests with the official signer, sends them through net/http's own writer and
// reader, and wants every one accepted and every change of one refused.
func TestOfficialSigner(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const requests = 4000
	changes := map[string]int{}
	for i := range requests {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		g := generate(t, rng)
		v := verifier(t, sigv4.Config{Service: g.service, Now: func() time.Time { return g.at }})
		key := sigv4.Key{Secret: []byte(suiteSecret), SessionToken: g.token}
		if err := check(v, g.wire(t, nil), g.body, key); err != nil {
			t.Fatalf("seed %d, request %d: %v\n%+v", seed, i, err, g)
		}
		for name, m := range mutations {
			if rng.IntN(6) != 0 { // a few of them for each request, each of them often enough
				continue
			}
			body := bytes.Clone(g.body)
			applied := false
			r := g.wire(t, func(r *http.Request) { body, applied = m(rng, r, body) })
			if !applied {
				continue
			}
			changes[name]++
			err := check(v, r, body, key)
			var e *sigv4.Error
			if err == nil || !errors.As(err, &e) {
				t.Fatalf("seed %d, request %d: after %s: %v\n%+v", seed, i, name, err, g)
			}
		}
	}
	for name := range mutations {
		if changes[name] < requests/50 {
			t.Errorf("%s was tried only %d times", name, changes[name])
		}
	}
}

type signed struct {
	r       *http.Request
	body    []byte
	token   string
	service string
	at      time.Time
}

func generate(t *testing.T, rng *rand.Rand) signed {
	pick := func(s ...string) string { return s[rng.IntN(len(s))] }
	text := func(alphabet string, limit int) string {
		var b strings.Builder
		runes := []rune(alphabet)
		for range rng.IntN(limit) + 1 {
			b.WriteRune(runes[rng.IntN(len(runes))])
		}
		return b.String()
	}
	u := url.URL{Scheme: "http", Host: pick("127.0.0.1:4566", "kms.us-east-2.amazonaws.com", "[::1]:8080", "localhost:80"), Path: "/"}
	if rng.IntN(2) == 0 {
		for range rng.IntN(4) + 1 {
			u.Path += "x" + text("abzAZ09-._~:@!$&'()*+,;= %é漢/", 6)
		}
		// The official signer leaves empty segments in the path, the published rules do not.
		for strings.Contains(u.Path, "//") {
			u.Path = strings.ReplaceAll(u.Path, "//", "/")
		}
		if strings.Contains(u.Path+"/", "/./") || strings.Contains(u.Path+"/", "/../") {
			u.Path = "/plain"
		}
	}
	if rng.IntN(2) == 0 {
		q := url.Values{}
		for range rng.IntN(5) + 1 {
			q.Add(text("abAB09-._~ +&=%/;é", 4), text("abAB09-._~ +&=%/;é", 6))
		}
		u.RawQuery = q.Encode()
	}
	g := signed{
		body:    []byte(text(" !\"{}:[]abcé\x00", 300)),
		service: pick("kms", "service"),
		at:      time.Unix(1_400_000_000+rng.Int64N(600_000_000), 0).UTC(),
	}
	if rng.IntN(4) == 0 {
		g.token = text("abcXYZ019+/=", 400)
	}
	r, err := http.NewRequestWithContext(t.Context(), pick("GET", "POST", "PUT"), u.String(), bytes.NewReader(g.body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "TrentService."+text("ABCdef", 20))
	for range rng.IntN(6) {
		r.Header.Add(pick("Content-Type", "X-Amz-Meta-"+text("ab-", 4)+"z", "My-Header", "Amz-Sdk-Request", "X-Other"),
			pick(text("ab c", 20), " "+text("ab   c\"", 20)+"  ", ""))
	}
	if rng.IntN(3) == 0 {
		r.Header.Set("X-Amz-Content-Sha256", hexSum(g.body))
	}
	resign(t, r, g.body, g.token, g.service, pick("us-east-2", "us-west-1", "eu-central-1"), g.at)
	g.r = r
	return g
}

// wire returns the request as a server reads it, changed on the way.
func (g *signed) wire(t *testing.T, change func(*http.Request)) *http.Request {
	t.Helper()
	out := g.r.Clone(t.Context())
	out.Body = io.NopCloser(bytes.NewReader(g.body))
	var buf bytes.Buffer
	if err := out.Write(&buf); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadRequest(bufio.NewReader(&buf))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	return r
}

type mutation func(rng *rand.Rand, r *http.Request, body []byte) (newBody []byte, applied bool)

func inAuthorization(change func(rng *rand.Rand, auth string) string) mutation {
	return func(rng *rand.Rand, r *http.Request, body []byte) ([]byte, bool) {
		old := r.Header.Get("Authorization")
		r.Header.Set("Authorization", change(rng, old))
		return body, r.Header.Get("Authorization") != old
	}
}

func flip(rng *rand.Rand, s, alphabet string) string {
	if s == "" {
		return string(alphabet[0])
	}
	i := rng.IntN(len(s))
	c := alphabet[rng.IntN(len(alphabet))]
	for c == s[i] {
		c = alphabet[rng.IntN(len(alphabet))]
	}
	return s[:i] + string(c) + s[i+1:]
}

var mutations = map[string]mutation{
	"another method": func(_ *rand.Rand, r *http.Request, body []byte) ([]byte, bool) {
		r.Method = "DELETE"
		return body, true
	},
	"another host": func(_ *rand.Rand, r *http.Request, body []byte) ([]byte, bool) {
		r.Host = "evil." + r.Host
		return body, true
	},
	"a bit of the body": func(rng *rand.Rand, _ *http.Request, body []byte) ([]byte, bool) {
		body[rng.IntN(len(body))] ^= 1 << rng.IntN(8)
		return body, true
	},
	"a longer body": func(_ *rand.Rand, _ *http.Request, body []byte) ([]byte, bool) {
		return append(body, 0), true
	},
	"a shorter body": func(_ *rand.Rand, _ *http.Request, body []byte) ([]byte, bool) {
		return body[:len(body)-1], true
	},
	"a longer path": func(_ *rand.Rand, r *http.Request, body []byte) ([]byte, bool) {
		r.URL.Path, r.URL.RawPath = r.URL.Path+"y", ""
		return body, true
	},
	"a path encoded otherwise": func(_ *rand.Rand, r *http.Request, body []byte) ([]byte, bool) {
		if !strings.HasPrefix(r.URL.Path, "/x") {
			return body, false
		}
		r.URL.RawPath = "/%78" + strings.TrimPrefix(r.URL.EscapedPath(), "/x")
		return body, true
	},
	"a stale RawPath": func(_ *rand.Rand, r *http.Request, body []byte) ([]byte, bool) {
		r.URL.RawPath = r.URL.EscapedPath()
		r.URL.Path = "/v1/other"
		return body, true
	},
	"a query parameter more": func(_ *rand.Rand, r *http.Request, body []byte) ([]byte, bool) {
		r.URL.RawQuery = strings.TrimPrefix(r.URL.RawQuery+"&extra=", "&")
		return body, true
	},
	"a query parameter less": func(_ *rand.Rand, r *http.Request, body []byte) ([]byte, bool) {
		if r.URL.RawQuery == "" {
			return body, false
		}
		_, r.URL.RawQuery, _ = strings.Cut(r.URL.RawQuery, "&")
		return body, true
	},
	"a letter of a header": func(rng *rand.Rand, r *http.Request, body []byte) ([]byte, bool) {
		r.Header.Set("X-Amz-Target", flip(rng, r.Header.Get("X-Amz-Target"), "xyzXYZ"))
		return body, true
	},
	"a header twice": func(_ *rand.Rand, r *http.Request, body []byte) ([]byte, bool) {
		r.Header.Add("X-Amz-Target", r.Header.Get("X-Amz-Target"))
		return body, true
	},
	"a signed header removed": func(rng *rand.Rand, r *http.Request, body []byte) ([]byte, bool) {
		for _, name := range []string{"My-Header", "X-Other", "Content-Type", "X-Amz-Content-Sha256", "X-Amz-Security-Token"} {
			if len(r.Header[name]) > 0 {
				r.Header.Del(name)
				return body, true
			}
		}
		return body, false
	},
	"an x-amz- header added": func(rng *rand.Rand, r *http.Request, body []byte) ([]byte, bool) {
		r.Header.Set(fmt.Sprintf("X-Amz-New-%d", rng.IntN(1000)), "")
		return body, true
	},
	"the date of the request": func(_ *rand.Rand, r *http.Request, body []byte) ([]byte, bool) {
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil {
			panic(err)
		}
		r.Header.Set("X-Amz-Date", at.Add(time.Second).Format("20060102T150405Z"))
		return body, true
	},
	"the date of the scope": inAuthorization(func(rng *rand.Rand, a string) string {
		i := strings.Index(a, "/") + 1
		return a[:i] + flip(rng, a[i:i+8], "0123456789") + a[i+8:]
	}),
	"the region": inAuthorization(func(_ *rand.Rand, a string) string {
		return strings.NewReplacer("/us-east-2/", "/us-west-1/", "/us-west-1/", "/us-east-2/", "/eu-", "/ap-").Replace(a)
	}),
	"the service": inAuthorization(func(_ *rand.Rand, a string) string {
		return strings.NewReplacer("/kms/", "/service/", "/service/", "/kms/").Replace(a)
	}),
	"a digit of the signature": inAuthorization(func(rng *rand.Rand, a string) string {
		i := len(a) - 64
		return a[:i] + flip(rng, a[i:], "0123456789abcdef")
	}),
	"the signature cut": inAuthorization(func(_ *rand.Rand, a string) string { return a[:len(a)-2] }),
	"a signed header's name dropped": inAuthorization(func(_ *rand.Rand, a string) string {
		return strings.Replace(a, "SignedHeaders=content-length;", "SignedHeaders=", 1)
	}),
}
