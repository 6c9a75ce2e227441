package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"antipode/regions"
)

// connection is one connection with its prepared statements, by text.
type connection struct {
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
}

func (c *connection) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	if st, ok := c.prepared[text]; ok {
		return st, nil
	}
	st, err := c.conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	c.prepared[text] = st
	return st, nil
}

func (c *connection) exec(ctx context.Context, text string, args ...any) error {
	st, err := c.statement(ctx, text)
	if err != nil {
		return err
	}
	_, err = st.ExecContext(ctx, args...)
	return err
}

func (c *connection) close() error {
	var errs []error
	for _, st := range c.prepared {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, c.conn.Close())...)
}

// tx is a transaction on one connection. It is used by one goroutine, the one that runs the caller's function.
type tx struct {
	on   *connection
	over bool
	// broken is the error of a write that failed. The database may have rolled the transaction back by itself, and what
	// came after would commit on its own: nothing more is run, and the transaction is not committed.
	broken error
}

// usable answers the context for a statement, or why none may be run. Statements are short and are not interrupted:
// the driver would need a goroutine for each, and an interrupted write ends the transaction.
func (t *tx) usable(ctx context.Context) (context.Context, error) {
	switch {
	case t.over:
		return nil, ErrTxOver
	case t.broken != nil:
		return nil, t.broken
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return context.WithoutCancel(ctx), nil
}

// Get implements [regions.Reader].
func (t *tx) Get(ctx context.Context, key regions.RecordKey) (regions.Record, error) {
	ctx, err := t.usable(ctx)
	if err != nil {
		return regions.Record{}, fmt.Errorf("get record: %w", err)
	}
	st, err := t.on.statement(ctx, getSQL)
	if err != nil {
		return regions.Record{}, fmt.Errorf("get record: %w", err)
	}
	rec, err := scan(st.QueryRowContext(ctx, keyArgs(key)...))
	if errors.Is(err, sql.ErrNoRows) {
		return regions.Record{}, regions.ErrNoRecord
	}
	if err != nil {
		return regions.Record{}, fmt.Errorf("get record: %w", err)
	}
	return rec, nil
}

// List implements [regions.Reader].
func (t *tx) List(ctx context.Context, q regions.Query) ([]regions.Record, error) {
	run, err := t.usable(ctx)
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	l, err := listSQL(q)
	if err != nil || l.none {
		return nil, err
	}
	st, err := t.on.statement(run, l.text)
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	rows, err := st.QueryContext(run, l.args...)
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	recs, err := scanAll(ctx, rows)
	if err := errors.Join(err, rows.Close()); err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	return recs, nil
}

// Put implements [regions.Tx].
func (t *tx) Put(ctx context.Context, rec regions.Record) error {
	args := append(keyArgs(rec.RecordKey), bytesOf(rec.Ref), rec.Due, notNull(rec.Body), notNull(rec.MAC))
	return t.write(ctx, "put record", putSQL, args)
}

// Delete implements [regions.Tx].
func (t *tx) Delete(ctx context.Context, key regions.RecordKey) error {
	return t.write(ctx, "delete record", deleteSQL, keyArgs(key))
}

func (t *tx) write(ctx context.Context, action, text string, args []any) error {
	run, err := t.usable(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	if err := t.on.exec(run, text, args...); err != nil {
		t.broken = fmt.Errorf("%s: %w", action, err)
		return t.broken
	}
	return nil
}

func scan(row interface{ Scan(dest ...any) error }) (regions.Record, error) {
	var (
		rec                         regions.Record
		kind, account, id, sub, ref []byte
	)
	if err := row.Scan(&kind, &account, &id, &sub, &ref, &rec.Due, &rec.Body, &rec.MAC); err != nil {
		return regions.Record{}, err
	}
	rec.Kind, rec.Account, rec.ID, rec.Sub = regions.RecordKind(kind), string(account), string(id), string(sub)
	rec.Ref = string(ref)
	return rec, nil
}

func scanAll(ctx context.Context, rows *sql.Rows) ([]regions.Record, error) {
	var recs []regions.Record
	for rows.Next() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rec, err := scan(rows)
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
	}
	return recs, rows.Err()
}
