package sigv4

import (
	"net/url"
	"slices"
	"strings"
)

const upperHex = "0123456789ABCDEF"

// appendCanonical appends the canonical request; payload is the hexadecimal SHA-256 of the body.
func (q *Request) appendCanonical(dst []byte, payload []byte) ([]byte, error) {
	dst = append(dst, q.r.Method...)
	dst = append(dst, '\n')
	dst = appendPath(dst, wirePath(q.r.URL))
	dst = append(dst, '\n')
	dst, err := appendQuery(dst, q.r.URL.RawQuery)
	if err != nil {
		return dst, err
	}
	dst = append(dst, '\n')
	for i := range q.headers {
		h := &q.headers[i]
		dst = append(dst, h.name...)
		dst = append(dst, ':')
		for j, v := range h.values {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = appendTrimmed(dst, v)
		}
		dst = append(dst, '\n')
		if len(dst) > MaxCanonical {
			return dst, incomplete("The signed headers are too long.")
		}
	}
	dst = append(dst, '\n')
	dst = append(dst, q.signedHeaders...)
	dst = append(dst, '\n')
	return append(dst, payload...), nil
}

// wirePath returns the path as the client sent it. URL.RawPath is that, but it is only kept where it says something that
// Path does not, and a handler that rewrites Path may leave it behind; then what is routed by decides.
func wirePath(u *url.URL) string {
	if u.Path == "/" || u.Path == "" {
		return "/"
	}
	if u.RawPath != "" {
		if p, err := url.PathUnescape(u.RawPath); err == nil && p == u.Path {
			return u.RawPath
		}
	}
	return u.EscapedPath()
}

// appendPath appends the path without empty and dot segments (RFC 3986, 5.2.4), percent-encoded once more.
func appendPath(dst []byte, path string) []byte {
	var stack [32]int // where in dst each segment's slash is
	starts := stack[:0]
	base := len(dst)
	trailing := strings.HasSuffix(path, "/")
	for more := true; more; {
		var segment string
		segment, path, more = strings.Cut(path, "/")
		switch segment {
		case "", ".":
		case "..":
			if n := len(starts); n > 0 {
				dst, starts = dst[:starts[n-1]], starts[:n-1]
			}
		default:
			starts = append(starts, len(dst))
			dst = append(dst, '/')
			dst = appendEncoded(dst, segment)
		}
	}
	if trailing || len(dst) == base {
		dst = append(dst, '/')
	}
	return dst
}

// appendQuery appends the pairs of a query, decoded, encoded in the one canonical way, and sorted by name and value.
// A plus sign is a space, as it is for net/url, which is what handlers read the query with; what net/url would
// drop (bad escapes, semicolons) is refused.
func appendQuery(dst []byte, query string) ([]byte, error) {
	if query == "" {
		return dst, nil
	}
	if strings.Count(query, "&") >= MaxQueryPairs {
		return dst, incomplete("The query has too many parameters.")
	}
	if len(query) > MaxCanonical/3 {
		return dst, incomplete("The query is too long.")
	}
	type pair struct{ name, value string }
	pairs := make([]pair, 0, 8)
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		if strings.Contains(part, ";") {
			return dst, Refusal(ErrMismatch)
		}
		name, value, _ := strings.Cut(part, "=")
		n, err := url.QueryUnescape(name)
		if err != nil {
			return dst, Refusal(ErrMismatch)
		}
		v, err := url.QueryUnescape(value)
		if err != nil {
			return dst, Refusal(ErrMismatch)
		}
		pairs = append(pairs, pair{string(appendEncoded(nil, n)), string(appendEncoded(nil, v))})
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	for i, p := range pairs {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = append(dst, p.name...)
		dst = append(dst, '=')
		dst = append(dst, p.value...)
	}
	return dst, nil
}

// appendEncoded appends s with every byte but the unreserved ones of RFC 3986 percent-encoded.
func appendEncoded(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// appendTrimmed appends a header value without blanks at its ends, and with one space for each run of spaces inside.
func appendTrimmed(dst []byte, v string) []byte {
	v = strings.Trim(v, " \t")
	if !strings.Contains(v, "  ") {
		return append(dst, v...)
	}
	for i := range len(v) {
		if v[i] != ' ' || v[i-1] != ' ' { // v[0] is no space
			dst = append(dst, v[i])
		}
	}
	return dst
}
