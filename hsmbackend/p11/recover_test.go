package p11_test

import (
	"errors"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/rs/zerolog"

	"antipode/hsmbackend"
	"antipode/hsmbackend/p11"
	"antipode/softhsm/softhsmtest"
)

func gcmKey() hsmbackend.Attributes {
	return hsmbackend.Attributes{
		Label: "k", Usage: hsmbackend.UsageEncrypt | hsmbackend.UsageDecrypt,
		Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESGCM},
	}
}

func signPair() hsmbackend.Attributes {
	return hsmbackend.Attributes{
		Label: "s", Token: true, Usage: hsmbackend.UsageSign, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechECDSA},
	}
}

// keys are one key of every kind on a token.
type keys struct{ session, token, signer hsmbackend.KeyRef }

func makeKeys(t *testing.T, tok *p11.Token) (k keys) {
	t.Helper()
	var err error
	if k.session, err = tok.GenerateKey(t.Context(), hsmbackend.AES256, gcmKey()); err != nil {
		t.Fatal(err)
	}
	a := gcmKey()
	a.Token = true
	if k.token, err = tok.GenerateKey(t.Context(), hsmbackend.AES256, a); err != nil {
		t.Fatal(err)
	}
	if k.signer, _, err = tok.GenerateKeyPair(t.Context(), hsmbackend.ECP384, signPair()); err != nil {
		t.Fatal(err)
	}
	k.use(t, tok, nil)
	return k
}

// use uses every key; session is what the session key must answer.
func (k keys) use(t *testing.T, tok *p11.Token, session error) {
	t.Helper()
	// Signing comes first, when nothing has repaired the connection yet.
	if _, err := tok.SignECDSA(t.Context(), k.signer, make([]byte, 48)); err != nil {
		t.Errorf("sign: %v", err)
	}
	if _, _, err := tok.SealGCM(t.Context(), k.token, [12]byte{}, []byte("x"), []byte("a")); err != nil {
		t.Errorf("seal with the token key: %v", err)
	}
	if _, _, err := tok.SealGCM(t.Context(), k.session, [12]byte{}, []byte("x"), []byte("a")); !errors.Is(err, session) {
		t.Errorf("seal with the session key: %v, want %v", err, session)
	}
	ref, err := tok.GenerateKey(t.Context(), hsmbackend.AES256, gcmKey())
	if err != nil {
		t.Errorf("generate: %v", err)
	}
	if err := tok.Destroy(t.Context(), ref); err != nil {
		t.Errorf("destroy: %v", err)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		fault   func(*testing.T, *p11.Token)
		session error // what becomes of the session key
	}{
		{"idle sessions die", func(t *testing.T, tok *p11.Token) {
			raw, _ := tok.Raw()
			idle := tok.Idle()
			if len(idle) == 0 {
				t.Fatal("no session is idle")
			}
			for _, s := range idle {
				if err := raw.CloseSession(s); err != nil {
					t.Fatal(err)
				}
			}
		}, nil},
		{"crypto11's sessions die", func(t *testing.T, tok *p11.Token) {
			raw, _ := tok.Raw()
			keep := append(tok.Idle(), tok.HolderSession())
			killed := 0
			for s := range pkcs11.SessionHandle(500) {
				if !slices.Contains(keep, s) && raw.CloseSession(s) == nil {
					killed++
				}
			}
			if killed < 2 {
				t.Fatalf("killed %d sessions: crypto11 has at least two", killed)
			}
		}, nil},
		{"the holder's session dies", func(t *testing.T, tok *p11.Token) {
			raw, _ := tok.Raw()
			if err := raw.CloseSession(tok.HolderSession()); err != nil {
				t.Fatal(err)
			}
		}, hsmbackend.ErrObjectNotFound},
		{"all sessions die", func(t *testing.T, tok *p11.Token) {
			raw, slot := tok.Raw()
			if err := raw.CloseAllSessions(slot); err != nil {
				t.Fatal(err)
			}
		}, hsmbackend.ErrObjectNotFound},
		{"the login is lost", func(t *testing.T, tok *p11.Token) {
			raw, _ := tok.Raw()
			if err := raw.Logout(tok.HolderSession()); err != nil {
				t.Fatal(err)
			}
		}, hsmbackend.ErrObjectNotFound},
		{"the module is finalised", func(t *testing.T, tok *p11.Token) {
			raw, _ := tok.Raw()
			if err := raw.Finalize(); err != nil {
				t.Fatal(err)
			}
		}, hsmbackend.ErrObjectNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tok := softhsmtest.Connect(t, softhsmtest.New(t))
			k := makeKeys(t, tok)
			for range 3 { // it must not wear out
				c.fault(t, tok)
				k.use(t, tok, c.session)
				k.use(t, tok, c.session)
			}
			session, token, err := tok.CountObjects(t.Context())
			want := 0
			if c.session == nil {
				want = 1
			}
			if err != nil || session != want || token != 3 {
				t.Errorf("%d session and %d token objects, want %d and 3; %v", session, token, want, err)
			}
		})
	}
}

