package roster_test

import (
	"bytes"
	"testing"

	"antipode/regions/roster"
)

func TestValidRegion(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"us-east-2": true, "us-gov-west-1": true, "ap-southeast-12": true,
		"": false, "us": false, "us-east": false, "us-east-": false, "us--1": false, "-east-1": false, "us-east-2a": false,
		"us-east-2-": false, "us-east-2\n": false, "us-east-two": false, "a-b-c-d-1": false, "us-éast-1": false,
		"abcdefghijklmnop-abcdefghijklmnop-1": false,
	} {
		if got := roster.ValidRegion(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestEntryFingerprint(t *testing.T) {
	t.Parallel()
	e := entry(t, "us-east-2", 1)
	base, err := e.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	mine := e
	mine.Limits = roster.Limits{Accounts: []string{"*"}, MaxOpenExchanges: 3}
	if f, err := mine.Fingerprint(); err != nil || f != base {
		t.Errorf("own limits change it (%v)", err)
	}
	for name, change := range map[string]func(e *roster.Entry){
		"region":   func(e *roster.Entry) { e.Region = "us-east-3" },
		"endpoint": func(e *roster.Entry) { e.Endpoint = "https://127.0.0.1:7002" },
		"TLS key":  func(e *roster.Entry) { e.TLSKey = pin(9) },
		"key":      func(e *roster.Entry) { e.RSKs = []roster.RSK{rsk(t, 1)} },
	} {
		other := e
		change(&other)
		if f, err := other.Fingerprint(); err != nil || f == base {
			t.Errorf("%s does not change it (%v)", name, err)
		}
	}
}

// FuzzDecode: a roster that parses is valid and re-encodes to the same bytes.
func FuzzDecode(f *testing.F) {
	r := newRoster(f, entry(f, "us-west-1", 2), entry(f, "us-east-2", 1))
	data, err := r.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{0xa5, 1, 0x63, 'a', 'w', 's', 2, 0, 3, 0x80, 4, 0x80, 5, 0x80})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := roster.Decode(data)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x re-encodes to %x (%v)", data, again, err)
		}
	})
}
