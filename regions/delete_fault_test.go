package regions_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/keyring"
	"antipode/regions/regionstest"
	"antipode/regions/store/storetest"
)

// A commit or a call of the token that fails, before or after it had its effect: the next round ends it, and so does the
// next start. A Region that was not told of an error never shows the key again.
func TestDeleteFaults(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		op    string
		apply bool
		at    int32 // of the calls of op in the deletion
	}{
		{"commit", "update", false, 1},
		{"commit that got through", "update", true, 1},
		{"note of the object", "update", false, 2},
		{"note of the object that got through", "update", true, 2},
		{"destroying the object", "Destroy", false, 1},
		{"destroying the object that got through", "Destroy", true, 1},
	} {
		for _, restart := range []bool{false, true} {
			var left atomic.Int32
			hook := func(op string) (bool, error) {
				if op == c.op && left.Add(-1) == 0 {
					return c.apply, broken
				}
				return false, nil
			}
			f := regionstest.Open(t, "us-east-2", regionstest.WithStorage(keyring.StorageToken),
				regionstest.WithStore(func(s regions.Store) regions.Store { return storetest.Faulty(s, hook) }),
				regionstest.WithToken(func(tok hsmbackend.Token) hsmbackend.Token { return hsmtest.Faulty(tok, hook) }))
			_, objects := hsmtest.Objects(t, f.Token)
			key := f.CreateKey(t, false)
			f.Encrypt(t, key.KeyID, []byte("x"))
			schedule(t, f, key.KeyID)
			f.Clock.Advance(8 * oneDay)
			left.Store(c.at)
			err := f.Region.DeleteDue(t.Context())
			if hit := left.Load() <= 0; !hit {
				t.Errorf("%s: the fault was not met", c.name)
			}
			if restart {
				f.Reopen(t)
			}
			deleteDue(t, f)
			wantGone(t, f, key)
			if _, n := hsmtest.Objects(t, f.Token); n != objects {
				t.Errorf("%s, restart %t: %d objects are left on the token (%v)", c.name, restart, n-objects, err)
			}
			var done int
			for _, e := range deletions(t, f) {
				if e.Event.ErrorCode == "" {
					done++
				}
			}
			if done == 0 && (err != nil && !restart) {
				t.Errorf("%s, restart %t: no record says that the key was deleted", c.name, restart)
			}
			f.Close(t)
		}
	}
}

// A process that ends between the commit and what comes after it: the next start ends the deletion, and the audit log's
// open intent, as the success that it was.
func TestDeleteCutOff(t *testing.T) {
	t.Parallel()
	// In place of a process that dies, a commit that never returns: the fixture is closed around it.
	reached, never := make(chan struct{}), make(chan struct{})
	var armed atomic.Bool
	f := regionstest.Open(t, "us-east-2", regionstest.WithStorage(keyring.StorageToken),
		regionstest.WithStore(func(s regions.Store) regions.Store { return stuckAfter{s, &armed, reached, never} }))
	_, objects := hsmtest.Objects(t, f.Token)
	key := f.CreateKey(t, false)
	schedule(t, f, key.KeyID)
	f.Clock.Advance(8 * oneDay)
	armed.Store(true)
	region := f.Region
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = region.DeleteDue(t.Context()) // its log and store are closed under it, as its process's would be
	}()
	<-reached
	f.Close(t)
	close(never)
	<-done
	if err := f.TryOpen(t); err != nil {
		t.Fatal(err)
	}
	if _, n := hsmtest.Objects(t, f.Token); n != objects {
		t.Errorf("%d objects are left on the token", n-objects)
	}
	wantGone(t, f, key)
	e := deletions(t, f)
	if len(e) != 1 || e[0].Kind != audit.KindOutcome || e[0].Event.ErrorCode != "" {
		t.Errorf("recorded %+v", e)
	}
}

// stuckAfter is a store whose next update, once armed, commits and does not return before never is closed.
type stuckAfter struct {
	regions.Store
	armed          *atomic.Bool
	reached, never chan struct{}
}

// Update implements [regions.Store].
func (s stuckAfter) Update(ctx context.Context, fn func(regions.Tx) error) error {
	err := s.Store.Update(ctx, fn)
	if s.armed.CompareAndSwap(true, false) {
		close(s.reached)
		<-s.never
	}
	return err
}
