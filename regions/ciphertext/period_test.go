package ciphertext

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"antipode/hsmbackend"
)

// requireSeals fails unless no derived key has sealed more than limit messages.
func (p *probe) requireSeals(t testing.TB, limit int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for ref, n := range p.seals {
		if n > limit {
			t.Errorf("derived key %v sealed %d messages, more than %d", ref, n, limit)
		}
	}
}

func TestPeriodEndsByMessages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ limit, messages, derived int }{{0, MaxMessages, 1}, {0, 2*MaxMessages + 1, 3}, {16, 100, 7}, {1, 5, 5}} {
		p := newProbe(t)
		s := newSealer(t, p, newClock().time, Limits{Messages: c.limit})
		key := newKey(t, p, 1)
		for range c.messages {
			mustSeal(t, s, key, nil, nil)
		}
		if derived, live, _ := p.counts(); derived != c.derived || live != 1 {
			t.Errorf("%d messages at %d: %d keys derived, %d left", c.messages, c.limit, derived, live)
		}
		p.requireSeals(t, cmp.Or(c.limit, MaxMessages))
		p.requireLive(t, 1)
	}
}

// TestPeriodIsShared lets many callers at one period, and finds it used to the full and no further.
func TestPeriodIsShared(t *testing.T) {
	t.Parallel()
	p := newProbe(t)
	s := newSealer(t, p, newClock().time, Limits{Messages: 16})
	key := newKey(t, p, 1)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 40 {
				raw, err := s.Seal(t.Context(), key, nil, []byte("x"))
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := open(t, s, key, raw, nil); err != nil || string(got) != "x" {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	p.requireSeals(t, 16)
	if derived, live, _ := p.counts(); derived != 2*320/16 || live != 1+320/16 { // one to encrypt and one to decrypt each
		t.Errorf("%d keys derived, %d left", derived, live)
	}
	p.requireLive(t, 1+320/16)
}

func TestPeriodEndsByAge(t *testing.T) {
	t.Parallel()
	p := newProbe(t)
	c := newClock()
	s := newSealer(t, p, c.time, Limits{})
	key := newKey(t, p, 1)
	for _, step := range []struct {
		move    time.Duration
		derived int
	}{{0, 1}, {MaxAge - 1, 1}, {1, 2}, {MaxAge / 2, 2}, {MaxAge / 2, 3}, {-time.Second, 4}, {time.Hour, 5}} {
		c.move(step.move)
		mustSeal(t, s, key, nil, nil)
		if derived, live, _ := p.counts(); derived != step.derived || live != 1 {
			t.Errorf("after %v: %d keys derived, %d left; want %d derived", step.move, derived, live, step.derived)
		}
	}
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.requireLive(t, 1)
	c.move(MaxAge)
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.requireLive(t, 0)
}

// TestDecryptKeysOutliveThePeriod: the period limits encryption only.
func TestDecryptKeysOutliveThePeriod(t *testing.T) {
	t.Parallel()
	p := newProbe(t)
	c := newClock()
	s := newSealer(t, p, c.time, Limits{})
	key := newKey(t, p, 1)
	raw := mustSeal(t, s, key, nil, []byte("x"))
	for range 3 {
		if _, err := open(t, s, key, raw, nil); err != nil {
			t.Fatal(err)
		}
		c.move(time.Hour)
		if err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if derived, live, _ := p.counts(); derived != 2 || live != 1 {
		t.Errorf("%d keys derived, %d left", derived, live)
	}
}

// sealedApart returns n blobs of the key, each under another derived key.
func sealedApart(t testing.TB, token hsmbackend.Token, key KeyHandle, n int) [][]byte {
	t.Helper()
	s := newSealer(t, token, time.Now, Limits{Messages: 1, EncryptKeys: -1})
	var blobs [][]byte
	for range n {
		blobs = append(blobs, mustSeal(t, s, key, nil, []byte("x")))
	}
	return blobs
}

func TestDecryptCacheIsBounded(t *testing.T) {
	t.Parallel()
	p := newProbe(t)
	key := newKey(t, p, 1)
	blobs := sealedApart(t, p.Token, key, 12)
	s := newSealer(t, p, time.Now, Limits{DecryptKeys: 4})
	openAll := func(list [][]byte) {
		for _, raw := range list {
			if _, err := open(t, s, key, raw, nil); err != nil {
				t.Error(err)
			}
		}
	}
	openAll(blobs)
	if derived, live, most := p.counts(); derived != 12 || live != 4 || most > 5 {
		t.Errorf("%d keys derived, %d left, %d at most", derived, live, most)
	}
	p.requireLive(t, 4)
	openAll(blobs[8:])  // all four are there
	openAll(blobs[8:9]) // now 9 is the oldest,
	openAll(blobs[:1])  // which 0 pushes out
	openAll(blobs[10:]) // and the others are still there
	openAll(blobs[8:9])
	if d, _, _ := p.counts(); d != 13 {
		t.Errorf("%d keys derived, want 13", d)
	}
	openAll(blobs[9:10]) // derived again, which pushes out 0
	if d, _, _ := p.counts(); d != 14 {
		t.Errorf("%d keys derived, want 14", d)
	}
	// Forgeries push nothing out and stay nowhere.
	for i := range byte(20) {
		forged := slices.Clone(blobs[0])
		forged[headerLength] ^= i + 1
		requireInvalid(t, "forged prefix", s, key, forged, nil)
	}
	p.requireLive(t, 4)
	openAll(blobs[8:])
	if d, _, _ := p.counts(); d != 34 {
		t.Errorf("%d keys derived, want 34", d)
	}
}

func TestEncryptCacheIsBounded(t *testing.T) {
	t.Parallel()
	p := newProbe(t)
	s := newSealer(t, p, time.Now, Limits{EncryptKeys: 3})
	for n := range byte(10) {
		mustSeal(t, s, newKey(t, p, n), nil, nil)
	}
	if derived, live, most := p.counts(); derived != 10 || live != 3 || most > 4 {
		t.Errorf("%d keys derived, %d left, %d at most", derived, live, most)
	}
	p.requireLive(t, 3)
}

func TestNothingIsKeptOnDemand(t *testing.T) {
	t.Parallel()
	p := newProbe(t)
	s := newSealer(t, p, time.Now, Limits{Messages: 1, EncryptKeys: -1, DecryptKeys: -1})
	key := newKey(t, p, 1)
	for range 3 {
		raw := mustSeal(t, s, key, nil, []byte("x"))
		p.requireLive(t, 0)
		if _, err := open(t, s, key, raw, nil); err != nil {
			t.Error(err)
		}
		p.requireLive(t, 0)
	}
	if derived, _, most := p.counts(); derived != 6 || most != 1 {
		t.Errorf("%d keys derived, %d at most", derived, most)
	}
}

// users waits until n calls hold the derived key.
func (c *keyCache) awaitUsers(t testing.TB, id derivedID, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		c.mu.Lock()
		d := c.keys[id]
		users := 0
		if d != nil {
			users = d.users
		}
		c.mu.Unlock()
		if users == n {
			return
		}
	}
	t.Errorf("there are never %d users", n)
}

func encryptID(t testing.TB, key KeyHandle) derivedID {
	t.Helper()
	h, ok := newHeader(key.KeyID, key.MaterialID)
	if !ok {
		t.Fatal("malformed handle")
	}
	return derivedID{material: h.material(), usage: encrypting}
}

func TestConcurrentCallsShareADerivation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		fault   error // of the leader's derivation
		derived int
		failed  int // calls that fail
	}{
		{"success", nil, 1, 0},
		{"the leader's context ends", context.Canceled, 1, 1},
		{"the leader's deadline passes", context.DeadlineExceeded, 1, 1},
		{"no session for the leader", &hsmbackend.Error{Op: "test", Kind: hsmbackend.ErrBusy}, 1, 1},
		{"the working copy is gone", &hsmbackend.Error{Op: "test", Kind: hsmbackend.ErrObjectNotFound}, 0, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newProbe(t)
			s := newSealer(t, p, time.Now, Limits{})
			key := newKey(t, p, 1)
			var once sync.Once
			p.setFault(func(op string) (apply bool, err error) {
				if op == "derive" {
					once.Do(func() {
						s.keys.awaitUsers(t, encryptID(t, key), 6)
						err = c.fault
					})
				}
				return err == nil, err
			})
			errs := make(chan error, 6)
			var wg sync.WaitGroup
			for range 6 {
				wg.Go(func() {
					_, err := s.Seal(t.Context(), key, nil, nil)
					errs <- err
				})
			}
			wg.Wait()
			close(errs)
			failed := 0
			for err := range errs {
				if err != nil {
					failed++
				}
				if err != nil && !errors.Is(err, c.fault) {
					var e *hsmbackend.Error
					if !errors.As(err, &e) {
						t.Errorf("error %v", err)
					}
				}
			}
			if derived, _, _ := p.counts(); derived != c.derived || failed != c.failed {
				t.Errorf("%d keys derived, %d calls failed; want %d, %d", derived, failed, c.derived, c.failed)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			p.requireLive(t, 0)
		})
	}
}

// TestWaiterLeaves: a call whose context ends while another derives does not wait on.
func TestWaiterLeaves(t *testing.T) {
	t.Parallel()
	p := newProbe(t)
	s := newSealer(t, p, time.Now, Limits{})
	key := newKey(t, p, 1)
	leave := make(chan struct{})
	p.setFault(func(op string) (bool, error) {
		if op == "derive" {
			<-leave
		}
		return true, nil
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := s.Seal(t.Context(), key, nil, nil); err != nil {
			t.Error(err)
		}
	})
	s.keys.awaitUsers(t, encryptID(t, key), 1)
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		if _, err := s.Seal(ctx, key, nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("the waiter got %v", err)
		}
		close(leave)
	})
	s.keys.awaitUsers(t, encryptID(t, key), 2)
	cancel()
	wg.Wait()
	p.requireLive(t, 1)
}
