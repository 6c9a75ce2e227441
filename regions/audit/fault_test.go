package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

func isTorn(err error) bool { return errors.Is(err, ErrTorn) }

// wantFailed: a failed log acknowledges nothing.
func wantFailed(t *testing.T, l *Log) {
	t.Helper()
	head := l.Head()
	for name, call := range calls(t, l) {
		if err := call(); !errors.Is(err, ErrFailed) {
			t.Errorf("%s of a failed log answers %v", name, err)
		}
	}
	if l.Err() == nil || !errors.Is(l.Err(), ErrFailed) {
		t.Errorf("the failed log's error is %v", l.Err())
	}
	if l.Head() != head {
		t.Errorf("the failed log went on from %v to %v", head, l.Head())
	}
}

func calls(t *testing.T, l *Log) map[string]func() error {
	ctx := t.Context()
	return map[string]func() error{
		"intent":  func() error { _, err := l.Intent(ctx, sample("A")); return err },
		"data":    func() error { return l.Data(ctx, sample("A")) },
		"service": func() error { return l.Service(ctx, sample("A")) },
	}
}

// TestSyncFails: a sync that fails, whether or not the data reached the disk, fails the log for good.
func TestSyncFails(t *testing.T) {
	t.Parallel()
	for _, applied := range []bool{false, true} {
		for _, op := range []string{"intent", "service"} {
			t.Run(fmt.Sprintf("%s applied %v", op, applied), func(t *testing.T) {
				t.Parallel()
				cfg := config(fastDir(t))
				l := openLog(t, cfg)
				must(t, calls(t, l)[op]())
				if err := l.Err(); err != nil {
					t.Fatal(err)
				}
				good := l.Durable()
				var fail atomic.Bool
				fail.Store(true)
				l.sync = func(f *os.File) error {
					if !fail.Load() {
						return fdatasync(f)
					}
					if applied {
						if err := fdatasync(f); err != nil {
							return err
						}
					}
					return unix.EIO
				}
				if err := calls(t, l)[op](); !errors.Is(err, unix.EIO) || !errors.Is(err, ErrFailed) {
					t.Fatalf("%s answers %v", op, err)
				}
				fail.Store(false) // the next sync would succeed, and must not be believed
				wantFailed(t, l)
				if l.Durable() != good {
					t.Errorf("durable went from %v to %v", good, l.Durable())
				}
				if err := l.Close(); !errors.Is(err, ErrFailed) {
					t.Errorf("close answers %v", err)
				}
				l = openLog(t, cfg)
				must(t, l.Data(t.Context(), sample("A")))
				must(t, l.Close())
				verified(t, cfg.Dir)
			})
		}
	}
}

// TestFlushFails: a sync in the background fails the calls after it.
func TestFlushFails(t *testing.T) {
	t.Parallel()
	cfg := config(fastDir(t))
	cfg.FlushEvery = 1
	l := openLog(t, cfg)
	tried := make(chan struct{}, 10)
	l.mu.Lock()
	l.sync = func(*os.File) error { tried <- struct{}{}; return unix.EIO }
	l.mu.Unlock()
	must(t, l.Data(t.Context(), sample("A")))
	<-tried
	for l.Err() == nil {
		if err := l.Data(t.Context(), sample("A")); err != nil {
			break
		}
	}
	wantFailed(t, l)
}

// TestGroupFails: all who wait for one failed sync are told so.
func TestGroupFails(t *testing.T) {
	t.Parallel()
	l := openLog(t, config(fastDir(t)))
	good := l.Durable()
	l.sync = func(*os.File) error { return unix.EIO }
	var group errgroup.Group
	for range 16 {
		group.Go(func() error {
			if ticket, err := l.Intent(t.Context(), sample("A")); err == nil {
				return fmt.Errorf("intent %d was acknowledged", ticket.Seq())
			}
			return nil
		})
	}
	must(t, group.Wait())
	if l.Durable() != good {
		t.Errorf("durable is %v", l.Durable())
	}
}

