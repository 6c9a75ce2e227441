package replication_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"antipode/hsmbackend"
	"antipode/regions"
	auditlog "antipode/regions/audit"
	"antipode/regions/identity"
	"antipode/regions/keyring"
	"antipode/regions/roster"
	"antipode/replication"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

type auditEvent = auditlog.Event

var (
	errNoRequest  = replication.ErrNoRequest
	errIncomplete = replication.ErrIncomplete
)

// A file that is not, bit for bit, what the exporter signed for this Region's open request is refused by name, and changes
// nothing.
func TestIdentityFileRefused(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const tokyo = "ap-northeast-1"
	w := simtest.New(t, ohio, ireland, tokyo)
	a, b, c := w.Region(ohio), w.Region(ireland), w.Region(tokyo)
	alice := newUser(t, a, simtest.Account, "alice")
	q := request(t, a, b)
	out, err := a.Node.ExportIdentities(ctx, ireland, q, nil)
	if err != nil {
		t.Fatal(err)
	}
	good := out.File
	pages, err := wire.SplitPages(good)
	if err != nil || len(pages) != 1 {
		t.Fatal(len(pages), err)
	}
	page := pages[0]
	stranger := simtest.New(t, ohio).Region(ohio)
	forge := func(by *simtest.Region, edit func(*wire.IdentityExport)) []byte {
		return wire.JoinPages([][]byte{resign(t, by, page, edit)})
	}
	forC, err := a.Node.ExportIdentities(ctx, tokyo, request(t, a, c), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]struct {
		file []byte
		want error
	}{
		"empty":                 {nil, wire.ErrMalformed},
		"cut off":               {good[:len(good)-1], wire.ErrMalformed},
		"cut in the length":     {good[:3], wire.ErrMalformed},
		"trailing byte":         {append(slices.Clone(good), 0), wire.ErrMalformed},
		"not a file of ours":    {[]byte("-----BEGIN CERTIFICATE-----"), wire.ErrMalformed},
		"unsigned":              {wire.JoinPages([][]byte{unsigned(page)}), wire.ErrUntrusted},
		"by a stranger":         {forge(stranger, func(*wire.IdentityExport) {}), wire.ErrUntrusted},
		"by another Region":     {forge(c, func(*wire.IdentityExport) {}), wire.ErrMisrouted},
		"to another Region":     {forC.File, wire.ErrMisrouted},
		"another's, as its own": {forge(c, func(x *wire.IdentityExport) { x.From = tokyo }), wire.ErrMismatch},
		"the request itself":    {wire.JoinPages([][]byte{q}), wire.ErrMisrouted},
		"another request":       {forge(a, func(x *wire.IdentityExport) { x.Request[0] ^= 1 }), wire.ErrMismatch},
		"another exchange":      {forge(a, func(x *wire.IdentityExport) { x.ExchangeID[0] ^= 1 }), errNoRequest},
		"more pages":            {forge(a, func(x *wire.IdentityExport) { x.Pages = 2 }), errIncomplete},
		"a weaker suite than both have": {forge(a, func(x *wire.IdentityExport) {
			x.Suites = []wire.Suite{wire.SuiteNullECB}
			x.Suite = wire.SuiteX963
		}), wire.ErrMismatch},
		"no suite of ours":  {forge(a, func(x *wire.IdentityExport) { x.Suites = []wire.Suite{wire.SuiteX963} }), wire.ErrNoSuite},
		"an RSA suite":      {badSuite(t, a, page), wire.ErrMalformed},
		"another key":       {forge(a, func(x *wire.IdentityExport) { x.Point = otherPoint(t, q) }), keyring.ErrRefused},
		"another export id": {forge(a, func(x *wire.IdentityExport) { x.Export[0] ^= 1 }), keyring.ErrRefused},
		"altered secrets":   {forge(a, func(x *wire.IdentityExport) { x.Sealed[0][40] ^= 1 }), keyring.ErrRefused},
	} {
		if _, _, err := b.Node.ImportIdentities(ctx, s.file, admin(w), nil); !errors.Is(err, s.want) {
			t.Errorf("%s: %v, want %v", name, err, s.want)
		}
	}
	for i := 0; i < len(good); i += 1 + i%53 {
		flipped := slices.Clone(good)
		flipped[i] ^= 1 << (i % 8)
		if _, _, err := b.Node.ImportIdentities(ctx, flipped, admin(w), nil); err == nil {
			t.Errorf("byte %d flipped: taken", i)
		}
	}
	if holds(t, b, alice) {
		t.Fatal("something was taken over")
	}
	// A peer's machine can't ask for identities: they go out by an operator's hand only.
	for _, m := range [][]byte{q, page} {
		if _, err := w.Net.Send(ctx, ireland, ohio, m); err == nil {
			t.Error("the transport between Regions carries identities")
		}
	}
	// None of it spoiled the request.
	if got, _, err := b.Node.ImportIdentities(ctx, good, admin(w), nil); err != nil || len(got.Applied) != 1 || !holds(t, b, alice) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, r := range []*simtest.Region{a, b} {
		if extra := r.Extra(); extra != 0 {
			t.Errorf("%s has %d session objects too many", r.Name, extra)
		}
	}
}

