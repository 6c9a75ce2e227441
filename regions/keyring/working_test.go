package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/regions/keyring"
	"antipode/softhsm/softhsmtest"
)

func works(t testing.TB, tok hsmbackend.Token, w keyring.Working) error {
	t.Helper()
	key, err := tok.DeriveXAES(t.Context(), w.Ref, [12]byte{1}, hsmbackend.Attributes{
		Usage: hsmbackend.UsageEncrypt, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESGCM},
	})
	if err == nil {
		err = tok.Destroy(t.Context(), key)
	}
	return err
}

// The set is bounded by destroying the least recently used copy, and never one in use.
func TestBoundAndOrder(t *testing.T) {
	t.Parallel()
	r, tok, _ := newRing(t, 2)
	var ms []keyring.Material
	for i := range 4 {
		ms = append(ms, generate(t, r, fmt.Sprintf("mrk-%032x", i)))
	}
	sessionObjects(t, tok, regionKeys+2) // of 2 and 3
	two, three := acquire(t, r, ms[2]), acquire(t, r, ms[3])
	zero := acquire(t, r, ms[0]) // one too many while all are in use
	sessionObjects(t, tok, regionKeys+3)
	for _, w := range []keyring.Working{zero, two, three} {
		if err := works(t, tok, w); err != nil {
			t.Errorf("a copy in use: %v", err)
		}
	}
	two.Release(t.Context()) // idle and the least recently used
	sessionObjects(t, tok, regionKeys+2)
	if err := works(t, tok, two); !errors.Is(err, hsmbackend.ErrObjectNotFound) {
		t.Errorf("the copy that was pushed out: %v", err)
	}
	for _, w := range []keyring.Working{zero, three} {
		if err := works(t, tok, w); err != nil {
			t.Errorf("a copy in use: %v", err)
		}
		w.Release(t.Context())
	}
	before := acquire(t, r, ms[3]) // 0 is the least recently used now
	before.Release(t.Context())
	acquire(t, r, ms[1]).Release(t.Context())
	if again := acquire(t, r, ms[3]); again.Ref != before.Ref {
		t.Error("the most recently used copy was pushed out")
	} else {
		again.Release(t.Context())
	}
	sessionObjects(t, tok, regionKeys+2)
}

// Evict waits for the users of a copy, including one that was called lost and left the set before.
func TestEvictWaits(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("lost=%t", lost), func(t *testing.T) {
			t.Parallel()
			r, tok, _ := newRing(t, 4)
			m := generate(t, r, keyID)
			w := acquire(t, r, m)
			if lost {
				w.Lost()
				w.Lost()
			}
			short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := r.Evict(short, m.ID); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("evicted a copy in use: %v", err)
			}
			if err := works(t, tok, w); err != nil {
				t.Errorf("the copy in use: %v", err)
			}
			done := make(chan error, 1)
			go func() { done <- r.Evict(context.WithoutCancel(t.Context()), m.ID) }()
			select {
			case err := <-done:
				t.Fatalf("evicted a copy in use: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			w.Release(t.Context())
			if err := <-done; err != nil {
				t.Error(err)
			}
			sessionObjects(t, tok, regionKeys)
			if err := r.Evict(t.Context(), m.ID); err != nil {
				t.Errorf("evict what is not there: %v", err)
			}
			w = acquire(t, r, m)
			if err := works(t, tok, w); err != nil {
				t.Error(err)
			}
			w.Release(t.Context())
		})
	}
}

// A copy that the token failed to destroy is told, is counted, and the next Evict destroys it.
func TestEvictFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, pushedOut := range []bool{false, true} {
		t.Run(fmt.Sprintf("pushed out=%t", pushedOut), func(t *testing.T) {
			t.Parallel()
			var failing atomic.Bool
			tok := hsmtest.Faulty(softhsmtest.Open(t), func(op string) (bool, error) {
				if op == "Destroy" && failing.Load() {
					return false, broken
				}
				return false, nil
			})
			r := openRing(t, tok, newHierarchy(t, tok), 1)
			other := generate(t, r, "mrk-00000000000000000000000000000000")
			m := generate(t, r, keyID)
			failing.Store(true)
			if pushedOut {
				acquire(t, r, other).Release(t.Context())
			}
			for range 2 {
				if err := r.Evict(t.Context(), m.ID); !errors.Is(err, broken) {
					t.Errorf("evict: %v", err)
				}
			}
			sessionObjects(t, tok, regionKeys+r.WorkingCopies())
			failing.Store(false)
			if err := r.Evict(t.Context(), m.ID); err != nil {
				t.Error(err)
			}
			if err := r.Evict(t.Context(), other.ID); err != nil {
				t.Error(err)
			}
			sessionObjects(t, tok, regionKeys)
		})
	}
}

// A session that is lost in a call to destroy is tried once more.
func TestDestroyAfterSessionLoss(t *testing.T) {
	t.Parallel()
	for _, apply := range []bool{false, true} {
		var lose atomic.Int32
		tok := hsmtest.Faulty(softhsmtest.Open(t), func(op string) (bool, error) {
			if op == "Destroy" && lose.Add(-1) == 0 {
				return apply, hsmbackend.ErrSessionLost
			}
			return false, nil
		})
		r := openRing(t, tok, newHierarchy(t, tok), 1)
		m := generate(t, r, keyID)
		lose.Store(1)
		if err := r.Evict(t.Context(), m.ID); err != nil {
			t.Error(err)
		}
		sessionObjects(t, tok, regionKeys)
	}
}

