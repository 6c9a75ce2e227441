package ciphertext

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
)

func tokenError(kind error) error { return &hsmbackend.Error{Op: "test", Kind: kind} }

// failOnce makes the first call of op fail, in the form that apply says.
func (p *probe) failOnce(op string, apply bool, err error) {
	var done atomic.Bool
	p.setFault(func(o string) (bool, error) {
		if o == op && done.CompareAndSwap(false, true) {
			return apply, err
		}
		return true, nil
	})
}

func TestLostDerivedKeyIsDerivedAgain(t *testing.T) {
	t.Parallel()
	p := newProbe(t)
	s := newSealer(t, p, time.Now, Limits{})
	key := newKey(t, p, 1)
	raw := mustSeal(t, s, key, nil, []byte("x"))
	if _, err := open(t, s, key, raw, nil); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	for ref := range p.live { // behind the Sealer's back, as the loss of their session does it
		if err := p.Token.Destroy(t.Context(), ref); err != nil {
			t.Error(err)
		}
	}
	clear(p.live)
	p.mu.Unlock()
	mustSeal(t, s, key, nil, []byte("x"))
	if got, err := open(t, s, key, raw, nil); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	if derived, _, _ := p.counts(); derived != 4 {
		t.Errorf("%d keys derived, want 4", derived)
	}
	p.requireLive(t, 2)
}

func TestWorkingCopyIsGone(t *testing.T) {
	t.Parallel()
	p := newProbe(t)
	s := newSealer(t, p, time.Now, Limits{})
	key := newKey(t, p, 1)
	raw := mustSeal(t, s, key, nil, []byte("x"))
	if err := p.Destroy(t.Context(), key.Ref); err != nil {
		t.Fatal(err)
	}
	mustSeal(t, s, key, nil, nil) // the derived key is still there
	if err := s.Evict(t.Context(), key.MaterialID); err != nil {
		t.Fatal(err)
	}
	p.requireLive(t, 0)
	if _, err := s.Seal(t.Context(), key, nil, nil); !errors.Is(err, hsmbackend.ErrObjectNotFound) {
		t.Errorf("seal: %v", err)
	}
	if _, err := open(t, s, key, raw, nil); !errors.Is(err, hsmbackend.ErrObjectNotFound) || errors.Is(err, ErrInvalid) {
		t.Errorf("open: %v", err)
	}
	p.requireLive(t, 0)
}

// TestFaults makes each call to the token fail once, lost and applied, and checks the answer and what is left.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"derive", "seal", "open", "destroy"} {
		for _, apply := range []bool{false, true} {
			for kind, retried := range map[error]bool{
				hsmbackend.ErrSessionLost: true, hsmbackend.ErrObjectNotFound: op != "derive",
				hsmbackend.ErrBusy: false, hsmbackend.ErrUnavailable: false, hsmbackend.ErrInternal: false,
			} {
				if op == "destroy" && !apply && errors.Is(kind, hsmbackend.ErrObjectNotFound) {
					continue // the token denies an object that is there: nobody could know
				}
				t.Run(fmt.Sprintf("%s/%v/%v", op, apply, kind), func(t *testing.T) {
					t.Parallel()
					testFault(t, op, apply, kind, retried)
				})
			}
		}
	}
}

