package hsmtest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"testing"

	"antipode/hsmbackend"
)

func secretBytes(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func wraps(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	kek := key(t, tok, hsmbackend.AES256, kekAttributes())
	defer destroy(t, tok, kek)
	plaintext := []byte("plaintext")

	k := key(t, tok, hsmbackend.AES256, extractable(WorkingCopy(tok)))
	tag := must(tok.Tag(ctx, k))(t)
	blob := must(tok.Wrap(ctx, kek, k))(t)
	if len(blob) != 40 {
		t.Errorf("an AES-256 key makes %d bytes, RFC 5649 makes 40", len(blob))
	}
	again := must(tok.Wrap(ctx, kek, k))(t)
	if !bytes.Equal(blob, again) {
		t.Error("wrapping is not deterministic")
	}
	destroy(t, tok, k)
	k2 := must(tok.Unwrap(ctx, kek, blob, hsmbackend.AES256, WorkingCopy(tok)))(t)
	defer destroy(t, tok, k2)
	if got, err := tok.Tag(ctx, k2); err != nil || !bytes.Equal(got, tag) {
		t.Errorf("the unwrapped key is another, %v", err)
	}

	m := key(t, tok, hsmbackend.HMACSHA256, extractable(macAttributes()))
	mac := must(tok.MAC(ctx, m, plaintext))(t)
	blob = must(tok.Wrap(ctx, kek, m))(t)
	destroy(t, tok, m)
	m2 := must(tok.Unwrap(ctx, kek, blob, hsmbackend.HMACSHA256, macAttributes()))(t)
	defer destroy(t, tok, m2)
	if got, err := tok.MAC(ctx, m2, plaintext); err != nil || !bytes.Equal(got, mac) {
		t.Errorf("the unwrapped HMAC key makes another MAC, %v", err)
	}
	// To a token object and back: what a group of tokens shares is loaded so.
	a := macAttributes()
	a.Token = true
	m3 := must(tok.Unwrap(ctx, kek, blob, hsmbackend.HMACSHA256, a))(t)
	defer destroy(t, tok, m3)
	if got, err := tok.MAC(ctx, m3, plaintext); err != nil || !bytes.Equal(got, mac) {
		t.Errorf("the HMAC key as a token object makes another MAC, %v", err)
	}
}

func wrapRefuses(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	kek := key(t, tok, hsmbackend.AES256, kekAttributes())
	defer destroy(t, tok, kek)
	for name, a := range map[string]hsmbackend.Attributes{"working copy": WorkingCopy(tok), "kek": kekAttributes()} {
		k := key(t, tok, hsmbackend.AES256, a)
		_, err := tok.Wrap(ctx, kek, k)
		wants(t, err, hsmbackend.ErrNotExtractable, name)
		destroy(t, tok, k)
	}
	// Also when it came out of an extractable one.
	k := key(t, tok, hsmbackend.AES256, extractable(gcmAttributes()))
	defer destroy(t, tok, k)
	blob := must(tok.Wrap(ctx, kek, k))(t)
	w := must(tok.Unwrap(ctx, kek, blob, hsmbackend.AES256, WorkingCopy(tok)))(t)
	defer destroy(t, tok, w)
	_, err := tok.Wrap(ctx, kek, w)
	wants(t, err, hsmbackend.ErrNotExtractable, "unwrapped working copy")
	a := extractable(gcmAttributes())
	a.Token = true
	_, err = tok.GenerateKey(ctx, hsmbackend.AES256, a)
	wants(t, err, hsmbackend.ErrInvalidInput, "extractable token object")
}

func unwrapsKnown(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	material, msg := secretBytes(t, 32), []byte("message")
	k := Import(t, tok, hsmbackend.AES256, material, checkable(tok))
	defer destroy(t, tok, k)
	isKey(t, tok, k, material)
	m := Import(t, tok, hsmbackend.HMACSHA256, material, macAttributes())
	defer destroy(t, tok, m)
	h := hmac.New(sha256.New, material)
	h.Write(msg)
	if mac := must(tok.MAC(ctx, m, msg))(t); !hmac.Equal(mac, h.Sum(nil)) {
		t.Error("the token's HMAC under the imported key is not the software's")
	}
	// And the other way: what the token wraps is what the software wraps.
	kek, known := SharedKey(t, tok, kekAttributes())
	defer destroy(t, tok, kek)
	x := Import(t, tok, hsmbackend.AES256, material, extractable(gcmAttributes()))
	defer destroy(t, tok, x)
	want, err := wrapKWP(known, material)
	if err != nil {
		t.Fatal(err)
	}
	if blob := must(tok.Wrap(ctx, kek, x))(t); !bytes.Equal(blob, want) {
		t.Error("the token's wrapping is not RFC 5649")
	}
}

func softGCM(t *testing.T, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

func unwrapTampered(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	kek := key(t, tok, hsmbackend.AES256, kekAttributes())
	defer destroy(t, tok, kek)
	other := key(t, tok, hsmbackend.AES256, kekAttributes())
	defer destroy(t, tok, other)
	k := key(t, tok, hsmbackend.AES256, extractable(gcmAttributes()))
	defer destroy(t, tok, k)
	blob := must(tok.Wrap(ctx, kek, k))(t)

	for i := range blob {
		bad := slices.Clone(blob)
		bad[i] ^= 0x40
		_, err := tok.Unwrap(ctx, kek, bad, hsmbackend.AES256, gcmAttributes())
		wants(t, err, hsmbackend.ErrIntegrity, "one bit changed")
	}
	for name, bad := range map[string][]byte{
		"cut short by 8": blob[:32], "cut short by 1": blob[:39], "longer": append(slices.Clone(blob), make([]byte, 8)...),
		"zeros": make([]byte, 40), "one block": blob[:16], "8 bytes": blob[:8],
	} {
		_, err := tok.Unwrap(ctx, kek, bad, hsmbackend.AES256, gcmAttributes())
		wants(t, err, hsmbackend.ErrIntegrity, name)
	}
	_, err := tok.Unwrap(ctx, other, blob, hsmbackend.AES256, gcmAttributes())
	wants(t, err, hsmbackend.ErrIntegrity, "another kek")
	for name, bad := range map[string][]byte{"empty": nil, "enormous": make([]byte, 1<<20)} {
		_, err := tok.Unwrap(ctx, kek, bad, hsmbackend.AES256, gcmAttributes())
		wants(t, err, hsmbackend.ErrInvalidInput, name)
	}
	// A key of another length inside an intact wrapping, made in software, is not what the caller asked for.
	tkek, known := SharedKey(t, tok, kekAttributes())
	defer destroy(t, tok, tkek)
	for _, n := range []int{16, 24, 33} {
		bad, err := wrapKWP(known, secretBytes(t, n))
		if err != nil {
			t.Fatal(err)
		}
		_, err = tok.Unwrap(ctx, tkek, bad, hsmbackend.AES256, gcmAttributes())
		wants(t, err, hsmbackend.ErrIntegrity, "a key of another length")
	}
	// The session still serves.
	k2 := must(tok.Unwrap(ctx, kek, blob, hsmbackend.AES256, gcmAttributes()))(t)
	destroy(t, tok, k2)
}
