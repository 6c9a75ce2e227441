package rest

import (
	"net/http"
	"strings"

	"antipode/regions"
)

// keyHeader lets a client repeat a creation without making it twice (draft-ietf-httpapi-idempotency-key-header).
const keyHeader = "Idempotency-Key"

// maxKey is the longest idempotency key in characters.
const maxKey = 255

// idempotencyKey returns the key of a request, "" if it has none: a structured field's string in quotes (RFC 8941), or the
// same without quotes, of printable ASCII and no white space.
func idempotencyKey(req *http.Request) (string, error) {
	values := req.Header.Values(keyHeader)
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	if len(values) > 1 || key == "" || len(key) > maxKey || strings.ContainsFunc(key, func(c rune) bool {
		return c <= ' ' || c > '~' || c == '"' || c == '\\' || c == ','
	}) {
		return "", regions.Errorf(regions.CodeValidation, "%s must be there once, 1 to %d printable characters without quotes, commas "+
			"and backslashes, which may be in quotes.", keyHeader, maxKey)
	}
	return key, nil
}
