package storetest

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"antipode/regions"
)

var errAbort = errors.New("the function does not want it")

func testOwnWrites(t *testing.T, s regions.Store) {
	put(t, s, record("old", "a"), record("gone", "b"))
	err := s.Update(t.Context(), func(tx regions.Tx) error {
		ctx := t.Context()
		err := errors.Join(tx.Put(ctx, record("new", "a")), tx.Delete(ctx, key("b")), tx.Put(ctx, record("c", "c")))
		if err != nil {
			return err
		}
		if r, err := tx.Get(ctx, key("a")); err != nil || string(r.Body) != "new" {
			t.Errorf("get of a replaced record: %q, %v", r.Body, err)
		}
		if _, err := tx.Get(ctx, key("b")); !errors.Is(err, regions.ErrNoRecord) {
			t.Errorf("get of a deleted record: %v", err)
		}
		recs, err := tx.List(ctx, regions.Query{Kind: testKind})
		if err != nil || len(recs) != 2 || string(recs[0].Body) != "new" || string(recs[1].Body) != "c" {
			t.Errorf("list: %s, %v", showAll(recs), err)
		}
		wantRecord(t, s, record("old", "a")) // others do not see it yet
		wantRecord(t, s, record("gone", "b"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantList(t, s, regions.Query{Kind: testKind}, []regions.Record{record("new", "a"), record("c", "c")})
}

// change makes all three kinds of change, for tests that expect none of them to last.
func change(ctx context.Context, tx regions.Tx) error {
	return errors.Join(tx.Put(ctx, record("new", "a")), tx.Delete(ctx, key("b")), tx.Put(ctx, record("c", "c")))
}

func wantUnchanged(t *testing.T, s regions.Store) {
	t.Helper()
	wantList(t, s, regions.Query{Kind: testKind}, []regions.Record{record("old", "a"), record("stays", "b")})
	put(t, s, record("old", "a")) // and the store still works
}

func testErrorRollsBack(t *testing.T, s regions.Store) {
	put(t, s, record("old", "a"), record("stays", "b"))
	err := s.Update(t.Context(), func(tx regions.Tx) error {
		if err := change(t.Context(), tx); err != nil {
			t.Error(err)
		}
		return errAbort
	})
	if !errors.Is(err, errAbort) {
		t.Fatalf("update answers %v, not the function's error", err)
	}
	wantUnchanged(t, s)
	if err := s.View(t.Context(), func(regions.Reader) error { return errAbort }); !errors.Is(err, errAbort) {
		t.Fatalf("view answers %v, not the function's error", err)
	}
}

func testPanicRollsBack(t *testing.T, s regions.Store) {
	put(t, s, record("old", "a"), record("stays", "b"))
	func() {
		defer func() {
			if p := recover(); p != errAbort { //nolint:errorlint // the very value is wanted
				t.Errorf("the panic became %v", p)
			}
		}()
		err := s.Update(t.Context(), func(tx regions.Tx) error {
			if err := change(t.Context(), tx); err != nil {
				t.Error(err)
			}
			panic(errAbort)
		})
		t.Errorf("update answered %v instead of panicking", err)
	}()
	wantUnchanged(t, s)
}

func testGoexitRollsBack(t *testing.T, s regions.Store) {
	put(t, s, record("old", "a"), record("stays", "b"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := s.Update(t.Context(), func(tx regions.Tx) error {
			if err := change(t.Context(), tx); err != nil {
				t.Error(err)
			}
			runtime.Goexit()
			return nil
		})
		t.Errorf("update answered %v after Goexit", err)
	}()
	<-done
	wantUnchanged(t, s)
}

func testCancelRollsBack(t *testing.T, s regions.Store) {
	put(t, s, record("old", "a"), record("stays", "b"))
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Update(ctx, func(tx regions.Tx) error {
		if err := change(ctx, tx); err != nil {
			t.Error(err)
		}
		cancel()
		if _, err := tx.Get(ctx, key("a")); !errors.Is(err, context.Canceled) {
			t.Errorf("get under a context that has ended: %v", err)
		}
		if _, err := tx.List(ctx, regions.Query{Kind: testKind}); !errors.Is(err, context.Canceled) {
			t.Errorf("list under a context that has ended: %v", err)
		}
		if err := tx.Put(ctx, record("d", "d")); !errors.Is(err, context.Canceled) {
			t.Errorf("put under a context that has ended: %v", err)
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("update answers %v", err)
	}
	wantUnchanged(t, s)
}

func testCancelledBefore(t *testing.T, s regions.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // a choice between two ready channels would be random
		err := s.Update(ctx, func(regions.Tx) error { t.Error("update ran"); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("update answers %v", err)
		}
		err = s.View(ctx, func(regions.Reader) error { t.Error("view ran"); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("view answers %v", err)
		}
	}
}

func testCancelWhileWaiting(t *testing.T, s regions.Store) {
	err := s.Update(t.Context(), func(regions.Tx) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		waiting := make(chan error)
		go func() {
			waiting <- s.Update(ctx, func(regions.Tx) error { t.Error("two updates at once"); return nil })
		}()
		if err := <-waiting; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the waiting update answers %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// testConcurrentUpdates: a counter that is read and written by many loses nothing.
func testConcurrentUpdates(t *testing.T, s regions.Store) {
	const workers, rounds = 8, 25
	var group errgroup.Group
	for range workers {
		group.Go(func() error {
			for range rounds {
				if err := s.Update(t.Context(), func(tx regions.Tx) error { return increment(t.Context(), tx, "n") }); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := get(t, s, key("n")); string(n.Body) != strconv.Itoa(workers*rounds) {
		t.Fatalf("the counter is %s after %d increments", n.Body, workers*rounds)
	}
}

func increment(ctx context.Context, tx regions.Tx, id string) error {
	n, err := counter(ctx, tx, id)
	if err != nil {
		return err
	}
	return tx.Put(ctx, record(strconv.Itoa(n+1), id))
}

func counter(ctx context.Context, r regions.Reader, id string) (int, error) {
	rec, err := r.Get(ctx, key(id))
	if errors.Is(err, regions.ErrNoRecord) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(rec.Body))
}