func badSuite(t *testing.T, by *simtest.Region, page []byte) []byte {
	t.Helper()
	raw := payload(t, page)
	at := strings.LastIndex(string(raw), string(wire.SuiteNullECB)) // the list of suites comes first
	raw = append(slices.Clone(raw[:at]), append([]byte("P384-NULL-ECBKDF-KWQ"), raw[at+len(wire.SuiteNullECB):]...)...)
	return wire.JoinPages([][]byte{signPayload(t, by, wire.TypeIdentityExport, raw)})
}

// otherPoint is a point that is on the curve and nobody's key of the exchange: the asker's own.
func otherPoint(t *testing.T, request []byte) []byte {
	t.Helper()
	m, err := wire.Parse(request)
	if err != nil {
		t.Fatal(err)
	}
	q, ok := m.(*wire.IdentityRequest)
	if !ok {
		t.Fatal(m.Type())
	}
	return q.Point
}

// What the rosters don't allow does not go out, and does not come in if it does.
func TestIdentitiesOfAccounts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	const other = "222233334444"
	alice, bob := newUser(t, a, simtest.Account, "alice"), newUser(t, a, other, "bob")
	if got, _, err := b.Node.ImportIdentities(ctx, export(t, a, b, other), nil, nil); err != nil || len(got.Applied) != 1 || holds(t, b, alice) {
		t.Errorf("one account of two: %+v, %v", got, err)
	}
	bob = change(t, a, bob, func(u *identity.User, _ *identity.Bundle) { u.Disabled = true })
	all := export(t, a, b)
	w.Limit(ireland, ohio, func(l *roster.Limits) { l.Accounts = []string{simtest.Account} })
	var refused *regions.Error
	if _, _, err := b.Node.ImportIdentities(ctx, all, admin(w), nil); !errors.As(err, &refused) || refused.Code != regions.CodeAccessDenied || !strings.Contains(err.Error(), other) {
		t.Errorf("an account that the importer does not allow: %v", err)
	}
	if holds(t, b, alice) || holds(t, b, bob) {
		t.Error("something of a refused import was taken over")
	}
	w.Limit(ohio, ireland, func(l *roster.Limits) { l.Accounts = []string{simtest.Account} })
	if _, err := a.Node.ExportIdentities(ctx, ireland, request(t, a, b), []string{other}); !errors.As(err, &refused) {
		t.Errorf("an account that the exporter does not allow: %v", err)
	}
	if got := carry(t, w, a, b); !slices.Equal(got.Applied, []string{alice.ARN()}) {
		t.Errorf("what both allow: %+v", got)
	}
}

