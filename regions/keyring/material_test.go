package keyring_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/regions/keyring"
	"antipode/softhsm/softhsmtest"
)

// knownKey is 00 01 02 ... 1f, and goldenID its material id under keyID, computed apart from this program, with
// OpenSSL's AES and Python's SHA-256.
var knownKey = func() []byte {
	k := make([]byte, 32)
	for i := range k {
		k[i] = byte(i)
	}
	return k
}()

const goldenID = "a184d67c33d45449df7ea8c52f63fa66eea695206e1babeccf633badab8a8ec1"

// The material id of known material is the golden one, on two tokens.
func TestMaterialID(t *testing.T) {
	t.Parallel()
	for range 2 {
		r, tok, _ := newRing(t, 4)
		m, err := adopt(t, r, tok, material(keyID), knownKey, goldenID)
		if err != nil {
			t.Fatal(err)
		}
		if m.ID != goldenID || m.Storage != keyring.StorageWrapped || m.DKVersion != 1 || m.WrapAlg != keyring.WrapAESKWP || len(m.EKT) != 40 {
			t.Errorf("adopted as %+v", m)
		}
		sessionObjects(t, tok, regionKeys+1)
		// The same bytes are other material under another key id, and are refused when announced as this.
		_, err = adopt(t, r, tok, material("mrk-ffeeddccbbaa99887766554433221100"), knownKey, goldenID)
		if !errors.Is(err, keyring.ErrRefused) {
			t.Errorf("adopted under another key's id: %v", err)
		}
		sessionObjects(t, tok, regionKeys+1)
	}
}

