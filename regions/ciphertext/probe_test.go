package ciphertext

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/softhsm/softhsmtest"
)

// probe is a real token that counts derived keys, and that fails calls on demand.
type probe struct {
	hsmbackend.Token

	mu      sync.Mutex
	live    map[hsmbackend.KeyRef]hsmbackend.Attributes // derived and not destroyed
	all     []hsmbackend.KeyRef                         // every key ever derived
	most    int                                         // largest size of live
	derives int
	seals   map[hsmbackend.KeyRef]int // messages sealed by key
	ivs     [][12]byte                // with which they were sealed
	busy    map[hsmbackend.KeyRef]int // calls that use the key now
	early   int                       // keys that were destroyed while in use
	fault   func(op string) (apply bool, err error)
}

func newProbe(t testing.TB) *probe {
	t.Helper()
	return newProbeOn(softhsmtest.Open(t))
}

func newProbeOn(token hsmbackend.Token) *probe {
	return &probe{
		Token: token, live: map[hsmbackend.KeyRef]hsmbackend.Attributes{}, seals: map[hsmbackend.KeyRef]int{}, busy: map[hsmbackend.KeyRef]int{},
	}
}

// setFault makes calls fail: with apply, the call takes effect first.
func (p *probe) setFault(fault func(op string) (apply bool, err error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// faulty runs call, unless a fault forbids it, and returns the fault's error or call's.
func (p *probe) faulty(op string, call func() error) error {
	p.mu.Lock()
	fault := p.fault
	p.mu.Unlock()
	apply, err := true, error(nil)
	if fault != nil {
		apply, err = fault(op)
	}
	if apply || err == nil {
		if callErr := call(); err == nil {
			err = callErr
		}
	}
	return err
}

func (p *probe) DeriveXAES(ctx context.Context, key hsmbackend.KeyRef, prefix [12]byte, attr hsmbackend.Attributes) (ref hsmbackend.KeyRef, err error) {
	err = p.faulty("derive", func() error {
		ref, err = p.Token.DeriveXAES(ctx, key, prefix, attr)
		if err == nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.derives++
			p.live[ref], p.all = attr, append(p.all, ref)
			p.most = max(p.most, len(p.live))
		}
		return err
	})
	return ref, err
}

func (p *probe) Destroy(ctx context.Context, key hsmbackend.KeyRef) error {
	p.mu.Lock()
	if p.busy[key] > 0 {
		p.early++
	}
	p.mu.Unlock()
	return p.faulty("destroy", func() error {
		if ctx.Err() != nil { // as a token answers that has no session free
			return tokenError(hsmbackend.ErrBusy)
		}
		err := p.Token.Destroy(ctx, key)
		if err == nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.live, key)
		}
		return err
	})
}

func (p *probe) SealGCM(ctx context.Context, key hsmbackend.KeyRef, iv [12]byte, plaintext, aad []byte) (sealed []byte, used [12]byte, err error) {
	defer p.use(key)()
	p.mu.Lock()
	p.seals[key]++
	p.mu.Unlock()
	err = p.faulty("seal", func() error {
		sealed, used, err = p.Token.SealGCM(ctx, key, iv, plaintext, aad)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ivs = append(p.ivs, used)
		return err
	})
	return sealed, used, err
}

func (p *probe) OpenGCM(ctx context.Context, key hsmbackend.KeyRef, iv [12]byte, sealed, aad []byte) (plaintext []byte, err error) {
	defer p.use(key)()
	err = p.faulty("open", func() error {
		plaintext, err = p.Token.OpenGCM(ctx, key, iv, sealed, aad)
		return err
	})
	return plaintext, err
}

// use marks the key as in use until the function that it returns is called.
func (p *probe) use(key hsmbackend.KeyRef) (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy[key]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.busy[key]--
	}
}

// counts returns how many keys have been derived, are there now, and were there at most.
func (p *probe) counts() (derived, live, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.derives, len(p.live), p.most
}

// requireLive fails unless just n derived keys are left, by the count and by asking the token for each there ever was.
func (p *probe) requireLive(t testing.TB, n int) {
	t.Helper()
	p.mu.Lock()
	all, live, early := slices.Clone(p.all), maps.Clone(p.live), p.early
	p.mu.Unlock()
	if early != 0 {
		t.Errorf("%d derived keys were destroyed while in use", early)
	}
	if len(live) != n {
		t.Errorf("%d derived keys are left, want %d", len(live), n)
	}
	for _, ref := range all {
		_, there := live[ref]
		var err error
		if live[ref].Usage == hsmbackend.UsageDecrypt {
			_, err = p.Token.OpenGCM(t.Context(), ref, [12]byte{}, make([]byte, tagLength), []byte("x"))
			if there && errors.Is(err, hsmbackend.ErrIntegrity) {
				err = nil
			}
		} else {
			_, _, err = p.Token.SealGCM(t.Context(), ref, [12]byte{}, nil, []byte("x"))
		}
		if there && err != nil || !there && !errors.Is(err, hsmbackend.ErrObjectNotFound) {
			t.Errorf("derived key %v: there %v, the token answers %v", ref, there, err)
		}
	}
}

// clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_800_000_000, 0)} }

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newSealer(t testing.TB, token Token, now func() time.Time, limits Limits) *Sealer {
	t.Helper()
	s, err := New(token, rand.Reader, now, limits)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newKey makes a key of the attributes that working copies have. The ids are numbered by n.
func newKey(t testing.TB, token hsmbackend.Token, n byte) KeyHandle {
	t.Helper()
	ref, err := token.GenerateKey(t.Context(), hsmbackend.AES256, hsmtest.WorkingCopy(token))
	if err != nil {
		t.Fatal(err)
	}
	return handle(ref, n)
}

func handle(ref hsmbackend.KeyRef, n byte) KeyHandle {
	const hexdigits = "0123456789abcdef"
	tail := string([]byte{hexdigits[n>>4], hexdigits[n&15]})
	return KeyHandle{KeyID: testMRK[:34] + tail, MaterialID: testMaterial[:62] + tail, Ref: ref}
}

func mustSeal(t testing.TB, s *Sealer, key KeyHandle, context map[string]string, plaintext []byte) []byte {
	t.Helper()
	blob, err := s.Seal(t.Context(), key, context, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

func open(t testing.TB, s *Sealer, key KeyHandle, raw []byte, context map[string]string) ([]byte, error) {
	t.Helper()
	b, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	return s.Open(t.Context(), key, b, context)
}
