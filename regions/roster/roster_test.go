package roster_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"

	"antipode/regions/roster"
)

func newSPKI(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return spki
}

func pin(b byte) [32]byte { return [32]byte{b} }

func entry(t testing.TB, region string, tls byte) roster.Entry {
	t.Helper()
	return roster.Entry{
		Region: region, Version: 1, Endpoint: "https://127.0.0.1:7001",
		RSKs:   []roster.RSK{{SPKI: newSPKI(t), State: roster.Active, Since: 1}},
		TLSKey: pin(tls),
		Limits: roster.Limits{Accounts: []string{"111122223333"}, MaxOpenExchanges: 16},
	}
}

func with(t testing.TB, r roster.Roster, entries ...roster.Entry) roster.Roster {
	t.Helper()
	for _, e := range entries {
		var err error
		if r, err = r.With(e); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func newRoster(t testing.TB, entries ...roster.Entry) roster.Roster {
	t.Helper()
	r, err := roster.New("aws")
	if err != nil {
		t.Fatal(err)
	}
	return with(t, r, entries...)
}

func TestEncode(t *testing.T) {
	t.Parallel()
	r := newRoster(t, entry(t, "us-west-1", 2), entry(t, "us-east-2", 1))
	if r.Version != 2 || r.Regions[0].Region != "us-east-2" {
		t.Fatalf("%+v", r)
	}
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := roster.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	one, err := r.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	two, err := back.Fingerprint()
	if err != nil || one != two || len(strings.ReplaceAll(one, "-", "")) != 52 {
		t.Fatalf("%s, %s, %v", one, two, err)
	}
	three, err := with(t, r, entry(t, "eu-west-1", 3)).Fingerprint()
	if err != nil || three == one {
		t.Fatalf("another roster has the same fingerprint (%v)", err)
	}
	if _, err := roster.Decode(append(data, 0)); !errors.Is(err, roster.ErrInvalid) {
		t.Fatalf("trailing byte: %v", err)
	}
}

// What the life of a key means for what it signed and signs.
func TestKeyStates(t *testing.T) {
	t.Parallel()
	e := entry(t, "us-east-2", 1)
	r := newRoster(t, e, entry(t, "us-west-1", 2))
	id := e.RSKs[0].KeyID()

	check := func(t *testing.T, r roster.Roster, fresh, history error) {
		t.Helper()
		if _, err := r.VerifyKey("us-east-2", id); !errors.Is(err, fresh) {
			t.Errorf("VerifyKey: %v, want %v", err, fresh)
		}
		if region, _, err := r.SigningKey(id); !errors.Is(err, fresh) || region != "us-east-2" {
			t.Errorf("SigningKey: %q, %v, want %v", region, err, fresh)
		}
		if key, err := r.HistoricKey("us-east-2", id); !errors.Is(err, history) || (err == nil) != (key != nil) {
			t.Errorf("HistoricKey: %v, want %v", err, history)
		}
		if region, _, err := (roster.History{Roster: r}).SigningKey(id); err != nil || region != "us-east-2" {
			t.Errorf("History: %q, %v", region, err)
		}
		if _, err := r.VerifyKey("us-west-1", id); !errors.Is(err, roster.ErrUnknownKey) {
			t.Errorf("key of another Region: %v", err)
		}
		if _, err := r.HistoricKey("us-west-1", id); !errors.Is(err, roster.ErrUnknownKey) {
			t.Errorf("historic key of another Region: %v", err)
		}
	}
	check(t, r, nil, nil)

	retired := e
	retired.Version = 2
	retired.RSKs = []roster.RSK{
		{SPKI: e.RSKs[0].SPKI, State: roster.Retired, Since: 2},
		{SPKI: newSPKI(t), State: roster.Active, Since: 2},
	}
	r = with(t, r, retired)
	check(t, r, roster.ErrInactiveKey, nil)
	if _, err := r.VerifyKey("us-east-2", retired.RSKs[1].KeyID()); err != nil {
		t.Errorf("the new key: %v", err)
	}

	compromised := retired
	compromised.Version = 3
	compromised.RSKs = slices.Clone(retired.RSKs)
	compromised.RSKs[0] = roster.RSK{SPKI: e.RSKs[0].SPKI, State: roster.Removed, Since: 3}
	r = with(t, r, compromised)
	check(t, r, roster.ErrInactiveKey, nil)

	gone := compromised
	gone.Version, gone.Removed = 4, true
	r = with(t, r, gone)
	check(t, r, roster.ErrRemoved, nil)
	if _, err := r.VerifyKey("us-east-2", retired.RSKs[1].KeyID()); !errors.Is(err, roster.ErrRemoved) {
		t.Errorf("active key of a removed Region: %v", err)
	}
	if _, err := r.Entry("us-east-2"); !errors.Is(err, roster.ErrRemoved) {
		t.Errorf("Entry: %v", err)
	}
	if _, err := r.RegionByTLSKey(pin(1)); !errors.Is(err, roster.ErrUnknownKey) {
		t.Errorf("TLS key of a removed Region: %v", err)
	}
	if r.AllowsAccount("us-east-2", "111122223333") {
		t.Error("a removed Region is sent keys")
	}
	if _, err := r.VerifyKey("eu-west-1", id); !errors.Is(err, roster.ErrUnknownRegion) {
		t.Errorf("unknown Region: %v", err)
	}
	if _, _, err := r.SigningKey([]byte{}); !errors.Is(err, roster.ErrUnknownKey) {
		t.Errorf("empty key id: %v", err)
	}
}

// Entries only grow: each step back is refused by name.
func TestSteps(t *testing.T) {
	t.Parallel()
	base := entry(t, "us-east-2", 1)
	base.Version = 5
	base.RSKs = []roster.RSK{
		{SPKI: newSPKI(t), State: roster.Retired, Since: 3},
		{SPKI: newSPKI(t), State: roster.Active, Since: 3},
	}
	west := entry(t, "us-west-1", 2)
	gone := west
	gone.Version, gone.Removed = 2, true
	r := newRoster(t, base, west, gone)

	cases := map[string]struct {
		change func(e *roster.Entry)
		want   error
	}{
		"the same":                 {func(*roster.Entry) {}, nil},
		"higher, other endpoint":   {func(e *roster.Entry) { e.Version, e.Endpoint = 6, "https://hsm.example:9000" }, nil},
		"higher, other limits":     {func(e *roster.Entry) { e.Version, e.Limits.Accounts = 6, []string{"*"} }, nil},
		"higher, other TLS key":    {func(e *roster.Entry) { e.Version, e.TLSKey = 6, pin(7) }, nil},
		"higher, a new key":        {func(e *roster.Entry) { e.Version = 6; e.RSKs = append(e.RSKs, rsk(t, 6)) }, nil},
		"higher, a key retired":    {func(e *roster.Entry) { e.Version = 6; e.RSKs[1].State = roster.Retired; e.RSKs[1].Since = 6 }, nil},
		"same version, other":      {func(e *roster.Entry) { e.Endpoint = "" }, roster.ErrConflict},
		"lower version":            {func(e *roster.Entry) { e.Version = 4 }, roster.ErrStepBack},
		"a key lost":               {func(e *roster.Entry) { e.Version = 6; e.RSKs = e.RSKs[1:] }, roster.ErrStepBack},
		"a key replaced":           {func(e *roster.Entry) { e.Version = 6; e.RSKs[0] = rsk(t, 6) }, roster.ErrStepBack},
		"keys reordered":           {func(e *roster.Entry) { e.Version = 6; slices.Reverse(e.RSKs) }, roster.ErrStepBack},
		"a retired key revived":    {func(e *roster.Entry) { e.Version = 6; e.RSKs[0].State = roster.Active; e.RSKs[0].Since = 6 }, roster.ErrStepBack},
		"a retirement dated back":  {func(e *roster.Entry) { e.Version = 6; e.RSKs[1].State = roster.Retired }, roster.ErrStepBack},
		"a state dated otherwise":  {func(e *roster.Entry) { e.Version = 6; e.RSKs[0].Since = 2 }, roster.ErrStepBack},
		"a new key dated back":     {func(e *roster.Entry) { e.Version = 6; e.RSKs = append(e.RSKs, rsk(t, 5)) }, roster.ErrStepBack},
		"a key twice":              {func(e *roster.Entry) { e.Version = 6; e.RSKs = append(e.RSKs, e.RSKs[1]) }, roster.ErrInvalid},
		"a key of another Region":  {func(e *roster.Entry) { e.Version = 6; k := west.RSKs[0]; k.Since = 6; e.RSKs = append(e.RSKs, k) }, roster.ErrInvalid},
		"TLS key of another":       {func(e *roster.Entry) { e.Version, e.TLSKey = 6, pin(2) }, roster.ErrInvalid},
		"a removed Region returns": {func(e *roster.Entry) { *e = west; e.Version = 3 }, roster.ErrRemoved},
		"a new Region":             {func(e *roster.Entry) { *e = entry(t, "eu-west-1", 9) }, nil},
		"a new Region, no active": {
			func(e *roster.Entry) { *e = entry(t, "eu-west-1", 9); e.RSKs[0].State = roster.Retired },
			roster.ErrInvalid,
		},
		"a new Region, removed": {func(e *roster.Entry) { *e = entry(t, "eu-west-1", 9); e.Removed = true }, roster.ErrInvalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := base
			e.RSKs = slices.Clone(base.RSKs)
			c.change(&e)
			before, err := r.Encode()
			if err != nil {
				t.Fatal(err)
			}
			next, err := r.With(e)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			after, encErr := r.Encode()
			if encErr != nil || !bytes.Equal(before, after) {
				t.Fatal("the receiver was changed")
			}
			if err != nil {
				return
			}
			want := r.Version + 1
			if name == "the same" {
				want = r.Version
			}
			if next.Version != want {
				t.Fatalf("version %d after %d", next.Version, r.Version)
			}
		})
	}
}

func rsk(t testing.TB, since uint64) roster.RSK {
	t.Helper()
	return roster.RSK{SPKI: newSPKI(t), State: roster.Active, Since: since}
}

func TestInvalidEntries(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(e *roster.Entry){
		"no name":              func(e *roster.Entry) { e.Region = "" },
		"name in capitals":     func(e *roster.Entry) { e.Region = "US-EAST-2" },
		"version 0":            func(e *roster.Entry) { e.Version = 0 },
		"plain http":           func(e *roster.Entry) { e.Endpoint = "http://127.0.0.1:1" },
		"endpoint with a path": func(e *roster.Entry) { e.Endpoint = "https://127.0.0.1:1/x" },
		"endpoint with a user": func(e *roster.Entry) { e.Endpoint = "https://u@127.0.0.1:1" },
		"endpoint, no port":    func(e *roster.Entry) { e.Endpoint = "https://127.0.0.1" },
		"no TLS key":           func(e *roster.Entry) { e.TLSKey = [32]byte{} },
		"no signing key":       func(e *roster.Entry) { e.RSKs = nil },
		"junk for a key":       func(e *roster.Entry) { e.RSKs[0].SPKI = []byte{1, 2, 3} },
		"unknown key state":    func(e *roster.Entry) { e.RSKs[0].State = "ACTIVE" },
		"key of the future":    func(e *roster.Entry) { e.RSKs[0].Since = 2 },
		"key since never":      func(e *roster.Entry) { e.RSKs[0].Since = 0 },
		"account too short":    func(e *roster.Entry) { e.Limits.Accounts = []string{"1"} },
		"account of letters":   func(e *roster.Entry) { e.Limits.Accounts = []string{"11112222333x"} },
		"star and more":        func(e *roster.Entry) { e.Limits.Accounts = []string{"*", "111122223333"} },
		"accounts unordered":   func(e *roster.Entry) { e.Limits.Accounts = []string{"222222222222", "111111111111"} },
		"account twice":        func(e *roster.Entry) { e.Limits.Accounts = []string{"111111111111", "111111111111"} },
		"no exchanges":         func(e *roster.Entry) { e.Limits.MaxOpenExchanges = 0 },
		"too many exchanges":   func(e *roster.Entry) { e.Limits.MaxOpenExchanges = 10001 },
		"too many keys":        func(e *roster.Entry) { e.RSKs = make([]roster.RSK, roster.MaxKeys+1) },
	} {
		e := entry(t, "us-east-2", 1)
		change(&e)
		if _, err := newRoster(t).With(e); !errors.Is(err, roster.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAllowsAccount(t *testing.T) {
	t.Parallel()
	all := entry(t, "eu-west-1", 3)
	all.Limits.Accounts = []string{"*"}
	none := entry(t, "eu-west-2", 4)
	none.Limits.Accounts = nil
	r := newRoster(t, entry(t, "us-east-2", 1), all, none)
	for _, c := range []struct {
		region, account string
		want            bool
	}{
		{"us-east-2", "111122223333", true},
		{"us-east-2", "111122223334", false},
		{"us-east-2", "*", false},
		{"us-east-2", "", false},
		{"eu-west-1", "999999999999", true},
		{"eu-west-1", "*", false},
		{"eu-west-1", "99999999999a", false},
		{"eu-west-2", "111122223333", false},
		{"eu-west-3", "111122223333", false},
	} {
		if got := r.AllowsAccount(c.region, c.account); got != c.want {
			t.Errorf("%s in %s: %v", c.account, c.region, got)
		}
	}
	if region, err := r.RegionByTLSKey(pin(3)); err != nil || region != "eu-west-1" {
		t.Errorf("RegionByTLSKey: %q, %v", region, err)
	}
	if _, err := r.RegionByTLSKey(pin(0)); !errors.Is(err, roster.ErrUnknownKey) {
		t.Errorf("no TLS key: %v", err)
	}
}