func testFault(t *testing.T, op string, apply bool, kind error, retried bool) {
	p := newProbe(t)
	s := newSealer(t, p, time.Now, Limits{Messages: 1})
	key := newKey(t, p, 1)
	raw := mustSeal(t, s, key, nil, []byte("x"))
	p.failOnce(op, apply, tokenError(kind))
	var err error
	var blob, plaintext []byte
	if op == "open" {
		plaintext, err = open(t, s, key, raw, nil)
	} else {
		blob, err = s.Seal(t.Context(), key, nil, []byte("y")) // destroys the first derived key, too
	}
	switch {
	case op == "destroy" || retried:
		if err != nil || len(blob)+len(plaintext) == 0 {
			t.Errorf("not retried: %v", err)
		}
	case !errors.Is(err, kind) || errors.Is(err, ErrInvalid) || blob != nil || plaintext != nil:
		t.Errorf("error %v", err)
	}
	if err := s.Evict(t.Context(), key.MaterialID); err != nil {
		t.Errorf("evict: %v", err)
	}
	// What a derivation made whose answer was lost can't be named by anybody; it goes with its session.
	unknown := 0
	if op == "derive" && apply {
		unknown = 1
	}
	p.requireLive(t, unknown)
	if got, err := open(t, s, key, raw, nil); err != nil || string(got) != "x" {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}

// TestCallerLeaves: a call whose context ends in the middle still destroys the key that it derived.
func TestCallerLeaves(t *testing.T) {
	t.Parallel()
	p := newProbe(t)
	s := newSealer(t, p, time.Now, Limits{})
	ctx, cancel := context.WithCancel(t.Context())
	p.setFault(func(op string) (bool, error) {
		if op == "seal" {
			cancel()
			return false, ctx.Err()
		}
		return true, nil
	})
	if _, err := s.Seal(ctx, newKey(t, p, 1), nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("seal: %v", err)
	}
	p.requireLive(t, 0)
}

// TestRetriesOnce: a token that loses every session is not asked for ever.
func TestRetriesOnce(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"derive", "seal"} {
		p := newProbe(t)
		s := newSealer(t, p, time.Now, Limits{})
		key := newKey(t, p, 1)
		calls := 0
		p.setFault(func(o string) (bool, error) {
			if o != op {
				return true, nil
			}
			calls++
			return false, tokenError(hsmbackend.ErrSessionLost)
		})
		if _, err := s.Seal(t.Context(), key, nil, nil); !errors.Is(err, hsmbackend.ErrSessionLost) || calls != 2 {
			t.Errorf("%s: %v after %d calls", op, err, calls)
		}
		p.requireLive(t, 0)
	}
}

// TestFailedDestroyIsRepeated: what the token did not destroy is neither forgotten nor reported as gone.
func TestFailedDestroyIsRepeated(t *testing.T) {
	t.Parallel()
	for _, again := range []string{"sweep", "evict", "close"} {
		p := newProbe(t)
		s := newSealer(t, p, time.Now, Limits{})
		key := newKey(t, p, 1)
		mustSeal(t, s, key, nil, nil)
		try := map[string]func() error{
			"sweep": func() error { return s.Sweep(t.Context()) },
			"evict": func() error { return s.Evict(t.Context(), key.MaterialID) },
			"close": func() error { return s.Close(t.Context()) },
		}[again]
		p.setFault(func(op string) (bool, error) {
			if op == "destroy" {
				return false, tokenError(hsmbackend.ErrUnavailable)
			}
			return true, nil
		})
		if err := s.Evict(t.Context(), key.MaterialID); !errors.Is(err, hsmbackend.ErrUnavailable) {
			t.Errorf("%s: evict: %v", again, err)
		}
		if err := try(); !errors.Is(err, hsmbackend.ErrUnavailable) {
			t.Errorf("%s: %v", again, err)
		}
		p.requireLive(t, 1)
		p.setFault(nil)
		if err := try(); err != nil {
			t.Errorf("%s: %v", again, err)
		}
		p.requireLive(t, 0)
	}
}

