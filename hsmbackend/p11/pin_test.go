package p11_test

import (
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"antipode/hsmbackend/p11"
	"antipode/softhsm/softhsmtest"
)

func TestRefusedPINIsNotTriedBySigning(t *testing.T) {
	soft := softhsmtest.New(t)
	cfg := soft.Config(zerolog.Nop())
	right := cfg.PIN
	var changed atomic.Bool
	var tried atomic.Int32
	cfg.PIN = func() ([]byte, error) {
		if changed.Load() {
			tried.Add(1)
			return []byte("not the PIN any more"), nil
		}
		return right()
	}
	tok, err := p11.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tok.Close() })
	k := makeKeys(t, tok)
	changed.Store(true)
	raw, slot := tok.Raw()
	if err := raw.CloseAllSessions(slot); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		_, err := tok.SignECDSA(t.Context(), k.signer, make([]byte, 48))
		t.Log(err)
	}
	if n := tried.Load(); n > 1 {
		t.Errorf("the refused PIN was tried %d times", n)
	}
}
