// Package hsmtest is the suite that every implementation of the contract in package hsmbackend passes on a real token,
// and what tests of other packages need of a token beyond the contract.
//
// Invariants:
//   - Whatever the suite expects is computed a second time in software (crypto/ecdh, crypto/aes, crypto/hmac, RFC 5649
//     of our own), or comes from a published vector.
//   - A case that a backend can't run is a failure unless its capabilities say that it lacks the mechanism.
package hsmtest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"antipode/hsmbackend"
)

// Run runs the suite. open returns an open token, fresh or not, which it closes when the test ends; it is called for
// each case.
func Run(t *testing.T, open func(t *testing.T) hsmbackend.Token) {
	t.Helper()
	run(t, open, append(common(), []testCase{
		{"HMAC of every hash", macsOfEveryHash},
		{"pairs sign", pairsSign},
		{"pairs: what they refuse", pairsRefuse},
		{"OAEP decryption", decryptsOAEP},
		{"ECDH agreement", agreesECDH},
		{"import of private keys", importsPairs},
	}...))
}

// RunExchange runs what of the suite the Region's own keys, symmetric keys and exchanges rest on, without the key types
// that only KMS keys have: for a backend that has passed [Run] and is run once more with one behaviour changed.
func RunExchange(t *testing.T, open func(t *testing.T) hsmbackend.Token) {
	t.Helper()
	run(t, open, common())
}

type testCase struct {
	name string
	run  func(*testing.T, hsmbackend.Token)
}

func common() []testCase {
	return []testCase{
		{"describe", describes},
		{"random", randomness},
		{"generate", generates},
		{"bad attributes", badAttributes},
		{"token objects", tokenObjects},
		{"token key pairs", tokenPairs},
		{"destroy", destroys},
		{"scopes", scopes},
		{"wrap and unwrap", wraps},
		{"wrap: what may not leave", wrapRefuses},
		{"unwrap: known material", unwrapsKnown},
		{"import", importsKeys},
		{"unwrap: tampered", unwrapTampered},
		{"OAEP", oaep},
		{"ECDH", ecdhAgrees},
		{"ECDH: bad input", ecdhRefuses},
		{"ECB derivation", derivesECB},
		{"XAES vectors", xaesVectors},
		{"XAES against software", xaesRandom},
		{"tag", tags},
		{"GCM", gcm},
		{"GCM: tampered", gcmTampered},
		{"GCM: limits", gcmLimits},
		{"ECDSA", signs},
		{"HMAC", macs},
		{"mechanisms are enforced", mechanismsEnforced},
		{"usages are enforced", usagesEnforced},
		{"references that name nothing", unknownRefs},
		{"concurrency", concurrency},
		{"busy", busy},
		{"closed", closed},
	}
}

func run(t *testing.T, open func(t *testing.T) hsmbackend.Token, cases []testCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tok := open(t)
			before, counts := count(t, tok)
			c.run(t, tok)
			if c.name == "closed" || !counts {
				return
			}
			if after, _ := count(t, tok); after != before {
				t.Errorf("objects on the token (session, token): %v before, %v after", before, after)
			}
		})
	}
}

func count(t *testing.T, tok hsmbackend.Token) ([2]int, bool) {
	t.Helper()
	c, ok := tok.(Counter)
	if !ok {
		return [2]int{}, false
	}
	s, n, err := c.CountObjects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return [2]int{s, n}, true
}

// Attributes as the suite uses them.
const (
	useWrap  = hsmbackend.UsageWrap | hsmbackend.UsageUnwrap
	useCrypt = hsmbackend.UsageEncrypt | hsmbackend.UsageDecrypt
	useXAES  = hsmbackend.UsageEncrypt | hsmbackend.UsageDerive
)

func kekAttributes() hsmbackend.Attributes {
	a := attributes("kek", useWrap, hsmbackend.MechAESKWP)
	a.UnwrapSensitive = true
	return a
}

