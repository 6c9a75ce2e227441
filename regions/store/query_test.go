package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"antipode/regions"
)

// TestPlans holds each kind of listing to an index, so that none reads the whole table or sorts what is in order
// already. A plan is SQLite's own text.
func TestPlans(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/dev/shm", "antipode-plans-*") //nolint:usetesting // t.TempDir is on the disk
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	db, err := Create(t.Context(), filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	on := <-db.reader
	defer func() { db.reader <- on }()

	after := regions.RecordKey{Kind: "k", Account: "a", ID: "i", Sub: "s"}
	const sorted = "; USE TEMP B-TREE FOR ORDER BY"
	for _, c := range []struct {
		q    regions.Query
		want string
	}{
		{regions.Query{}, "PRIMARY KEY (kind=?)"},
		{regions.Query{After: after}, "PRIMARY KEY (kind=? AND (account,id,sub)>(?,?,?))"},
		{regions.Query{Account: "a"}, "PRIMARY KEY (kind=? AND account=?)"},
		{regions.Query{Account: "a", After: after}, "PRIMARY KEY (kind=? AND account=? AND (id,sub)>(?,?))"},
		{regions.Query{Account: "a", ID: "i"}, "PRIMARY KEY (kind=? AND account=? AND id=?)"},
		{regions.Query{Account: "a", ID: "i", After: after}, "PRIMARY KEY (kind=? AND account=? AND id=? AND sub>?)"},
		{regions.Query{Ref: "r"}, "INDEX records_by_ref (kind=? AND ref=?)"},
		{regions.Query{Ref: "r", After: after}, "INDEX records_by_ref (kind=? AND ref=? AND (account,id,sub)>(?,?,?))"},
		{regions.Query{Ref: "r", Account: "a"}, "INDEX records_by_ref (kind=? AND ref=? AND account=?)"},
		{regions.Query{DueBy: 1}, "INDEX records_by_due (kind=? AND due>? AND due<?)" + sorted},
	} {
		c.q.Kind, c.q.Limit = "k", 10
		l, err := listSQL(c.q)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := on.conn.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+l.text, l.args...)
		if err != nil {
			t.Fatalf("%s: %v", l.text, err)
		}
		var steps []string
		for rows.Next() {
			var (
				id, parent, unused int
				detail             string
			)
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			steps = append(steps, detail)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		got := strings.TrimPrefix(strings.Join(steps, "; "), "SEARCH records USING ")
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", l.text, got, c.want)
		}
	}
}
