package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"antipode/regions"
)

// DB is an open database; it implements [regions.Store] and is safe for concurrent use. A function given to View or
// Update must not call Update or Close of the same DB: it would wait for itself.
type DB struct {
	writers, readers *sql.DB

	writer  chan *connection // holds the one writing connection while nobody uses it
	reader  chan *connection // holds the idle reading connections
	all     []*connection
	path    string
	closing chan struct{}

	closeOnce sync.Once
	closeErr  error
}

var _ regions.Store = (*DB)(nil)

// View implements [regions.Store]. At most [Readers] functions run at a time; further ones wait for a connection until
// ctx ends.
func (db *DB) View(ctx context.Context, fn func(regions.Reader) error) error {
	return db.run(ctx, db.reader, "BEGIN", func(t *tx) error { return fn(t) })
}

// Update implements [regions.Store]. It runs fn once. ctx counts until the commit begins, which is not interrupted: if
// ctx ends before, nothing is changed.
func (db *DB) Update(ctx context.Context, fn func(regions.Tx) error) error {
	return db.run(ctx, db.writer, beginWriteSQL, func(t *tx) error { return fn(t) })
}

func (db *DB) run(ctx context.Context, pool chan *connection, begin string, fn func(*tx) error) (err error) {
	on, err := db.take(ctx, pool)
	if err != nil {
		return err
	}
	defer func() { pool <- on }()
	// The end of a transaction must run whether or not ctx has ended by then.
	run := context.WithoutCancel(ctx)
	if err := on.exec(run, begin); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	t := &tx{on: on}
	committed := false
	defer func() { // also when fn panics
		t.over = true
		if committed {
			return
		}
		if rerr := rollback(run, on); rerr != nil {
			err = errors.Join(err, fmt.Errorf("roll back: %w", rerr))
		}
	}()
	if err := fn(t); err != nil {
		return err
	}
	if t.broken != nil {
		return t.broken
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := on.exec(run, "COMMIT"); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	committed = true
	return nil
}

// take waits for a connection of pool. A DB that is closed answers ErrClosed even if a connection is idle.
func (db *DB) take(ctx context.Context, pool chan *connection) (*connection, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-db.closing:
		return nil, ErrClosed
	default:
	}
	select {
	case on := <-pool:
		return on, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-db.closing:
		return nil, ErrClosed
	}
}

// Close waits for the functions that run, then closes the database. Later calls of any method answer ErrClosed.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		close(db.closing)
		var errs []error
		for range db.all {
			select {
			case on := <-db.writer:
				errs = append(errs, on.close())
			case on := <-db.reader:
				errs = append(errs, on.close())
			}
		}
		// The writer goes last: the last connection to close moves the log into the database file, and a reading one
		// could not.
		errs = append(errs, db.readers.Close(), db.writers.Close())
		if err := errors.Join(errs...); err != nil {
			db.closeErr = fmt.Errorf("close database: %w", err)
		}
	})
	return db.closeErr
}
