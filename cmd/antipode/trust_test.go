package main

import (
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/rs/zerolog"

	"antipode/regions/canon"
	"antipode/regions/regionstest"
	"antipode/regions/roster"
)

// What a fingerprint does not cover is not believed of an entry.
func TestTrustBelievesTheFingerprint(t *testing.T) {
	t.Parallel()
	f, g := regionstest.Open(t, "us-east-2"), regionstest.Open(t, "us-west-1")
	n := &node{name: "us-east-2", region: f.Region, log: zerolog.Nop()}
	e := roster.Entry{
		Region: "us-west-1", Version: 1, Endpoint: "https://a:1", TLSKey: sha256.Sum256([]byte("x")), Limits: defaultLimits(),
		RSKs: []roster.RSK{{SPKI: g.Region.Ring().RSK().SPKI(), State: roster.Active, Since: 1}},
	}
	fp, err := e.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	limits := defaultLimits()
	do := func() error {
		raw, err := canon.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(trustRequest{Entry: raw, Fingerprint: fp, Limits: limits})
		if err != nil {
			t.Fatal(err)
		}
		_, err = trust(t.Context(), n, body)
		return err
	}
	if err := do(); err != nil {
		t.Fatal(err)
	}
	e.Removed = true // whoever carries the entry can say so; the fingerprint is the same
	if err := do(); err == nil {
		t.Error("an entry that says its Region was removed was taken")
	}
	if _, err := f.Region.Roster().Entry("us-west-1"); err != nil {
		t.Errorf("the Region is out: %v", err)
	}
	e.Removed, e.Version = false, 1<<63 // nor is the version covered
	if err := do(); err != nil {
		t.Errorf("trust again: %v", err)
	}
	if got, err := f.Region.Roster().Entry("us-west-1"); err != nil || got.Version > 10 {
		t.Errorf("version %d, %v", got.Version, err)
	}
	for suite, known := range map[string]bool{"RSA4096-OAEPSHA256-AESKWP": true, "P384": false} {
		limits.MinSuite = suite
		if err := do(); (err == nil) != known {
			t.Errorf("the weakest suite %q: %v", suite, err)
		}
	}
	if got, err := f.Region.Roster().Entry("us-west-1"); err != nil || got.Limits.MinSuite != "RSA4096-OAEPSHA256-AESKWP" {
		t.Errorf("the weakest suite is %q, %v", got.Limits.MinSuite, err)
	}
}

// An operator enrols a Region again whose signing keys are others than before: those that it has not any more introduce
// nothing from then on, and no retired one comes back.
func TestTrustAgain(t *testing.T) {
	t.Parallel()
	f, g, h := regionstest.Open(t, "us-east-2"), regionstest.Open(t, "us-west-1"), regionstest.Open(t, "us-west-1")
	n := &node{name: "us-east-2", region: f.Region, log: zerolog.Nop()}
	first, second := g.Region.Ring().RSK(), h.Region.Ring().RSK()
	do := func(keys ...roster.RSK) {
		t.Helper()
		e := roster.Entry{
			Region: "us-west-1", Version: 1, Own: 1, Endpoint: "https://a:1", TLSKey: sha256.Sum256([]byte("x")),
			Limits: defaultLimits(), RSKs: keys,
		}
		fp, errFP := e.Fingerprint()
		raw, errRaw := canon.Marshal(e)
		body, errBody := json.Marshal(trustRequest{Entry: raw, Fingerprint: fp, Limits: defaultLimits()})
		_, err := trust(t.Context(), n, body)
		if err := errors.Join(errFP, errRaw, errBody, err); err != nil {
			t.Fatal(err)
		}
	}
	key := func(spki []byte) roster.RSK { return roster.RSK{SPKI: spki, State: roster.Active, Since: 1} }
	state := func(id []byte, want error) {
		t.Helper()
		if _, err := f.Region.Roster().VerifyKey("us-west-1", id); !errors.Is(err, want) {
			t.Errorf("%x: %v, want %v", id, err, want)
		}
	}
	do(key(first.SPKI()))
	state(first.KeyID(), nil)
	do(key(second.SPKI()))
	state(first.KeyID(), roster.ErrInactiveKey)
	state(second.KeyID(), nil)
	do(key(second.SPKI()), key(first.SPKI())) // in another order, and the retired one as if it were active
	state(first.KeyID(), roster.ErrInactiveKey)
	state(second.KeyID(), nil)
}