// WorkingCopy is what a key has that message keys are derived from on this token: every mechanism of any way that the
// token knows.
func WorkingCopy(tok hsmbackend.Describer) hsmbackend.Attributes {
	a := attributes("working copy", useXAES)
	for _, m := range []hsmbackend.Mechanism{hsmbackend.MechAESECB, hsmbackend.MechDeriveECB, hsmbackend.MechDeriveXAES} {
		if tok.Capabilities().HasMechanism(m) {
			a.Mechanisms = append(a.Mechanisms, m)
		}
	}
	return a
}

func gcmAttributes() hsmbackend.Attributes {
	return attributes("message key", useCrypt, hsmbackend.MechAESGCM)
}

func macAttributes() hsmbackend.Attributes {
	return attributes("mac", hsmbackend.UsageSign|hsmbackend.UsageVerify, hsmbackend.MechHMACSHA256)
}

func extractable(a hsmbackend.Attributes) hsmbackend.Attributes {
	a.Extractable = true
	return a
}

// key generates a secret key that is destroyed when the case ends.
func key(t *testing.T, tok hsmbackend.Token, kt hsmbackend.KeyType, a hsmbackend.Attributes) hsmbackend.KeyRef {
	t.Helper()
	ref, err := tok.GenerateKey(t.Context(), kt, a)
	if err != nil {
		t.Fatalf("generate %s: %v", kt, err)
	}
	return ref
}

// wants fails the test unless err is of the kind.
func wants(t *testing.T, err, kind error, what string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: got %v, want %v", what, err, kind)
	}
	var e *hsmbackend.Error
	if err != nil && !errors.As(err, &e) {
		t.Errorf("%s: %T is not an *hsmbackend.Error", what, err)
	}
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func describes(t *testing.T, tok hsmbackend.Token) {
	info, caps := tok.Info(), tok.Capabilities()
	if info.Label == "" && info.Serial == "" {
		t.Error("the token has neither label nor serial number")
	}
	if caps.MaxCalls < 1 {
		t.Errorf("MaxCalls is %d", caps.MaxCalls)
	}
	for _, m := range []hsmbackend.Mechanism{
		hsmbackend.MechAESKWP, hsmbackend.MechECDH, hsmbackend.MechECDSA, hsmbackend.MechHMACSHA256,
	} {
		if !caps.HasMechanism(m) {
			t.Errorf("the token lacks %s", m)
		}
	}
	if why := caps.NotApproved(); caps.Approved != (len(why) == 0) || !subset(why, caps.Remarks) {
		t.Errorf("approved %v, because of %q, remarks %q", caps.Approved, why, caps.Remarks)
	}
	for hash, name := range map[hsmbackend.Mechanism]string{
		hsmbackend.MechOAEPSHA1: "RSAES_OAEP_SHA_1", hsmbackend.MechOAEPSHA256: "RSAES_OAEP_SHA_256",
	} {
		said := slices.ContainsFunc(caps.Remarks, func(s string) bool {
			return strings.Contains(s, name+" ") && strings.Contains(s, "in host memory") && strings.Contains(s, "key material passes")
		})
		if said != caps.OAEPOnHost(hash) {
			t.Errorf("%s on the host %v, remarks %q", name, caps.OAEPOnHost(hash), caps.Remarks)
		}
	}
	if caps.GCMOnHost() == caps.HasMechanism(hsmbackend.MechAESGCM) && caps.HasMechanism(hsmbackend.MechDeriveECB) {
		t.Errorf("AES-GCM on the host %v, on the token %v", caps.GCMOnHost(), caps.HasMechanism(hsmbackend.MechAESGCM))
	}
	if len(caps.Mechanisms) > 0 {
		caps.Mechanisms[0] = "changed"
		if tok.Capabilities().Mechanisms[0] == "changed" {
			t.Error("a caller can change the capabilities")
		}
	}
}

