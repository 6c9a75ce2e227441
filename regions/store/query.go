package store

import (
	"fmt"
	"strconv"
	"strings"

	"antipode/regions"
)

const (
	columns = "kind, account, id, sub, ref, due, body, mac"

	getSQL = "SELECT " + columns + " FROM records WHERE kind = $1 AND account = $2 AND id = $3 AND sub = $4"

	putSQL = "INSERT INTO records (" + columns + ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)" +
		" ON CONFLICT (kind, account, id, sub)" +
		" DO UPDATE SET ref = excluded.ref, due = excluded.due, body = excluded.body, mac = excluded.mac"

	deleteSQL = "DELETE FROM records WHERE kind = $1 AND account = $2 AND id = $3 AND sub = $4"
)

// bytesOf makes a key part a value that the database takes for a byte string; a nil slice would be NULL.
func bytesOf(s string) []byte { return append([]byte{}, s...) }

// notNull makes nil an empty byte string.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// keyArgs are the parameters of getSQL and deleteSQL.
func keyArgs(key regions.RecordKey) []any {
	return []any{bytesOf(string(key.Kind)), bytesOf(key.Account), bytesOf(key.ID), bytesOf(key.Sub)}
}

// listing is a query in SQL. Its text depends only on which parts of the query are set, so that there are few texts to
// prepare.
type listing struct {
	text string
	args []any
	none bool // nothing can match; text is empty
}

// listSQL translates q. Paging is by comparison of rows with the part of the key that the query leaves open, which the
// index answers by a seek: the cost of a page does not grow with the pages before it.
func listSQL(q regions.Query) (listing, error) {
	if q.Limit < 0 {
		return listing{}, fmt.Errorf("%w: negative limit", ErrBadQuery)
	}
	if q.After != (regions.RecordKey{}) && q.After.Kind != q.Kind {
		return listing{}, fmt.Errorf("%w: After is a record of another kind", ErrBadQuery)
	}
	var (
		sql  strings.Builder
		args []any
	)
	where := func(condition string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(args)), 1)
		}
		sql.WriteString(condition)
	}
	sql.WriteString("SELECT " + columns + " FROM records")
	where(" WHERE kind = ?", bytesOf(string(q.Kind)))
	if q.Ref != "" {
		// The second condition is what allows the partial index to be used.
		where(" AND ref = ? AND length(ref) > 0", bytesOf(q.Ref))
	}
	if q.DueBy != 0 {
		where(" AND due > 0 AND due <= ?", q.DueBy)
	}
	if q.Account != "" {
		where(" AND account = ?", bytesOf(q.Account))
	}
	if q.ID != "" {
		where(" AND id = ?", bytesOf(q.ID))
	}
	if q.After != (regions.RecordKey{}) && !wherePage(q, where) {
		return listing{none: true}, nil
	}
	sql.WriteString(" ORDER BY account, id, sub")
	if q.Limit > 0 {
		where(" LIMIT ?", int64(q.Limit))
	}
	return listing{text: sql.String(), args: args}, nil
}

// wherePage adds the condition (account, id, sub) > After, leaving out the parts that the query fixes. It answers false
// if no record can meet it.
func wherePage(q regions.Query, where func(string, ...any)) bool {
	a := q.After
	if q.Account != "" {
		switch {
		case q.Account < a.Account:
			return false
		case q.Account > a.Account:
			return true // every record of the query comes after a
		}
	}
	if q.ID != "" && q.Account != "" {
		switch {
		case q.ID < a.ID:
			return false
		case q.ID > a.ID:
			return true
		}
		where(" AND sub > ?", bytesOf(a.Sub))
		return true
	}
	if q.Account != "" {
		where(" AND (id, sub) > (?, ?)", bytesOf(a.ID), bytesOf(a.Sub))
		return true
	}
	where(" AND (account, id, sub) > (?, ?, ?)", bytesOf(a.Account), bytesOf(a.ID), bytesOf(a.Sub))
	return true
}
