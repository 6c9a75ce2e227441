package simtest

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rs/zerolog"

	"antipode/hsmbackend/p11"
	"antipode/regions"
	"antipode/regions/store"
)

// Backup saves the Region's store while it runs, as `antipode backup` does, and returns the file.
func (r *Region) Backup(t testing.TB) string {
	t.Helper()
	r.backups++
	path := filepath.Join(r.Dir, "backup-"+strconv.Itoa(r.backups)+".db")
	if err := r.db.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Restore ends the Region as a kill would and starts it again from a backup, as `antipode restore` does; the audit log
// stays. It is recovering then. Faults are off afterwards.
func (r *Region) Restore(t testing.TB, backup string) {
	t.Helper()
	r.StoreFault = nil
	r.Tokens.Fail(nil)
	r.stop(t)
	raw, err := os.ReadFile(filepath.Clean(backup))
	if err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(r.storePath() + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(r.storePath(), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), r.storePath())
	if err != nil {
		t.Fatal(err)
	}
	token, err := p11.Open(t.Context(), r.soft.Config(zerolog.Nop()))
	if err != nil {
		t.Fatal(err)
	}
	err = regions.MarkRestored(t.Context(), r.Name, db, token, r.world.clock.Now().UnixMilli(), false)
	if err := errors.Join(err, token.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	r.open(t)
	if !r.Region.Recovering() {
		t.Fatalf("%s was restored and does not recover", r.Name)
	}
}
