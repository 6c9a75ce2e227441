package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/mattn/go-sqlite3"

	"antipode/regions"
)

// TestFullDatabase: a write that the database refuses for want of room spoils its transaction even if the function
// overlooks the error, because SQLite may have rolled back what came before; and the store goes on afterwards.
func TestFullDatabase(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/dev/shm", "antipode-full-*") //nolint:usetesting // t.TempDir is on the disk
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	db, err := Create(t.Context(), filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	on := <-db.writer
	_, err = on.conn.ExecContext(t.Context(), "PRAGMA max_page_count = 100")
	db.writer <- on
	if err != nil {
		t.Fatal(err)
	}
	write := func(id string, size int) error {
		return db.Update(t.Context(), func(tx regions.Tx) error {
			rec := regions.Record{RecordKey: regions.RecordKey{Kind: "k", ID: id + "-small"}}
			if err := tx.Put(t.Context(), rec); err != nil {
				return err
			}
			rec.ID, rec.Body = id+"-large", make([]byte, size)
			_ = tx.Put(t.Context(), rec) // a careless caller
			rec.ID, rec.Body = id+"-after", nil
			_ = tx.Put(t.Context(), rec)
			return nil
		})
	}
	var full sqlite3.Error
	if err := write("a", 1<<20); !errors.As(err, &full) || full.Code != sqlite3.ErrFull {
		t.Fatalf("update of a full database answers %v", err)
	}
	if err := write("b", 10); err != nil {
		t.Fatalf("the next update: %v", err)
	}
	err = db.View(t.Context(), func(r regions.Reader) error {
		recs, err := r.List(t.Context(), regions.Query{Kind: "k"})
		if len(recs) != 3 || recs[0].ID != "b-after" {
			t.Errorf("records: %v", recs)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
