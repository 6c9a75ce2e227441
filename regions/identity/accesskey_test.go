package identity_test

import (
	"bytes"
	"context"
	"crypto/rand"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/go-json-experiment/json"
	"github.com/rs/zerolog"

	"antipode/regions/identity"
	"antipode/regions/keyring"
	secretpkg "antipode/regions/secret"
	"antipode/softhsm/softhsmtest"
)

// ring returns a Region's own keys on a fresh token; its sealing key is what seals access keys in service.
func ring(t *testing.T) *keyring.Ring {
	t.Helper()
	token := softhsmtest.Open(t)
	plan, err := keyring.Plan(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	h, err := keyring.Create(t.Context(), token, plan, "test")
	if err != nil {
		t.Fatal(err)
	}
	r, err := keyring.Open(t.Context(), token, h, 1)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func user(t *testing.T, account, name string) identity.User {
	t.Helper()
	u, err := identity.NewUser(rand.Reader, account, name, 1)
	if err != nil {
		t.Fatal(err)
	}
	return u.WithPolicy("p", []byte(identity.AdministratorPolicy))
}

func newKey(t *testing.T, sealer identity.Sealer, u identity.User) (identity.AccessKey, identity.Secret) {
	t.Helper()
	b, err := identity.NewAccessKey(rand.Reader, 7)
	if err != nil {
		t.Fatal(err)
	}
	k, err := identity.SealAccessKey(t.Context(), sealer, u, b)
	if err != nil {
		t.Fatal(err)
	}
	return k, b.Secret
}

// TestSealedSecretStaysInItsRow: on a real token, a sealed secret opens in its own row after a round through CBOR, and in
// no other.
func TestSealedSecretStaysInItsRow(t *testing.T) {
	t.Parallel()
	sealer := ring(t)
	alice, bob := user(t, account, "alice"), user(t, account, "bob")
	k, secret := newKey(t, sealer, alice)
	other, _ := newKey(t, sealer, bob)
	if !identity.ValidAccessKeyID(k.ID) || k.ID == other.ID || !k.Active || k.Generation != 1 || k.Created != 7 || k.UserARN != alice.ARN() {
		t.Errorf("%+v", k)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9+/]{40}$`).Match(secret.Reveal()) {
		t.Error("the secret is not 40 characters of base64")
	}
	text, err := cbor.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, secret.Reveal()) {
		t.Error("the record holds the secret in clear")
	}
	var back identity.AccessKey
	if err := cbor.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if s, err := back.Open(t.Context(), sealer); err != nil || !bytes.Equal(s.Reveal(), secret.Reveal()) {
		t.Errorf("own row: %v", err)
	}
	// The path is not part of the row: a user may be moved.
	moved := k
	moved.UserARN = "arn:aws:iam::111122223333:user/team/alice"
	if s, err := moved.Open(t.Context(), sealer); err != nil || !bytes.Equal(s.Reveal(), secret.Reveal()) {
		t.Errorf("user with another path: %v", err)
	}
	for name, change := range map[string]func(*identity.AccessKey){
		"another access key":       func(k *identity.AccessKey) { k.ID = other.ID },
		"another user":             func(k *identity.AccessKey) { k.UserARN = bob.ARN() },
		"another account":          func(k *identity.AccessKey) { k.UserARN = user(t, "999988887777", "alice").ARN() },
		"another's sealed secret":  func(k *identity.AccessKey) { k.SealedSecret = other.SealedSecret },
		"a changed sealed secret":  func(k *identity.AccessKey) { k.SealedSecret[len(k.SealedSecret)-1] ^= 1 },
		"a shortened one":          func(k *identity.AccessKey) { k.SealedSecret = k.SealedSecret[:len(k.SealedSecret)-1] },
		"none":                     func(k *identity.AccessKey) { k.SealedSecret = nil },
		"a boundary moved by hand": func(k *identity.AccessKey) { k.UserARN, k.ID = "arn:aws:iam::111122223333:user/aliceA", k.ID[1:] },
	} {
		changed := k
		changed.SealedSecret = bytes.Clone(k.SealedSecret)
		change(&changed)
		if s, err := changed.Open(t.Context(), sealer); !errors.Is(err, keyring.ErrRefused) || s.Reveal() != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	changed := k
	changed.UserARN = "arn:aws:iam::111122223333:root"
	if _, err := changed.Open(t.Context(), sealer); !errors.Is(err, identity.ErrInvalid) {
		t.Errorf("no user: %v", err)
	}
}

// The same credentials are sealed by each Region for itself.
func TestSealAccessKey(t *testing.T) {
	t.Parallel()
	a, b := ring(t), ring(t)
	alice := user(t, account, "alice")
	k, secret := newKey(t, a, alice)
	there, err := identity.SealAccessKey(t.Context(), b, alice, identity.BundleKey{ID: k.ID, Secret: secret, Created: 8})
	if err != nil || there.Active || there.Created != 8 {
		t.Fatalf("%+v, %v", there, err)
	}
	if s, err := there.Open(t.Context(), b); err != nil || !bytes.Equal(s.Reveal(), secret.Reveal()) {
		t.Errorf("in the other Region: %v", err)
	}
	if _, err := there.Open(t.Context(), a); !errors.Is(err, keyring.ErrRefused) {
		t.Errorf("one Region's in another: %v", err)
	}
	for name, try := range map[string]struct {
		user   identity.User
		id     string
		secret string
	}{
		"id in lower case": {alice, strings.ToLower(k.ID), string(secret.Reveal())},
		"long id":          {alice, k.ID + "A", string(secret.Reveal())},
		"id of a role":     {alice, "ASIA" + k.ID[4:], string(secret.Reveal())},
		"short secret":     {alice, k.ID, "short"},
		"odd secret":       {alice, k.ID, strings.Repeat("\n", 40)},
		"bad user":         {identity.User{}, k.ID, string(secret.Reveal())},
	} {
		k := identity.BundleKey{ID: try.id, Secret: secretpkg.Of([]byte(try.secret))}
		if _, err := identity.SealAccessKey(t.Context(), a, try.user, k); !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Randomness is taken from where it was said, and no access key is made of less than is needed.
func TestNewAccessKeyNeedsRandomness(t *testing.T) {
	t.Parallel()
	k, err := identity.NewAccessKey(bytes.NewReader(make([]byte, 40)), 0)
	if err != nil || k.ID != "AKIAAAAAAAAAAAAAAAAA" || string(k.Secret.Reveal()) != strings.Repeat("A", 40) || !k.Active {
		t.Errorf("%s, %v", k.ID, err)
	}
	if k, err := identity.NewAccessKey(bytes.NewReader(make([]byte, 39)), 0); !errors.Is(err, io.ErrUnexpectedEOF) || k.Secret.Reveal() != nil {
		t.Errorf("39 bytes: %v", err)
	}
	if _, err := identity.NewUser(bytes.NewReader(nil), account, "alice", 0); !errors.Is(err, io.EOF) {
		t.Errorf("a user without randomness: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := identity.SealAccessKey(ctx, ring(t), user(t, account, "alice"), k); err == nil {
		t.Error("sealed although the call was cancelled")
	}
}

// TestSecretsDontPrint looks for a secret in everything that prints or encodes, at any depth.
func TestSecretsDontPrint(t *testing.T) {
	t.Parallel()
	_, secret := newKey(t, ring(t), user(t, account, "alice"))
	type hidden struct{ s identity.Secret }
	values := []any{
		secret, &secret,
		[]identity.Secret{secret},
		hidden{secret},
		&hidden{secret},
		map[string]identity.Secret{"a": secret},
		identity.Principal{Secret: secret},
		identity.Profile{Secret: secret},
		identity.BundleKey{Secret: secret},
		identity.Bundle{Keys: []identity.BundleKey{{Secret: secret}}},
		identity.Session{Secret: secret},
		fmt.Errorf("%v", secret),
	}
	var out bytes.Buffer
	log := zerolog.New(&out)
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%b", "%U"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		log.Info().Any("v", v).Interface("i", v).Msg("")
		for _, encode := range []func(any) ([]byte, error){
			stdjson.Marshal, cbor.Marshal, func(v any) ([]byte, error) { return json.Marshal(v) },
		} {
			b, err := encode(v)
			out.Write(b)
			if err != nil {
				out.WriteString(err.Error())
			}
		}
	}
	s := secret.Reveal()
	for name, form := range map[string]string{
		"plain": string(s), "hexadecimal": fmt.Sprintf("%x", s), "numbers": strings.Trim(fmt.Sprintf("%d", s), "[]"),
		"bytes": strings.Trim(fmt.Sprintf("%#v", s), "[]byte{}"),
	} {
		if strings.Contains(strings.ToLower(out.String()), strings.ToLower(form)) {
			t.Errorf("the secret was printed: %s", name)
		}
	}
	if _, err := stdjson.Marshal(secret); !errors.Is(err, secretpkg.ErrMarshal) {
		t.Errorf("encoding/json: %v", err)
	}
}