// A working copy that the token has lost is made again after its user says so.
func TestWorkingCopyLost(t *testing.T) {
	t.Parallel()
	r, tok, _ := newRing(t, 2)
	m := generate(t, r, keyID)
	for range 3 {
		w := acquire(t, r, m)
		tok.lose(t)
		if err := works(t, tok, w); !errors.Is(err, hsmbackend.ErrObjectNotFound) {
			t.Fatalf("the copy was to be lost: %v", err)
		}
		w.Lost()
		again := acquire(t, r, m)
		if err := works(t, tok, again); err != nil {
			t.Error(err)
		}
		w.Release(t.Context())
		if err := works(t, tok, again); err != nil {
			t.Errorf("after the lost copy was released: %v", err)
		}
		again.Release(t.Context())
	}
}

// Many acquire one copy at once: it is unwrapped once. One whose context ends gives up alone.
func TestAcquireTogether(t *testing.T) {
	t.Parallel()
	hold, entered := make(chan struct{}), make(chan struct{}, 100)
	var blocking atomic.Bool
	var unwraps atomic.Int32
	tok := hsmtest.Faulty(softhsmtest.Open(t), func(op string) (bool, error) {
		if op == "Unwrap" && blocking.Load() {
			unwraps.Add(1)
			entered <- struct{}{}
			<-hold
		}
		return false, nil
	})
	r := openRing(t, tok, newHierarchy(t, tok), 4)
	m := generate(t, r, keyID)
	if err := r.Evict(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	blocking.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			w, err := r.Acquire(t.Context(), m)
			if err != nil {
				t.Error(err)
				return
			}
			defer w.Release(t.Context())
			if err := works(t, tok, w); err != nil {
				t.Error(err)
			}
		})
	}
	<-entered
	impatient := make(chan error)
	go func() {
		_, err := r.Acquire(ctx, m)
		impatient <- err
	}()
	cancel()
	if err := <-impatient; !errors.Is(err, hsmbackend.ErrBusy) || !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled caller: %v", err)
	}
	close(hold)
	wg.Wait()
	if n := unwraps.Load(); n != 1 {
		t.Errorf("%d unwraps", n)
	}
	sessionObjects(t, tok, regionKeys+1)
}

// Callers, evictions and losses at once: no copy is used after it was destroyed, and none is left over.
func TestRace(t *testing.T) {
	t.Parallel()
	r, tok, _ := newRing(t, 3)
	var ms []keyring.Material
	for i := range 5 {
		ms = append(ms, generate(t, r, fmt.Sprintf("mrk-%032x", i)))
	}
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			for i := range 40 {
				m := ms[(g*7+i*3)%len(ms)]
				switch (g + i) % 11 {
				case 0:
					if err := r.Evict(t.Context(), m.ID); err != nil {
						t.Error(err)
					}
				default:
					w, err := r.Acquire(t.Context(), m)
					if err != nil {
						t.Error(err)
						return
					}
					if err := works(t, tok, w); err != nil {
						t.Errorf("a copy in use: %v", err)
					}
					if i%13 == 0 {
						w.Lost()
					}
					w.Release(t.Context())
				}
			}
		})
	}
	wg.Wait()
	if n := r.WorkingCopies(); n > 3 {
		t.Errorf("%d working copies", n)
	}
	sessionObjects(t, tok, regionKeys+r.WorkingCopies())
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	sessionObjects(t, tok, 0)
}

// After any sequence of calls the token holds exactly what the ring says.
func TestWorkingModel(t *testing.T) {
	t.Parallel()
	r, tok, _ := newRing(t, 3)
	var ms []keyring.Material
	for i := range 6 {
		ms = append(ms, generate(t, r, fmt.Sprintf("mrk-%032x", i)))
	}
	rapid.Check(t, func(rt *rapid.T) {
		held := map[int][]keyring.Working{}
		defer func() {
			for _, ws := range held {
				for _, w := range ws {
					w.Release(t.Context())
				}
			}
		}()
		inUse := func() (n int) {
			for _, ws := range held {
				if len(ws) > 0 {
					n++
				}
			}
			return n
		}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			i := rapid.IntRange(0, len(ms)-1).Draw(rt, "material")
			switch rapid.SampledFrom([]string{"acquire", "release", "evict", "lost"}).Draw(rt, "step") {
			case "acquire":
				w, err := r.Acquire(t.Context(), ms[i])
				if err != nil {
					rt.Fatal(err)
				}
				held[i] = append(held[i], w)
			case "release":
				if n := len(held[i]); n > 0 {
					held[i][n-1].Release(t.Context())
					held[i] = held[i][:n-1]
				}
			case "evict":
				if len(held[i]) == 0 {
					if err := r.Evict(t.Context(), ms[i].ID); err != nil {
						rt.Fatal(err)
					}
				}
			case "lost":
				if n := len(held[i]); n > 0 {
					held[i][n-1].Lost()
				}
			}
			for i, ws := range held {
				for _, w := range ws {
					if err := works(t, tok, w); err != nil {
						rt.Fatalf("a copy of material %d in use: %v", i, err)
					}
				}
			}
			n := hsmtest.SessionObjects(t, tok) - regionKeys
			if n != r.WorkingCopies() {
				rt.Fatalf("the token holds %d working copies, the ring says %d", n, r.WorkingCopies())
			}
			if n > 3 && inUse() == 0 {
				rt.Fatalf("%d idle working copies, 3 are allowed", n)
			}
		}
	})
}
