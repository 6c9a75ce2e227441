package p11_test

import (
	"bytes"
	"crypto/aes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/hsmbackend/hsmtest/shimtest"
	"antipode/hsmbackend/p11"
	"antipode/softhsm/softhsmtest"
)

// The whole contract, on a token of each way to make message keys.
func TestContractInEveryWay(t *testing.T) {
	t.Parallel()
	module := shimtest.Build(t)
	for _, w := range shimtest.Ways() {
		t.Run(w.Name, func(t *testing.T) {
			t.Parallel()
			hsmtest.RunExchange(t, func(t *testing.T) hsmbackend.Token {
				tok := module.Open(t, w.Behaviours...)
				if c := tok.Capabilities(); c.XAES != w.XAES || c.GCMIVFromToken != w.OwnIV {
					t.Errorf("the way is %q, own IV %v", c.XAES, c.GCMIVFromToken)
				}
				return tok
			})
		})
	}
}

// A way is used only after it gave the published answers, and a profile that the token contradicts opens nothing.
func TestKnownAnswers(t *testing.T) {
	t.Parallel()
	module := shimtest.Build(t)
	soft := softhsmtest.New(t) // opened by one at a time
	for _, c := range []struct {
		name       string
		behaviours []string
		change     func(*p11.Config)
		way        hsmbackend.XAESWay // "" if the token is refused
		kind       error
		log        string
	}{
		{
			name: "SP800-108 that derives something else", behaviours: []string{shimtest.SP800108, shimtest.SP800108Wrong},
			way: hsmbackend.XAESByECB, log: "another ciphertext than XAES-256-GCM's",
		},
		{
			name:       "the same, where no key is let in",
			behaviours: []string{shimtest.SP800108, shimtest.SP800108Wrong, shimtest.NoCreate},
			way:        hsmbackend.XAESByECB, log: "another ciphertext than XAES-256-GCM's",
		},
		{
			name:       "SP800-108 that derives something else, and no other way",
			behaviours: []string{shimtest.SP800108, shimtest.SP800108Wrong, shimtest.NoECBDerive},
			kind:       hsmbackend.ErrTokenLies, log: "another ciphertext than XAES-256-GCM's",
		},
		{
			name:       "no key is let in",
			behaviours: []string{shimtest.SP800108, shimtest.NoCreate}, way: hsmbackend.XAESBySP800108,
		},
		{
			name: "the profile says that the token makes the IV", change: func(c *p11.Config) { c.Profile.GCMIVFromToken = true },
			kind: hsmbackend.ErrTokenLies, log: "the token made no IV",
		},
		{
			name: "the profile does not say it", behaviours: []string{shimtest.GCMIV},
			change: func(c *p11.Config) { c.Profile.GCMIVFromToken = false }, kind: hsmbackend.ErrUnsupported, log: "C_EncryptInit",
		},
		{
			name: "the token overwrites the IV", behaviours: []string{shimtest.GCMIVStuck},
			change: func(c *p11.Config) { c.Profile.GCMIVFromToken = false }, kind: hsmbackend.ErrTokenLies, log: "an IV of its own",
		},
		{
			name: "the token makes the same IV again", behaviours: []string{shimtest.GCMIVStuck},
			kind: hsmbackend.ErrTokenLies, log: "the same IV twice",
		},
		{
			name: "the short structure for a token with the long one", change: func(c *p11.Config) { c.Profile.GCMShortParams = true },
			kind: hsmbackend.ErrInternal, log: "C_EncryptInit",
		},
		{
			name: "the long structure for a token with the short one", behaviours: []string{shimtest.GCMShort},
			change: func(c *p11.Config) { c.Profile.GCMShortParams = false }, kind: hsmbackend.ErrUnsupported, log: "C_EncryptInit",
		},
	} {
		var log bytes.Buffer
		cfg := module.Config(t, soft, c.behaviours...)
		cfg.Log = zerolog.New(&log)
		if c.change != nil {
			c.change(&cfg)
		}
		tok, err := p11.Open(t.Context(), cfg)
		if c.way == "" {
			if tok != nil || !errors.Is(err, c.kind) {
				t.Errorf("%s: opened %v, %v", c.name, tok != nil, err)
			}
		} else if err != nil || tok.Capabilities().XAES != c.way {
			t.Errorf("%s: %v", c.name, err)
		}
		if warned := strings.Contains(log.String(), "is not used"); warned != (c.log != "") || !strings.Contains(log.String(), c.log) {
			t.Errorf("%s: the log says %s", c.name, log.String())
		}
		if tok != nil {
			if s, n := hsmtest.Objects(t, tok); s != 0 || n != 0 {
				t.Errorf("%s: %d session and %d token objects are left", c.name, s, n)
			}
			if err := tok.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// What may call itself approved, and what Config.ApprovedOnly refuses.
func TestApproved(t *testing.T) {
	t.Parallel()
	module := shimtest.Build(t)
	soft := softhsmtest.New(t)
	for _, c := range []struct {
		name       string
		behaviours []string
		kdfs       []hsmbackend.KDF // of the profile, if not the behaviours'
		oaep       []hsmbackend.Mechanism
		refused    string // what the refusal says
		approved   bool   // without ApprovedOnly
	}{
		{name: "SoftHSM2", refused: "composed of AES-ECB"},
		{name: "SP800-108, CKD_NULL only", behaviours: []string{shimtest.SP800108}, refused: "no key derivation but CKD_NULL"},
		{name: "X9.63, no SP800-108", behaviours: []string{shimtest.X963}, refused: "composed of AES-ECB"},
		{name: "host", behaviours: []string{shimtest.X963, shimtest.NoGCM, shimtest.SP800108}, refused: "host memory"},
		{
			name: "wrong SP800-108", behaviours: []string{shimtest.X963, shimtest.SP800108, shimtest.SP800108Wrong},
			refused: "composed of AES-ECB",
		},
		{name: "all", behaviours: []string{shimtest.X963, shimtest.SP800108, shimtest.GCMIV}, approved: true},
		{
			name: "all, and CKD_NULL", behaviours: []string{shimtest.X963, shimtest.SP800108},
			kdfs: []hsmbackend.KDF{hsmbackend.KDFNull, hsmbackend.KDFX963SHA384},
		},
		{
			name: "CKD_NULL only, and RSA-OAEP", behaviours: []string{shimtest.SP800108},
			oaep: []hsmbackend.Mechanism{hsmbackend.MechOAEPSHA256, hsmbackend.MechOAEPSHA1},
		},
	} {
		cfg := module.Config(t, soft, c.behaviours...)
		if c.kdfs != nil {
			cfg.Profile.ECDHKDFs = c.kdfs
		}
		if c.oaep != nil {
			cfg.Profile.OAEPHashes = c.oaep
		}
		tok, err := p11.Open(t.Context(), cfg)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if caps := tok.Capabilities(); caps.Approved != c.approved {
			t.Errorf("%s: approved %v: %q", c.name, caps.Approved, caps.Remarks)
		}
		if err := tok.Close(); err != nil {
			t.Error(err)
		}
		cfg.ApprovedOnly = true
		tok, err = p11.Open(t.Context(), cfg)
		if c.refused != "" {
			if tok != nil || !errors.Is(err, hsmbackend.ErrUnsupported) || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: approved only: opened %v, %v", c.name, tok != nil, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: approved only: %v", c.name, err)
			continue
		}
		if caps := tok.Capabilities(); !caps.Approved || caps.HasECDHKDF(hsmbackend.KDFNull) || caps.HasMechanism(hsmbackend.MechOAEPSHA1) {
			t.Errorf("%s: approved only: %v, KDFs %v, mechanisms %v", c.name, caps.Approved, caps.ECDHKDFs, caps.Mechanisms)
		}
		if err := tok.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A key on the token that is older than the firmware which brought SP 800-108 is used as before, or, where only approved
// derivations may be used, refused.
func TestKeyOlderThanTheMechanism(t *testing.T) {
	t.Parallel()
	module := shimtest.Build(t)
	soft := softhsmtest.New(t)
	tok, err := p11.Open(t.Context(), module.Config(t, soft))
	if err != nil {
		t.Fatal(err)
	}
	attr := hsmtest.WorkingCopy(tok)
	attr.Token = true
	old, err := tok.GenerateKey(t.Context(), hsmbackend.AES256, attr)
	if err != nil {
		t.Fatal(err)
	}
	derive := func(tok *p11.Token) ([]byte, error) {
		t.Helper()
		if _, err := tok.FindToken(t.Context(), old.Class, old.ID); err != nil {
			t.Fatal(err)
		}
		d, err := tok.DeriveXAES(t.Context(), old, [12]byte{1}, gcmKey())
		if err != nil {
			return nil, err
		}
		sealed, _, err := tok.SealGCM(t.Context(), d, [12]byte{2}, []byte("plaintext"), []byte("aad"))
		return sealed, err
	}
	before, err := derive(tok)
	if err != nil {
		t.Fatal(err)
	}
	if err := tok.Close(); err != nil {
		t.Fatal(err)
	}
	for _, approved := range []bool{false, true} {
		cfg := module.Config(t, soft, shimtest.SP800108)
		if approved {
			cfg = module.Config(t, soft, shimtest.SP800108, shimtest.X963)
		}
		cfg.ApprovedOnly = approved
		tok, err := p11.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		after, err := derive(tok)
		if approved && !errors.Is(err, hsmbackend.ErrNotPermitted) || !approved && (err != nil || !bytes.Equal(after, before)) {
			t.Errorf("approved only %v: %x, %v", approved, after, err)
		}
		if err := tok.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The shim is what it is asked to be, or nothing.
func TestShimRefusesUnknownBehaviours(t *testing.T) {
	t.Parallel()
	tok, err := p11.Open(t.Context(), shimtest.Build(t).Config(t, softhsmtest.New(t), shimtest.NoGCM, "no-such-behaviour"))
	if tok != nil || !errors.Is(err, hsmbackend.ErrUnavailable) {
		t.Errorf("opened %v, %v", tok != nil, err)
	}
}

// Neither the log at its most talkative nor an error has L, the subkey or a message key.
func TestMessageKeysAreNotLogged(t *testing.T) {
	t.Parallel()
	module := shimtest.Build(t)
	material := bytes.Repeat([]byte{3}, 32)
	derived, err := hex.DecodeString("e9c621d4cdd9b11b00a6427ad7e559aeedd66b3857646677748f8ca796cb3fd8")
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(material)
	if err != nil {
		t.Fatal(err)
	}
	l := make([]byte, 16)
	block.Encrypt(l, l)
	for _, w := range shimtest.Ways() {
		var log bytes.Buffer
		cfg := module.Config(t, softhsmtest.New(t), w.Behaviours...)
		cfg.Log = zerolog.New(&log).Level(zerolog.TraceLevel)
		tok, err := p11.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		base := hsmtest.Import(t, tok, hsmbackend.AES256, material, hsmtest.WorkingCopy(tok))
		key, err := tok.DeriveXAES(t.Context(), base, [12]byte([]byte("ABCDEFGHIJKL")), gcmKey())
		if err != nil {
			t.Fatal(err)
		}
		sealed, iv, err := tok.SealGCM(t.Context(), key, [12]byte{1}, []byte("plaintext"), []byte("aad"))
		if err != nil {
			t.Fatal(err)
		}
		sealed[0] ^= 1
		_, wrong := tok.OpenGCM(t.Context(), key, iv, sealed, []byte("aad"))
		_, again := tok.DeriveXAES(t.Context(), key, [12]byte{}, gcmKey())
		if wrong == nil || again == nil {
			t.Errorf("%s: no errors", w.Name)
		}
		// A token that dies in the middle logs most.
		raw, slot := tok.Raw()
		if err := raw.CloseAllSessions(slot); err != nil {
			t.Fatal(err)
		}
		_, _, lost := tok.SealGCM(t.Context(), key, [12]byte{1}, []byte("plaintext"), []byte("aad"))
		if lost == nil {
			t.Errorf("%s: sealed without a session", w.Name)
		}
		text := fmt.Sprint(log.String(), wrong, again, lost)
		if !strings.Contains(text, "lost") {
			t.Errorf("%s: the log is empty", w.Name)
		}
		for name, secret := range map[string][]byte{"L": l, "the message key": derived, "the material": material} {
			for _, form := range []string{
				string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
				base64.StdEncoding.EncodeToString(secret)[:20], fmt.Sprintf("%d", secret),
			} {
				if strings.Contains(text, form) {
					t.Errorf("%s: the log has %s", w.Name, name)
				}
			}
		}
		if err := tok.Close(); err != nil {
			t.Error(err)
		}
	}
}
