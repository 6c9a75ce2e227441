package policy_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"antipode/regions/policy"
)

// FuzzParse: what parses is JSON to another reader too, parses the same when that one writes it, is decided without a panic
// as the reference decides it, and an error is one of two.
func FuzzParse(f *testing.F) {
	for i := range uint64(20) {
		g := generator{rand.New(rand.NewPCG(1, i))}
		f.Add(uint8(i), g.document(&reference{request: g.request()}, i%2 == 0, operators()))
	}
	f.Add(uint8(0), policy.Default(account))
	f.Add(uint8(1), policy.Administrator)
	f.Add(uint8(3), `{"Statement":{"Effect":"Allow","Principal":{"Federated":"accounts.google.com"},"Action":"sts:*"}}`)
	f.Add(uint8(1), `{"Version":"2012-10-17","Statement":{"Effect":"Deny","NotAction":"a:b","NotResource":"arn:${aws:userid, 'a'}${*}"}}`)
	f.Fuzz(func(t *testing.T, kind uint8, text string) {
		parse := []func(string) (*policy.Document, error){
			policy.ParseKeyPolicy, policy.ParseIdentityPolicy, policy.ParseSessionPolicy, policy.ParseTrustPolicy,
		}[kind%4]
		d, err := parse(text)
		if err != nil {
			if !errors.Is(err, policy.ErrMalformed) && !errors.Is(err, policy.ErrTooLarge) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		again, err := json.Marshal(decode(text))
		if err != nil {
			t.Fatal(err)
		}
		// json.Marshal escapes what HTML gives a meaning, which may not fit.
		if e, err := parse(string(again)); !errors.Is(err, policy.ErrTooLarge) && (err != nil || !reflect.DeepEqual(d, e)) {
			t.Fatalf("%s\nis written as\n%s\nwhich is another document, %v", text, again, err)
		}
		g := generator{rand.New(rand.NewPCG(2, uint64(len(text))))}
		r := g.request()
		if d.Kind() == policy.KeyPolicy || d.Kind() == policy.TrustPolicy {
			r.KeyPolicy = d
		} else {
			r.KeyPolicy, r.Identity = mustKey(t, policy.Default(account)), []*policy.Document{d}
		}
		fast := policy.Decide(r)
		if e := policy.Explain(r); e.Decision != fast {
			t.Fatalf("explained as %v, decided as %v", e.Decision, fast)
		}
		if fast.Allowed && !strings.Contains(text, "Allow") && !strings.Contains(text, `\u`) {
			t.Fatal("allowed without an Allow")
		}
	})
}
