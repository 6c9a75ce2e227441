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

// importedPairs are kinds of private keys with what OpenSSL calls them, and what may be done with them.
func importedPairs() map[hsmbackend.KeyType][2]string {
	return map[hsmbackend.KeyType][2]string{
		hsmbackend.ECP256: {"EC", "P-256"}, hsmbackend.ECP384: {"EC", "P-384"}, hsmbackend.ECP521: {"EC", "P-521"},
		hsmbackend.ECSecp256k1: {"EC", "secp256k1"}, hsmbackend.RSA2048: {"RSA", "2048"},
	}
}

// importsPairs: a private key that OpenSSL made comes to the token from host memory, and by OAEP if it is short; the token
// tells its public half, which is OpenSSL's. What is no such key is refused.
func importsPairs(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	for kt, name := range importedPairs() {
		if !tok.Capabilities().HasKeyType(kt) || !tok.Capabilities().Wraps(kt) {
			continue
		}
		attr := attributes("imported", hsmbackend.UsageSign, hsmbackend.MechECDSA)
		if name[0] == "RSA" {
			attr = attributes("imported", hsmbackend.UsageSign, hsmbackend.MechRSAPSS)
		}
		private, public := PrivateByOpenSSL(t, name[0], name[1])
		if tok.Capabilities().ImportsKeys {
			ref := must(tok.ImportKey(ctx, kt, private, attr))(t)
			if der := must(tok.RecoverPublic(ctx, ref))(t); !bytes.Equal(der, public) {
				t.Errorf("%s: public key %x, want %x", kt, der, public)
			}
			destroy(t, tok, ref)
			_, err := tok.ImportKey(ctx, kt, private[:len(private)-1], attr)
			wants(t, err, hsmbackend.ErrIntegrity, string(kt)+", cut")
			other := hsmbackend.ECP256
			if kt == other {
				other = hsmbackend.ECP384
			}
			_, err = tok.ImportKey(ctx, other, private, attributes("imported", hsmbackend.UsageSign, hsmbackend.MechECDSA))
			wants(t, err, hsmbackend.ErrIntegrity, string(kt)+" as "+string(other))
		}
		for hash, soft := range oaepHashes() {
			if name[0] == "RSA" || !tok.Capabilities().HasMechanism(hash) {
				continue
			}
			pair, pub, _ := rsaPair(t, tok, hash)
			ref := must(tok.UnwrapOAEP(ctx, pair, hash, seal(t, pub, soft, private), kt, attr))(t)
			if der := must(tok.RecoverPublic(ctx, ref))(t); !bytes.Equal(der, public) {
				t.Errorf("%s by %s: public key %x, want %x", kt, hash, der, public)
			}
			destroy(t, tok, ref)
			_, err := tok.UnwrapOAEP(ctx, pair, hash, seal(t, pub, soft, private[1:]), kt, attr)
			wants(t, err, hsmbackend.ErrIntegrity, string(kt)+" by OAEP, cut")
			destroy(t, tok, pair)
		}
		ref, der, err := tok.GenerateKeyPair(ctx, kt, attr)
		if err != nil {
			t.Fatal(err)
		}
		if got := must(tok.RecoverPublic(ctx, ref))(t); !bytes.Equal(got, der) {
			t.Errorf("%s: public key %x of a pair made here, want %x", kt, got, der)
		}
		destroy(t, tok, ref)
	}
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
