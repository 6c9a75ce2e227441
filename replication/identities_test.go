package replication_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/identity"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// newUser makes a user with an access key in one Region.
func newUser(t *testing.T, r *simtest.Region, account, name string) identity.Bundle {
	t.Helper()
	now := r.Region.Now().UnixMilli()
	u, err := identity.NewUser(rand.Reader, account, name, now)
	if err != nil {
		t.Fatal(err)
	}
	u = u.WithPolicy("p", []byte(identity.AdministratorPolicy))
	u.Tags = []identity.Tag{{Key: "team", Value: "blue"}}
	k, err := identity.NewAccessKey(rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	b := identity.Bundle{User: &u, Keys: []identity.BundleKey{k}}
	put(t, r, b)
	return b
}

func newRole(t *testing.T, r *simtest.Region, name string) identity.Bundle {
	t.Helper()
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}]}`
	role, err := identity.NewRole(rand.Reader, simtest.Account, name, []byte(trust), r.Region.Now().UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	b := identity.Bundle{Role: &role}
	put(t, r, b)
	return b
}

func put(t *testing.T, r *simtest.Region, b identity.Bundle) {
	t.Helper()
	change := regions.IdentityChange{Event: "Test", By: "test", Base: regions.AnyVersion}
	if applied, err := r.Region.ApplyIdentity(t.Context(), b, change); err != nil || !applied {
		t.Fatalf("%s: %v, %v", b.ARN(), applied, err)
	}
}

// change puts the next state of a user into a Region.
func change(t *testing.T, r *simtest.Region, b identity.Bundle, edit func(*identity.User, *identity.Bundle)) identity.Bundle {
	t.Helper()
	u := *b.User
	b.User = &u
	edit(&u, &b)
	u.Version = identity.NextVersion(u.Version, r.Region.Now().UnixMilli())
	put(t, r, b)
	return b
}

// holds reports whether a Region holds exactly this identity, its secrets included.
func holds(t *testing.T, r *simtest.Region, b identity.Bundle) bool {
	t.Helper()
	held, err := r.Region.Identity(t.Context(), regions.NameOf(b))
	if errors.Is(err, regions.ErrNoRecord) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(held.ARN(), held.Version(), len(held.Keys)) == fmt.Sprint(b.ARN(), b.Version(), len(b.Keys)) &&
		slices.EqualFunc(held.Keys, b.Keys, func(x, y identity.BundleKey) bool {
			return x.ID == y.ID && x.Active == y.Active && x.Secret.Equal(y.Secret)
		})
}

func request(t *testing.T, from, to *simtest.Region) []byte {
	t.Helper()
	q, err := to.Node.RequestIdentities(t.Context(), from.Name)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func export(t *testing.T, from, to *simtest.Region, accounts ...string) []byte {
	t.Helper()
	out, err := from.Node.ExportIdentities(t.Context(), to.Name, request(t, from, to), accounts)
	if err != nil {
		t.Fatal(err)
	}
	return out.File
}

// admin is the administrator of the test's world, who is another user in each Region.
func admin(w *simtest.World) []string { return []string{w.Administrator()} }

func carry(t *testing.T, w *simtest.World, from, to *simtest.Region) regions.Imported {
	t.Helper()
	out, _, err := to.Node.ImportIdentities(t.Context(), export(t, from, to), admin(w), nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestIdentities carries identities from one Region to another, changes them, and carries them again.
func TestIdentities(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	const other = "222233334444"
	put(t, a, identity.Bundle{Account: &identity.Account{ID: other, Name: "Other", Created: 1, Version: 1}})
	alice, bob, carol := newUser(t, a, simtest.Account, "alice"), newUser(t, a, other, "bob"), newUser(t, a, simtest.Account, "carol")
	role := newRole(t, a, "deployer")
	secret := string(alice.Keys[0].Secret.Reveal())

	file := export(t, a, b)
	got, _, err := b.Node.ImportIdentities(ctx, file, admin(w), nil)
	if err != nil || len(got.Applied) != 5 || len(got.Kept) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, x := range []identity.Bundle{alice, bob, carol, role} {
		if !holds(t, b, x) {
			t.Errorf("%s did not arrive as it is", x.ARN())
		}
	}
	p, err := b.Region.Directory().Resolve(ctx, alice.Keys[0].ID, "")
	if err != nil || string(p.Secret.Reveal()) != secret || len(p.Policies) != 1 {
		t.Errorf("the access key in the other Region: %v", err)
	}
	if _, _, err := b.Node.ImportIdentities(ctx, file, admin(w), nil); !errors.Is(err, errNoRequest) {
		t.Errorf("the same file again: %v", err)
	}
	if again := carry(t, w, a, b); len(again.Applied) != 0 || len(again.Same) != 5 {
		t.Errorf("a second export of the same: %+v", again)
	}

	// Disabled, deleted and rotated there is so here, at once for who is cached.
	old := export(t, a, b)
	alice = change(t, a, alice, func(u *identity.User, _ *identity.Bundle) { u.Disabled = true })
	carol = change(t, a, carol, func(u *identity.User, b *identity.Bundle) {
		u.Deleted, u.Policies, u.Tags, b.Keys = true, nil, nil, nil
	})
	fresh, err := identity.NewAccessKey(rand.Reader, 5)
	if err != nil {
		t.Fatal(err)
	}
	bob = change(t, a, bob, func(_ *identity.User, b *identity.Bundle) { b.Keys = []identity.BundleKey{fresh} })
	if again := carry(t, w, a, b); len(again.Applied) != 3 {
		t.Errorf("after changes: %+v", again)
	}
	for _, x := range []identity.Bundle{alice, bob, carol, role} {
		if !holds(t, b, x) {
			t.Errorf("%s did not arrive as it was changed", x.ARN())
		}
	}
	for name, id := range map[string]string{"disabled": alice.Keys[0].ID, "deleted": "AKIAAAAAAAAAAAAAAAA2"} {
		if _, err := b.Region.Directory().Resolve(ctx, id, ""); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("%s: %v", name, err)
		}
	}

	// What is older rolls nothing back. Its request was replaced by the later one, so the test opens it by another way.
	if _, _, err := b.Node.ImportIdentities(ctx, old, admin(w), nil); !errors.Is(err, errNoRequest) {
		t.Errorf("an older export whose request was replaced: %v", err)
	}
	q := request(t, a, b)
	before, err := a.Node.ExportIdentities(ctx, b.Name, q, nil)
	if err != nil {
		t.Fatal(err)
	}
	bob = change(t, b, bob, func(u *identity.User, _ *identity.Bundle) { u.Tags = nil })
	back, _, err := b.Node.ImportIdentities(ctx, before.File, admin(w), nil)
	if err != nil || len(back.Applied) != 0 || !slices.Equal(back.Newer, []string{bob.ARN()}) || !holds(t, b, bob) {
		t.Errorf("older than what is held: %+v, %v", back, err)
	}

	for _, r := range []*simtest.Region{a, b} {
		if extra := r.Extra(); extra != 0 {
			t.Errorf("%s has %d session objects too many", r.Name, extra)
		}
		for _, s := range []string{secret, string(fresh.Secret.Reveal())} {
			if bytes.Contains(r.Logs(), []byte(s)) || bytes.Contains(file, []byte(s)) || inFolder(t, r.Dir, s) {
				t.Errorf("%s: a secret is readable", r.Name)
			}
		}
	}
	if x := a.Events(ctx, "ExportIdentities"); len(x) != 5 || x[0].ErrorCode != "" {
		t.Errorf("%d events of exports", len(x))
	}
	in := b.Events(ctx, "ImportIdentities")
	refused := slices.DeleteFunc(slices.Clone(in), func(e auditEvent) bool { return e.ErrorCode == "" })
	if len(in) != 6 || len(refused) != 2 {
		t.Errorf("%d events of imports, %d refused", len(in), len(refused))
	}
}

// inFolder looks for a text in all files below a folder but the token's own.
func inFolder(t *testing.T, dir, text string) (found bool) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path) //nolint:gosec // the test's own folder
		seen++
		found = found || strings.Contains(string(raw), text)
		return err
	})
	if err != nil || seen < 3 {
		t.Fatalf("%d files, %v", seen, err)
	}
	return found
}

// TestIdentitiesOfManyPages: an export that fills several messages, with a user whose policies fill several parts of one.
func TestIdentitiesOfManyPages(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	long := func(u identity.User, n int) identity.User {
		for i := range n {
			u = u.WithPolicy(fmt.Sprintf("p%02d", i), fmt.Appendf(nil,
				`{"Version":"2012-10-17","Statement":[{"Sid":"s%d","Effect":"Allow","Action":"kms:*","Resource":"arn:aws:kms:us-east-2:111122223333:key/%s"}]}`,
				i, strings.Repeat("a", 5900)))
		}
		return u
	}
	var all []identity.Bundle
	for i, n := range []int{3, 18, 1, 19, 5, 0} {
		u := newUser(t, a, simtest.Account, fmt.Sprintf("user%d", i))
		all = append(all, change(t, a, u, func(u *identity.User, _ *identity.Bundle) { *u = long(*u, n) }))
	}
	file := export(t, a, b)
	pages, err := wire.SplitPages(file)
	if err != nil || len(pages) < 3 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for name, cut := range map[string][][]byte{
		"without the last":  pages[:len(pages)-1],
		"without the first": pages[1:],
		"one twice":         append([][]byte{pages[0]}, pages...),
		"in another order":  append([][]byte{pages[1], pages[0]}, pages[2:]...),
	} {
		if _, _, err := b.Node.ImportIdentities(ctx, wire.JoinPages(cut), admin(w), nil); !errors.Is(err, errIncomplete) {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, _, err := b.Node.ImportIdentities(ctx, file, admin(w), nil)
	if err != nil || len(got.Applied) != len(all) {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, x := range all {
		if !holds(t, b, x) {
			t.Errorf("%s did not arrive", x.ARN())
		}
	}
}

// A failed import is repeated with the same file until all is there; each identity is there wholly or not at all.
func TestIdentitiesCutOff(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	all := []identity.Bundle{newUser(t, a, simtest.Account, "alice"), newUser(t, a, simtest.Account, "bob"), newRole(t, a, "deployer")}
	for _, applies := range []bool{false, true} {
		for i := range all[:2] {
			all[i] = change(t, a, all[i], func(u *identity.User, _ *identity.Bundle) { u.Disabled = !u.Disabled })
		}
		file := export(t, a, b)
		for k := 1; ; k++ {
			updates := 0
			b.StoreFault = func(op string) (bool, error) {
				if op != "Update" {
					return false, nil
				}
				if updates++; updates != k {
					return false, nil
				}
				return applies, errors.New("disk")
			}
			_, _, err := b.Node.ImportIdentities(ctx, file, admin(w), nil)
			b.StoreFault = nil
			if err == nil {
				break
			}
			if k > 10 {
				t.Fatal("it does not end")
			}
		}
		for _, x := range all {
			if !holds(t, b, x) {
				t.Errorf("%s is not there", x.ARN())
			}
		}
	}
	// A process that ends takes the request's key along; a new request goes on where it was.
	file := export(t, a, b)
	b.Restart(t)
	if _, _, err := b.Node.ImportIdentities(ctx, file, admin(w), nil); !errors.Is(err, errNoRequest) {
		t.Errorf("after a restart: %v", err)
	}
	if got := carry(t, w, a, b); len(got.Same) != len(all) {
		t.Errorf("%+v", got)
	}
}
