package keyring_test

import (
	"context"
	"sync"
	"testing"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/regions/keyring"
	"antipode/softhsm/softhsmtest"
)

// ledger is a real token that remembers the session objects made on it, so that a test can take them away as the loss
// of their session does.
type ledger struct {
	hsmbackend.Token
	mu   sync.Mutex
	refs map[hsmbackend.KeyRef]hsmbackend.Attributes
}

func (l *ledger) note(ref hsmbackend.KeyRef, attr hsmbackend.Attributes, err error) {
	if err == nil && !attr.Token {
		l.mu.Lock()
		l.refs[ref] = attr
		l.mu.Unlock()
	}
}

func (l *ledger) Unwrap(ctx context.Context, kek hsmbackend.KeyRef, blob []byte, kt hsmbackend.KeyType, attr hsmbackend.Attributes) (hsmbackend.KeyRef, error) {
	ref, err := l.Token.Unwrap(ctx, kek, blob, kt, attr)
	l.note(ref, attr, err)
	return ref, err
}

func (l *ledger) GenerateKey(ctx context.Context, kt hsmbackend.KeyType, attr hsmbackend.Attributes) (hsmbackend.KeyRef, error) {
	ref, err := l.Token.GenerateKey(ctx, kt, attr)
	l.note(ref, attr, err)
	return ref, err
}

func (l *ledger) CountObjects(ctx context.Context) (session, token int, err error) {
	return l.Token.(hsmtest.Counter).CountObjects(ctx)
}

// lose destroys every session object that was made, behind the ring's back.
func (l *ledger) lose(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for ref := range l.refs {
		if err := l.Destroy(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	clear(l.refs)
}

func newLedger(tok hsmbackend.Token) *ledger {
	return &ledger{Token: tok, refs: map[hsmbackend.KeyRef]hsmbackend.Attributes{}}
}

// regionKeys is how many session objects an open ring holds for the Region itself: domain, record and sealing key.
const regionKeys = 3

func newHierarchy(t testing.TB, tok hsmbackend.Token) keyring.Hierarchy {
	t.Helper()
	plan, err := keyring.Plan(t.Context(), tok)
	if err != nil {
		t.Fatal(err)
	}
	h, err := keyring.Create(t.Context(), tok, plan, "us-east-2")
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func openRing(t testing.TB, tok hsmbackend.Token, h keyring.Hierarchy, working int) *keyring.Ring {
	t.Helper()
	r, err := keyring.Open(t.Context(), tok, h, working)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// newRing makes a token and the keys of a Region on it.
func newRing(t testing.TB, working int) (*keyring.Ring, *ledger, keyring.Hierarchy) {
	t.Helper()
	tok := newLedger(softhsmtest.Open(t))
	h := newHierarchy(t, tok)
	return openRing(t, tok, h, working), tok, h
}

const keyID = "mrk-00112233445566778899aabbccddeeff"

// material describes a key that has no material yet.
func material(keyID string) keyring.Material {
	return keyring.Material{
		Account: "111122223333", KeyID: keyID, Spec: keyring.SpecSymmetric, Usage: "ENCRYPT_DECRYPT", Origin: "AWS_KMS",
		Created: 1767355200000,
	}
}

func generate(t testing.TB, r *keyring.Ring, keyID string) keyring.Material {
	t.Helper()
	m, err := r.Generate(t.Context(), material(keyID))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func acquire(t testing.TB, r *keyring.Ring, m keyring.Material) keyring.Working {
	t.Helper()
	w, err := r.Acquire(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// sessionObjects fails the test unless the token has as many session objects as it should.
func sessionObjects(t testing.TB, tok hsmbackend.Token, want int) {
	t.Helper()
	if n := hsmtest.SessionObjects(t, tok); n != want {
		t.Errorf("%d session objects on the token, want %d", n, want)
	}
}

// adopt brings known material into the ring as an exchange would: wrapped under a key that only this call has.
func adopt(t testing.TB, r *keyring.Ring, tok hsmbackend.Token, m keyring.Material, key []byte, announced string) (keyring.Material, error) {
	t.Helper()
	wrapping, err := tok.GenerateKey(t.Context(), hsmbackend.AES256, hsmbackend.Attributes{
		Usage: hsmbackend.UsageWrap | hsmbackend.UsageUnwrap, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP},
	})
	if err != nil {
		t.Fatal(err)
	}
	known := hsmtest.Import(t, tok, hsmbackend.AES256, key, hsmbackend.Attributes{
		Extractable: true, Usage: hsmbackend.UsageEncrypt, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESECB},
	})
	blob, err := tok.Wrap(t.Context(), wrapping, known)
	if err != nil {
		t.Fatal(err)
	}
	scope, err := tok.OpenScope(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.ID = announced
	out, adoptErr := r.Adopt(t.Context(), m, wrapping, blob, scope)
	if err := tok.CloseScope(scope); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []hsmbackend.KeyRef{wrapping, known} {
		if err := tok.Destroy(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	return out, adoptErr
}
