package rest_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/identity"
	"antipode/regions/regionstest"
	"antipode/regions/store/storetest"
)

// keyed is a call with an idempotency key.
func keyed(path, body, key string) request {
	r := call(http.MethodPost, path, body)
	r.after = func(req *http.Request) { req.Header.Set("Idempotency-Key", key) }
	return r
}

func (f *front) records(t *testing.T, kind regions.RecordKind) int {
	t.Helper()
	n := 0
	err := f.Store.View(t.Context(), func(rd regions.Reader) error {
		recs, err := rd.List(t.Context(), regions.Query{Kind: kind})
		n = len(recs)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A creation that is repeated under its key is answered as the first time, to the byte, and made once; another request
// under the key is refused; another caller's key is another; after a day it is free again.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.AddUser(t, "bob", "AKIABBBBBBBBBBBBBBBB", []byte(identity.AdministratorPolicy))
	target := text(t, f.must(t, call(http.MethodPost, "/keys", `{"MultiRegion":true}`), http.StatusCreated), "KeyMetadata", "KeyId")
	for name, c := range map[string]struct {
		path, body, other string
		kind              regions.RecordKind
	}{
		"key":   {"/keys", `{"Description":"one","Tags":[{"TagKey":"a","TagValue":"b"}]}`, `{"Description":"two"}`, regions.KindKey},
		"MRK":   {"/keys", `{"MultiRegion":true}`, `{"MultiRegion":false}`, regions.KindKey},
		"alias": {"/aliases", `{"AliasName":"alias/a","TargetKeyId":"` + target + `"}`, `{"AliasName":"alias/b","TargetKeyId":"` + target + `"}`, regions.KindAlias},
		"grant": {
			"/keys/" + target + "/grants", `{"GranteePrincipal":"111122223333","Operations":["Encrypt"]}`,
			`{"GranteePrincipal":"111122223333","Operations":["Decrypt"]}`, regions.KindGrant,
		},
	} {
		before := f.records(t, c.kind)
		first := f.send(t, keyed(c.path, c.body, `"`+name+`-1"`))
		if first.status != http.StatusCreated {
			t.Fatalf("%s: %d %s", name, first.status, first.body)
		}
		for _, again := range []string{c.body, " " + c.body + "\n"} {
			repeated := f.send(t, keyed(c.path, again, name+"-1"))
			if repeated.status != http.StatusCreated || !bytes.Equal(repeated.body, first.body) ||
				repeated.header.Get("Location") != first.header.Get("Location") {
				t.Errorf("%s: repeated %d %s, first %s", name, repeated.status, repeated.body, first.body)
			}
		}
		if n := f.records(t, c.kind) - before; n != 1 {
			t.Errorf("%s: %d were made", name, n)
		}
		f.refused(t, keyed(c.path, c.other, name+"-1"), http.StatusUnprocessableEntity, regions.CodeIdempotentMismatch, "The idempotency key was used for another request.")
		if name == "alias" { // which there can't be twice
			continue
		}
		bob := keyed(c.path, c.body, name+"-1")
		bob.accessKey = "AKIABBBBBBBBBBBBBBBB"
		f.must(t, bob, http.StatusCreated)
		f.must(t, keyed(c.path, c.body, name+"-2"), http.StatusCreated)
		if n := f.records(t, c.kind) - before; n != 3 {
			t.Errorf("%s: %d were made by three requests", name, n)
		}
	}
	// The audit log tells a repetition from what it repeats.
	replays := 0
	for _, rec := range f.Records(t) {
		if first, is := rec.Event.AdditionalEventData.Text("idempotentReplayOf"); is && first != "" && first != rec.Event.RequestID {
			replays++
		}
	}
	if replays != 8 {
		t.Errorf("%d repetitions in the audit log", replays)
	}
	// What failed has used nothing.
	f.refused(t, keyed("/aliases", `{"AliasName":"alias/c","TargetKeyId":"1deb0888-dd42-4057-be3d-58cf70615fd6"}`, "c"), http.StatusNotFound,
		regions.CodeNotFound, "Key 'arn:aws:kms:us-east-2:111122223333:key/1deb0888-dd42-4057-be3d-58cf70615fd6' does not exist")
	f.must(t, keyed("/aliases", `{"AliasName":"alias/c","TargetKeyId":"`+target+`"}`, "c"), http.StatusCreated)
	// Who may not any more is not answered.
	f.AddUser(t, "eve", "AKIACCCCCCCCCCCCCCCC", []byte(identity.AdministratorPolicy))
	eve := keyed("/keys", `{"Description":"eve"}`, "eve")
	eve.accessKey = "AKIACCCCCCCCCCCCCCCC"
	f.must(t, eve, http.StatusCreated)
	f.AddUser(t, "eve", "AKIACCCCCCCCCCCCCCCC", []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`))
	if a := f.send(t, eve); a.status != http.StatusForbidden {
		t.Errorf("a repetition by who may not any more: %d %s", a.status, a.body)
	}
	for _, bad := range []string{"", `""`, strings.Repeat("x", 256), "a b", `a"b`, `a\b`, "a,b"} {
		if a := f.send(t, keyed("/keys", `{}`, bad)); a.status != http.StatusBadRequest {
			t.Errorf("key %q: %d", bad, a.status)
		}
	}
	// Elsewhere the header means nothing.
	f.must(t, keyed("/keys/"+target+":disable", "", "key-1"), http.StatusNoContent)
	// After a day.
	keys, used := f.records(t, regions.KindKey), f.records(t, regions.KindOnce)
	f.Clock.Advance(24*time.Hour + time.Second)
	f.must(t, keyed("/keys", `{"Description":"two"}`, "key-1"), http.StatusCreated)
	if f.records(t, regions.KindKey) != keys+1 || f.records(t, regions.KindOnce) >= used {
		t.Errorf("a day later: %d keys of %d, %d records of %d", f.records(t, regions.KindKey), keys+1, f.records(t, regions.KindOnce), used)
	}
}

// Of calls at the same time under one key one is made; the others are told so, or answered the same.
func TestIdempotencyKeyAtOnce(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	var wait sync.WaitGroup
	var mu sync.Mutex
	statuses, ids := map[int]int{}, map[string]bool{}
	for range 8 {
		wait.Go(func() {
			a := f.send(t, keyed("/keys", `{"KeySpec":"RSA_2048","KeyUsage":"SIGN_VERIFY"}`, "one"))
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
			switch a.status {
			case http.StatusCreated:
				ids[a.header.Get("Location")] = true
			case http.StatusConflict:
				if p := a.problem(t); p.Code != regions.CodeIdempotencyKeyInUse {
					t.Errorf("conflict %+v", p)
				}
			default:
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wait.Wait()
	if len(ids) != 1 || f.records(t, regions.KindKey) != 1 || statuses[http.StatusCreated] == 0 {
		t.Errorf("%v, %d keys", statuses, len(ids))
	}
}

// The store fails in each way at the commit of a creation: repeated, it is there once, whichever had happened.
func TestIdempotencyKeyFaults(t *testing.T) {
	t.Parallel()
	for _, applied := range []bool{false, true} {
		armed := false
		var mu sync.Mutex
		f := newFront(t, regionstest.WithStore(func(s regions.Store) regions.Store {
			return storetest.Faulty(s, func(op string) (bool, error) {
				mu.Lock()
				defer mu.Unlock()
				if op != "update" || !armed {
					return false, nil
				}
				armed = false
				return applied, errors.New("injected")
			})
		}))
		mu.Lock()
		armed = true
		mu.Unlock()
		if a := f.send(t, keyed("/keys", `{"Description":"x"}`, "k")); a.status != http.StatusInternalServerError {
			t.Errorf("applied %v: %d %s", applied, a.status, a.body)
		}
		there := map[bool]int{false: 0, true: 1}[applied]
		if k, o := f.records(t, regions.KindKey), f.records(t, regions.KindOnce); k != there || o != there {
			t.Errorf("applied %v: %d keys and %d records of the request", applied, k, o)
		}
		first := fmt.Sprint(f.must(t, keyed("/keys", `{"Description":"x"}`, "k"), http.StatusCreated))
		if again := fmt.Sprint(f.must(t, keyed("/keys", `{"Description":"x"}`, "k"), http.StatusCreated)); again != first {
			t.Errorf("applied %v: %s is then %s", applied, first, again)
		}
		if n := f.records(t, regions.KindKey); n != 1 {
			t.Errorf("applied %v: %d keys", applied, n)
		}
	}
}
