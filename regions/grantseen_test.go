package regions_test

import (
	"bytes"
	"fmt"
	"testing"

	"antipode/regions"
	"antipode/regions/regionstest"
)

// After a change of one grant the token authenticates that one, not all again; what was altered since is refused all the
// same, and what is as it was is taken.
func TestGrantsAreReadAgain(t *testing.T) {
	t.Parallel()
	const many = 200
	var ops opsCounter
	f := regionstest.Open(t, "us-east-2", regionstest.WithToken(ops.wrap))
	id := withGrants(t, f, many)
	use := func() error {
		_, err := regionstest.Call[regions.EncryptOutput](t, f, "Encrypt", &regions.EncryptInput{KeyID: id, Plaintext: []byte("x")})
		return err
	}
	change := func() { // of another grant, so that all are read again
		t.Helper()
		regionstest.Must[regions.CreateGrantOutput](t, f, "CreateGrant", &regions.CreateGrantInput{
			KeyID: id, GranteePrincipal: f.Admin.ARN, Operations: []string{"Decrypt"},
		})
	}
	if err := use(); err != nil {
		t.Fatal(err)
	}
	if n := ops.count("MAC"); n < many {
		t.Fatalf("%d MACs for %d grants: what is it that is counted?", n, many)
	}
	before := ops.count("MAC")
	change()
	if err := use(); err != nil {
		t.Fatal(err)
	}
	if n := ops.count("MAC") - before; n > many/4 {
		t.Errorf("%d MACs after a change of one of %d grants", n, many)
	}

	var stored []regions.Record
	err := f.Store.View(t.Context(), func(rd regions.Reader) (err error) {
		stored, err = rd.List(t.Context(), regions.Query{Kind: regions.KindGrant, Account: regionstest.Account, ID: id})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	put := func(rec regions.Record) {
		t.Helper()
		if err := f.Store.Update(t.Context(), func(tx regions.Tx) error { return tx.Put(t.Context(), rec) }); err != nil {
			t.Fatal(err)
		}
		change()
	}
	victim, other := stored[5], stored[6]
	with := func(edit func(*regions.Record)) regions.Record {
		rec := victim
		rec.Body, rec.MAC = bytes.Clone(rec.Body), bytes.Clone(rec.MAC)
		edit(&rec)
		return rec
	}
	for name, rec := range map[string]regions.Record{
		"body":              with(func(r *regions.Record) { r.Body = bytes.Replace(r.Body, []byte("Decrypt"), []byte("decrypt"), 1) }),
		"MAC":               with(func(r *regions.Record) { r.MAC[0] ^= 1 }),
		"body of another":   with(func(r *regions.Record) { r.Body = other.Body }),
		"record of another": with(func(r *regions.Record) { r.Body, r.MAC = other.Body, other.MAC }),
		"no MAC":            with(func(r *regions.Record) { r.MAC = nil }),
		"index":             with(func(r *regions.Record) { r.Ref = "arn:aws:iam::111122223333:user/x" }),
		"due":               with(func(r *regions.Record) { r.Due = 7 }),
	} {
		put(rec)
		if got := fmt.Sprint(use()); got != regions.CodeInternal {
			t.Errorf("%s altered: %s", name, got)
		}
		put(victim)
		if err := use(); err != nil {
			t.Errorf("%s put back: %v", name, err)
		}
	}
}

// FuzzGrantToken: what parses is the one form of what it says.
func FuzzGrantToken(f *testing.F) {
	fixture := regionstest.Open(f, "us-east-2")
	key := fixture.CreateKey(f, true)
	for range 3 {
		f.Add(regionstest.Must[regions.CreateGrantOutput](f, fixture, "CreateGrant", &regions.CreateGrantInput{
			KeyID: key.KeyID, GranteePrincipal: fixture.Admin.ARN, Operations: []string{"Decrypt"},
		}).GrantToken)
	}
	split := regionstest.Must[regions.CreateGrantOutput](f, fixture, "CreateGrant", &regions.CreateGrantInput{
		KeyID: key.KeyID, GranteePrincipal: fixture.Admin.ARN, Operations: []string{"Encrypt"},
	}).GrantToken
	f.Add(split[:9] + "\n" + split[9:])
	f.Add("AQ==")
	f.Fuzz(func(t *testing.T, token string) {
		again, ok := regions.ReparseGrantToken(token)
		if ok && again != token {
			t.Errorf("%q is %q again", token, again)
		}
	})
}
