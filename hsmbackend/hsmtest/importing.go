package hsmtest

import (
	"bytes"
	"crypto/hmac"
	"testing"

	"antipode/hsmbackend"
)

// importsKeys: a key that comes from host memory is that key, does what it is asked for and no more, can be read by
// nobody, and is a session object of its scope. The caller's bytes stay as they were.
func importsKeys(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	value := secretBytes(t, 32)
	if !tok.Capabilities().ImportsKeys {
		_, err := tok.ImportKey(ctx, hsmbackend.AES256, value, checkable(tok))
		wants(t, err, hsmbackend.ErrNotPermitted, "where it is not done")
		return
	}
	given := bytes.Clone(value)
	ref := must(tok.ImportKey(ctx, hsmbackend.AES256, given, checkable(tok)))(t)
	if !bytes.Equal(given, value) {
		t.Error("the caller's bytes were changed")
	}
	isKey(t, tok, ref, value)
	kek := key(t, tok, hsmbackend.AES256, kekAttributes())
	defer destroy(t, tok, kek)
	_, err := tok.Wrap(ctx, kek, ref)
	wants(t, err, hsmbackend.ErrNotExtractable, "wrap what may not leave")
	destroy(t, tok, ref)

	for _, c := range macKinds(tok) {
		value := secretBytes(t, c.length)
		ref := must(tok.ImportKey(ctx, c.kt, value, attributes("mac", hsmbackend.UsageSign, c.mech)))(t)
		h := hmac.New(c.hash.New, value)
		h.Write([]byte("data"))
		if got := must(tok.MAC(ctx, ref, []byte("data")))(t); !bytes.Equal(got, h.Sum(nil)) {
			t.Errorf("%s: another MAC than the software's", c.kt)
		}
		destroy(t, tok, ref)
	}

	// Extractable, it wraps as what it was.
	over, known := SharedKey(t, tok, kekAttributes())
	defer destroy(t, tok, over)
	ref = must(tok.ImportKey(ctx, hsmbackend.AES256, value, extractable(gcmAttributes())))(t)
	want, err := wrapKWP(known, value)
	if err != nil {
		t.Fatal(err)
	}
	if blob := must(tok.Wrap(ctx, over, ref))(t); !bytes.Equal(blob, want) {
		t.Error("it wraps to something else")
	}
	destroy(t, tok, ref)

	scope := must(tok.OpenScope(ctx))(t)
	a := gcmAttributes()
	a.Scope = scope
	ref = must(tok.ImportKey(ctx, hsmbackend.AES256, value, a))(t)
	if err := tok.CloseScope(scope); err != nil {
		t.Fatal(err)
	}
	_, _, err = tok.SealGCM(ctx, ref, [12]byte{}, []byte("x"), []byte{1})
	wants(t, err, hsmbackend.ErrObjectNotFound, "after its scope")
	importRefuses(t, tok, value)
}

func importRefuses(t *testing.T, tok hsmbackend.Token, value []byte) {
	t.Helper()
	ctx := t.Context()
	for name, c := range map[string]struct {
		kt    hsmbackend.KeyType
		value []byte
		edit  func(*hsmbackend.Attributes)
	}{
		"a short key":     {kt: hsmbackend.AES256, value: value[:31]},
		"a long key":      {kt: hsmbackend.AES256, value: append(bytes.Clone(value), 0)},
		"no key":          {kt: hsmbackend.AES256},
		"a pair":          {kt: hsmbackend.ECP256, value: value},
		"a token object":  {kt: hsmbackend.AES256, value: value, edit: func(a *hsmbackend.Attributes) { a.Token = true }},
		"unwrap template": {kt: hsmbackend.AES256, value: value, edit: func(a *hsmbackend.Attributes) { a.UnwrapSensitive = true }},
	} {
		a := gcmAttributes()
		if c.edit != nil {
			c.edit(&a)
		}
		_, err := tok.ImportKey(ctx, c.kt, c.value, a)
		wants(t, err, hsmbackend.ErrInvalidInput, name)
	}
}
