package rest_test

import (
	"crypto/rand"
	"net/http"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"antipode/regions"
	"antipode/regions/bearer"
	"antipode/regions/regionstest"
	"antipode/regions/rest"
)

// A bearer token calls as its principal; another is refused without a reason; signatures go on working beside it.
func TestBearer(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	token, hash, err := bearer.NewToken(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	auth, err := bearer.New(f.Region.Directory(), bearer.Config{Tokens: []bearer.Token{{SHA256: hash, Principal: f.Admin.ARN}}}, http.DefaultClient, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	f.url = serve(t, rest.Config{
		Served: []*regions.Region{f.Region}, Others: map[string]rest.Authenticator{home: auth}, Now: time.Now, Log: zerolog.Nop(),
	})
	with := func(header string) request {
		r := call(http.MethodPost, "/keys", "")
		r.after = func(q *http.Request) {
			q.Header.Del("Authorization")
			if header != "" {
				q.Header.Set("Authorization", header)
			}
		}
		return r
	}
	f.must(t, with("Bearer "+token), http.StatusCreated)
	f.must(t, call(http.MethodPost, "/keys", ""), http.StatusCreated)
	for _, header := range []string{"", "Bearer " + token + "x", "Bearer antipode_x", "Basic " + token, "Bearer a.b.c"} {
		f.refused(t, with(header), http.StatusUnauthorized, "UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	if n := len(regionstest.Must[regions.ListKeysOutput](t, f.Fixture, "ListKeys", nil).Keys); n != 2 {
		t.Errorf("%d keys were made", n)
	}
}
