package p11_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"antipode/hsmbackend"
	"antipode/hsmbackend/p11"
	"antipode/softhsm"
	"antipode/softhsm/softhsmtest"
)

// Ten tokens work at once while ten others are opened and closed again and again.
func TestManyTokensInOneProcess(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	done := make(chan struct{})
	defer wg.Wait()
	defer close(done)
	var serials sync.Map
	for i := range 10 {
		stay, cycle := softhsmtest.New(t), softhsmtest.New(t)
		for _, s := range []string{stay.Serial, cycle.Serial} {
			if _, twice := serials.LoadOrStore(s, true); twice {
				t.Fatalf("two tokens have the serial number %s", s)
			}
		}
		tok := softhsmtest.Connect(t, stay)
		key, err := tok.GenerateKey(t.Context(), hsmbackend.AES256, gcmKey())
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				msg := fmt.Appendf(nil, "token %d message %d", i, n)
				sealed, iv, err := tok.SealGCM(t.Context(), key, [12]byte{}, msg, msg)
				if err != nil {
					t.Errorf("token %d: %v", i, err)
					return
				}
				if got, err := tok.OpenGCM(t.Context(), key, iv, sealed, msg); err != nil || !bytes.Equal(got, msg) {
					t.Errorf("token %d: %q, %v", i, got, err)
					return
				}
			}
		})
		cycles(t, i, cycle)
	}
}

// cycles opens a token several times; what it finds each time is what it left.
func cycles(t *testing.T, i int, dir softhsm.Token) {
	t.Helper()
	id := hsmbackend.ID{byte(i), 1}
	for n := range 3 {
		tok, err := p11.Open(t.Context(), dir.Config(zerolog.Nop()))
		if err != nil {
			t.Fatalf("token %d, cycle %d: %v", i, n, err)
		}
		if tok.Info().Serial != dir.Serial {
			t.Errorf("token %d: opened %s, want %s", i, tok.Info().Serial, dir.Serial)
		}
		if n == 0 {
			a := gcmKey()
			a.Token, a.ID = true, id
			if _, err := tok.GenerateKey(t.Context(), hsmbackend.AES256, a); err != nil {
				t.Fatal(err)
			}
		}
		ref, err := tok.FindToken(t.Context(), hsmbackend.ClassSecret, id)
		if err != nil {
			t.Errorf("token %d, cycle %d: %v", i, n, err)
		}
		if _, _, err := tok.SealGCM(t.Context(), ref, [12]byte{}, nil, []byte("a")); err != nil {
			t.Errorf("token %d, cycle %d: %v", i, n, err)
		}
		if s, k, err := tok.CountObjects(t.Context()); err != nil || s != 0 || k != 1 {
			t.Errorf("token %d, cycle %d: %d and %d objects, %v", i, n, s, k, err)
		}
		if err := tok.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Not parallel: it looks at what the process has.
func TestOpenAndCloseLeakNothing(t *testing.T) {
	dir := softhsmtest.New(t)
	cycle := func() {
		tok, err := p11.Open(t.Context(), dir.Config(zerolog.Nop()))
		if err != nil {
			t.Fatal(err)
		}
		if err := tok.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cycle()
	fds, maps := descriptors(t), mappings(t)
	for range 20 {
		cycle()
	}
	if now := descriptors(t); now > fds {
		t.Errorf("%d open files, %d before", now, fds)
	}
	if now := mappings(t); now > maps {
		t.Errorf("%d mappings of modules, %d before", now, maps)
	}
	if v, ok := os.LookupEnv("SOFTHSM2_CONF"); ok {
		t.Errorf("SOFTHSM2_CONF is %s afterwards", v)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func mappings(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "pkcs11-module")
}

func TestPrivateCopyOnDisk(t *testing.T) {
	t.Parallel()
	module, err := softhsm.Module()
	if err != nil {
		t.Fatal(err)
	}
	dir, free, err := p11.LoadFromDisk(module)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", fi, err)
	}
	if err := free(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestBusyToken(t *testing.T) {
	t.Parallel()
	cfg := softhsmtest.New(t).Config(zerolog.Nop())
	cfg.Profile.Wait = 50 * time.Millisecond
	tok, err := p11.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tok.Close(); err != nil {
			t.Error(err)
		}
	}()
	scope, err := tok.OpenScope(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release := tok.Occupy()
	start := time.Now()
	if _, err := tok.Random(t.Context(), 8); !errors.Is(err, hsmbackend.ErrBusy) {
		t.Errorf("no deadline of the caller's: %v", err)
	}
	if took := time.Since(start); took < 50*time.Millisecond {
		t.Errorf("gave up after %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tok.Random(ctx, 8); !errors.Is(err, hsmbackend.ErrBusy) {
		t.Errorf("cancelled: %v", err)
	}
	if err := tok.CloseScope(scope); err != nil {
		t.Errorf("close scope: %v", err)
	}
	if n := tok.Doomed(); n != 1 {
		t.Errorf("%d sessions wait to be closed, want 1", n)
	}
	if err := tok.Close(); !errors.Is(err, hsmbackend.ErrBusy) {
		t.Errorf("close: %v", err)
	}
	release()
}

func TestScopesAreBounded(t *testing.T) {
	t.Parallel()
	cfg := softhsmtest.New(t).Config(zerolog.Nop())
	cfg.Profile.MaxSessions = 2*cfg.Profile.MaxCalls + 2 + 3
	tok, err := p11.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tok.Close(); err != nil {
			t.Error(err)
		}
	}()
	var open []hsmbackend.Scope
	for range 3 {
		s, err := tok.OpenScope(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	if _, err := tok.OpenScope(t.Context()); !errors.Is(err, hsmbackend.ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	if err := tok.CloseScope(open[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := tok.OpenScope(t.Context()); err != nil {
		t.Errorf("after one was closed: %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	dir := softhsmtest.New(t)
	for name, change := range map[string]func(*p11.Config){
		"relative module": func(c *p11.Config) { c.Module = "libsofthsm2.so" },
		"no token":        func(c *p11.Config) { c.Label, c.Serial = "", "" },
		"no PIN":          func(c *p11.Config) { c.PIN = nil },
		"no KWP":          func(c *p11.Config) { c.Profile.KWP = 0 },
		"no calls":        func(c *p11.Config) { c.Profile.MaxCalls = 0 },
		"few sessions":    func(c *p11.Config) { c.Profile.MaxSessions = 6 },
		"no wait":         func(c *p11.Config) { c.Profile.Wait = 0 },
		"no back-off":     func(c *p11.Config) { c.Profile.Backoff = 0 },
	} {
		cfg := dir.Config(zerolog.Nop())
		change(&cfg)
		if _, err := p11.Open(t.Context(), cfg); !errors.Is(err, hsmbackend.ErrInvalidInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cfg := dir.Config(zerolog.Nop())
	cfg.Module = "/etc/passwd"
	if _, err := p11.Open(t.Context(), cfg); !errors.Is(err, hsmbackend.ErrUnavailable) {
		t.Errorf("not a module: %v", err)
	}
}
