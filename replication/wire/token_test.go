package wire_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"antipode/hsmbackend"
	"antipode/regions/cose"
	"antipode/regions/keyset"
	"antipode/regions/roster"
	"antipode/replication/wire"
	"antipode/softhsm/softhsmtest"
)

// site is one Region with a real token and its RSK on it.
type site struct {
	hsmbackend.Token
	rsk  hsmbackend.KeyRef
	spki []byte
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{Token: softhsmtest.Open(t)}
	var err error
	s.rsk, s.spki, err = s.GenerateKeyPair(t.Context(), hsmbackend.ECP384, hsmbackend.Attributes{
		Label: "rsk", Token: true, Usage: hsmbackend.UsageSign, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechECDSA},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) KeyID() []byte { return cose.KeyID(s.spki) }

func (s *site) SignDigest(ctx context.Context, digest []byte) ([]byte, error) {
	return s.SignECDSA(ctx, s.rsk, digest)
}

// ephemeral makes RAKA or RAKB and returns its point, the last 97 bytes of a P-384 SubjectPublicKeyInfo.
func (s *site) ephemeral(t *testing.T) (hsmbackend.KeyRef, []byte) {
	t.Helper()
	ref, spki, err := s.GenerateKeyPair(t.Context(), hsmbackend.ECP384, hsmbackend.Attributes{
		Usage: hsmbackend.UsageDerive, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechECDH},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ref, spki[len(spki)-wire.PointSize:]
}

// wrappingKey derives RWK on the token as SuiteNullECB says.
func (s *site) wrappingKey(t *testing.T, own hsmbackend.KeyRef, peer []byte, transcript [wire.HashSize]byte, use hsmbackend.Usage) hsmbackend.KeyRef {
	t.Helper()
	z, err := s.DeriveECDH(t.Context(), own, peer, hsmbackend.KDFNull, nil, hsmbackend.Attributes{
		Usage: hsmbackend.UsageDerive, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechDeriveECB},
	})
	if err != nil {
		t.Fatal(err)
	}
	rwk, err := s.DeriveECB(t.Context(), z, [32]byte(transcript[:32]), hsmbackend.Attributes{
		Usage: use, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP},
	})
	if err != nil {
		t.Fatal(err)
	}
	return rwk
}

// TestOnTokens moves an AES key from one SoftHSM token to another by nothing but these messages, both sides computing the
// transcript from what they received; with any other transcript the blob does not open.
func TestOnTokens(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, b := newSite(t), newSite(t)
	keys, err := roster.New("aws")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*site{east: a, west: b} {
		keys, err = keys.With(roster.Entry{
			Region: name, Version: 1, TLSKey: [32]byte(s.KeyID()),
			RSKs:   []roster.RSK{{SPKI: s.spki, State: roster.Active, Since: 1}},
			Limits: roster.Limits{Accounts: []string{"*"}, MaxOpenExchanges: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	material, err := a.GenerateKey(ctx, hsmbackend.AES256, hsmbackend.Attributes{
		Extractable: true, Usage: hsmbackend.UsageEncrypt | hsmbackend.UsageDerive,
		Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESECB, hsmbackend.MechDeriveECB},
	})
	if err != nil {
		t.Fatal(err)
	}

	x := newExchange(t) // its contents, but for what the tokens make
	offer := x.offer
	offer.Materials = offer.Materials[1:2]
	m1, err := wire.Sign(ctx, a, offer)
	if err != nil {
		t.Fatal(err)
	}

	gotOffer := open[*wire.Offer](t, m1, west, keys)
	rakB, pointB := b.ephemeral(t)
	accept := x.accept
	accept.Route, accept.Offer, accept.RAKB, accept.Token = gotOffer.Answer(keys.Version), wire.Hash(m1), pointB, b.Info().Serial
	m2, err := wire.Sign(ctx, b, accept)
	if err != nil {
		t.Fatal(err)
	}

	gotAccept := open[*wire.Accept](t, m2, east, keys)
	if err := gotAccept.Answers(m1, offer, wire.SuiteNullECB); err != nil {
		t.Fatal(err)
	}
	rakA, pointA := a.ephemeral(t)
	transfer := &wire.Transfer{
		Route: offer.Route, Offer: wire.Hash(m1), Accept: wire.Hash(m2), RAKA: pointA, Token: a.Info().Serial,
		Materials: []wire.Wrapped{{ID: offer.Materials[0].ID}}, State: x.transfer.State, Chain: x.transfer.Chain,
	}
	transcript, err := wire.Transcript(gotAccept.Suite, m1, m2, transfer)
	if err != nil {
		t.Fatal(err)
	}
	rwk := a.wrappingKey(t, rakA, gotAccept.RAKB, transcript, hsmbackend.UsageWrap)
	if transfer.Materials[0].Blob, err = a.Wrap(ctx, rwk, material); err != nil {
		t.Fatal(err)
	}
	m3, err := wire.Sign(ctx, a, transfer)
	if err != nil {
		t.Fatal(err)
	}

	gotTransfer := open[*wire.Transfer](t, m3, west, keys)
	if err := gotTransfer.Follows(m1, m2, gotOffer, accept); err != nil {
		t.Fatal(err)
	}
	transcript, err = wire.Transcript(accept.Suite, m1, m2, gotTransfer)
	if err != nil {
		t.Fatal(err)
	}
	arrived := hsmbackend.Attributes{
		Usage:      hsmbackend.UsageEncrypt | hsmbackend.UsageDerive,
		Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESECB, hsmbackend.MechDeriveECB},
	}
	other := transcript
	other[31] ^= 1
	wrong := b.wrappingKey(t, rakB, gotTransfer.RAKA, other, hsmbackend.UsageUnwrap)
	if _, err := b.Unwrap(ctx, wrong, gotTransfer.Materials[0].Blob, hsmbackend.AES256, arrived); !errors.Is(err, hsmbackend.ErrIntegrity) {
		t.Errorf("under another transcript: %v", err)
	}
	right := b.wrappingKey(t, rakB, gotTransfer.RAKA, transcript, hsmbackend.UsageUnwrap)
	copied, err := b.Unwrap(ctx, right, gotTransfer.Materials[0].Blob, hsmbackend.AES256, arrived)
	if err != nil {
		t.Fatal(err)
	}
	tagA, err := a.Tag(ctx, material)
	if err != nil {
		t.Fatal(err)
	}
	tagB, err := b.Tag(ctx, copied)
	if err != nil || !bytes.Equal(tagA, tagB) {
		t.Fatalf("the two tokens hold different keys (%v)", err)
	}

	receipt := &wire.Receipt{
		Route: gotTransfer.Answer(keys.Version), Transfer: wire.Hash(m3), Materials: []string{gotTransfer.Materials[0].ID},
		Epoch: keyset.First(), Sequence: 1, Incarnation: accept.Incarnation,
	}
	m4, err := wire.Sign(ctx, b, receipt)
	if err != nil {
		t.Fatal(err)
	}
	if err := open[*wire.Receipt](t, m4, east, keys).Answers(m3, transfer, gotAccept); err != nil {
		t.Fatal(err)
	}
}

func open[M wire.Message](t *testing.T, data []byte, self string, keys wire.Keys) M {
	t.Helper()
	m, err := wire.Open(data, self, keys)
	if err != nil {
		t.Fatal(err)
	}
	typed, ok := m.(M)
	if !ok {
		t.Fatalf("a %T", m)
	}
	return typed
}
