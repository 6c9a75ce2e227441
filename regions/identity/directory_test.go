package identity_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"antipode/regions/identity"
	"antipode/regions/policy"
)

// rows is a store of identities in memory; before, if set, is called in each look-up after the row was read.
type rows struct {
	mu     sync.Mutex
	keys   map[string]identity.AccessKey
	users  map[string]identity.User // by ARN
	roles  map[string]identity.Role // by ARN
	loads  atomic.Int64
	before func()
	// sessions opens session tokens; nil opens none.
	sessions *identity.SessionKeys
}

func (r *rows) AccessKey(_ context.Context, id string) (identity.AccessKey, identity.User, error) {
	r.loads.Add(1)
	r.mu.Lock()
	k, ok := r.keys[id]
	u := r.users[k.UserARN]
	before := r.before
	r.mu.Unlock()
	if before != nil {
		before()
	}
	if !ok {
		return identity.AccessKey{}, identity.User{}, fmt.Errorf("no row: %w", identity.ErrUnknownKey)
	}
	return k, u, nil
}

func (r *rows) User(_ context.Context, account, name string) (identity.User, error) {
	r.loads.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	u, ok := r.users["arn:aws:iam::"+account+":user/"+name]
	if !ok {
		return u, identity.ErrUnknownKey
	}
	return u, nil
}

func (r *rows) Role(_ context.Context, account, name string) (identity.Role, error) {
	r.loads.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	o, ok := r.roles["arn:aws:iam::"+account+":role/"+name]
	if !ok {
		return o, identity.ErrUnknownKey
	}
	return o, nil
}

func (r *rows) OpenSession(ctx context.Context, token string) (identity.Session, error) {
	if r.sessions == nil {
		return identity.Session{}, identity.ErrToken
	}
	return r.sessions.Open(ctx, token)
}

func (r *rows) put(k identity.AccessKey, u identity.User) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys[k.ID], r.users[u.ARN()] = k, u
}

func newRows() *rows {
	return &rows{keys: map[string]identity.AccessKey{}, users: map[string]identity.User{}, roles: map[string]identity.Role{}}
}

func directory(t *testing.T, source identity.Source, sealer identity.Sealer, size int) *identity.Directory {
	t.Helper()
	d, err := identity.NewDirectory(source, sealer, size)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	sealer, store := ring(t), newRows()
	d := directory(t, store, sealer, 2)
	alice, bob := user(t, account, "alice"), user(t, account, "bob")
	bob.Policies = nil
	a, secret := newKey(t, sealer, alice)
	b, _ := newKey(t, sealer, bob)
	store.put(a, alice)
	store.put(b, bob)
	resolve := func(id string, want error) *identity.Principal {
		t.Helper()
		p, err := d.Resolve(t.Context(), id, "")
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Fatalf("resolve %s: %v, want %v", id, err, want)
		}
		return p
	}
	loads := func(want int64) {
		t.Helper()
		if n := store.loads.Swap(0); n != want {
			t.Fatalf("the store was asked %d times, want %d", n, want)
		}
	}

	p := resolve(a.ID, nil)
	if p.ARN != alice.ARN() || !may(p) || p.AccessKeyID != a.ID || p.Generation != 1 || !bytes.Equal(p.Secret.Reveal(), secret.Reveal()) {
		t.Errorf("%+v", p)
	}
	resolve(a.ID, nil)
	loads(1)
	if may(resolve(b.ID, nil)) {
		t.Error("bob is an administrator")
	}
	loads(1)

	// Unknown ids cost a look-up each time and push nothing out; ids of another form cost nothing.
	for range 3 {
		resolve("AKIA7777777777777777", identity.ErrUnknownKey)
	}
	loads(3)
	for _, id := range []string{"", "AKIDEXAMPLE", "ASIA7777777777777777", a.ID + "A", "akia7777777777777777"} {
		resolve(id, identity.ErrUnknownKey)
	}
	resolve(a.ID, nil)
	resolve(b.ID, nil)
	loads(0)

	// Deactivated: gone once it was forgotten, and not before.
	a.Active = false
	store.put(a, alice)
	resolve(a.ID, nil)
	d.Forget(a.ID)
	resolve(a.ID, identity.ErrUnknownKey)
	resolve(a.ID, identity.ErrUnknownKey)
	resolve(b.ID, nil)
	loads(2)

	// A policy takes effect when the user was forgotten.
	bob.Policies = alice.Policies
	store.put(b, bob)
	if ids := d.ForgetUser(account, "bob"); len(ids) != 1 || ids[0] != b.ID {
		t.Errorf("forgot %q", ids)
	}
	if !may(resolve(b.ID, nil)) {
		t.Error("bob is no administrator")
	}
	loads(1)
	if ids := d.ForgetUser("999988887777", "bob"); len(ids) != 0 {
		t.Errorf("forgot %q of another account", ids)
	}

	// A store that answers with another row, or a sealed secret from another row, is not believed.
	swapped := b
	swapped.SealedSecret = a.SealedSecret
	store.put(swapped, bob)
	d.Forget(b.ID)
	if p, err := d.Resolve(t.Context(), b.ID, ""); err == nil || errors.Is(err, identity.ErrUnknownKey) {
		t.Errorf("swapped secret: %+v, %v", p, err)
	}
	store.keys[b.ID] = a
	resolve(b.ID, identity.ErrInvalid)
}

