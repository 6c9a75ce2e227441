package keyset_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"antipode/regions/cose"
	"antipode/regions/keyset"
	"antipode/regions/roster"
)

// The roster is what the packages above pass as trust.
var _ keyset.Trust = roster.Roster{}

const (
	account = "111122223333"
	keyID   = "mrk-0123456789abcdef0123456789abcdef"
	east    = "us-east-2"
	west    = "us-west-1"
	euro    = "eu-west-1"
)

// region signs in software; that a token's signatures verify is shown in regions/cose.
type region struct {
	key  *ecdsa.PrivateKey
	spki []byte
}

func newRegion(t testing.TB) *region {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return &region{key: key, spki: spki}
}

func (r *region) KeyID() []byte { return cose.KeyID(r.spki) }

func (r *region) SignDigest(_ context.Context, digest []byte) ([]byte, error) {
	a, b, err := ecdsa.Sign(rand.Reader, r.key, digest)
	if err != nil {
		return nil, err
	}
	return append(a.FillBytes(make([]byte, 48)), new(big.Int).Set(b).FillBytes(make([]byte, 48))...), nil
}

// partition is three Regions and three operators, two of whom decide.
type partition struct {
	roster.Roster
	regions   map[string]*region
	operators []ed25519.PrivateKey
}

func newPartition(t testing.TB) *partition {
	t.Helper()
	p := &partition{regions: map[string]*region{}}
	var err error
	if p.Roster, err = roster.New("aws"); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{east, west, euro} {
		p.regions[name] = newRegion(t)
		e := roster.Entry{
			Region: name, Version: 1, TLSKey: [32]byte{byte(i + 1)},
			RSKs:   []roster.RSK{{SPKI: p.regions[name].spki, State: roster.Active, Since: 1}},
			Limits: roster.Limits{Accounts: []string{"*"}, MaxOpenExchanges: 1},
		}
		if p.Roster, err = p.With(e); err != nil {
			t.Fatal(err)
		}
	}
	var keys []roster.OperatorKey
	for range 3 {
		pub, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		p.operators = append(p.operators, key)
		keys = append(keys, roster.OperatorKey{PublicKey: [32]byte(pub), Name: "operator"})
	}
	set, err := roster.NextOperators(nil, 2, keys)
	if err != nil {
		t.Fatal(err)
	}
	if p.Roster, err = p.WithOperators([]roster.OperatorSet{set}); err != nil {
		t.Fatal(err)
	}
	return p
}

// setKey gives all keys of a Region another state.
func (p *partition) setKey(t testing.TB, name string, state roster.KeyState) *partition {
	t.Helper()
	e, err := p.Entry(name)
	if err != nil {
		t.Fatal(err)
	}
	e.Version++
	for i := range e.RSKs {
		e.RSKs[i].State, e.RSKs[i].Since = state, e.Version
	}
	next := *p
	if next.Roster, err = p.With(e); err != nil {
		t.Fatal(err)
	}
	return &next
}

