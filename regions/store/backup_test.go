package store_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"antipode/regions"
	"antipode/regions/store"
)

// TestBackupWhileWriting backs a database up while pairs of records are committed together: a copy holds both of a pair
// or neither, with what was acknowledged before it began, and opens as a database.
func TestBackupWhileWriting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db, err := store.Create(t.Context(), filepath.Join(dir, "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	pair := func(ctx context.Context, n uint64) error {
		return db.Update(ctx, func(tx regions.Tx) error {
			for _, id := range []string{"left", "right"} {
				body := binary.BigEndian.AppendUint64(nil, n)
				if err := tx.Put(ctx, regions.Record{RecordKey: regions.RecordKey{Kind: "k", ID: id}, Body: body, MAC: []byte{1}}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	var mu sync.Mutex
	var acknowledged uint64
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() {
		for n := uint64(1); ctx.Err() == nil; n++ {
			if err := pair(context.WithoutCancel(ctx), n); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			acknowledged = n
			mu.Unlock()
		}
	})
	for i := range 5 {
		mu.Lock()
		least := acknowledged
		mu.Unlock()
		path := filepath.Join(dir, "backup", string(rune('a'+i)))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := db.Backup(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if got := readPair(t, path, least); got < least {
			t.Errorf("backup %d holds %d, %d was acknowledged before it began", i, got, least)
		}
		if err := db.Backup(t.Context(), path); !errors.Is(err, fs.ErrExist) {
			t.Errorf("backup over a file: %v", err)
		}
	}
	stop()
	wait.Wait()
	left, err := filepath.Glob(filepath.Join(dir, "backup", ".backup-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func readPair(t *testing.T, path string, least uint64) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	copied, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var n [2]uint64
	err = copied.View(t.Context(), func(rd regions.Reader) error {
		for i, id := range []string{"left", "right"} {
			rec, err := rd.Get(t.Context(), regions.RecordKey{Kind: "k", ID: id})
			if errors.Is(err, regions.ErrNoRecord) && least == 0 {
				continue
			}
			if err != nil {
				return err
			}
			n[i] = binary.BigEndian.Uint64(rec.Body)
		}
		return nil
	})
	if err := errors.Join(err, copied.Close()); err != nil {
		t.Fatal(err)
	}
	if n[0] != n[1] {
		t.Errorf("half a commit: %v", n)
	}
	return n[0]
}
