package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Backup writes a consistent copy of the database to path while it is in use: the state of one moment, all of it. It
// refuses a path that exists (fs.ErrExist). The copy has mode 0600, is on disk when Backup returns, and appears at path
// complete or not at all. Updates go on meanwhile.
func (db *DB) Backup(ctx context.Context, path string) error {
	select {
	case <-db.closing:
		return ErrClosed
	default:
	}
	if err := db.backup(ctx, path); err != nil {
		return fmt.Errorf("back up database: %w", err)
	}
	return nil
}

func (db *DB) backup(ctx context.Context, path string) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return &os.PathError{Op: "create", Path: path, Err: os.ErrExist}
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".backup-*") // mode 0700
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	temp := filepath.Join(dir, "copy")
	// A connection of its own: VACUUM reads one snapshot, and holds up neither readers nor writers.
	own := sql.OpenDB(connector{path: db.path})
	_, err = own.ExecContext(ctx, "VACUUM INTO ?", temp)
	if err = errors.Join(err, own.Close()); err != nil {
		return err
	}
	if err := os.Chmod(temp, 0o600); err != nil {
		return err
	}
	if err := syncFile(temp); err != nil {
		return err
	}
	if err := os.Link(temp, path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return errors.Join(err, os.Remove(path)) // what is reported to have failed is not there
	}
	return nil
}

func syncFile(path string) (err error) {
	f, err := os.OpenFile(filepath.Clean(path), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Sync()
}
