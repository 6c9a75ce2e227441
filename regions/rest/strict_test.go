package rest_test

import (
	"net/http"
	"strings"
	"testing"
)

// What is not understood completely is refused, and no error repeats a value.
func TestStrict(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	key := "/keys/" + f.CreateKey(t, false).KeyID
	const (
		bad, long   = http.StatusBadRequest, http.StatusRequestEntityTooLarge
		unknown     = "The request has a member that the operation does not know"
		inQuery     = "The query has a parameter that the operation does not know"
		notInQuery  = "With a JSON body, or none, there are no parameters in the query"
		noBody      = " takes no body: parameters are in the query"
		octet, json = "application/octet-stream", "application/json"
	)
	for name, c := range map[string]struct {
		method, path, media, body string
		status                    int
		detail                    string
	}{
		"a member twice":             {http.MethodPost, key + ":encrypt", json, `{"Plaintext":"aGk=","Plaintext":"aGk="}`, bad, "Duplicate member name in a structure or map"},
		"a member of the path":       {http.MethodPost, key + ":encrypt", json, `{"Plaintext":"aGk=","KeyId":"x"}`, bad, unknown},
		"a member that is not known": {http.MethodPost, key + ":encrypt", json, `{"Plaintext":"aGk=","Plain":"x"}`, bad, unknown},
		"another case":               {http.MethodPost, key + ":encrypt", json, `{"plaintext":"aGk="}`, bad, unknown},
		"no JSON":                    {http.MethodPost, key + ":encrypt", json, `Plaintext=hunter2`, bad, "The request body is not valid JSON"},
		"trailing data":              {http.MethodPost, key + ":encrypt", json, `{}{}`, bad, "The request body is not valid JSON"},
		"no object":                  {http.MethodPost, key + ":encrypt", json, `[]`, bad, "Start of list found where not expected"},
		"base64url":                  {http.MethodPost, key + ":encrypt", json, `{"Plaintext":"a_b-"}`, bad, "STRING_VALUE can not be converted to a Blob: it is not valid Base64"},
		"a query beside JSON":        {http.MethodPost, key + ":encrypt?DryRun=true", json, `{"Plaintext":"aGk="}`, bad, notInQuery},
		"a query beside nothing":     {http.MethodPost, key + ":enable?x=1", "", ``, bad, notInQuery},
		"a form":                     {http.MethodPost, key + ":encrypt", "application/x-www-form-urlencoded", `a=b`, http.StatusUnsupportedMediaType, "The body must be application/json or application/octet-stream."},
		"bytes where none are taken": {http.MethodPost, key + ":enable", octet, `x`, http.StatusUnsupportedMediaType, "The body must be application/json."},
		"bytes for an alias":         {http.MethodPost, "/aliases", octet, `x`, http.StatusUnsupportedMediaType, "The body must be application/json."},
		"a body of no type":          {http.MethodPost, key + ":encrypt", "", `{}`, http.StatusUnsupportedMediaType, "The body must be application/json or application/octet-stream."},
		"the bytes in the query too": {http.MethodPost, key + ":encrypt?Plaintext=aGk", octet, `x`, bad, inQuery},
		"a parameter twice":          {http.MethodPost, key + ":encrypt?EncryptionAlgorithm=a&EncryptionAlgorithm=b", octet, `x`, bad, "EncryptionAlgorithm is in the query more than once"},
		"a name of the context twice": {
			http.MethodPost, key + ":encrypt?EncryptionContext[a]=1&EncryptionContext[a]=2", octet, `x`, bad,
			"EncryptionContext in the query is EncryptionContext[name]=value, once for each name",
		},
		"a name without its end":            {http.MethodPost, key + ":encrypt?EncryptionContext[a=1", octet, `x`, bad, "EncryptionContext in the query is EncryptionContext[name]=value, once for each name"},
		"a context without names":           {http.MethodPost, key + ":encrypt?EncryptionContext=1", octet, `x`, bad, inQuery},
		"names where none are":              {http.MethodGet, "/keys?Limit[a]=1", "", ``, bad, inQuery},
		"no integer":                        {http.MethodGet, "/keys?Limit=hunter2", "", ``, bad, "Limit in the query is not an integer"},
		"too large an integer":              {http.MethodGet, "/keys?Limit=99999999999999999999", "", ``, bad, "Limit in the query is not an integer"},
		"no boolean":                        {http.MethodPost, key + ":encrypt?DryRun=yes", octet, `x`, bad, "DryRun in the query is true or false"},
		"a parameter of no use":             {http.MethodGet, "/keys?Limits=1", "", ``, bad, inQuery},
		"a member of the path in the query": {http.MethodGet, key + "?KeyId=1", "", ``, bad, inQuery},
		"UTF-8 in the query":                {http.MethodGet, "/keys?Marker=%ff", "", ``, bad, "The query is not valid UTF-8"},
		"UTF-8 in the path":                 {http.MethodGet, "/keys/%ff", "", ``, bad, "KeyId in the path is not valid UTF-8, percent-encoded"},
		"GET with a body":                   {http.MethodGet, "/keys", json, `{}`, bad, "GET" + noBody},
		"DELETE with a body":                {http.MethodDelete, key, json, `{"PendingWindowInDays":7}`, bad, "DELETE" + noBody},
		"too long":                          {http.MethodPost, key + ":encrypt", json, strings.Repeat(" ", 256<<10) + "{}", long, "The request is larger than 262144 bytes."},
		"too long, raw":                     {http.MethodPost, key + ":encrypt", octet, strings.Repeat("x", 256<<10+1), long, "The request is larger than 262144 bytes."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := call(c.method, c.path, c.body)
			r.media = c.media
			a := f.send(t, r)
			if p := a.problem(t); a.status != c.status || p.Detail != c.detail {
				t.Errorf("%d %s", a.status, a.body)
			}
			if strings.Contains(string(a.body), "hunter2") {
				t.Errorf("the refusal repeats a value: %s", a.body)
			}
		})
	}
}

// Paths that lead nowhere are 404, whoever asks; a method that a path does not take is 405, and the answer says which it
// takes.
func TestUnknownPaths(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	const here = "/v1/regions/us-east-2"
	for _, path := range []string{
		"/v1", "/v1/", "/v1/regions", here, here + "/", here + "/keys/", here + "/keys/a/b", here + "/keys/a:frob", here + "/keys/:encrypt",
		here + "/keys//policy", here + "//keys", here + "/./keys", here + "/x/../keys", here + "/keys/a:encrypt:decrypt",
		here + "/keys/arn:aws:kms:us-east-2:111122223333:key%2Fa:frob", here + "%2Fkeys", "/v1/regions//keys", "/v2/openapi.json",
		here + "/KEYS", here + "/keys:frob",
	} {
		f.refused(t, call(http.MethodPost, path, ""), http.StatusNotFound, "UnknownOperationException", "There is nothing at this path.")
	}
	for path, allow := range map[string]string{
		here + "/keys": "GET, POST", here + "/keys/a": "GET, PATCH, DELETE", here + "/keys/a:encrypt": "POST", "/v1/openapi.json": "GET",
	} {
		for _, method := range []string{http.MethodPut, http.MethodOptions, "FROB"} {
			r := call(method, path, "")
			f.refused(t, r, http.StatusMethodNotAllowed, "MethodNotAllowedException", "The path does not take this method.")
			if a := f.send(t, r); a.header.Get("Allow") != allow {
				t.Errorf("%s takes %q", path, a.header.Get("Allow"))
			}
		}
	}
}
