// Package softhsmtest gives tests real SoftHSM2 tokens, each fresh, in a directory of its own that is gone afterwards.
package softhsmtest

import (
	"os"
	"testing"

	"github.com/rs/zerolog"

	"antipode/hsmbackend"
	"antipode/hsmbackend/p11"
	"antipode/softhsm"
)

// Open returns a fresh token, which is closed and removed when the test ends. Several may be open at once. A SoftHSM2
// that is not installed fails the test.
func Open(t testing.TB) hsmbackend.Token {
	t.Helper()
	return Connect(t, New(t))
}

// New makes a fresh token without opening it, for tests that open it more than once or with a configuration of their own.
func New(t testing.TB) softhsm.Token {
	t.Helper()
	tok, err := softhsm.Create(t.Context(), Dir(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// Connect opens a token; it is closed when the test ends, or before that by the test.
func Connect(t testing.TB, tok softhsm.Token) *p11.Token {
	t.Helper()
	open, err := p11.Open(t.Context(), tok.Config(zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.ErrorLevel)))
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

// Dir returns an empty directory for a token, removed when the test ends. It is in memory where there is a /dev/shm:
// SoftHSM writes a token object fifty times faster there.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "antipode-test-*") //nolint:usetesting // t.TempDir is on disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove token: %v", err)
		}
	})
	return dir
}