func (p *partition) sign(t testing.TB, by string, c keyset.Certificate) []byte {
	t.Helper()
	data, err := keyset.SignCertificate(t.Context(), p.regions[by], c)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (p *partition) genesis(t testing.TB, primary string) [][]byte {
	t.Helper()
	return [][]byte{p.sign(t, primary, keyset.Certificate{
		Account: account, KeyID: keyID, To: keyset.First(), Primary: primary, RosterVersion: p.Version, IssuedAt: 1,
	})}
}

func next(chain [][]byte, from, to keyset.Epoch, old, primary string) keyset.Certificate {
	sum := keyset.Hash(chain[len(chain)-1])
	return keyset.Certificate{
		Account: account, KeyID: keyID, From: from, To: to, PreviousPrimary: old, Primary: primary, Previous: sum[:],
		RosterVersion: 3, IssuedAt: 2,
	}
}

func epoch(generation, term uint64) keyset.Epoch {
	return keyset.Epoch{Generation: generation, Term: term}
}

// approve adds the consent of these operators.
func (p *partition) approve(t testing.TB, c keyset.Certificate, operators ...int) keyset.Certificate {
	t.Helper()
	signed, err := c.Proposal().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	c.Approvals = nil
	for _, i := range operators {
		key := p.operators[i]
		pub, ok := key.Public().(ed25519.PublicKey)
		if !ok {
			t.Fatal("no public key")
		}
		c.Approvals = append(c.Approvals, keyset.Approval{
			Operator: keyset.OperatorID(pub), Signature: [64]byte(ed25519.Sign(key, signed)),
		})
	}
	slices.SortFunc(c.Approvals, func(a, b keyset.Approval) int { return bytes.Compare(a.Operator[:], b.Operator[:]) })
	return c
}

func TestEpochOrder(t *testing.T) {
	t.Parallel()
	rising := []keyset.Epoch{epoch(0, 0), epoch(1, 1), epoch(1, 2), epoch(1, 1<<60), epoch(2, 1), epoch(2, 2)}
	for i, a := range rising {
		for j, b := range rising {
			if got := a.Compare(b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%v and %v: %d", a, b, got)
			}
		}
	}
}

// A key made in the east, handed to the west, then given to Europe by the operators.
func TestChain(t *testing.T) {
	t.Parallel()
	p := newPartition(t)
	chain := p.genesis(t, east)
	check := func(want keyset.Epoch, primary string) {
		t.Helper()
		for _, held := range [][][]byte{nil, chain[:len(chain)-1], chain} {
			head, err := keyset.VerifyChain(chain, held, p)
			if err != nil || head.Epoch != want || head.Primary != primary || head.KeyID != keyID || head.Account != account {
				t.Fatalf("%+v, %v", head, err)
			}
			if head.Certificate != keyset.Hash(chain[len(chain)-1]) {
				t.Fatal("hash of the head")
			}
		}
	}
	check(epoch(1, 1), east)
	chain = append(chain, p.sign(t, east, next(chain, epoch(1, 1), epoch(1, 2), east, west)))
	check(epoch(1, 2), west)
	chain = append(chain, p.sign(t, euro, p.approve(t, next(chain, epoch(1, 2), epoch(2, 1), west, euro), 0, 2)))
	check(epoch(2, 1), euro)

	// A shorter chain than the one held is only old.
	if head, err := keyset.VerifyChain(chain[:1], chain, p); err != nil || head.Epoch != epoch(1, 1) {
		t.Fatalf("%+v, %v", head, err)
	}
}

func TestChainRefused(t *testing.T) {
	t.Parallel()
	p := newPartition(t)
	g := p.genesis(t, east)
	e11, e12, e21 := epoch(1, 1), epoch(1, 2), epoch(2, 1)
	after := func(by string, c keyset.Certificate) [][]byte { return [][]byte{g[0], p.sign(t, by, c)} }
	change := func(c keyset.Certificate, f func(*keyset.Certificate)) keyset.Certificate { f(&c); return c }
	quorum := p.approve(t, next(g, e11, e21, east, euro), 0, 1)
	twice := change(quorum, func(c *keyset.Certificate) { c.Approvals = []keyset.Approval{c.Approvals[0]} })
	stranger := newPartition(t)

	cases := map[string]struct {
		certs [][]byte
		want  error
	}{
		"none":                     {nil, keyset.ErrInvalid},
		"genesis by another":       {[][]byte{p.sign(t, west, keyset.Certificate{Account: account, KeyID: keyID, To: e11, Primary: east})}, keyset.ErrUncertified},
		"genesis twice":            {[][]byte{g[0], g[0]}, keyset.ErrInvalid},
		"no genesis":               {after(east, next(g, e11, e12, east, west))[1:], keyset.ErrInvalid},
		"term by the successor":    {after(west, next(g, e11, e12, east, west)), keyset.ErrUncertified},
		"term by a third":          {after(euro, next(g, e11, e12, east, west)), keyset.ErrUncertified},
		"term by a non-primary":    {after(west, next(g, e11, e12, west, west)), keyset.ErrInvalid},
		"term from elsewhere":      {after(east, next(g, e12, epoch(1, 3), east, west)), keyset.ErrInvalid},
		"term of another key":      {after(east, change(next(g, e11, e12, east, west), func(c *keyset.Certificate) { c.KeyID = "mrk-" + strings.Repeat("f", 32) })), keyset.ErrInvalid},
		"term of another account":  {after(east, change(next(g, e11, e12, east, west), func(c *keyset.Certificate) { c.Account = "999999999999" })), keyset.ErrInvalid},
		"after another one":        {after(east, change(next(g, e11, e12, east, west), func(c *keyset.Certificate) { c.Previous = make([]byte, 48) })), keyset.ErrInvalid},
		"one approval":             {after(euro, p.approve(t, next(g, e11, e21, east, euro), 1)), keyset.ErrUncertified},
		"quorum, by another":       {after(west, quorum), keyset.ErrUncertified},
		"approvals of strangers":   {after(euro, stranger.approve(t, next(g, e11, e21, east, euro), 0, 1)), keyset.ErrUncertified},
		"one right, one stranger":  {after(euro, change(quorum, func(c *keyset.Certificate) { c.Approvals = mixed(t, p, stranger, *c) })), keyset.ErrUncertified},
		"one approval left of two": {after(euro, twice), keyset.ErrUncertified},
		"approved another primary": {after(west, change(quorum, func(c *keyset.Certificate) { c.Primary = west })), keyset.ErrUncertified},
		"approved another epoch":   {after(euro, change(quorum, func(c *keyset.Certificate) { c.To = epoch(3, 1) })), keyset.ErrUncertified},
		"approved another roster":  {after(euro, change(quorum, func(c *keyset.Certificate) { c.RosterVersion = 4 })), keyset.ErrUncertified},
		"garbage":                  {[][]byte{[]byte("garbage")}, keyset.ErrInvalid},
		"a state for a certificate": {
			[][]byte{signed(t, p.regions[east], keyset.TypeState, []byte{0xa0})},
			keyset.ErrInvalid,
		},
		"too long": {make([][]byte, keyset.MaxChain+1), keyset.ErrInvalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if head, err := keyset.VerifyChain(c.certs, nil, p); !errors.Is(err, c.want) {
				t.Errorf("%+v, %v; want %v", head, err, c.want)
			}
		})
	}
	if head, err := keyset.VerifyChain(after(euro, quorum), nil, p); err != nil || head.Epoch != e21 {
		t.Errorf("the good one: %v", err)
	}
	none := *p
	none.Operators = nil
	if _, err := keyset.VerifyChain(after(euro, quorum), nil, none); !errors.Is(err, keyset.ErrUncertified) {
		t.Errorf("no operators: %v", err)
	}
}