func subset(some, all []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

func randomness(t *testing.T, tok hsmbackend.Token) {
	seen := map[string]bool{}
	for _, n := range []int{16, 16, 32, 65536} {
		b, err := tok.Random(t.Context(), n)
		if err != nil || len(b) != n {
			t.Fatalf("%d bytes: %d, %v", n, len(b), err)
		}
		if bytes.Equal(b, make([]byte, n)) || seen[string(b[:16])] {
			t.Errorf("%d bytes are zero or a repetition", n)
		}
		seen[string(b[:16])] = true
	}
	if b, err := tok.Random(t.Context(), 1); err != nil || len(b) != 1 {
		t.Errorf("1 byte: %d, %v", len(b), err)
	}
	for _, n := range []int{-1, 0, 65537} {
		_, err := tok.Random(t.Context(), n)
		wants(t, err, hsmbackend.ErrInvalidInput, "random")
	}
}

func unknownRefs(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	secret := hsmbackend.KeyRef{ID: hsmbackend.ID{0xde, 0xad}, Class: hsmbackend.ClassSecret}
	private := hsmbackend.KeyRef{ID: secret.ID, Class: hsmbackend.ClassPrivate}
	kek := key(t, tok, hsmbackend.AES256, kekAttributes())
	defer destroy(t, tok, kek)
	point := softwarePoint(t)
	for name, call := range map[string]func(context.Context) error{
		"Wrap, no kek":      func(ctx context.Context) error { _, err := tok.Wrap(ctx, secret, kek); return err },
		"Wrap, no material": func(ctx context.Context) error { _, err := tok.Wrap(ctx, kek, secret); return err },
		"Unwrap": func(ctx context.Context) error {
			_, err := tok.Unwrap(ctx, secret, make([]byte, 40), hsmbackend.AES256, gcmAttributes())
			return err
		},
		"DeriveECDH": func(ctx context.Context) error {
			_, err := tok.DeriveECDH(ctx, private, point, tok.Capabilities().ECDHKDFs[0], nil, gcmAttributes())
			return err
		},
		"DeriveECB": func(ctx context.Context) error {
			_, err := tok.DeriveECB(ctx, secret, [32]byte{}, gcmAttributes())
			return err
		},
		"DeriveXAES": func(ctx context.Context) error {
			_, err := tok.DeriveXAES(ctx, secret, [12]byte{}, gcmAttributes())
			return err
		},
		"Tag": func(ctx context.Context) error { _, err := tok.Tag(ctx, secret); return err },
		"SealGCM": func(ctx context.Context) error {
			_, _, err := tok.SealGCM(ctx, secret, [12]byte{}, nil, []byte{1})
			return err
		},
		"OpenGCM": func(ctx context.Context) error {
			_, err := tok.OpenGCM(ctx, secret, [12]byte{}, make([]byte, 16), []byte{1})
			return err
		},
		"SignECDSA": func(ctx context.Context) error { _, err := tok.SignECDSA(ctx, private, make([]byte, 48)); return err },
		"MAC":       func(ctx context.Context) error { _, err := tok.MAC(ctx, secret, []byte{1}); return err },
		"PublicKey": func(ctx context.Context) error { _, err := tok.PublicKey(ctx, private); return err },
		"FindToken": func(ctx context.Context) error {
			_, err := tok.FindToken(ctx, hsmbackend.ClassSecret, secret.ID)
			return err
		},
	} {
		wants(t, call(ctx), hsmbackend.ErrObjectNotFound, name)
	}
	if err := tok.Destroy(ctx, secret); err != nil {
		t.Errorf("destroying nothing: %v", err)
	}
	if refs, err := tok.ListToken(ctx, hsmbackend.ClassSecret, "no such label"); err != nil || len(refs) != 0 {
		t.Errorf("list nothing: %v, %v", refs, err)
	}
}
