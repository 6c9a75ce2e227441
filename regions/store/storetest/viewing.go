package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"antipode/regions"
)

// testViewIsConsistent: what a view has read does not change under it, though an update is committed meanwhile.
func testViewIsConsistent(t *testing.T, s regions.Store) {
	put(t, s, record("old", "a"))
	err := s.View(t.Context(), func(r regions.Reader) error {
		for round := range 3 {
			got, err := r.Get(t.Context(), key("a"))
			if err != nil || string(got.Body) != "old" {
				t.Errorf("round %d: get answers %q, %v", round, got.Body, err)
			}
			recs, err := r.List(t.Context(), regions.Query{Kind: testKind})
			if err != nil || len(recs) != 1 || string(recs[0].Body) != "old" {
				t.Errorf("round %d: list answers %s, %v", round, showAll(recs), err)
			}
			put(t, s, record(fmt.Sprint("new", round), "a"), record("more", "b"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantList(t, s, regions.Query{Kind: testKind}, []regions.Record{record("new2", "a"), record("more", "b")})
}

// testViewNeverHalf: two counters that every update moves together are never seen apart.
func testViewNeverHalf(t *testing.T, s regions.Store) {
	const rounds = 100
	var group errgroup.Group
	done := make(chan struct{})
	group.Go(func() error {
		defer close(done)
		for range rounds {
			err := s.Update(t.Context(), func(tx regions.Tx) error {
				return errors.Join(increment(t.Context(), tx, "left"), increment(t.Context(), tx, "right"))
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	for range 6 { // more than the connections of some implementations
		group.Go(func() error {
			last := 0
			for {
				select {
				case <-done:
					return nil
				default:
				}
				err := s.View(t.Context(), func(r regions.Reader) error {
					left, err := counter(t.Context(), r, "left")
					if err != nil {
						return err
					}
					right, err := counter(t.Context(), r, "right")
					if err != nil {
						return err
					}
					if left != right || left < last {
						return fmt.Errorf("left %d, right %d, and before that %d", left, right, last)
					}
					last = left
					return nil
				})
				if err != nil {
					return err
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// testViewSeesAcknowledged: a view that starts after an update was acknowledged sees it, on any connection.
func testViewSeesAcknowledged(t *testing.T, s regions.Store) {
	for i := range 50 {
		want := record(fmt.Sprint(i), "a")
		put(t, s, want)
		var group errgroup.Group
		for range 6 {
			group.Go(func() error {
				return s.View(t.Context(), func(r regions.Reader) error {
					got, err := r.Get(t.Context(), key("a"))
					if err == nil && !same(got, want) {
						err = fmt.Errorf("round %d: %s", i, show(got))
					}
					return err
				})
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

func testOver(t *testing.T, s regions.Store) {
	var (
		reader regions.Reader
		tx     regions.Tx
	)
	err := errors.Join(
		s.View(t.Context(), func(r regions.Reader) error { reader = r; return nil }),
		s.Update(t.Context(), func(w regions.Tx) error { tx = w; return w.Put(t.Context(), record("x", "a")) }))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []regions.Reader{reader, tx} {
		if _, err := r.Get(t.Context(), key("a")); err == nil {
			t.Error("get works after the end")
		}
		if _, err := r.List(t.Context(), regions.Query{Kind: testKind}); err == nil {
			t.Error("list works after the end")
		}
	}
	if err := tx.Put(t.Context(), record("y", "a")); err == nil {
		t.Error("put works after the end")
	}
	if err := tx.Delete(t.Context(), key("a")); err == nil {
		t.Error("delete works after the end")
	}
	wantRecord(t, s, record("x", "a"))
}

func testClose(t *testing.T, s regions.Store) {
	put(t, s, record("x", "a"))
	for range 3 {
		if err := s.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	if err := s.Update(t.Context(), func(regions.Tx) error { t.Error("update ran"); return nil }); err == nil {
		t.Error("update works after close")
	}
	if err := s.View(t.Context(), func(regions.Reader) error { t.Error("view ran"); return nil }); err == nil {
		t.Error("view works after close")
	}
}

// testCloseWaits: Close lets an update that has begun finish, and its change counts.
func testCloseWaits(t *testing.T, s regions.Store) {
	begun, finish, closed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var group errgroup.Group
	group.Go(func() error {
		return s.Update(t.Context(), func(tx regions.Tx) error {
			close(begun)
			<-finish
			return tx.Put(t.Context(), record("x", "a"))
		})
	})
	<-begun
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		t.Errorf("close did not wait: %v", err)
		closed <- err
	case <-time.After(20 * time.Millisecond):
	}
	close(finish)
	if err := group.Wait(); err != nil {
		t.Errorf("the update that had begun: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
}

func testFaultyLost(t *testing.T, s regions.Store) {
	put(t, s, record("old", "a"), record("stays", "b"))
	ran := 0
	f := Faulty(s, func(string) (bool, error) { return false, errAbort })
	err := f.Update(t.Context(), func(tx regions.Tx) error { ran++; return change(t.Context(), tx) })
	if !errors.Is(err, errAbort) || ran == 0 {
		t.Fatalf("update answers %v after %d runs", err, ran)
	}
	wantUnchanged(t, s)
	if err := f.View(t.Context(), func(regions.Reader) error { return nil }); !errors.Is(err, errAbort) {
		t.Fatalf("view answers %v", err)
	}
}

func testFaultyApplied(t *testing.T, s regions.Store) {
	var ops []string
	f := Faulty(s, func(op string) (bool, error) {
		ops = append(ops, op)
		if len(ops) == 2 {
			return true, errAbort
		}
		return false, nil
	})
	put(t, f, record("1", "a"))
	err := f.Update(t.Context(), func(tx regions.Tx) error { return tx.Put(t.Context(), record("2", "a")) })
	if !errors.Is(err, errAbort) {
		t.Fatalf("update answers %v", err)
	}
	wantRecord(t, s, record("2", "a"))
	wantRecord(t, f, record("2", "a"))
	if len(ops) != 3 || ops[1] != "update" || ops[2] != "view" {
		t.Fatalf("the hook saw %q", ops)
	}
}