// Requests that can't be made or answered.
func TestIdentityRequests(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const tokyo = "ap-northeast-1"
	w := simtest.New(t, ohio, ireland, tokyo)
	a, b, c := w.Region(ohio), w.Region(ireland), w.Region(tokyo)
	for name, s := range map[string]struct {
		to   string
		file []byte
		want error
	}{
		"another Region's than the operator says": {tokyo, request(t, a, b), wire.ErrMisrouted},
		"for another exporter":                    {ireland, request(t, c, b), wire.ErrMisrouted},
		"by a stranger":                           {ireland, request(t, simtest.New(t, ohio, ireland).Region(ohio), simtest.New(t, ohio, ireland).Region(ireland)), wire.ErrUntrusted},
		"not a request":                           {ireland, []byte("x"), wire.ErrMalformed},
	} {
		if _, err := a.Node.ExportIdentities(ctx, s.to, s.file, nil); !errors.Is(err, s.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.Node.RequestIdentities(ctx, "sa-east-1"); !errors.Is(err, roster.ErrUnknownRegion) {
		t.Errorf("of a Region that is not enrolled: %v", err)
	}
	if _, err := b.Node.RequestIdentities(ctx, ireland); !errors.Is(err, wire.ErrMisrouted) && !errors.Is(err, roster.ErrUnknownRegion) {
		t.Errorf("of itself: %v", err)
	}
	// A removed Region is given nothing.
	q := request(t, a, b)
	w.Limit(ohio, ireland, func(l *roster.Limits) { l.MinSuite = string(wire.SuiteX963) })
	if _, err := a.Node.ExportIdentities(ctx, ireland, q, nil); !errors.Is(err, wire.ErrNoSuite) {
		t.Errorf("a weaker suite than the roster allows: %v", err)
	}
	w.Limit(ohio, ireland, func(l *roster.Limits) { l.MinSuite = "" })
	late := export(t, a, b)
	w.Remove(ohio, ireland)
	if _, err := a.Node.ExportIdentities(ctx, ireland, q, nil); !errors.Is(err, wire.ErrUntrusted) {
		t.Errorf("a removed Region's: %v", err)
	}
	// An old request's key is gone.
	if b.Extra() == 0 {
		t.Error("an open request has no key")
	}
	w.Advance(25 * time.Hour)
	if _, _, err := b.Node.ImportIdentities(ctx, late, admin(w), nil); !errors.Is(err, errNoRequest) {
		t.Errorf("after a day: %v", err)
	}
	if err := b.Node.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	if extra := b.Extra(); extra != 0 {
		t.Errorf("%d session objects of old requests", extra)
	}
	// A token with RSA alone has no key to be asked by.
	c.Tokens.Narrow(simtest.OnlyRSA)
	if _, err := c.Node.RequestIdentities(ctx, ohio); !errors.Is(err, wire.ErrNoSuite) {
		t.Errorf("a token without ECDH: %v", err)
	}
}

// Of the keys of an export none can be wrapped, all are session objects, and they do their part and nothing else.
func TestIdentityKeys(t *testing.T) {
	t.Parallel()
	w, a, b := twoRegions(t)
	newUser(t, a, simtest.Account, "alice")
	for _, r := range []*simtest.Region{a, b} {
		r.Tokens.Forget()
		kek := wrapKey(t, r)
		r.Tokens.OnMade(func(m simtest.Made) {
			if _, err := r.Token.Wrap(t.Context(), kek, m.Ref); !errors.Is(err, hsmbackend.ErrNotExtractable) {
				t.Errorf("%s: %s %q can be wrapped: %v", r.Name, m.Op, m.Attr.Label, err)
			}
		})
	}
	carry(t, w, a, b)
	for _, r := range []*simtest.Region{a, b} {
		labels := map[string]int{}
		for _, m := range r.Tokens.Made() {
			labels[m.Attr.Label]++
			if m.Attr.Token || m.Attr.Extractable || m.Attr.Usage.Has(hsmbackend.UsageWrap) || m.Attr.Usage.Has(hsmbackend.UsageUnwrap) {
				t.Errorf("%s: %q has %+v", r.Name, m.Attr.Label, m.Attr)
			}
		}
		if labels["antipode/rak"] != 1 || labels["antipode/z"] != 1 || labels["antipode/identities"] != 1 {
			t.Errorf("%s made %v", r.Name, labels)
		}
		r.Tokens.OnMade(nil)
	}
}

// What is another identity of the same name is left to the operator.
func TestIdentityConflicts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	mine := newUser(t, b, simtest.Account, "alice")
	w.Advance(time.Second)
	theirs := newUser(t, a, simtest.Account, "alice")
	bob := newUser(t, a, simtest.Account, "bob")
	file := export(t, a, b)
	try := func(keep, replace []string) (regions.Imported, error) {
		out, _, err := b.Node.ImportIdentities(ctx, file, keep, replace)
		return out, err
	}
	if _, err := try(nil, nil); !errors.Is(err, regions.ErrIdentityConflict) || !strings.Contains(err.Error(), theirs.ARN()) {
		t.Errorf("undecided: %v", err)
	}
	if _, err := try([]string{"arn:aws:iam::111122223333:user/nobody"}, nil); !errors.Is(err, identity.ErrInvalid) {
		t.Errorf("a name that is not in the file: %v", err)
	}
	if holds(t, b, bob) || !holds(t, b, mine) {
		t.Fatal("a refused import has changed something")
	}
	got, err := try(admin(w), []string{theirs.ARN()})
	if err != nil || !holds(t, b, theirs) || !holds(t, b, bob) || len(got.Applied) != 2 {
		t.Errorf("decided: %+v, %v", got, err)
	}
	if _, err := b.Region.Directory().Resolve(ctx, mine.Keys[0].ID, ""); !errors.Is(err, identity.ErrUnknownKey) {
		t.Errorf("the replaced user's access key: %v", err)
	}
	// One that was changed here later is not replaced; one from far in the future is not taken.
	w.Advance(time.Second)
	change(t, b, theirs, func(u *identity.User, _ *identity.Bundle) { u.ID = "AIDAAAAAAAAAAAAAAAAAA" })
	file = export(t, a, b)
	if _, err := try(admin(w), []string{theirs.ARN()}); !errors.Is(err, regions.ErrIdentityConflict) {
		t.Errorf("replace what is newer: %v", err)
	}
	w.Advance(48 * time.Hour)
	change(t, a, bob, func(*identity.User, *identity.Bundle) {})
	w.Advance(-48 * time.Hour)
	file = export(t, a, b)
	if _, err := try(append(admin(w), theirs.ARN()), nil); !errors.Is(err, identity.ErrInvalid) || !strings.Contains(err.Error(), "clocks") {
		t.Errorf("from the future: %v", err)
	}
	// An account that was deleted there and has keys here stays.
	b.CreateKey(ctx)
	put(t, b, identity.Bundle{Account: &identity.Account{ID: simtest.Account, Created: 1, Version: 1}})
	put(t, a, identity.Bundle{Account: &identity.Account{ID: simtest.Account, Created: 1, Version: 2, Deleted: true}})
	w.Advance(48 * time.Hour)
	file = export(t, a, b)
	keep := append(admin(w), theirs.ARN())
	if _, err := try(keep, nil); !errors.Is(err, regions.ErrIdentityConflict) || !strings.Contains(err.Error(), "has keys here") {
		t.Errorf("an account with keys: %v", err)
	}
	if _, err := try(append(keep, "arn:aws:iam::"+simtest.Account+":root"), nil); err != nil {
		t.Errorf("an account that is kept: %v", err)
	}
}