// What is not the announced key's own token is refused, and nothing stays on the token.
func TestKeyTokenRefused(t *testing.T) {
	t.Parallel()
	r, tok, h := newRing(t, 8)
	m, other := generate(t, r, keyID), generate(t, r, "1b2c3d4e-0000-4000-8000-000000000000")
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, alter := range map[string]func(*keyring.Material){
		"another key's token":      func(m *keyring.Material) { m.EKT = other.EKT },
		"another key's id":         func(m *keyring.Material) { m.KeyID = other.KeyID },
		"another material id":      func(m *keyring.Material) { m.ID = other.ID },
		"empty":                    func(m *keyring.Material) { m.EKT = nil },
		"truncated":                func(m *keyring.Material) { m.EKT = m.EKT[:32] },
		"truncated by a byte":      func(m *keyring.Material) { m.EKT = m.EKT[:39] },
		"longer":                   func(m *keyring.Material) { m.EKT = append(bytes.Clone(m.EKT), make([]byte, 8)...) },
		"first bit flipped":        func(m *keyring.Material) { m.EKT = flip(m.EKT, 0) },
		"last bit flipped":         func(m *keyring.Material) { m.EKT = flip(m.EKT, 319) },
		"domain key version":       func(m *keyring.Material) { m.DKVersion = 2 },
		"wrap algorithm":           func(m *keyring.Material) { m.WrapAlg = "AES-KW" },
		"the record key":           func(m *keyring.Material) { m.EKT = h.Tokens[0].RecordKey },
		"the sealing key":          func(m *keyring.Material) { m.EKT = h.Tokens[0].SealingKey },
		"the domain key itself":    func(m *keyring.Material) { m.EKT = h.Tokens[0].DomainKeys[0].Wrapped },
		"an HMAC key's spec":       func(m *keyring.Material) { m.Spec, m.Usage = "HMAC_256", "GENERATE_VERIFY_MAC" },
		"a shorter key's spec":     func(m *keyring.Material) { m.Spec, m.Usage = "HMAC_224", "GENERATE_VERIFY_MAC" },
		"a key pair's spec":        func(m *keyring.Material) { m.Spec, m.Usage = "ECC_NIST_P256", "SIGN_VERIFY" },
		"on the token, not there":  func(m *keyring.Material) { m.Storage = keyring.StorageToken },
		"on the token: it's a KEK": func(m *keyring.Material) { m.Storage, m.Object = keyring.StorageToken, h.Tokens[0].KEK },
	} {
		t.Run(name, func(t *testing.T) {
			r := openRing(t, tok, h, 8)
			altered := m
			alter(&altered)
			w, err := r.Acquire(t.Context(), altered)
			if err == nil {
				w.Release(t.Context())
				t.Error("acquired")
			}
			switch name {
			case "on the token, not there":
				if !errors.Is(err, hsmbackend.ErrObjectNotFound) {
					t.Error(err)
				}
			case "on the token: it's a KEK": // which can't even be identified
				if err == nil {
					t.Error("acquired the KEK")
				}
			default:
				if !errors.Is(err, keyring.ErrRefused) {
					t.Error(err)
				}
			}
			sessionObjects(t, tok, regionKeys)
			scope, err := tok.OpenScope(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Transient(t.Context(), altered, scope); err == nil {
				t.Error("a transient copy was made")
			}
			sessionObjects(t, tok, regionKeys)
			if err := tok.CloseScope(scope); err != nil {
				t.Fatal(err)
			}
			if n := r.WorkingCopies(); n != 0 {
				t.Errorf("%d working copies", n)
			}
			if err := r.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Each fault of Generate, in both forms, leaves at most the one object that the cut call made.
func TestGenerateFaults(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	base := softhsmtest.Open(t)
	h := newHierarchy(t, base)
	for _, apply := range []bool{false, true} {
		for at := 1; ; at++ {
			n, op := -1000, ""
			tok := hsmtest.Faulty(base, func(name string) (bool, error) {
				n++
				if n == at {
					op = name
					return apply, broken
				}
				return false, nil
			})
			r := openRing(t, tok, h, 4)
			before := hsmtest.SessionObjects(t, base)
			n = 0
			m, err := r.Generate(t.Context(), material(keyID))
			if n < at {
				if err != nil || at < 5 {
					t.Errorf("without a fault, after %d calls: %v", n, err)
				}
				if m.ID == "" {
					t.Error("no material id")
				}
				_ = r.Close(t.Context())
				break
			}
			if !errors.Is(err, broken) {
				t.Errorf("call %d (%s): %v", at, op, err)
			}
			left := hsmtest.SessionObjects(t, base) - before - r.WorkingCopies()
			if left > 1 || (left == 1 && op != "Destroy" && !apply) {
				t.Errorf("call %d (%s), apply %t: %d objects are left", at, op, apply, left)
			}
			if err := r.Close(t.Context()); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	}
}

// A working copy can't leave the token, nor do anything but encrypt blocks and derive.
func TestWorkingCopyIsConfined(t *testing.T) {
	t.Parallel()
	for _, storage := range []keyring.Storage{keyring.StorageWrapped, keyring.StorageToken} {
		t.Run(string(storage), func(t *testing.T) {
			t.Parallel()
			r, tok, _ := newRing(t, 4)
			m := material(keyID)
			m.Object = hsmbackend.ID{1, 2, 3}
			make := r.Generate
			if storage == keyring.StorageToken {
				make = r.GenerateOnToken
			}
			m, err := make(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			w := acquire(t, r, m)
			defer w.Release(t.Context())
			kek, err := tok.GenerateKey(t.Context(), hsmbackend.AES256, hsmbackend.Attributes{
				Usage: hsmbackend.UsageWrap | hsmbackend.UsageUnwrap, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP},
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tok.Wrap(t.Context(), kek, w.Ref); !errors.Is(err, hsmbackend.ErrNotExtractable) {
				t.Errorf("wrapped: %v", err)
			}
			if _, err := tok.Wrap(t.Context(), w.Ref, kek); err == nil {
				t.Error("it wraps")
			}
			if _, err := tok.OpenGCM(t.Context(), w.Ref, [12]byte{}, make16(), []byte("a")); err == nil || errors.Is(err, hsmbackend.ErrIntegrity) {
				t.Errorf("it decrypts: %v", err)
			}
			if _, err := tok.MAC(t.Context(), w.Ref, []byte("x")); err == nil {
				t.Error("it signs")
			}
			scope, err := tok.OpenScope(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ref, err := r.Transient(t.Context(), m, scope)
			if storage == keyring.StorageToken {
				if !errors.Is(err, hsmbackend.ErrNotExtractable) {
					t.Errorf("transient copy of material on the token: %v", err)
				}
			} else if _, err := tok.Wrap(t.Context(), kek, ref); err != nil {
				t.Errorf("a transient copy does not wrap: %v", err)
			}
			if err := tok.CloseScope(scope); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func make16() []byte { return make([]byte, 32) }

// Material on the token is made once for one name, found again by another ring, and destroyed once.
func TestStorageToken(t *testing.T) {
	t.Parallel()
	r, tok, h := newRing(t, 4)
	m := material("1b2c3d4e-0000-4000-8000-000000000000")
	m.Object = hsmbackend.ID{9, 9, 9}
	first, err := r.GenerateOnToken(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.GenerateOnToken(t.Context(), m)
	if err != nil || again.ID != first.ID {
		t.Errorf("repeated: %v, %v", again.ID, err)
	}
	if n := tokenCount(t, tok); n != tokenObjects+1 {
		t.Errorf("%d token objects", n)
	}
	if len(first.EKT) != 0 || first.Storage != keyring.StorageToken || first.DKVersion != 0 || first.WrapAlg != "" {
		t.Errorf("%+v", first)
	}
	second := openRing(t, tok, h, 4)
	w := acquire(t, second, first)
	w.Release(t.Context())
	if err := second.Evict(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	if n := tokenCount(t, tok); n != tokenObjects+1 {
		t.Errorf("eviction changed the token: %d objects", n)
	}
	for range 2 {
		if err := second.DestroyOnToken(t.Context(), m.Object); err != nil {
			t.Errorf("destroy: %v", err)
		}
	}
	if n := tokenCount(t, tok); n != tokenObjects {
		t.Errorf("%d token objects", n)
	}
	if _, err := second.Acquire(t.Context(), first); !errors.Is(err, hsmbackend.ErrObjectNotFound) {
		t.Errorf("destroyed material: %v", err)
	}
}

// Seal and Open agree; whatever is altered is refused.
func TestSeal(t *testing.T) {
	t.Parallel()
	r, tok, _ := newRing(t, 1)
	other, _, _ := newRing(t, 1)
	for _, secret := range [][]byte{{}, []byte("x"), bytes.Repeat([]byte("secret "), 100)} {
		sealed, err := r.Seal(t.Context(), []byte("row 1"), secret)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Open(t.Context(), []byte("row 1"), sealed); err != nil || !bytes.Equal(got, secret) {
			t.Errorf("opened %q, %v", got, err)
		}
		refused := func(what string, r *keyring.Ring, aad string, sealed []byte) {
			t.Helper()
			if got, err := r.Open(t.Context(), []byte(aad), sealed); !errors.Is(err, keyring.ErrRefused) || len(got) != 0 {
				t.Errorf("%s: %q, %v", what, got, err)
			}
		}
		refused("another row", r, "row 2", sealed)
		refused("another Region", other, "row 1", sealed)
		refused("truncated", r, "row 1", sealed[:len(sealed)-1])
		refused("empty", r, "row 1", nil)
		refused("only a header", r, "row 1", sealed[:25])
		refused("longer", r, "row 1", append(bytes.Clone(sealed), 0))
		for i := 0; i < len(sealed); i += max(1, len(sealed)/40) {
			refused("a bit flipped", r, "row 1", flip(sealed, 8*i+i%8))
		}
	}
	sessionObjects(t, tok, regionKeys)
	a, errA := r.Seal(t.Context(), []byte("r"), []byte("s"))
	b, errB := r.Seal(t.Context(), []byte("r"), []byte("s"))
	if errA != nil || errB != nil || bytes.Equal(a, b) {
		t.Errorf("sealed twice alike: %v, %v", errA, errB)
	}
}

// A cancelled caller makes nothing, and takes nothing away from others.
func TestCancelled(t *testing.T) {
	t.Parallel()
	r, tok, _ := newRing(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Generate(ctx, material(keyID)); err == nil {
		t.Error("generated")
	}
	sessionObjects(t, tok, regionKeys+r.WorkingCopies())
}
