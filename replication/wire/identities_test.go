package wire_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"antipode/regions/canon"
	"antipode/regions/identity"
	"antipode/replication/wire"
)

// newIdentities returns a fixed request for identities and a page that answers it.
func newIdentities(t testing.TB, x *exchange) (*wire.IdentityRequest, *wire.IdentityExport) {
	t.Helper()
	q := &wire.IdentityRequest{
		Route: x.offer.Route, Suites: []wire.Suite{wire.SuiteNullECB, wire.SuiteRSASHA1}, Point: point(t, "identities B"),
		Nonce: fill[[32]byte](0x77),
	}
	return q, &wire.IdentityExport{
		Route: q.Answer(4), Request: wire.Hash([]byte("request")), Suites: []wire.Suite{wire.SuiteX963, wire.SuiteNullECB},
		Suite: wire.SuiteNullECB, Point: point(t, "identities A"), Export: fill[[16]byte](0x88), Page: 1, Pages: 2,
		Sealed: [][]byte{bytes.Repeat([]byte{1}, wire.SealedPart+41), bytes.Repeat([]byte{2}, 50)},
	}
}

func TestIdentityMessages(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	data := []byte("request")
	q, page := newIdentities(t, x)
	if err := page.Answers(data, q, ""); err != nil {
		t.Errorf("the answer: %v", err)
	}
	for name, s := range map[string]struct {
		edit func(*wire.IdentityRequest, *wire.IdentityExport)
		want error
	}{
		"another exchange":    {func(_ *wire.IdentityRequest, p *wire.IdentityExport) { p.ExchangeID[0]++ }, wire.ErrMismatch},
		"another request":     {func(_ *wire.IdentityRequest, p *wire.IdentityExport) { p.Request[0]++ }, wire.ErrMismatch},
		"by a third":          {func(_ *wire.IdentityRequest, p *wire.IdentityExport) { p.From = euro }, wire.ErrMismatch},
		"none in common":      {func(_ *wire.IdentityRequest, p *wire.IdentityExport) { p.Suites = p.Suites[:1] }, wire.ErrNoSuite},
		"RSA in common alone": {func(q *wire.IdentityRequest, p *wire.IdentityExport) { q.Suites, p.Suites = q.Suites[1:], q.Suites[1:] }, wire.ErrNoSuite},
		"weaker than both could": {func(q *wire.IdentityRequest, _ *wire.IdentityExport) {
			q.Suites = append([]wire.Suite{wire.SuiteX963}, q.Suites...)
		}, wire.ErrMismatch},
		"weaker than the roster has": {nil, wire.ErrNoSuite},
	} {
		q, page := newIdentities(t, x)
		least := wire.Suite("")
		if s.edit == nil {
			least = wire.SuiteX963
		} else {
			s.edit(q, page)
		}
		if err := page.Answers(data, q, least); !errors.Is(err, s.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, edit := range map[string]func(*wire.IdentityRequest, *wire.IdentityExport){
		"no nonce":          func(q *wire.IdentityRequest, _ *wire.IdentityExport) { q.Nonce = [32]byte{} },
		"no suites":         func(q *wire.IdentityRequest, _ *wire.IdentityExport) { q.Suites = nil },
		"request's point":   func(q *wire.IdentityRequest, _ *wire.IdentityExport) { q.Point[50] ^= 1 },
		"page's point":      func(_ *wire.IdentityRequest, p *wire.IdentityExport) { p.Point = p.Point[1:] },
		"RSA suite":         func(_ *wire.IdentityRequest, p *wire.IdentityExport) { p.Suite = wire.SuiteRSASHA256 },
		"page 0":            func(_ *wire.IdentityRequest, p *wire.IdentityExport) { p.Page = 0 },
		"page 3 of 2":       func(_ *wire.IdentityRequest, p *wire.IdentityExport) { p.Page = 3 },
		"too many pages":    func(_ *wire.IdentityRequest, p *wire.IdentityExport) { p.Pages = wire.MaxIdentityPages + 1 },
		"no export id":      func(_ *wire.IdentityRequest, p *wire.IdentityExport) { p.Export = [16]byte{} },
		"nothing sealed":    func(_ *wire.IdentityRequest, p *wire.IdentityExport) { p.Sealed = nil },
		"an empty part":     func(_ *wire.IdentityRequest, p *wire.IdentityExport) { p.Sealed[1] = p.Sealed[1][:41] },
		"a part too large":  func(_ *wire.IdentityRequest, p *wire.IdentityExport) { p.Sealed[0] = append(p.Sealed[0], 0) },
		"a part not filled": func(_ *wire.IdentityRequest, p *wire.IdentityExport) { p.Sealed[0] = p.Sealed[0][1:] },
	} {
		q, page := newIdentities(t, x)
		edit(q, page)
		_, qErr := wire.Sign(t.Context(), x.east, q)
		_, pErr := wire.Sign(t.Context(), x.west, page)
		if err := errors.Join(qErr, pErr); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The transcript is what the documents say, and each thing that both sides rest on changes it.
func TestIdentityTranscript(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	data := []byte("request")
	_, page := newIdentities(t, x)
	got, err := wire.IdentityTranscript(data, page)
	if err != nil {
		t.Fatal(err)
	}
	bare := *page
	bare.Sealed = nil
	body, err := canon.Marshal(&bare)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, part := range [][]byte{[]byte("antipode/identity-transcript/1"), []byte(page.Suite), data, body} {
		all = append(binary.BigEndian.AppendUint32(all, uint32(len(part))), part...)
	}
	if got != sha512.Sum384(all) {
		t.Error("another transcript")
	}
	for name, edit := range map[string]func(*wire.IdentityExport){
		"point": func(p *wire.IdentityExport) { p.Point = point(t, "another") }, "page": func(p *wire.IdentityExport) { p.Page = 2 },
		"suite": func(p *wire.IdentityExport) { p.Suite = wire.SuiteX963 }, "to": func(p *wire.IdentityExport) { p.To = euro },
		"export": func(p *wire.IdentityExport) { p.Export[0]++ }, "suites": func(p *wire.IdentityExport) { p.Suites = p.Suites[1:] },
	} {
		_, page := newIdentities(t, x)
		edit(page)
		if other, err := wire.IdentityTranscript(data, page); err != nil || other == got {
			t.Errorf("%s is not bound: %v", name, err)
		}
	}
	if _, err := wire.IdentityTranscript([]byte("another"), page); !errors.Is(err, wire.ErrMismatch) {
		t.Errorf("another request: %v", err)
	}
	if bytes.Equal(wire.SealedAAD(got, 0, 2), wire.SealedAAD(got, 0, 3)) || bytes.Equal(wire.SealedAAD(got, 0, 2), wire.SealedAAD(got, 1, 2)) {
		t.Error("parts can be exchanged")
	}
}

func identities(t testing.TB) []identity.Bundle {
	t.Helper()
	u, err := identity.NewUser(rand.Reader, "111122223333", "alice", 5)
	if err != nil {
		t.Fatal(err)
	}
	u = u.WithPolicy("p", []byte(identity.AdministratorPolicy))
	k, err := identity.NewAccessKey(rand.Reader, 5)
	if err != nil {
		t.Fatal(err)
	}
	gone := identity.Account{ID: "222233334444", Created: 1, Version: 2, Deleted: true}
	return []identity.Bundle{{Account: &gone}, {User: &u, Keys: []identity.BundleKey{k}}}
}

func TestEncodeIdentities(t *testing.T) {
	t.Parallel()
	list := identities(t)
	data, err := wire.EncodeIdentities(list)
	if err != nil {
		t.Fatal(err)
	}
	back, err := wire.DecodeIdentities(data)
	if err != nil || len(back) != 2 || !back[0].Account.Deleted || !back[1].Keys[0].Secret.Equal(list[1].Keys[0].Secret) {
		t.Fatalf("%+v, %v", back, err)
	}
	secret := string(list[1].Keys[0].Secret.Reveal())
	broken := bytes.Replace(data, []byte(secret), []byte(strings.Repeat("!", len(secret))), 1)
	for name, raw := range map[string][]byte{
		"cut": data[:len(data)-1], "longer": append(slices.Clone(data), 0), "empty": nil, "a bad secret": broken,
		"a bad id": bytes.Replace(data, []byte("AIDA"), []byte("AROA"), 1),
	} {
		if _, err := wire.DecodeIdentities(raw); !errors.Is(err, wire.ErrMalformed) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	list[1].Role = &identity.Role{}
	if _, err := wire.EncodeIdentities(list); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("two in one: %v", err)
	}
}

// FuzzDecodeIdentities: what decodes encodes to the same bytes.
func FuzzDecodeIdentities(f *testing.F) {
	data, err := wire.EncodeIdentities(identities(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := wire.DecodeIdentities(data)
		if err != nil {
			return
		}
		if again, err := wire.EncodeIdentities(list); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x encodes to %x, %v", data, again, err)
		}
	})
}

// FuzzSplitPages: what splits joins to the same bytes.
func FuzzSplitPages(f *testing.F) {
	f.Add(wire.JoinPages([][]byte{{1}, {2, 3}}))
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, file []byte) {
		pages, err := wire.SplitPages(file)
		if err == nil && !bytes.Equal(wire.JoinPages(pages), file) {
			t.Errorf("%x: %x", file, pages)
		}
	})
}