func TestDirectoryIsBounded(t *testing.T) {
	t.Parallel()
	sealer, store := ring(t), newRows()
	d := directory(t, store, sealer, 4)
	alice := user(t, account, "alice")
	var ids []string
	for range 10 {
		k, _ := newKey(t, sealer, alice)
		store.put(k, alice)
		ids = append(ids, k.ID)
		if _, err := d.Resolve(t.Context(), k.ID, ""); err != nil {
			t.Fatal(err)
		}
	}
	if known := d.ForgetUser(account, "alice"); len(known) != 4 {
		t.Errorf("%d principals kept of %d, want 4", len(known), len(ids))
	}
	if _, err := identity.NewDirectory(store, sealer, 0); err == nil {
		t.Error("a directory of no principals was made")
	}
}

// TestForgetDuringLoad forgets a key between the reading of its row and the end of Resolve, in both ways: what was
// read must not stay.
func TestForgetDuringLoad(t *testing.T) {
	t.Parallel()
	sealer := ring(t)
	alice := user(t, account, "alice")
	for name, forget := range map[string]func(*identity.Directory, string){
		"key":  func(d *identity.Directory, id string) { d.Forget(id) },
		"user": func(d *identity.Directory, _ string) { d.ForgetUser(account, "alice") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newRows()
			d := directory(t, store, sealer, 4)
			k, _ := newKey(t, sealer, alice)
			store.put(k, alice)
			store.before = func() {
				store.before = nil
				k.Active = false
				store.put(k, alice)
				forget(d, k.ID)
			}
			if _, err := d.Resolve(t.Context(), k.ID, ""); err != nil {
				t.Fatalf("the call that had begun: %v", err)
			}
			if p, err := d.Resolve(t.Context(), k.ID, ""); !errors.Is(err, identity.ErrUnknownKey) {
				t.Errorf("the next call: %+v, %v", p, err)
			}
		})
	}
}

// TestDirectoryConcurrently: one goroutine switches a key off and on, others resolve it. Once a switch is done, with
// its Forget, a call that starts sees it.
func TestDirectoryConcurrently(t *testing.T) {
	t.Parallel()
	sealer, store := ring(t), newRows()
	d := directory(t, store, sealer, 4)
	alice := user(t, account, "alice")
	k, _ := newKey(t, sealer, alice)
	store.put(k, alice)
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !done.Load() {
				if _, err := d.Resolve(t.Context(), k.ID, ""); err != nil && !errors.Is(err, identity.ErrUnknownKey) {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 200 {
		k.Active = i%2 == 0
		store.put(k, alice)
		d.Forget(k.ID)
		if _, err := d.Resolve(t.Context(), k.ID, ""); (err == nil) != k.Active {
			t.Errorf("round %d: active %v, but %v", i, k.Active, err)
		}
	}
	done.Store(true)
	wg.Wait()
}

// may reports whether the principal's own policies let him make a key.
func may(p *identity.Principal) bool {
	return policy.DecideIdentity(&policy.Request{
		Principal: policy.Principal{Type: policy.User, ARN: p.ARN, Account: p.Account}, Action: "kms:CreateKey", Resource: "*",
		ResourceAccount: p.Account, Identity: p.Policies, Session: p.SessionPolicies,
	}).Allowed
}