func mixed(t *testing.T, p, stranger *partition, c keyset.Certificate) []keyset.Approval {
	t.Helper()
	list := append(p.approve(t, c, 0).Approvals, stranger.approve(t, c, 0).Approvals...)
	slices.SortFunc(list, func(a, b keyset.Approval) int { return bytes.Compare(a.Operator[:], b.Operator[:]) })
	return list
}

func signed(t testing.TB, by *region, typ string, payload []byte) []byte {
	t.Helper()
	data, err := cose.Sign(t.Context(), by, typ, payload)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Two claims to one place: neither is taken, and only the operators' next generation settles it.
func TestForks(t *testing.T) {
	t.Parallel()
	p := newPartition(t)
	g := p.genesis(t, east)
	add := func(chain [][]byte, by string, c keyset.Certificate) [][]byte {
		return append(slices.Clone(chain), p.sign(t, by, c))
	}
	toWest := add(g, east, next(g, epoch(1, 1), epoch(1, 2), east, west))
	toEuro := add(g, east, next(g, epoch(1, 1), epoch(1, 2), east, euro))
	longer := add(toEuro, euro, next(toEuro, epoch(1, 2), epoch(1, 3), euro, east))
	gen2 := add(g, euro, p.approve(t, next(g, epoch(1, 1), epoch(2, 1), east, euro), 0, 1))
	other2 := add(g, west, p.approve(t, next(g, epoch(1, 1), epoch(2, 1), east, west), 1, 2))
	gen3 := add(other2, west, p.approve(t, next(other2, epoch(2, 1), epoch(3, 1), west, west), 1, 2))

	for name, c := range map[string]struct {
		got, held [][]byte
		want      error
	}{
		"two successors":                    {toEuro, toWest, keyset.ErrFork},
		"two successors, one went on":       {longer, toWest, keyset.ErrFork},
		"two of one generation":             {other2, gen2, keyset.ErrFork},
		"operators against a hand-over":     {gen2, toWest, nil},
		"a hand-over against the operators": {longer, gen2, keyset.ErrStale},
		"a higher generation settles it":    {gen3, gen2, nil},
		"and stays settled":                 {gen2, gen3, keyset.ErrStale},
		"another genesis":                   {p.genesis(t, west), g, keyset.ErrFork},
	} {
		if _, err := keyset.VerifyChain(c.got, c.held, p); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// A key that is out of use introduces nothing, but what it certified before stands.
func TestRetiredSigner(t *testing.T) {
	t.Parallel()
	for _, state := range []roster.KeyState{roster.Retired, roster.Removed} {
		p := newPartition(t)
		g := p.genesis(t, east)
		chain := [][]byte{g[0], p.sign(t, east, next(g, epoch(1, 1), epoch(1, 2), east, west))}
		later := p.setKey(t, east, state)
		if _, err := keyset.VerifyChain(chain, chain, later); err != nil {
			t.Errorf("%s: held already: %v", state, err)
		}
		if _, err := keyset.VerifyChain(chain, nil, later); err != nil {
			t.Errorf("%s: nothing held: %v", state, err)
		}
		if _, err := keyset.VerifyChain(chain, g, later); !errors.Is(err, keyset.ErrUncertified) || !errors.Is(err, roster.ErrInactiveKey) {
			t.Errorf("%s: something new: %v", state, err)
		}
	}
}
