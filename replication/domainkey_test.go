package replication_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/regionstest"
)

// versionsInUse returns under which versions of the domain key the store's key material is.
func versionsInUse(t testing.TB, f *regionstest.Fixture) (out []uint32) {
	t.Helper()
	err := f.Store.View(t.Context(), func(rd regions.Reader) error {
		all, err := regions.List[regions.MaterialRecord](t.Context(), rd, f.Region.Ring(), regions.Query{Kind: regions.KindMaterial})
		for _, m := range all {
			out = append(out, m.DKVersion)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func newVersion(t testing.TB, f *regionstest.Fixture) uint32 {
	t.Helper()
	v, err := f.Region.NewDomainKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func current(t testing.TB, f *regionstest.Fixture) uint32 {
	t.Helper()
	h, err := f.Region.Hierarchy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h.Current
}

func destroyRefused(t testing.TB, f *regionstest.Fixture, version uint32, want error) {
	t.Helper()
	if err := f.Region.DestroyDomainKey(t.Context(), version); !errors.Is(err, want) {
		t.Errorf("destroy domain key %d: %v, want %v", version, err, want)
	}
}

// The life of a version of the domain key in a Region of two tokens: pending until the second token has it, in use,
// rewrapped, destroyed when neither a key nor a backup needs it, and gone on both tokens.
func TestDomainKeyVersions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f, s := regionstest.Open(t, ohio), newSecond(t)
	add(t, f, s.token)
	key := f.CreateKey(t, true).KeyID
	blob := f.Encrypt(t, key, []byte("one"))

	if v := newVersion(t, f); v != 2 || current(t, f) != 1 {
		t.Fatalf("version %d is made, %d is in use", v, current(t, f))
	}
	if v := newVersion(t, f); v != 2 {
		t.Errorf("version %d is made while 2 is pending", v)
	}
	f.CreateKey(t, false)
	if used := versionsInUse(t, f); !slices.Equal(used, []uint32{1}) {
		t.Errorf("a pending version is used: %v", used)
	}
	f.Reopen(t)
	f.CreateKey(t, false)
	if used := versionsInUse(t, f); !slices.Equal(used, []uint32{1}) {
		t.Errorf("a pending version is used after a restart: %v", used)
	}
	if h := add(t, f, s.token); h.Current != 2 || !h.Tokens[1].Holds(2) {
		t.Fatalf("all tokens have acknowledged, and %d is in use", h.Current)
	}
	clean(t, s.token, 0)
	f.CreateKey(t, false)
	if used := versionsInUse(t, f); !slices.Equal(used, []uint32{1, 2}) {
		t.Errorf("in use: %v", used)
	}

	destroyRefused(t, f, 1, regions.ErrDomainKeyNeeded) // keys are under it
	destroyRefused(t, f, 2, regions.ErrDomainKeyNeeded) // the one in use
	destroyRefused(t, f, 3, regions.ErrNoDomainKey)
	dir := t.TempDir()
	saved, err := f.Region.Backup(ctx, filepath.Join(dir, "saved"), f.Store.Backup)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Region.Rewrap(ctx); err != nil || n != 3 {
		t.Errorf("%d rewrapped, want 3: %v", n, err)
	}
	if used := versionsInUse(t, f); !slices.Equal(used, []uint32{2}) {
		t.Errorf("in use after rewrapping: %v", used)
	}
	opens(t, f, key, blob, "one")
	destroyRefused(t, f, 1, regions.ErrDomainKeyNeeded) // the backup carries it
	if err := f.Region.ForgetBackup(ctx, "nonsense"); !errors.Is(err, regions.ErrNoBackup) {
		t.Errorf("forget a backup that is not there: %v", err)
	}
	if err := f.Region.ForgetBackup(ctx, saved.ID); err != nil {
		t.Fatal(err)
	}
	before := hsmtest.SessionObjects(t, f.Token)
	if err := f.Region.DestroyDomainKey(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if after := hsmtest.SessionObjects(t, f.Token); after != before-1 {
		t.Errorf("%d session objects before, %d after: the loaded key is not gone", before, after)
	}
	destroyRefused(t, f, 1, regions.ErrNoDomainKey)
	opens(t, f, key, blob, "one")
	if v := newVersion(t, f); v != 3 {
		t.Errorf("the next version is %d", v)
	}
	if err := f.Region.DestroyDomainKey(ctx, 3); err != nil { // pending: nothing needs it
		t.Errorf("destroy a pending version: %v", err)
	}
	if v := newVersion(t, f); v != 4 {
		t.Errorf("the number of a destroyed version is used again: %d", v)
	}

	goOnWith(t, f, s) // which holds 2, and not 4
	opens(t, f, key, blob, "one")
	if _, err := f.Region.NewDomainKey(ctx); err == nil {
		t.Error("goes on with a pending version that this token does not hold")
	}
	h, err := f.Region.Hierarchy(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Region.RemoveToken(ctx, h.Tokens[0].Serial); err != nil {
		t.Fatal(err)
	}
	if v := newVersion(t, f); v != 5 || current(t, f) != 5 {
		t.Errorf("version %d, in use %d", v, current(t, f))
	}
}

// A backup that could not be written is on no record; one that was is in its own copy.
func TestBackupRecord(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f := regionstest.Open(t, ohio)
	path := filepath.Join(t.TempDir(), "saved")
	b, err := f.Region.Backup(ctx, path, f.Store.Backup)
	if err != nil || !slices.Equal(b.Versions, []uint32{1}) {
		t.Fatalf("%+v, %v", b, err)
	}
	if _, err := f.Region.Backup(ctx, path, f.Store.Backup); !errors.Is(err, os.ErrExist) {
		t.Errorf("backup over a file that is there: %v", err)
	}
	if all, err := f.Region.Backups(ctx); err != nil || len(all) != 1 || all[0].ID != b.ID {
		t.Errorf("on record: %+v, %v", all, err)
	}
}

// A new version is made, acknowledged, used and rewrapped under while keys are made and used. Nothing is under the old
// version when it is destroyed, and everything decrypts.
func TestDomainKeyWhileServing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f, s := regionstest.Open(t, ohio), newSecond(t)
	add(t, f, s.token)
	stop := make(chan struct{})
	var wait sync.WaitGroup
	var mu sync.Mutex
	blobs := map[string][]byte{}
	for range 3 {
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				out, err := regionstest.Do(ctx, f.Region, f.Admin, "CreateKey", &regions.CreateKeyInput{})
				if err != nil {
					t.Errorf("CreateKey: %v", err)
					return
				}
				id := out.(*regions.CreateKeyOutput).KeyMetadata.KeyID
				sealed, err := regionstest.Do(ctx, f.Region, f.Admin, "Encrypt", &regions.EncryptInput{KeyID: id, Plaintext: []byte(id)})
				if err != nil {
					t.Errorf("Encrypt: %v", err)
					return
				}
				mu.Lock()
				blobs[id] = sealed.(*regions.EncryptOutput).CiphertextBlob
				mu.Unlock()
			}
		})
	}
	for range 4 {
		old := current(t, f)
		newVersion(t, f)
		add(t, f, s.token)
		if _, err := f.Region.Rewrap(ctx); err != nil {
			t.Error(err)
		}
		if err := f.Region.DestroyDomainKey(ctx, old); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wait.Wait()
	if used := versionsInUse(t, f); !slices.Equal(used, []uint32{5}) {
		t.Errorf("in use: %v", used)
	}
	if len(blobs) < 8 {
		t.Errorf("only %d keys were made meanwhile", len(blobs))
	}
	f.Reopen(t)
	for id, blob := range blobs {
		opens(t, f, id, blob, id)
	}
}

// Making, rewrapping and destroying are cut off at each call to the token and each commit, in both forms; everything
// decrypts then and after a restart, and the repetition comes to the same end.
func TestDomainKeyCutOff(t *testing.T) {
	t.Parallel()
	for name, apply := range map[string]bool{"lost": false, "applied": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cut := &fault{}
			f := regionstest.Open(t, ohio, cut.options()...)
			key, other := f.CreateKey(t, true).KeyID, f.CreateKey(t, false).KeyID
			blob, otherBlob := f.Encrypt(t, key, []byte("a")), f.Encrypt(t, other, []byte("b"))
			broken := errors.New("cut off")
			for at := 0; ; at++ {
				old, n, op := current(t, f), 0, ""
				cut.set(func(name string) (bool, error) {
					defer func() { n++ }()
					if n == at {
						op = name
						return apply, broken
					}
					return false, nil
				})
				err := replaceVersion(t.Context(), f.Region, old)
				cut.set(nil)
				if n <= at {
					if err != nil || at < 25 {
						t.Errorf("after %d calls: %v", at, err)
					}
					return
				}
				opens(t, f, key, blob, "a")
				f.Reopen(t)
				// Domain, record and sealing key; of several versions each.
				h, err := f.Region.Hierarchy(t.Context())
				if got := hsmtest.SessionObjects(t, f.Token); err != nil || got != 2+len(h.Versions()) {
					t.Errorf("call %d (%s): %d session objects with versions %v, %v", at, op, got, h.Versions(), err)
				}
				opens(t, f, key, blob, "a")
				if err := replaceVersion(t.Context(), f.Region, old); err != nil {
					t.Errorf("repeated after call %d (%s): %v", at, op, err)
				}
				opens(t, f, other, otherBlob, "b")
				h, err = f.Region.Hierarchy(t.Context())
				if err != nil || !slices.Equal(h.Versions(), versionsInUse(t, f)) || len(h.Versions()) != 1 {
					t.Errorf("call %d (%s): versions %v, in use %v, %v", at, op, h.Versions(), versionsInUse(t, f), err)
				}
			}
		})
	}
}

// replaceVersion puts another version of the domain key in the place of old, as an operator would, who looks first at
// what is done already.
func replaceVersion(ctx context.Context, r *regions.Region, old uint32) error {
	h, err := r.Hierarchy(ctx)
	if err != nil {
		return err
	}
	if h.Current == old {
		if _, err := r.NewDomainKey(ctx); err != nil {
			return err
		}
	}
	if _, err := r.Rewrap(ctx); err != nil {
		return err
	}
	if err := r.DestroyDomainKey(ctx, old); !errors.Is(err, regions.ErrNoDomainKey) {
		return err
	}
	return nil
}
