package roster_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"slices"
	"testing"

	"antipode/regions/cose"
	"antipode/regions/roster"
)

// softKey is a signing key without a token; package replication tries it with real ones.
type softKey struct {
	key  *ecdsa.PrivateKey
	spki []byte
}

func newKey(t testing.TB) softKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return softKey{key, spki}
}

func (k softKey) KeyID() []byte { return cose.KeyID(k.spki) }

func (k softKey) SignDigest(_ context.Context, digest []byte) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand.Reader, k.key, digest)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 96)
	r.FillBytes(out[:48])
	s.FillBytes(out[48:])
	return out, nil
}

func (k softKey) rsk(t testing.TB, region string, since uint64) roster.RSK {
	t.Helper()
	proof, err := roster.ProvePossession(t.Context(), k, region, k.spki)
	if err != nil {
		t.Fatal(err)
	}
	return roster.RSK{SPKI: k.spki, State: roster.Active, Since: since, Proof: proof}
}

// What a Region says of itself is taken from one of its active keys, forward only.
func TestAnnounced(t *testing.T) {
	t.Parallel()
	const east = "us-east-2"
	first, second := newKey(t), newKey(t)
	e := entry(t, east, 1)
	e.RSKs[0].SPKI, e.Own = first.spki, 3
	r := newRoster(t, e, entry(t, "us-west-1", 2))
	next := e
	next.Version, next.Own, next.Endpoint = 40, 4, "https://127.0.0.1:9"
	next.Limits.Accounts = []string{"*"} // not for it to say
	next.RSKs = append(slices.Clone(e.RSKs), second.rsk(t, east, 40))

	got, err := r.WithAnnounced(next, first.KeyID())
	if err != nil {
		t.Fatal(err)
	}
	held, err := got.Entry(east)
	if err != nil || held.Version != 2 || held.Own != 4 || held.Endpoint != next.Endpoint || len(held.RSKs) != 2 ||
		held.Limits.Accounts[0] == "*" || held.RSKs[1].Since != 2 {
		t.Fatalf("%+v, %v", held, err)
	}
	if same, err := got.WithAnnounced(next, first.KeyID()); err != nil || same.Version != got.Version {
		t.Errorf("again: %v", err)
	}
	retired := next
	retired.Own, retired.RSKs = 5, slices.Clone(next.RSKs)
	retired.RSKs[0].State = roster.Retired
	done, err := got.WithAnnounced(retired, second.KeyID())
	if err != nil {
		t.Fatal(err)
	}
	one, errOne := done.Entry(east)
	two, errTwo := one.Fingerprint()
	three, errThree := retired.Fingerprint() // both sides read the same one
	if err := errors.Join(errOne, errTwo, errThree); err != nil || two != three {
		t.Errorf("fingerprints %s, %s, %v", two, three, err)
	}
	for _, c := range []struct {
		name   string
		in     roster.Roster
		by     softKey
		change func(e *roster.Entry)
		want   error
	}{
		{"by a key of nobody", got, newKey(t), func(*roster.Entry) {}, roster.ErrUnknownKey},
		{"by the retired key", done, first, func(e *roster.Entry) { e.Own = 9 }, roster.ErrInactiveKey},
		{"older", done, second, func(e *roster.Entry) { e.Own = 4 }, roster.ErrStepBack},
		{"of no number", done, second, func(e *roster.Entry) { e.Own = 0 }, roster.ErrStepBack},
		{"altered", done, second, func(e *roster.Entry) { e.Endpoint = "" }, roster.ErrConflict},
		{"of another Region", done, second, func(e *roster.Entry) { e.Region = "us-west-1"; e.Own = 9 }, roster.ErrUnknownKey},
		{"of nobody", done, second, func(e *roster.Entry) { e.Region = "eu-west-1"; e.Own = 9 }, roster.ErrUnknownRegion},
		{"without the active key", done, second, func(e *roster.Entry) { e.Own, e.RSKs = 9, e.RSKs[:1] }, roster.ErrStepBack},
		{"all retired", done, second, func(e *roster.Entry) { e.Own = 9; e.RSKs[1].State = roster.Retired }, roster.ErrInvalid},
		{"a key of another's proof", done, second, func(e *roster.Entry) {
			e.Own = 9
			k := newKey(t).rsk(t, east, 40)
			k.Proof = e.RSKs[1].Proof
			e.RSKs = append(e.RSKs, k)
		}, roster.ErrInvalid},
		{"a proof for another Region", done, second, func(e *roster.Entry) {
			e.Own = 9
			e.RSKs = append(e.RSKs, newKey(t).rsk(t, "us-west-1", 40))
		}, roster.ErrInvalid},
		{"another's TLS key", done, second, func(e *roster.Entry) { e.Own, e.TLSKey = 9, pin(2) }, roster.ErrInvalid},
	} {
		said := retired
		said.RSKs = slices.Clone(retired.RSKs)
		c.change(&said)
		if _, err := c.in.WithAnnounced(said, c.by.KeyID()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	revived := next
	revived.Own = 9
	back, err := done.WithAnnounced(revived, second.KeyID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := back.VerifyKey(east, first.KeyID()); !errors.Is(err, roster.ErrInactiveKey) {
		t.Errorf("a retired key was revived: %v", err)
	}
}

// A quorum removes for everybody, once and for ever; too few remove nothing.
func TestRemovals(t *testing.T) {
	t.Parallel()
	const east = "us-east-2"
	ops := newOperators(t, "alice", "bob", "carol")
	e := entry(t, east, 1)
	r, err := newRoster(t, e, entry(t, "us-west-1", 2)).WithOperators(follow(t, nil, 2, ops))
	if err != nil {
		t.Fatal(err)
	}
	whole := roster.Removal{Region: east}
	approved := func(m roster.Removal, by ...operator) roster.Removal {
		m.Approvals = roster.OperatorSet{}.WithApprovals(approve(t, m.Proposal(), by...)).Approvals
		return m
	}
	key := roster.Removal{Region: east, Key: e.RSKs[0].KeyID()}
	for name, m := range map[string]roster.Removal{
		"nobody": whole, "one": approved(whole, ops[0]),
		"another removal's": {Region: east, Approvals: approved(key, ops[:2]...).Approvals},
	} {
		if _, err := r.WithRemoval(m); !errors.Is(err, roster.ErrUnapproved) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.WithRemoval(approved(roster.Removal{Region: "eu-west-1"}, ops...)); !errors.Is(err, roster.ErrUnknownRegion) {
		t.Errorf("unknown: %v", err)
	}
	next, err := r.WithRemoval(approved(key, ops[:2]...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := next.VerifyKey(east, key.Key); !errors.Is(err, roster.ErrInactiveKey) {
		t.Errorf("the removed key: %v", err)
	}
	if _, err := next.Entry(east); err != nil {
		t.Errorf("the Region: %v", err)
	}
	gone, err := next.WithRemoval(approved(whole, ops[1:]...))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := gone.WithRemoval(approved(whole, ops...)); err != nil || again.Version != gone.Version {
		t.Errorf("again: %v", err)
	}
	if _, err := gone.Entry(east); !errors.Is(err, roster.ErrRemoved) || !slices.Equal(gone.RemovedRegions(), []string{east}) {
		t.Errorf("the removed Region: %v", err)
	}
	data, err := gone.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := roster.Decode(data); err != nil || len(back.Removals) != 2 {
		t.Errorf("decoded: %v", err)
	}
}
