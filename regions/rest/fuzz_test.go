package rest_test

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"antipode/regions/rest"
)

// FuzzHandler: whatever an administrator signs, method, path, query and body, is answered, never by an internal error, in a
// form that the document has; and a key that no request names stays as it was.
func FuzzHandler(f *testing.F) {
	s := newFront(f)
	key := s.CreateKey(f, true)
	before := s.Key(f, key.KeyID)
	ways, err := rest.Ways()
	if err != nil {
		f.Fatal(err)
	}
	for _, w := range ways {
		values := map[string]string{}
		for _, name := range w.Variables {
			values[name] = "alias%2Fa"
		}
		for _, body := range []string{``, `{}`, `null`, `{"Plaintext":"aGk=","EncryptionContext":{"a":"b"}}`, `{"CiphertextBlob":"AQICAHg=","KeyId":null}`} {
			f.Add(w.Method, w.In(values), "", "application/json", []byte(body))
		}
		f.Add(w.Method, w.In(values), "EncryptionContext[a]=b&Limit=1&TagKeys=a", "application/octet-stream", []byte("x"))
	}
	f.Add("GET", "/keys/arn:aws:kms:us-east-2:111122223333:key%2Fx", "Marker=%ff;", "", []byte{})
	f.Add("POST", "/../../openapi.json", "X-Amz-Signature=", "application/json; charset=x", []byte("\xff"))
	f.Fuzz(func(t *testing.T, method, path, query, media string, body []byte) {
		for _, part := range []string{path, query, string(body)} {
			if plain, err := url.QueryUnescape(part); strings.Contains(part, key.KeyID) || err == nil && strings.Contains(plain, key.KeyID) {
				t.Skip("names the key")
			}
		}
		r := call(method, "/v1/regions/us-east-2"+path+"?"+query, string(body))
		r.media = media
		if u, err := url.Parse(s.url + r.path); err != nil || u.Host != strings.TrimPrefix(s.url, "http://") {
			t.Skip("no client sends it")
		}
		_, err := http.NewRequestWithContext(t.Context(), method, s.url+r.path, nil)
		if err != nil || method == http.MethodConnect || method == http.MethodHead || !printable(media) {
			t.Skip("no client sends it")
		}
		a := s.send(t, r) // which checks the form of the answer
		if a.status >= 500 {
			t.Errorf("%s %s: %d %s", method, r.path, a.status, a.body)
		}
		if after := s.Key(t, key.KeyID); !reflect.DeepEqual(after, before) {
			t.Fatalf("the key has changed from %+v to %+v", before, after)
		}
	})
}

func printable(header string) bool {
	return strings.IndexFunc(header, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}
