package sigv4

import (
	"net/http"
	"strconv"
	"strings"
)

// parseSignedHeaders splits SignedHeaders: lower-case names in strictly ascending order. Every SDK sends it so; to
// accept anything else would give one request several canonical forms.
func (q *Request) parseSignedHeaders() error {
	n := strings.Count(q.signedHeaders, ";") + 1
	if n > MaxSignedHeaders {
		return incomplete("Too many SignedHeaders in the Authorization header.")
	}
	q.headers = make([]header, 0, n)
	rest, more, last := q.signedHeaders, true, ""
	for more {
		var name string
		name, rest, more = strings.Cut(rest, ";")
		if name <= last || !isLowerToken(name) {
			return incomplete("SignedHeaders in the Authorization header must be lower-case names in ascending order.")
		}
		q.headers = append(q.headers, header{name: name})
		last = name
	}
	return nil
}

// isLowerToken reports whether s is an HTTP token (RFC 9110, 5.6.2) without upper-case letters.
func isLowerToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// collectHeaders finds the value of each signed header and checks that what must be signed is.
func (q *Request) collectHeaders() error {
	for name, values := range q.r.Header {
		h := q.lookup(name)
		if h == nil {
			if hasAmzPrefix(name) {
				// X-Amz-Target says which operation is called, X-Amz-Security-Token who calls.
				return unsigned("There were headers present in the request which were not signed: " + shorten(name))
			}
			continue
		}
		if h.found {
			// Two spellings of a name: net/http never makes them, so their order means nothing.
			return incomplete("A header is there in two spellings: " + shorten(name))
		}
		h.values, h.found = values, true
	}
	host := q.lookup("host")
	if host == nil {
		return unsigned("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	// net/http takes the host (HTTP/1: Host, HTTP/2: :authority) out of the headers.
	host.values, host.found = []string{q.r.Host}, true
	if l := q.lookup("content-length"); l != nil && !l.found && q.r.ContentLength >= 0 {
		l.values, l.found = []string{strconv.FormatInt(q.r.ContentLength, 10)}, true
	}
	for i := range q.headers {
		if !q.headers[i].found {
			return Refusal(ErrMismatch) // signed with a header that did not arrive
		}
	}
	var err error
	if q.token, err = q.single("X-Amz-Security-Token"); err != nil {
		return err
	}
	q.contentSHA256, err = q.single("X-Amz-Content-Sha256")
	return err
}

// single returns the value of a header that may be there once.
func (q *Request) single(name string) (string, error) {
	v := q.r.Header[name]
	switch {
	case len(v) == 0:
		return "", nil
	case len(v) > 1:
		return "", incomplete("A header is there more than once: " + name)
	case v[0] == "":
		return "", incomplete("A header is empty: " + name)
	}
	return v[0], nil
}

func (q *Request) lookup(name string) *header {
	for i := range q.headers {
		if len(q.headers[i].name) == len(name) && strings.EqualFold(q.headers[i].name, name) {
			return &q.headers[i]
		}
	}
	return nil
}

// hasAmzPrefix reports whether the name begins with x-amz-, in any case. X-Amzn-Trace-Id does not: load balancers add
// it on the way, and no SDK signs it.
func hasAmzPrefix(name string) bool {
	const prefix = "x-amz-"
	return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

// shorten makes a header name fit for an error text.
func shorten(name string) string {
	if name = http.CanonicalHeaderKey(name); len(name) > 64 {
		name = name[:64]
	}
	return strings.ToLower(name)
}
