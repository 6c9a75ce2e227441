package hsmtest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"antipode/hsmbackend"
)

func newID(t *testing.T) (id hsmbackend.ID) {
	t.Helper()
	if _, err := rand.Read(id[:]); err != nil {
		t.Fatal(err)
	}
	return id
}

func generates(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	for _, kt := range []hsmbackend.KeyType{hsmbackend.AES256, hsmbackend.HMACSHA256} {
		a := kekAttributes()
		if kt == hsmbackend.HMACSHA256 {
			a = macAttributes()
		}
		a.ID = newID(t)
		ref := key(t, tok, kt, a)
		if ref.ID != a.ID || ref.Class != hsmbackend.ClassSecret {
			t.Errorf("%s: asked for %s, got %s class %d", kt, a.ID, ref, ref.Class)
		}
		_, err := tok.GenerateKey(ctx, kt, a)
		wants(t, err, hsmbackend.ErrInvalidInput, "the same id again")
		destroy(t, tok, ref)
		a.ID = hsmbackend.ID{}
		r1, r2 := key(t, tok, kt, a), key(t, tok, kt, a)
		if r1 == r2 || r1.IsZero() {
			t.Errorf("%s: two keys are called %s and %s", kt, r1, r2)
		}
		destroy(t, tok, r1)
		destroy(t, tok, r2)
	}
	ref, der, err := tok.GenerateKeyPair(ctx, hsmbackend.ECP384, attributes("pair", hsmbackend.UsageDerive, hsmbackend.MechECDH))
	if err != nil {
		t.Fatal(err)
	}
	if ref.Class != hsmbackend.ClassPrivate || publicKey(t, der).Curve.Params().Name != "P-384" {
		t.Errorf("key pair: class %d", ref.Class)
	}
	destroy(t, tok, ref)
}

func badAttributes(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	good := kekAttributes()
	for name, change := range map[string]func(*hsmbackend.Attributes){
		"no mechanisms":          func(a *hsmbackend.Attributes) { a.Mechanisms = nil },
		"unknown mechanism":      func(a *hsmbackend.Attributes) { a.Mechanisms = []hsmbackend.Mechanism{"ROT13"} },
		"unknown usage":          func(a *hsmbackend.Attributes) { a.Usage |= 1 << 7 },
		"scope that is not open": func(a *hsmbackend.Attributes) { a.Scope = 1 << 40 },
		"token object in scope":  func(a *hsmbackend.Attributes) { a.Scope, a.Token = 1<<40, true },
	} {
		a := good
		a.Mechanisms = slices.Clone(good.Mechanisms)
		change(&a)
		_, err := tok.GenerateKey(ctx, hsmbackend.AES256, a)
		wants(t, err, hsmbackend.ErrInvalidInput, name)
	}
	_, err := tok.GenerateKey(ctx, hsmbackend.ECP384, good)
	wants(t, err, hsmbackend.ErrInvalidInput, "GenerateKey of a key pair")
	_, err = tok.GenerateKey(ctx, "DES", good)
	wants(t, err, hsmbackend.ErrInvalidInput, "GenerateKey of an unknown type")
	_, _, err = tok.GenerateKeyPair(ctx, hsmbackend.AES256, good)
	wants(t, err, hsmbackend.ErrInvalidInput, "GenerateKeyPair of a secret key")
	_, _, err = tok.GenerateKeyPair(ctx, hsmbackend.ECP384, attributes("pair", hsmbackend.UsageEncrypt, hsmbackend.MechECDSA))
	wants(t, err, hsmbackend.ErrInvalidInput, "a private key that encrypts")
}

func tokenObjects(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	a := kekAttributes()
	a.Token, a.ID, a.Label = true, newID(t), "suite "+newID(t).String()
	ref := key(t, tok, hsmbackend.AES256, a)
	_, err := tok.GenerateKey(ctx, hsmbackend.AES256, a)
	wants(t, err, hsmbackend.ErrInvalidInput, "the same id again")

	found, err := tok.FindToken(ctx, hsmbackend.ClassSecret, a.ID)
	if err != nil || found != ref {
		t.Errorf("found %v, %v", found, err)
	}
	_, err = tok.FindToken(ctx, hsmbackend.ClassPrivate, a.ID)
	wants(t, err, hsmbackend.ErrObjectNotFound, "find in another class")
	_, err = tok.FindToken(ctx, 9, a.ID)
	wants(t, err, hsmbackend.ErrInvalidInput, "find in no class")

	b := a
	b.ID = newID(t)
	ref2 := key(t, tok, hsmbackend.AES256, b)
	list, err := tok.ListToken(ctx, hsmbackend.ClassSecret, a.Label)
	if err != nil || len(list) != 2 || !slices.Contains(list, ref) || !slices.Contains(list, ref2) {
		t.Errorf("listed %v, %v", list, err)
	}
	destroy(t, tok, ref2)
	destroy(t, tok, ref)
	_, err = tok.FindToken(ctx, hsmbackend.ClassSecret, a.ID)
	wants(t, err, hsmbackend.ErrObjectNotFound, "find after destroy")
	if list, err := tok.ListToken(ctx, hsmbackend.ClassSecret, a.Label); err != nil || len(list) != 0 {
		t.Errorf("listed after destroy: %v, %v", list, err)
	}
	// A session object is not a token object.
	c := kekAttributes()
	c.ID = newID(t)
	ref3 := key(t, tok, hsmbackend.AES256, c)
	_, err = tok.FindToken(ctx, hsmbackend.ClassSecret, c.ID)
	wants(t, err, hsmbackend.ErrObjectNotFound, "find a session object")
	destroy(t, tok, ref3)
}