// TestGroupCommit: callers that wait together share syncs.
func TestGroupCommit(t *testing.T) {
	t.Parallel()
	l := openLog(t, config(fastDir(t)))
	var syncs atomic.Int64
	gate := make(chan struct{})
	l.sync = func(f *os.File) error {
		syncs.Add(1)
		<-gate
		return fdatasync(f)
	}
	const callers = 32
	var group errgroup.Group
	for range callers {
		group.Go(func() error { return l.Service(t.Context(), sample("A")) })
	}
	for l.Head().Seq < 1+callers { // all have written, at most one syncs
	}
	close(gate)
	must(t, group.Wait())
	if n := syncs.Load(); n > 2 {
		t.Errorf("%d syncs for %d callers", n, callers)
	}
}

// fullChildEnv makes the test binary fill a log until the file-size limit stops it.
const fullChildEnv = "ANTIPODE_AUDIT_FULL_CHILD"

func fullChild(dir string) {
	check := func(ok bool, args ...any) {
		if !ok {
			fmt.Println(args...)
			os.Exit(1)
		}
	}
	signal.Ignore(unix.SIGXFSZ)
	ctx := context.Background()
	l, err := Open(ctx, config(dir))
	check(err == nil, err)
	ticket, err := l.Intent(ctx, sample("First"))
	check(err == nil, err)
	const limit = 20_001 // within a line
	check(unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: unix.RLIM_INFINITY}) == nil, "set limit")
	acknowledged := l.Head()
	for err == nil {
		acknowledged = l.Head()
		err = l.Data(ctx, sample("Encrypt"))
	}
	check(errors.Is(err, unix.EFBIG) && errors.Is(err, ErrFailed), err)
	// Room is no reason to go on: who was told of the failure may have acted on it.
	check(unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}) == nil, "lift limit")
	check(errors.Is(l.Data(ctx, sample("A")), ErrFailed), "data went on")
	check(errors.Is(l.Service(ctx, sample("A")), ErrFailed), "service went on")
	check(errors.Is(l.Outcome(ctx, ticket, sample("A")), ErrFailed), "outcome went on")
	_, err = l.Intent(ctx, sample("A"))
	check(errors.Is(err, ErrFailed), "intent went on")
	check(errors.Is(l.Err(), ErrFailed), "no error")
	fmt.Println(acknowledged)
	os.Exit(0)
}

// TestFull: a write that the kernel stops half-way fails the call and the log; the next Open cuts what it left.
func TestFull(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this test's own binary
	cmd.Env = append(os.Environ(), fullChildEnv+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if head, err := Verify(t.Context(), dir); !isTorn(err) || head.String() != strings.TrimSpace(string(out)) {
		t.Fatalf("the log ends at %v with %v, the child at %s", head, err, out)
	}
	l := openLog(t, config(dir))
	if l.Head().String() != strings.TrimSpace(string(out)) || len(l.OpenIntents()) != 1 {
		t.Errorf("head %v, open intents %v", l.Head(), l.OpenIntents())
	}
	must(t, l.Close())
	verified(t, dir)
}

// TestFullDisk fills a small file system of its own, where the machine allows one to be made.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Logf("no file system of its own (%v); TestFull shows the same with a limit", err)
		return
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	cfg := config(dir)
	cfg.MaxFileBytes = 10_000 // so that files are begun too
	l := openLog(t, cfg)
	acknowledged := l.Head()
	var err error
	for err == nil {
		acknowledged = l.Head()
		err = l.Service(t.Context(), sample("A"))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("a full disk answers %v", err)
	}
	wantFailed(t, l)
	_ = l.Close()
	if head, err := Verify(t.Context(), dir); err != nil && !isTorn(err) || head.Seq < acknowledged.Seq {
		t.Errorf("the log ends at %v with %v, acknowledged was %v", head, err, acknowledged)
	}
}
