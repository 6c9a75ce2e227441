package store_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/store"
)

// released are the stores of released versions as SQL, which ci/store-fixture.sh keeps.
func released(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no released stores: %v", err)
	}
	return files
}

// TestMigratesReleased opens the store of each released version: every record of it is there, unaltered, and the schema
// is the one that a new store has.
func TestMigratesReleased(t *testing.T) {
	t.Parallel()
	fresh := filepath.Join(fastDir(t), "store.db")
	must(t, create(t, fresh).Close())
	for _, file := range released(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			dump, err := os.ReadFile(filepath.Clean(file))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(fastDir(t), "store.db")
			must(t, os.WriteFile(path, nil, 0o600))
			execSQL(t, path, string(dump))
			before := records(t, path)
			if len(before) < 5 {
				t.Fatalf("the fixture holds only %d records", len(before))
			}
			db, err := store.Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			must(t, db.View(t.Context(), func(rd regions.Reader) error {
				for _, want := range before {
					got, err := rd.Get(t.Context(), want.RecordKey)
					if err != nil {
						t.Errorf("%s %q: %v", want.Kind, want.ID, err)
					} else if got.Ref != want.Ref || got.Due != want.Due || string(got.Body) != string(want.Body) || string(got.MAC) != string(want.MAC) {
						t.Errorf("%s %q has changed: %+v, was %+v", want.Kind, want.ID, got, want)
					}
				}
				return nil
			}))
			put(t, db, "new", "1")
			wantBody(t, db, "new", "1")
			must(t, db.Close())
			if got, want := schema(t, path), schema(t, fresh); !slices.Equal(got, want) {
				t.Errorf("schema after the migration:\n%s\nof a new store:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// TestReleasesAreKept: the changelog names no released version whose store is not kept.
func TestReleasesAreKept(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("..", "..", "CHANGELOG.md"))
	if err != nil {
		t.Fatal(err)
	}
	have := released(t)
	for _, m := range regexp.MustCompile(`(?m)^## \[?(\d+\.\d+[^\s\]]*)`).FindAllStringSubmatch(string(raw), -1) {
		if !slices.Contains(have, filepath.Join("testdata", m[1]+".sql")) {
			t.Errorf("version %s was released, and its store is not in testdata: ci/store-fixture.sh %s", m[1], m[1])
		}
	}
}

// query gives fn each row of a query on the file itself.
func query(t *testing.T, path, text string, fn func(rows *sql.Rows) error) {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { must(t, db.Close()) }()
	rows, err := db.QueryContext(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { must(t, rows.Close()) }()
	for rows.Next() {
		must(t, fn(rows))
	}
	must(t, rows.Err())
}

func records(t *testing.T, path string) (out []regions.Record) {
	t.Helper()
	query(t, path, "SELECT kind, account, id, sub, ref, due, body, mac FROM records", func(rows *sql.Rows) error {
		var r regions.Record
		err := rows.Scan(&r.Kind, &r.Account, &r.ID, &r.Sub, &r.Ref, &r.Due, &r.Body, &r.MAC)
		out = append(out, r)
		return err
	})
	return out
}

// schema is what the database says of its tables, indexes and plans, and the number of the last migration.
func schema(t *testing.T, path string) (out []string) {
	t.Helper()
	for _, text := range []string{
		"SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master ORDER BY type, name",
		"SELECT tbl || ' ' || idx || ' ' || stat FROM sqlite_stat1 ORDER BY tbl, idx",
		"SELECT 'migration ' || max(version_id) FROM goose_db_version WHERE is_applied",
		"SELECT 'application ' || application_id FROM pragma_application_id",
	} {
		query(t, path, text, func(rows *sql.Rows) error {
			var s string
			err := rows.Scan(&s)
			out = append(out, s)
			return err
		})
	}
	return out
}