func tokenPairs(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	a := attributes("suite "+newID(t).String(), hsmbackend.UsageSign, hsmbackend.MechECDSA)
	a.Token = true
	ref, der, err := tok.GenerateKeyPair(ctx, hsmbackend.ECP384, a)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tok.PublicKey(ctx, ref)
	if err != nil || !bytes.Equal(got, der) {
		t.Errorf("public key differs, %v", err)
	}
	if list, err := tok.ListToken(ctx, hsmbackend.ClassPrivate, a.Label); err != nil || !slices.Equal(list, []hsmbackend.KeyRef{ref}) {
		t.Errorf("listed %v, %v", list, err)
	}
	if found, err := tok.FindToken(ctx, hsmbackend.ClassPrivate, ref.ID); err != nil || found != ref {
		t.Errorf("found %v, %v", found, err)
	}
	_, err = tok.PublicKey(ctx, hsmbackend.KeyRef{ID: ref.ID, Class: hsmbackend.ClassSecret})
	wants(t, err, hsmbackend.ErrInvalidInput, "public key of a secret key")
	destroy(t, tok, ref)
	_, err = tok.PublicKey(ctx, ref)
	wants(t, err, hsmbackend.ErrObjectNotFound, "public key after destroy")
}

func destroys(t *testing.T, tok hsmbackend.Token) {
	ref := key(t, tok, hsmbackend.AES256, kekAttributes())
	destroy(t, tok, ref)
	destroy(t, tok, ref) // gone already is no error
	_, err := tok.Wrap(t.Context(), ref, ref)
	wants(t, err, hsmbackend.ErrObjectNotFound, "use after destroy")
	err = tok.Destroy(t.Context(), hsmbackend.KeyRef{ID: ref.ID})
	wants(t, err, hsmbackend.ErrInvalidInput, "destroy of no class")
}

func scopes(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	before, counts := count(t, tok)
	s1 := must(tok.OpenScope(ctx))(t)
	s2 := must(tok.OpenScope(ctx))(t)
	if s1 == 0 || s1 == s2 {
		t.Fatalf("scopes %d and %d", s1, s2)
	}
	in := func(s hsmbackend.Scope) hsmbackend.Attributes {
		a := extractable(gcmAttributes())
		a.Scope = s
		return a
	}
	kek := key(t, tok, hsmbackend.AES256, kekAttributes())
	var first []hsmbackend.KeyRef
	for range 3 {
		first = append(first, key(t, tok, hsmbackend.AES256, in(s1)))
	}
	other := key(t, tok, hsmbackend.AES256, in(s2))
	pairAttr := attributes("pair", hsmbackend.UsageDerive, hsmbackend.MechECDH)
	pairAttr.Scope = s1
	pair, _, err := tok.GenerateKeyPair(ctx, hsmbackend.ECP384, pairAttr)
	if err != nil {
		t.Fatal(err)
	}
	if now, _ := count(t, tok); counts && now[0] != before[0]+6 {
		t.Errorf("%d session objects, want %d: is the public half still there?", now[0], before[0]+6)
	}
	blob := must(tok.Wrap(ctx, kek, first[0]))(t) // objects of one scope are used from others
	for range 2 {
		if err := tok.CloseScope(s1); err != nil { // idempotent
			t.Fatal(err)
		}
	}
	for _, ref := range append(first, pair) {
		if ref.Class == hsmbackend.ClassSecret {
			_, err := tok.Wrap(ctx, kek, ref)
			wants(t, err, hsmbackend.ErrObjectNotFound, "object of a closed scope")
		} else {
			_, err := tok.PublicKey(ctx, ref)
			wants(t, err, hsmbackend.ErrObjectNotFound, "pair of a closed scope")
		}
		destroy(t, tok, ref)
	}
	if now, _ := count(t, tok); counts && now[0] != before[0]+2 {
		t.Errorf("%d session objects after the scope was closed, want %d", now[0], before[0]+2)
	}
	if _, err := tok.GenerateKey(ctx, hsmbackend.AES256, in(s1)); err == nil {
		t.Error("made a key in a closed scope")
	}
	if _, err := tok.Wrap(ctx, kek, other); err != nil {
		t.Errorf("object of the other scope: %v", err)
	}
	ref := must(tok.Unwrap(ctx, kek, blob, hsmbackend.AES256, in(s2)))(t)
	destroy(t, tok, ref)
	if err := tok.CloseScope(s2); err != nil {
		t.Fatal(err)
	}
	destroy(t, tok, kek)
}

func closed(t *testing.T, tok hsmbackend.Token) {
	kek := key(t, tok, hsmbackend.AES256, kekAttributes())
	for range 2 {
		if err := tok.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := tok.Wrap(t.Context(), kek, kek)
	wants(t, err, hsmbackend.ErrUnavailable, "wrap")
	_, err = tok.Random(t.Context(), 8)
	wants(t, err, hsmbackend.ErrUnavailable, "random")
	_, err = tok.OpenScope(t.Context())
	if !errors.Is(err, hsmbackend.ErrUnavailable) {
		t.Errorf("open scope: %v", err)
	}
	_ = tok.Info()
	_ = tok.Capabilities()
}
