package store_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mattn/go-sqlite3"
	"golang.org/x/sync/errgroup"

	"antipode/regions"
	"antipode/regions/store"
	"antipode/regions/store/storetest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(killChildEnv); path != "" {
		killChild(path) // does not return
	}
	os.Exit(m.Run())
}

// fastDir is a directory in memory, where a sync costs nothing; kill -9 is the same there as on a disk.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "antipode-store-*") //nolint:usetesting // t.TempDir is on the disk
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func create(t testing.TB, path string) *store.DB {
	t.Helper()
	db, err := store.Create(context.WithoutCancel(t.Context()), path)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestSuite(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	var (
		mu sync.Mutex
		n  int
	)
	storetest.Run(t, func(t *testing.T) regions.Store {
		mu.Lock()
		defer mu.Unlock()
		n++
		return create(t, filepath.Join(dir, string(rune('A'+n))))
	})
}

func TestCreateAndOpen(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(fastDir(t), "odd name?mode=ro&x=%41#")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "store?.db")
	if _, err := store.Open(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("open of a missing file: %v", err)
	}
	db := create(t, path)
	put(t, db, "a", "1")
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	if _, err := store.Create(t.Context(), path); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("create over an open database: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Create(t.Context(), path); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("create over a closed database: %v", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	db, err = store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	wantBody(t, db, "a", "1")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCreateRefusesLeftovers(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		path := filepath.Join(fastDir(t), "store.db")
		if err := os.WriteFile(path+suffix, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Create(t.Context(), path); !errors.Is(err, fs.ErrExist) {
			t.Errorf("create beside an old %s: %v", suffix, err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a refused create left a file: %v", err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, path string)
		want  error
	}{
		{"readable by others", func(t *testing.T, path string) { must(t, os.Chmod(path, 0o640)) }, store.ErrNotPrivate},
		{"empty file", func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }, store.ErrNotAStore},
		{"not a database", func(t *testing.T, path string) {
			must(t, os.WriteFile(path, []byte(strings.Repeat("words ", 1000)), 0o600))
		}, store.ErrNotAStore},
		{"another program's database", func(t *testing.T, path string) {
			rewrite(t, path, func(b []byte) { binary.BigEndian.PutUint32(b[68:], 7) })
		}, store.ErrNotAStore},
		{"directory", func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o700)) }, store.ErrNotAStore},
		{"newer schema", func(t *testing.T, path string) {
			execSQL(t, path, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999999, 1)")
		}, store.ErrSchemaNewer},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(fastDir(t), "store.db")
			must(t, create(t, path).Close())
			c.spoil(t, path)
			var before []byte
			if c.name != "directory" {
				before = read(t, path)
			}
			db, err := store.Open(t.Context(), path)
			if !errors.Is(err, c.want) {
				t.Fatalf("open answers %v, %v", db, err)
			}
			if before != nil && string(read(t, path)) != string(before) {
				t.Error("the refused file was changed")
			}
		})
	}
}

// TestOpenMigrates takes the schema back to nothing, as a file of a version before the first migration would be.
func TestOpenMigrates(t *testing.T) {
	t.Parallel()
	path := filepath.Join(fastDir(t), "store.db")
	must(t, create(t, path).Close())
	execSQL(t, path, "DROP TABLE records; DELETE FROM goose_db_version WHERE version_id > 0")
	db, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, db, "a", "1")
	wantBody(t, db, "a", "1")
	must(t, db.Close())
}

// TestDamageIsAnError: a damaged page is an error, never an empty answer.
func TestDamageIsAnError(t *testing.T) {
	t.Parallel()
	path := filepath.Join(fastDir(t), "store.db")
	db := create(t, path)
	for _, id := range strings.Fields("a b c d e f g h i j k l m n o p q r s t") {
		put(t, db, id, strings.Repeat(id, 3000))
	}
	must(t, db.Close())
	rewrite(t, path, func(b []byte) {
		for i := 4096; i < len(b); i++ {
			b[i] = 0xa5
		}
	})
	db, err := store.Open(t.Context(), path)
	if err != nil {
		return
	}
	err = db.View(t.Context(), func(r regions.Reader) error {
		_, err := r.List(t.Context(), regions.Query{Kind: "test"})
		return err
	})
	if err == nil {
		t.Error("the list of a damaged database is no error")
	}
	must(t, db.Close())
}

// TestManyReaders: more functions than connections wait for their turn.
func TestManyReaders(t *testing.T) {
	t.Parallel()
	db := create(t, filepath.Join(fastDir(t), "store.db"))
	t.Cleanup(func() { must(t, db.Close()) })
	put(t, db, "a", "1")
	var group errgroup.Group
	for range 5 * store.Readers {
		group.Go(func() error {
			return db.View(t.Context(), func(r regions.Reader) error {
				_, err := r.Get(t.Context(), regions.RecordKey{Kind: "test", ID: "a"})
				return err
			})
		})
	}
	must(t, group.Wait())
}

func put(t testing.TB, s regions.Store, id, body string) {
	t.Helper()
	must(t, s.Update(t.Context(), func(tx regions.Tx) error {
		return tx.Put(t.Context(), regions.Record{RecordKey: regions.RecordKey{Kind: "test", ID: id}, Body: []byte(body)})
	}))
}

func wantBody(t testing.TB, s regions.Store, id, want string) {
	t.Helper()
	must(t, s.View(t.Context(), func(r regions.Reader) error {
		rec, err := r.Get(t.Context(), regions.RecordKey{Kind: "test", ID: id})
		if err == nil && string(rec.Body) != want {
			t.Errorf("record %s is %q, want %q", id, rec.Body, want)
		}
		return err
	}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}

func rewrite(t testing.TB, path string, change func([]byte)) {
	t.Helper()
	b := read(t, path)
	change(b)
	must(t, os.WriteFile(path, b, 0o600))
}

// execSQL changes a closed database behind the store's back.
func execSQL(t testing.TB, path, text string) {
	t.Helper()
	db := sql.OpenDB(dsn{path})
	_, err := db.ExecContext(t.Context(), text)
	must(t, errors.Join(err, db.Close()))
}

type dsn struct{ path string }

func (d dsn) Connect(context.Context) (driver.Conn, error) { return d.Driver().Open(d.path) }
func (d dsn) Driver() driver.Driver                        { return &sqlite3.SQLiteDriver{} }
