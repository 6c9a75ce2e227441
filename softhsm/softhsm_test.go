package softhsm_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"antipode/hsmbackend"
	"antipode/hsmbackend/p11"
	"antipode/softhsm"
	"antipode/softhsm/softhsmtest"
)

func TestTokenSurvivesRenamingItsDirectory(t *testing.T) {
	t.Parallel()
	base := softhsmtest.Dir(t)
	tok, err := softhsm.Create(t.Context(), filepath.Join(base, "tmp"), "a label")
	if err != nil {
		t.Fatal(err)
	}
	if tok.Label != "a label" || tok.Serial == "" {
		t.Fatalf("made %+v", tok)
	}
	c := softhsmtest.Connect(t, tok)
	id := hsmbackend.ID{1}
	if _, err := c.GenerateKey(t.Context(), hsmbackend.AES256, hsmbackend.Attributes{
		Token: true, ID: id, Label: "k", Usage: hsmbackend.UsageWrap, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP},
	}); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(base, "tmp"), filepath.Join(base, "final")); err != nil {
		t.Fatal(err)
	}
	again, err := softhsm.Open(filepath.Join(base, "final"))
	if err != nil {
		t.Fatal(err)
	}
	if again.Serial != tok.Serial || again.Label != tok.Label {
		t.Fatalf("opened %+v, made %+v", again, tok)
	}
	c = softhsmtest.Connect(t, again)
	if _, err := c.FindToken(t.Context(), hsmbackend.ClassSecret, id); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(base, "tmp")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("something went back to the old place: %v", err)
	}
}

func TestFileModes(t *testing.T) {
	t.Parallel()
	tok := softhsmtest.New(t)
	for name, want := range map[string]fs.FileMode{
		".": 0o700, "tokens": 0o700, "softhsm2.conf": 0o600, "pin": 0o400, "so-pin": 0o400, "token.json": 0o400,
	} {
		fi, err := os.Stat(filepath.Join(tok.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := fi.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
	pins := map[string]bool{}
	for _, name := range []string{"pin", "so-pin"} {
		pin, err := os.ReadFile(filepath.Join(tok.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if len(pin) < 32 {
			t.Errorf("%s has %d characters", name, len(pin))
		}
		pins[string(pin)] = true
	}
	if len(pins) != 2 {
		t.Error("both PINs are the same")
	}
	left, err := filepath.Glob(filepath.Join(tok.Dir, ".new-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestCreateRefusesAFullDirectory(t *testing.T) {
	t.Parallel()
	tok := softhsmtest.New(t)
	before, err := os.ReadFile(filepath.Join(tok.Dir, "pin"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := softhsm.Create(t.Context(), tok.Dir, "again"); err == nil {
		t.Fatal("made a token over another")
	}
	if after, err := os.ReadFile(filepath.Join(tok.Dir, "pin")); err != nil || string(after) != string(before) {
		t.Fatalf("the PIN changed, %v", err)
	}
}

func TestModule(t *testing.T) { // not parallel: environment
	p, err := softhsm.Module()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(softhsm.ModuleEnv, p)
	if got, err := softhsm.Module(); err != nil || got != p {
		t.Errorf("%q, %v", got, err)
	}
	t.Setenv(softhsm.ModuleEnv, filepath.Join(t.TempDir(), "none.so"))
	if _, err := softhsm.Module(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a module that is not there: %v", err)
	}
	t.Setenv(softhsm.ModuleEnv, "relative.so")
	if _, err := softhsm.Module(); err == nil {
		t.Error("a relative path was taken")
	}
	if !strings.Contains(softhsm.ErrNotInstalled.Error(), "apt-get install softhsm2") {
		t.Error("the error does not say how to install it")
	}
}

func TestAnotherTokensLabelOrSerialIsRefusedBeforeThePINIsUsed(t *testing.T) {
	t.Parallel()
	tok := softhsmtest.New(t)
	for name, change := range map[string]func(*p11.Config){
		"label":  func(c *p11.Config) { c.Label = "other" },
		"serial": func(c *p11.Config) { c.Serial = "0123456789abcdef" },
	} {
		cfg := tok.Config(zerolog.Nop())
		change(&cfg)
		cfg.PIN = func() ([]byte, error) {
			t.Errorf("%s: the PIN was asked for", name)
			return []byte("wrong"), nil
		}
		if _, err := p11.Open(t.Context(), cfg); !errors.Is(err, hsmbackend.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