func TestEvictTakesOneMaterial(t *testing.T) {
	t.Parallel()
	p := newProbe(t)
	key, other := newKey(t, p, 1), newKey(t, p, 2)
	s := newSealer(t, p, time.Now, Limits{})
	for _, k := range []KeyHandle{key, other} {
		mustSeal(t, s, k, nil, nil)
		for _, raw := range sealedApart(t, p.Token, k, 5) {
			if _, err := open(t, s, k, raw, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.requireLive(t, 12)
	if err := s.Evict(t.Context(), key.MaterialID); err != nil {
		t.Fatal(err)
	}
	p.requireLive(t, 6)
	before, _, _ := p.counts()
	mustSeal(t, s, other, nil, nil)
	if after, _, _ := p.counts(); after != before {
		t.Error("the other material lost its derived key")
	}
	if err := s.Evict(t.Context(), key.MaterialID); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := s.Evict(t.Context(), "x"); err == nil {
		t.Error("a malformed material id is taken")
	}
}

// TestEvictWaits: while a call derives or uses a key, Evict does not return, and leaves nothing of it when it does.
func TestEvictWaits(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"derive", "seal"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			p := newProbe(t)
			s := newSealer(t, p, time.Now, Limits{})
			key := newKey(t, p, 1)
			reached, leave := make(chan struct{}, 2), make(chan struct{})
			p.setFault(func(o string) (bool, error) {
				if o == op {
					reached <- struct{}{}
					<-leave
				}
				return true, nil
			})
			var wg sync.WaitGroup
			seal := func() {
				if _, err := s.Seal(t.Context(), key, nil, nil); err != nil {
					t.Error(err)
				}
			}
			wg.Go(seal)
			<-reached
			short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if err := s.Evict(short, key.MaterialID); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("evict with a deadline: %v", err)
			}
			var evicted atomic.Bool
			wg.Go(func() {
				if err := s.Evict(t.Context(), key.MaterialID); err != nil {
					t.Error(err)
				}
				evicted.Store(true)
				p.requireLive(t, 0)
			})
			for running := false; !running; time.Sleep(time.Millisecond) {
				s.keys.mu.Lock()
				running = len(s.keys.evicted) != 0
				s.keys.mu.Unlock()
			}
			wg.Go(seal) // begins while Evict runs
			<-reached
			if evicted.Load() {
				t.Error("Evict returned while a key was in use")
			}
			close(leave)
			wg.Wait()
			p.requireLive(t, 0)
		})
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	p := newProbe(t)
	s := newSealer(t, p, time.Now, Limits{})
	key := newKey(t, p, 1)
	before := hsmtest.SessionObjects(t, p.Token)
	raw := mustSeal(t, s, key, nil, nil)
	if _, err := open(t, s, key, raw, nil); err != nil {
		t.Fatal(err)
	}
	if n := hsmtest.SessionObjects(t, p.Token); n != before+2 {
		t.Errorf("%d session objects, want %d", n, before+2)
	}
	for range 2 {
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p.requireLive(t, 0)
	if n := hsmtest.SessionObjects(t, p.Token); n != before {
		t.Errorf("%d session objects, want %d", n, before)
	}
	if _, err := s.Seal(t.Context(), key, nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("seal: %v", err)
	}
	if _, err := open(t, s, key, raw, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("open: %v", err)
	}
}

// TestEverythingAtOnce runs all methods against each other with caches that are too small, while calls to the token fail.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	p := newProbe(t)
	c := newClock()
	s := newSealer(t, p, c.time, Limits{Messages: 5, EncryptKeys: 2, DecryptKeys: 3})
	before := hsmtest.SessionObjects(t, p.Token)
	var keys []KeyHandle
	for n := range byte(4) {
		keys = append(keys, newKey(t, p, n))
	}
	var turn atomic.Uint64
	p.setFault(func(op string) (bool, error) {
		if op != "derive" && turn.Add(1)%17 == 0 {
			return op != "destroy", tokenError(hsmbackend.ErrBusy)
		}
		return true, nil
	})
	var wg sync.WaitGroup
	for worker := range uint64(6) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, worker))
			for range 150 {
				key := keys[r.IntN(len(keys))]
				var err error
				switch r.IntN(12) {
				case 0:
					err = s.Evict(t.Context(), key.MaterialID)
				case 1:
					err = s.Sweep(t.Context())
				case 2:
					c.move(MaxAge / 3)
				default:
					var raw, got []byte
					if raw, err = s.Seal(t.Context(), key, nil, []byte("x")); err == nil {
						if got, err = open(t, s, key, raw, nil); err == nil && string(got) != "x" {
							t.Errorf("opened %q", got)
						}
					}
				}
				if err != nil && !errors.Is(err, hsmbackend.ErrBusy) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	p.setFault(nil)
	if err := s.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if _, live, _ := p.counts(); live > 5 {
		t.Errorf("%d derived keys are left, more than the limits allow", live)
	}
	p.requireSeals(t, 5)
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	p.requireLive(t, 0)
	if n := hsmtest.SessionObjects(t, p.Token); n != before+len(keys) {
		t.Errorf("%d session objects, want %d", n, before+len(keys))
	}
}
