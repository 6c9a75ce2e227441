package wire_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"math/big"
	"slices"
	"strings"
	"testing"

	"antipode/regions/cose"
	"antipode/regions/keyset"
	"antipode/regions/roster"
	"antipode/replication/wire"
)

// The roster is what the packages above pass, for new messages and for old ones.
var (
	_ wire.Keys = roster.Roster{}
	_ wire.Keys = roster.History{}
)

const (
	east  = "us-east-2"
	west  = "us-west-1"
	euro  = "eu-west-1"
	keyID = "mrk-0123456789abcdef0123456789abcdef"
)

// region signs in software, with a key that is the same in every run so that golden messages verify.
type region struct {
	key  *ecdsa.PrivateKey
	spki []byte
}

func newRegion(t testing.TB, name string) *region {
	t.Helper()
	scalar := sha512.Sum384([]byte("antipode golden key " + name))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P384(), scalar[:])
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

// point returns a fixed point of P-384.
func point(t testing.TB, name string) []byte {
	t.Helper()
	scalar := sha512.Sum384([]byte("antipode golden point " + name))
	key, err := ecdh.P384().NewPrivateKey(scalar[:])
	if err != nil {
		t.Fatal(err)
	}
	return key.PublicKey().Bytes()
}

func fill[T [16]byte | [32]byte](b byte) (out T) {
	for i := range len(out) {
		out[i] = b
	}
	return out
}

// exchange is one exchange with fixed contents: messages, and their bytes as signed.
type exchange struct {
	roster         roster.Roster
	east, west     *region
	offer          *wire.Offer
	accept         *wire.Accept
	transfer       *wire.Transfer
	receipt        *wire.Receipt
	refusal        *wire.Refusal
	m1, m2, m3, m4 []byte
	no             []byte
}

func newRoster(t testing.TB) roster.Roster {
	t.Helper()
	r, err := roster.New("aws")
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{east, west, euro} {
		r, err = r.With(roster.Entry{
			Region: name, Version: 1, TLSKey: [32]byte{byte(i + 1)},
			RSKs:   []roster.RSK{{SPKI: newRegion(t, name).spki, State: roster.Active, Since: 1}},
			Limits: roster.Limits{Accounts: []string{"*"}, MaxOpenExchanges: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func newExchange(t testing.TB) *exchange {
	t.Helper()
	x := &exchange{roster: newRoster(t), east: newRegion(t, east), west: newRegion(t, west)}
	// In a real exchange these two are signed too; here they stand for themselves, so that the golden bytes are fixed.
	certificate, state := []byte("epoch certificate"), []byte("signed state")
	x.offer = &wire.Offer{
		Route:   wire.Route{ExchangeID: fill[[16]byte](0x11), From: east, To: west, RosterVersion: 3},
		Account: "111122223333", Principal: "arn:aws:iam::111122223333:user/admin",
		KeyID: keyID, Spec: "SYMMETRIC_DEFAULT", Usage: "ENCRYPT_DECRYPT", Origin: "AWS_KMS",
		Policy: `{"Version":"2012-10-17","Statement":[]}`, Description: "schlüssel",
		Tags: []wire.Tag{{Key: "project", Value: "alpha"}, {Key: "empty", Value: ""}},
		Materials: []wire.Material{
			{ID: strings.Repeat("a", 64), Status: keyset.NonCurrent},
			{ID: strings.Repeat("b", 64), Status: keyset.Current},
			{ID: strings.Repeat("c", 64), Status: keyset.Pending},
		},
		Certificate: keyset.Hash(certificate),
		Suites:      []wire.Suite{wire.SuiteX963, wire.SuiteNullECB},
		Nonce:       fill[[32]byte](0x22),
		Purpose:     wire.PurposeReplicate,
	}
	x.m1 = x.sign(t, x.east, x.offer)
	x.accept = &wire.Accept{
		Route: x.offer.Answer(4), Offer: wire.Hash(x.m1),
		Suites: []wire.Suite{wire.SuiteNullECB}, Suite: wire.SuiteNullECB,
		RAKB: point(t, "RAKB"), Token: "0123456789abcdef", Node: "node-1",
		Incarnation: fill[[16]byte](0x11), Nonce: fill[[32]byte](0x33),
	}
	x.m2 = x.sign(t, x.west, x.accept)
	x.transfer = &wire.Transfer{
		Route: x.offer.Route, Offer: wire.Hash(x.m1), Accept: wire.Hash(x.m2),
		RAKA: point(t, "RAKA"), Token: "fedcba9876543210",
		State: state, Chain: [][]byte{[]byte("genesis"), certificate},
	}
	for i, m := range x.offer.Materials {
		x.transfer.Materials = append(x.transfer.Materials,
			wire.Wrapped{ID: m.ID, Blob: bytes.Repeat([]byte{byte(0x40 + i)}, 40)})
	}
	x.m3 = x.sign(t, x.east, x.transfer)
	x.receipt = &wire.Receipt{
		Route: x.offer.Answer(4), Transfer: wire.Hash(x.m3),
		Materials: []string{strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64)},
		Epoch:     keyset.First(), Sequence: 2, Incarnation: fill[[16]byte](0x11),
	}
	x.m4 = x.sign(t, x.west, x.receipt)
	x.refusal = &wire.Refusal{
		Route: x.offer.Answer(4), Refuses: wire.Hash(x.m3), Code: wire.CodeExchangeLost, Message: "the node restarted",
	}
	x.no = x.sign(t, x.west, x.refusal)
	return x
}

func (x *exchange) sign(t testing.TB, by *region, m wire.Message) []byte {
	t.Helper()
	data, err := wire.Sign(t.Context(), by, m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// copy returns an exchange whose messages can be altered without touching x.
func (x *exchange) copy() *exchange {
	y := *x
	offer, accept, transfer, receipt, refusal := *x.offer, *x.accept, *x.transfer, *x.receipt, *x.refusal
	offer.Tags, offer.Materials = slices.Clone(offer.Tags), slices.Clone(offer.Materials)
	transfer.Materials, transfer.Chain = slices.Clone(transfer.Materials), slices.Clone(transfer.Chain)
	receipt.Materials = slices.Clone(receipt.Materials)
	y.offer, y.accept, y.transfer, y.receipt, y.refusal = &offer, &accept, &transfer, &receipt, &refusal
	return &y
}