func TestScopeThatLostItsSession(t *testing.T) {
	t.Parallel()
	tok := softhsmtest.Connect(t, softhsmtest.New(t))
	scope, err := tok.OpenScope(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a := gcmKey()
	a.Scope = scope
	ref, err := tok.GenerateKey(t.Context(), hsmbackend.AES256, a)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := tok.Raw()
	if err := raw.CloseSession(tok.ScopeSession(scope)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := tok.GenerateKey(t.Context(), hsmbackend.AES256, a); !errors.Is(err, hsmbackend.ErrSessionLost) {
			t.Errorf("generate in a lost scope: %v", err)
		}
	}
	if _, _, err := tok.SealGCM(t.Context(), ref, [12]byte{}, nil, []byte("a")); !errors.Is(err, hsmbackend.ErrObjectNotFound) {
		t.Errorf("a key of a lost scope: %v", err)
	}
	if err := tok.CloseScope(scope); err != nil {
		t.Error(err)
	}
}

func TestObjectDestroyedByAnotherProgram(t *testing.T) {
	t.Parallel()
	tok := softhsmtest.Connect(t, softhsmtest.New(t))
	k := makeKeys(t, tok)
	raw, _ := tok.Raw()
	for _, ref := range []hsmbackend.KeyRef{k.session, k.token} {
		if err := raw.DestroyObject(tok.HolderSession(), tok.Handle(ref)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, _, err := tok.SealGCM(t.Context(), ref, [12]byte{}, nil, []byte("a"))
			if !errors.Is(err, hsmbackend.ErrObjectNotFound) {
				t.Errorf("%v", err)
			}
		}
		if err := tok.Destroy(t.Context(), ref); err != nil {
			t.Error(err)
		}
	}
}

func TestWrongPIN(t *testing.T) {
	t.Parallel()
	other := softhsmtest.Connect(t, softhsmtest.New(t))
	k := makeKeys(t, other)
	dir := softhsmtest.New(t)
	cfg := dir.Config(zerolog.Nop())
	right := cfg.PIN
	var tried int
	cfg.PIN = func() ([]byte, error) { tried++; return []byte("not the PIN at all"), nil }
	if _, err := p11.Open(t.Context(), cfg); !errors.Is(err, hsmbackend.ErrPIN) {
		t.Errorf("wrong PIN: %v", err)
	}
	if tried != 1 {
		t.Errorf("the PIN was tried %d times", tried)
	}
	k.use(t, other, nil)

	var given []byte
	cfg.PIN = func() (pin []byte, err error) { pin, err = right(); given = pin; return pin, err }
	tok, err := p11.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(given) < 32 || slices.ContainsFunc(given, func(b byte) bool { return b != 0 }) {
		t.Error("the PIN was not overwritten")
	}
	if err := tok.Close(); err != nil {
		t.Error(err)
	}
}

func TestPINChangedWhileTheConnectionWasLost(t *testing.T) {
	t.Parallel()
	dir := softhsmtest.New(t)
	cfg := dir.Config(zerolog.Nop())
	right := cfg.PIN
	var wrong atomic.Bool
	var tried atomic.Int32
	cfg.PIN = func() ([]byte, error) {
		tried.Add(1)
		if wrong.Load() {
			return []byte("not the PIN any more"), nil
		}
		return right()
	}
	tok, err := p11.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	k := makeKeys(t, tok)
	wrong.Store(true)
	raw, _ := tok.Raw()
	if err := raw.Finalize(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := tok.SignECDSA(t.Context(), k.signer, make([]byte, 48)); !errors.Is(err, hsmbackend.ErrPIN) {
			t.Errorf("%v", err)
		}
	}
	if tried.Load() != 2 {
		t.Errorf("the PIN was used %d times, want once for each login", tried.Load())
	}
	if err := tok.Close(); err != nil {
		t.Error(err)
	}
}

func TestBackoffAfterTheTokenVanished(t *testing.T) {
	t.Parallel()
	dir := softhsmtest.New(t)
	cfg := dir.Config(zerolog.Nop())
	var now atomic.Int64
	cfg.Now = func() time.Time { return time.Unix(0, now.Load()) }
	tok, err := p11.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	k := makeKeys(t, tok)
	raw, _ := tok.Raw()
	objects, away := dir.Dir+"/tokens", dir.Dir+"/away"
	if err := errors.Join(os.Rename(objects, away), os.Mkdir(objects, 0o700), raw.Finalize()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := tok.SignECDSA(t.Context(), k.signer, make([]byte, 48)); !errors.Is(err, hsmbackend.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	}
	if err := errors.Join(os.Remove(objects), os.Rename(away, objects)); err != nil {
		t.Fatal(err)
	}
	if _, err := tok.SignECDSA(t.Context(), k.signer, make([]byte, 48)); !errors.Is(err, hsmbackend.ErrUnavailable) {
		t.Errorf("before the pause is over: %v", err)
	}
	now.Add(int64(time.Minute))
	k.use(t, tok, hsmbackend.ErrObjectNotFound)
	if err := tok.Close(); err != nil {
		t.Error(err)
	}
}
