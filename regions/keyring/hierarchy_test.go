package keyring_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/regions/keyring"
	"antipode/softhsm/softhsmtest"
)

// The Region's token objects: KEK, and two key pairs of two objects each.
const tokenObjects = 5

// Create is cut off at each of its calls to the token, in both forms: what was made before is found by the repetition
// with the same plan, nothing is made twice, and no session object is left.
func TestCreateCutOff(t *testing.T) {
	t.Parallel()
	calls := 0
	count := hsmtest.Faulty(softhsmtest.Open(t), func(string) (bool, error) { calls++; return false, nil })
	newHierarchy(t, count)
	calls-- // the plan's random numbers
	if calls < 8 {
		t.Fatalf("Create makes only %d calls", calls)
	}
	broken := errors.New("cut off")
	for _, apply := range []bool{false, true} {
		t.Run(fmt.Sprintf("apply=%t", apply), func(t *testing.T) {
			t.Parallel()
			tok := softhsmtest.Open(t)
			for at := range calls {
				before, session := tokenCount(t, tok), hsmtest.SessionObjects(t, tok)
				plan, err := keyring.Plan(t.Context(), tok)
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				op := ""
				cut := hsmtest.Faulty(tok, func(name string) (bool, error) {
					defer func() { n++ }()
					if n == at {
						op = name
						return apply, broken
					}
					return false, nil
				})
				if _, err := keyring.Create(t.Context(), cut, plan, "us-east-2"); !errors.Is(err, broken) {
					t.Fatalf("call %d (%s): %v", at, op, err)
				}
				h, err := keyring.Create(t.Context(), tok, plan, "us-east-2")
				if err != nil {
					t.Fatalf("repeated after call %d (%s): %v", at, op, err)
				}
				if made := tokenCount(t, tok) - before; made != tokenObjects {
					t.Errorf("cut off at call %d (%s): %d token objects were made, want %d", at, op, made, tokenObjects)
				}
				r := openRing(t, tok, h, 1)
				if k := h.Tokens[0]; k.KEK != plan.KEK || k.RSK != plan.RSK || k.AuditKey != plan.AuditKey {
					t.Errorf("the hierarchy has other names than the plan: %+v", h)
				}
				if err := r.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				// What a cut call made, or was to destroy, dies with its session: one key at most.
				if left := hsmtest.SessionObjects(t, tok) - session; left > 1 || (left == 1 && op != "GenerateKey" && op != "Destroy") {
					t.Errorf("cut off at call %d (%s): %d session objects are left", at, op, left)
				}
			}
		})
	}
}

func tokenCount(t testing.TB, tok hsmbackend.Token) int {
	t.Helper()
	_, n := hsmtest.Objects(t, tok)
	return n
}

// A hierarchy opens again on its token, and MACs are the same; on another token it is refused.
func TestOpen(t *testing.T) {
	t.Parallel()
	r, tok, h := newRing(t, 4)
	mac, err := r.MAC(t.Context(), []byte("record"))
	if err != nil {
		t.Fatal(err)
	}
	sessionObjects(t, tok, regionKeys)
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	sessionObjects(t, tok, 0)
	if _, err := r.MAC(t.Context(), []byte("record")); err == nil {
		t.Error("a closed ring still makes MACs")
	}
	if _, err := r.Acquire(t.Context(), material(keyID)); !errors.Is(err, hsmbackend.ErrUnavailable) {
		t.Errorf("a closed ring acquires: %v", err)
	}
	sessionObjects(t, tok, 0)
	r = openRing(t, tok, h, 4)
	if err := r.VerifyMAC(t.Context(), []byte("record"), mac); err != nil {
		t.Errorf("the MAC of the first opening: %v", err)
	}
	for name, bad := range map[string][]byte{
		"nil": nil, "empty": {}, "truncated": mac[:31], "longer": append(bytes.Clone(mac), 0), "flipped": flip(mac, 8),
	} {
		if err := r.VerifyMAC(t.Context(), []byte("record"), bad); !errors.Is(err, keyring.ErrRefused) {
			t.Errorf("%s MAC: %v", name, err)
		}
	}
	if err := r.VerifyMAC(t.Context(), []byte("recorD"), mac); !errors.Is(err, keyring.ErrRefused) {
		t.Errorf("the MAC of another record: %v", err)
	}
	other := softhsmtest.Open(t)
	if _, err := keyring.Open(t.Context(), other, h, 4); !errors.Is(err, keyring.ErrUnknownToken) {
		t.Errorf("another token opens the hierarchy: %v", err)
	}
	sessionObjects(t, other, 0)
}

func flip(b []byte, bit int) []byte {
	out := bytes.Clone(b)
	out[bit/8] ^= 1 << (bit % 8)
	return out
}

