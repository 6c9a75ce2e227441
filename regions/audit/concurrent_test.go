package audit

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestConcurrent: many callers of every kind, across many files; everything acknowledged is there once, in a chain.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprint("strict ", strict), func(t *testing.T) {
			t.Parallel()
			cfg := config(fastDir(t))
			cfg.Strict, cfg.MaxFileBytes, cfg.FlushEvery = strict, 50_000, time.Millisecond
			l := openLog(t, cfg)
			l.mu.Lock()
			l.sync = func(f *os.File) error { // slow enough that files are exchanged while one is synced
				time.Sleep(100 * time.Microsecond)
				return fdatasync(f)
			}
			l.mu.Unlock()
			const workers, rounds = 16, 40
			var group errgroup.Group
			for w := range workers {
				group.Go(func() error {
					for r := range rounds {
						name := fmt.Sprintf("Op-%d-%d", w, r)
						ticket, err := l.Intent(t.Context(), sample(name))
						if err != nil {
							return err
						}
						if d := l.Durable().Seq; d < ticket.Seq() {
							return fmt.Errorf("intent %d was acknowledged at durable %d", ticket.Seq(), d)
						}
						if err := l.Data(t.Context(), sample(name)); err != nil {
							return err
						}
						if err := l.Outcome(t.Context(), ticket, sample(name)); err != nil {
							return err
						}
						if err := l.Service(t.Context(), sample(name)); err != nil {
							return err
						}
					}
					return nil
				})
			}
			must(t, group.Wait())
			head := l.Head()
			must(t, l.Close())
			seen, ids := map[string]int{}, map[string]int{}
			files := 0
			for _, r := range verified(t, cfg.Dir) {
				if r.Kind == KindFile {
					files++
					continue
				}
				e, err := DecodeEvent(r.Event)
				must(t, err)
				seen[string(r.Kind)+e.EventName]++
				ids[e.EventID]++
			}
			if len(seen) != 4*workers*rounds || len(ids) != 3*workers*rounds || files < 10 {
				t.Errorf("%d events with %d ids in %d files", len(seen), len(ids), files)
			}
			if int(head.Seq) != files+4*workers*rounds {
				t.Errorf("head %v", head)
			}
		})
	}
}

// TestVerifyWhileWriting: a reader beside the writer sees whole records or an incomplete last one, nothing else.
func TestVerifyWhileWriting(t *testing.T) {
	t.Parallel()
	cfg := config(fastDir(t))
	cfg.MaxFileBytes = 1 << 20
	l := openLog(t, cfg)
	done := make(chan struct{})
	var group errgroup.Group
	group.Go(func() error {
		defer close(done)
		for range 3000 {
			if err := l.Data(t.Context(), sample("Encrypt")); err != nil {
				return err
			}
		}
		return nil
	})
	for last, running := uint64(0), true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		head, err := Verify(t.Context(), cfg.Dir)
		if err != nil && !isTorn(err) {
			t.Fatal(err)
		}
		if head.Seq < last {
			t.Fatalf("the log went back from %d to %d", last, head.Seq)
		}
		last = head.Seq
	}
	must(t, group.Wait())
}
