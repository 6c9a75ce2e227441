package sigv4

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// What a request may hold at most. Clients use about 300 bytes, 10 headers and no query at all.
const (
	MaxAuthorization = 4096      // bytes of the Authorization header
	MaxSignedHeaders = 64        // names in SignedHeaders
	MaxCanonical     = 64 * 1024 // bytes of the canonical request
	MaxQueryPairs    = 128       // name=value pairs in the query
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	timeLayout = "20060102T150405Z"
)

// Credential is the credential scope of a request. It is what the client claims; only [Verifier.Verify] proves it.
type Credential struct {
	AccessKeyID string // 1 to 128 letters, digits and underscores
	Date        string // YYYYMMDD, UTC
	Region      string // 1 to 64 letters, digits, hyphens, dots and underscores; not known to exist
	Service     string // likewise
}

// Request is a signed request that was parsed and not yet verified.
type Request struct {
	Credential

	r             *http.Request
	signedHeaders string // as received, "content-type;host;x-amz-date"
	headers       []header
	signature     [sha256.Size]byte
	signedAt      time.Time // UTC, whole seconds
	token         string    // X-Amz-Security-Token
	contentSHA256 string    // X-Amz-Content-Sha256
}

type header struct {
	name   string // lower case
	values []string
	found  bool
}

// SignedAt is the time that the client says it signed at: UTC, whole seconds.
func (q *Request) SignedAt() time.Time { return q.signedAt }

// SessionToken is the X-Amz-Security-Token of the request, "" if it has none. It is a secret of the client's.
func (q *Request) SessionToken() string { return q.token }

// Parse reads the signature of a request, without judging it. It keeps r, which must not change until
// [Verifier.Verify] has returned; it does not touch the body. Every error is an [*Error].
func Parse(r *http.Request) (*Request, error) {
	auth := r.Header["Authorization"]
	if len(auth) == 0 || len(auth) == 1 && auth[0] == "" {
		if strings.Contains(r.URL.RawQuery, "X-Amz-Signature=") || strings.Contains(r.URL.RawQuery, "X-Amz-Algorithm=") {
			return nil, Refusal(ErrPresigned)
		}
		return nil, Refusal(ErrMissing)
	}
	if len(auth) > 1 {
		return nil, incomplete("Authorization header is there more than once.")
	}
	if len(auth[0]) > MaxAuthorization {
		return nil, incomplete("Authorization header is too long.")
	}
	q := &Request{r: r}
	if err := q.parseAuthorization(auth[0]); err != nil {
		return nil, err
	}
	if err := q.collectHeaders(); err != nil {
		return nil, err
	}
	if err := q.parseTime(); err != nil {
		return nil, err
	}
	return q, nil
}

// parseAuthorization reads `AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...`; the three may come in
// any order, with or without blanks around the commas.
func (q *Request) parseAuthorization(auth string) error {
	rest, ok := strings.CutPrefix(auth, algorithm)
	if !ok || rest != "" && rest[0] != ' ' {
		rest = "" // another scheme: none of our parameters is there, and that is what AWS complains about
	}
	const inCredential, inSignedHeaders, inSignature = 0, 1, 2
	var value [3]string
	var seen [3]bool
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, ",")
		part = strings.Trim(part, " \t")
		name, v, ok := strings.Cut(part, "=")
		if !ok {
			return incomplete("Not a valid key=value pair (missing equal-sign) in Authorization header " + digest(auth))
		}
		i := inCredential
		switch name {
		case "Credential":
		case "SignedHeaders":
			i = inSignedHeaders
		case "Signature":
			i = inSignature
		default:
			return incomplete("Unknown parameter in Authorization header " + digest(auth))
		}
		if seen[i] {
			return incomplete("Authorization header has a parameter twice " + digest(auth))
		}
		value[i], seen[i] = v, true
	}
	credential, signature := value[inCredential], value[inSignature]
	q.signedHeaders = value[inSignedHeaders]
	if credential == "" || q.signedHeaders == "" || signature == "" {
		return missingParameters(auth, credential, signature, q.signedHeaders)
	}
	if err := q.parseCredential(credential); err != nil {
		return err
	}
	// Only lower-case hexadecimal is accepted, so that a signature has one spelling.
	if len(signature) != hex.EncodedLen(sha256.Size) || strings.ContainsAny(signature, "ABCDEF") {
		return Refusal(ErrMismatch)
	}
	if _, err := hex.Decode(q.signature[:], []byte(signature)); err != nil {
		return Refusal(ErrMismatch)
	}
	return q.parseSignedHeaders()
}

func missingParameters(auth, credential, signature, signedHeaders string) *Error {
	var b strings.Builder
	for _, p := range [...]struct{ name, value string }{
		{"Credential", credential}, {"Signature", signature}, {"SignedHeaders", signedHeaders},
	} {
		if p.value == "" {
			b.WriteString("Authorization header requires '" + p.name + "' parameter. ")
		}
	}
	return incomplete(b.String() + digest(auth))
}

// digest stands for a header in an error text, as in AWS's: the client can recognise it, a log reader learns nothing.
func digest(auth string) string {
	sum := sha256.Sum256([]byte(auth))
	return "(Hashed with SHA-256 and encoded with Base64) Authorization=" + base64.StdEncoding.EncodeToString(sum[:])
}

func (q *Request) parseCredential(s string) error {
	const shape = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."
	var part [5]string
	rest, more := s, true
	for i := range part {
		if !more {
			return incomplete(shape)
		}
		part[i], rest, more = strings.Cut(rest, "/")
	}
	if more {
		return incomplete(shape)
	}
	if part[4] != terminator {
		return &Error{CodeInvalid, "Credential should be scoped with a valid terminator: '" + terminator + "'.", ErrMismatch}
	}
	if !isWord(part[0], 128, "_") || !isWord(part[2], 64, "-._") || !isWord(part[3], 64, "-._") {
		return incomplete(shape)
	}
	if len(part[1]) != 8 || strings.Trim(part[1], "0123456789") != "" {
		return incomplete("Date in Credential scope must be YYYYMMDD.")
	}
	q.Credential = Credential{AccessKeyID: part[0], Date: part[1], Region: part[2], Service: part[3]}
	return nil
}

// isWord reports whether s is 1 to limit letters, digits and characters of extra.
func isWord(s string, limit int, extra string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(extra, c) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= limit
}

// parseTime finds the time of signing: X-Amz-Date in ISO 8601 basic format, or else Date as HTTP writes it.
func (q *Request) parseTime() error {
	amz, date := q.r.Header["X-Amz-Date"], q.r.Header["Date"]
	switch {
	case len(amz) == 1:
		t, err := time.Parse(timeLayout, amz[0])
		if err != nil {
			return incomplete("Date must be in ISO-8601 'basic format'. See http://en.wikipedia.org/wiki/ISO_8601")
		}
		q.signedAt = t
	case len(amz) == 0 && len(date) == 1:
		t, err := http.ParseTime(date[0])
		if err != nil {
			return incomplete("Date header must be an HTTP date.")
		}
		q.signedAt = t.UTC()
	case len(amz) == 0 && len(date) == 0:
		return incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. " +
			digest(q.r.Header.Get("Authorization")))
	default:
		return incomplete("The date of the request is there more than once.")
	}
	var buf [len(timeLayout)]byte
	at := q.signedAt.AppendFormat(buf[:0], timeLayout)
	if day := string(at[:8]); q.Date != day {
		return &Error{
			CodeInvalid, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '" +
				q.Date + "' != '" + day + "', from '" + string(at) + "'.", ErrScopeDate,
		}
	}
	return nil
}