// What the store says of the Region's own keys is altered: Open refuses and leaves nothing on the token. Blobs that are
// swapped open, as key-wrapping has no context, but then the ring is not the one that wrote the store's MACs, or its
// domain key opens none of the Region's key tokens.
func TestOpenAltered(t *testing.T) {
	t.Parallel()
	r, tok, h := newRing(t, 1)
	m := generate(t, r, keyID)
	mac, err := r.MAC(t.Context(), []byte("record"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := newHierarchy(t, tok).Tokens[0]
	dk := func(h *keyring.TokenKeys, wrapped []byte) {
		h.DomainKeys = []keyring.DomainKey{{Version: 1, Wrapped: wrapped}}
	}
	original := h.Tokens[0].DomainKeys[0].Wrapped
	for name, alter := range map[string]func(*keyring.TokenKeys){
		"no domain key":              func(h *keyring.TokenKeys) { h.DomainKeys = nil },
		"domain key flipped":         func(h *keyring.TokenKeys) { dk(h, flip(original, 100)) },
		"domain key truncated":       func(h *keyring.TokenKeys) { dk(h, original[:32]) },
		"domain key empty":           func(h *keyring.TokenKeys) { dk(h, nil) },
		"record key flipped":         func(h *keyring.TokenKeys) { h.RecordKey = flip(h.RecordKey, 0) },
		"sealing key flipped":        func(h *keyring.TokenKeys) { h.SealingKey = flip(h.SealingKey, 319) },
		"another KEK":                func(h *keyring.TokenKeys) { h.KEK = other.KEK },
		"KEK is unknown":             func(h *keyring.TokenKeys) { h.KEK[0] ^= 1 },
		"RSK is unknown":             func(h *keyring.TokenKeys) { h.RSK[0] ^= 1 },
		"audit key is unknown":       func(h *keyring.TokenKeys) { h.AuditKey[0] ^= 1 },
		"RSK is the KEK":             func(h *keyring.TokenKeys) { h.RSK = h.KEK },
		"another Region's domain":    func(h *keyring.TokenKeys) { h.DomainKeys = other.DomainKeys },
		"domain and record swapped":  func(h *keyring.TokenKeys) { w := h.RecordKey; h.RecordKey = original; dk(h, w) },
		"domain and sealing swapped": func(h *keyring.TokenKeys) { w := h.SealingKey; h.SealingKey = original; dk(h, w) },
		"record and sealing swapped": func(h *keyring.TokenKeys) { h.RecordKey, h.SealingKey = h.SealingKey, h.RecordKey },
	} {
		t.Run(name, func(t *testing.T) {
			altered := h.Clone()
			alter(&altered.Tokens[0])
			r, err := keyring.Open(t.Context(), tok, altered, 1)
			if err == nil {
				macErr := r.VerifyMAC(t.Context(), []byte("record"), mac)
				w, ektErr := r.Acquire(t.Context(), m)
				if ektErr == nil {
					w.Release(t.Context())
				}
				if macErr == nil && ektErr == nil {
					t.Error("opened, and nothing shows")
				}
				for _, err := range []error{macErr, ektErr} {
					if err != nil && !errors.Is(err, keyring.ErrRefused) {
						t.Errorf("neither a success nor a refusal: %v", err)
					}
				}
				if err := r.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else if !errors.Is(err, keyring.ErrRefused) && !errors.Is(err, hsmbackend.ErrObjectNotFound) {
				t.Errorf("refused by %v", err)
			}
			sessionObjects(t, tok, 0)
		})
	}
}

// A fault at any call of Open leaves nothing on the token.
func TestOpenFaults(t *testing.T) {
	t.Parallel()
	r, tok, h := newRing(t, 1)
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	for at := 0; ; at++ {
		n, opened := 0, false
		r, err := keyring.Open(t.Context(), hsmtest.Faulty(tok, func(string) (bool, error) {
			n++
			if n == at+1 && !opened {
				return false, broken
			}
			return false, nil
		}), h, 1)
		opened = true
		if err == nil {
			if at < 8 {
				t.Errorf("Open makes only %d calls", at)
			}
			if err := r.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			sessionObjects(t, tok, 0)
			return
		}
		if !errors.Is(err, broken) {
			t.Fatalf("call %d: %v", at, err)
		}
		sessionObjects(t, tok, 0)
	}
}

// The Region's keys come back when their session is lost.
func TestRegionKeysLost(t *testing.T) {
	t.Parallel()
	r, tok, _ := newRing(t, 1)
	m := generate(t, r, keyID)
	mac, err := r.MAC(t.Context(), []byte("record"))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := r.Seal(t.Context(), []byte("row"), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		tok.lose(t)
		if err := r.VerifyMAC(t.Context(), []byte("record"), mac); err != nil {
			t.Errorf("record key: %v", err)
		}
		if got, err := r.Open(t.Context(), []byte("row"), sealed); err != nil || string(got) != "secret" {
			t.Errorf("sealing key: %q, %v", got, err)
		}
		generate(t, r, keyID)
		if err := r.Evict(t.Context(), m.ID); err != nil {
			t.Fatal(err)
		}
		w := acquire(t, r, m)
		w.Release(t.Context())
		sessionObjects(t, tok, regionKeys+r.WorkingCopies())
	}
}
