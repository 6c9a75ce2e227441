// Package shimtest gives tests real tokens that behave like devices which are not SoftHSM2: SoftHSM2 behind a PKCS#11
// module of ours, which changes single behaviours. README.md has the list.
//
// Invariants:
//   - Whatever a token keeps or computes, SoftHSM2 keeps or computes; see the README for the one place where the module
//     plays the inside of a device.
//   - A behaviour that does not exist, or a compiler that is missing, fails the test.
package shimtest

import (
	"embed"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"antipode/hsmbackend"
	"antipode/hsmbackend/p11"
	"antipode/softhsm"
	"antipode/softhsm/softhsmtest"
)

//go:embed device
var device embed.FS

// The behaviours.
const (
	SP800108      = "sp800-108"
	SP800108Wrong = "sp800-108-wrong"
	GCMIV         = "gcm-iv"
	GCMIVStuck    = "gcm-iv-stuck"
	GCMShort      = "gcm-short"
	NoGCM         = "no-gcm"
	NoECBDerive   = "no-ecb-derive"
	NoOAEP        = "no-oaep"
	X963          = "x963"
	NoCreate      = "no-create"
	PostQuantum   = "post-quantum"
)

// Way is a token that makes message keys, and encrypts with them, in one of the ways that there are.
type Way struct {
	Name       string
	Behaviours []string
	XAES       hsmbackend.XAESWay
	OwnIV      bool // the token makes the IV
}

// Ways returns one token for each way, and one that is approved throughout. RSA, which is slow, is on the one of them
// whose kind needs it to exchange keys.
func Ways() []Way {
	return []Way{
		{"AES-ECB", []string{NoOAEP}, hsmbackend.XAESByECB, false},
		{"SP800-108", []string{SP800108, NoECBDerive, NoOAEP}, hsmbackend.XAESBySP800108, false},
		{"token's IV", []string{GCMIV, GCMShort, NoOAEP}, hsmbackend.XAESByECB, true},
		{"host GCM", []string{NoGCM, NoECBDerive}, hsmbackend.XAESOnHost, false},
		{"approved", []string{SP800108, GCMIV, X963, NoCreate, NoOAEP}, hsmbackend.XAESBySP800108, true},
	}
}

// Module is the compiled shim.
type Module struct {
	path string
}

// Build compiles the shim; it lives until the test ends. One is enough for all tokens of a test.
func Build(t testing.TB) Module {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Fatalf("the tests need a C compiler for hsmbackend/hsmtest/shimtest: apt-get install gcc libc6-dev (%v)", err)
	}
	dir := t.TempDir()
	m := Module{path: filepath.Join(dir, "shim.so")}
	args := []string{
		"-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-fvisibility=hidden", "-shared", "-o", m.path,
	}
	err = fs.WalkDir(device, "device", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		source, err := device.ReadFile(path)
		if err != nil {
			return err
		}
		file := filepath.Join(dir, d.Name())
		if strings.HasSuffix(file, ".c") {
			args = append(args, file)
		}
		return os.WriteFile(file, source, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), gcc, append(args, "-ldl")...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", gcc, args, err, out)
	}
	return m
}

// Path is the absolute path of the compiled module.
func (m Module) Path() string { return m.path }

// Env is what the module needs in its environment to be this token's with these behaviours.
func (m Module) Env(tok softhsm.Token, behaviours ...string) []string {
	return append(tok.Config(zerolog.Nop()).Env,
		"ANTIPODE_SHIM_MODULE="+tok.Module, "ANTIPODE_SHIM="+strings.Join(behaviours, ","))
}

// Config opens a SoftHSM2 token through the module, with the profile that such a device would have.
func (m Module) Config(t testing.TB, tok softhsm.Token, behaviours ...string) p11.Config {
	t.Helper()
	cfg := tok.Config(zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.ErrorLevel))
	cfg.Module, cfg.Env = m.path, m.Env(tok, behaviours...)
	for _, b := range behaviours {
		switch b {
		case GCMIV, GCMIVStuck:
			cfg.Profile.GCMIVFromToken = true
		case GCMShort:
			cfg.Profile.GCMShortParams = true
		case X963:
			cfg.Profile.ECDHKDFs = []hsmbackend.KDF{hsmbackend.KDFX963SHA384}
		}
	}
	return cfg
}

// Open returns a fresh token with these behaviours; it is closed and removed when the test ends.
func (m Module) Open(t testing.TB, behaviours ...string) *p11.Token {
	t.Helper()
	return m.Connect(t, softhsmtest.New(t), behaviours...)
}

// Connect opens a token with these behaviours; it is closed when the test ends, or before that by the test.
func (m Module) Connect(t testing.TB, tok softhsm.Token, behaviours ...string) *p11.Token {
	t.Helper()
	open, err := p11.Open(t.Context(), m.Config(t, tok, behaviours...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := open.Close(); err != nil {
			t.Errorf("close token: %v", err)
		}
	})
	return open
}
