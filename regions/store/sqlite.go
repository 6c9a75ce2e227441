package store

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"github.com/mattn/go-sqlite3"
	"github.com/pressly/goose/v3"
)

const (
	// Readers is the number of View functions that run at a time.
	Readers = 4

	// applicationID marks the file as ours; it is the ASCII of "AnKM".
	applicationID = 0x416e4b4d

	beginWriteSQL = "BEGIN IMMEDIATE"

	// busyTimeoutMS is how long a statement waits for another process that holds the database, such as a backup.
	busyTimeoutMS = 5000
)

// Create makes a new SQLite database at path, mode 0600, and opens it. It refuses a path that exists (fs.ErrExist), and
// one beside which files of an earlier database lie, because SQLite would replay them into the new one. The file
// appears complete or not at all; a crash may leave a file path.new-* that nobody reads.
func Create(ctx context.Context, path string) (*DB, error) {
	db, err := create(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("create database: %w", err)
	}
	return db, nil
}

// Open opens the SQLite database at path, and migrates it if its schema is older than the program's. It answers
// fs.ErrNotExist for a missing file, [ErrNotAStore] for another program's, [ErrSchemaNewer], [ErrNotPrivate] and
// [ErrSettings].
func Open(ctx context.Context, path string) (*DB, error) {
	db, err := open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return db, nil
}

func create(ctx context.Context, path string) (*DB, error) {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if _, err := os.Lstat(path + suffix); err == nil {
			return nil, &os.PathError{Op: "create", Path: path + suffix, Err: os.ErrExist}
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return nil, err
	}
	temp := f.Name()
	defer func() { _ = os.Remove(temp) }()
	if err := f.Close(); err != nil {
		return nil, err
	}
	if err := fill(ctx, temp); err != nil {
		return nil, err
	}
	// A link, unlike a rename, never replaces what another process may have made meanwhile.
	if err := os.Link(temp, path); err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return open(ctx, path)
}

// fill makes the schema in an empty file. Closing the only connection moves everything into the file and syncs it.
func fill(ctx context.Context, path string) (err error) {
	db := sql.OpenDB(connector{path: path})
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
		return err
	}
	return migrateSQLite(ctx, db)
}

func migrateSQLite(ctx context.Context, db *sql.DB) error {
	migrations, err := sqliteMigrations()
	if err != nil {
		return err
	}
	return migrate(ctx, db, goose.DialectSQLite3, migrations)
}

func open(ctx context.Context, path string) (_ *DB, err error) {
	if err := checkFile(path); err != nil {
		return nil, err
	}
	db := &DB{
		path:    path,
		writers: sql.OpenDB(connector{path: path}),
		readers: sql.OpenDB(connector{path: path, readOnly: true}),
		writer:  make(chan *connection, 1),
		reader:  make(chan *connection, Readers),
		closing: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	if err := db.connect(ctx, db.writers, db.writer); err != nil {
		return nil, err
	}
	if err := migrateSQLite(ctx, db.writers); err != nil {
		return nil, err
	}
	for range Readers {
		if err := db.connect(ctx, db.readers, db.reader); err != nil {
			return nil, err
		}
	}
	return db, nil
}

// checkFile looks at the file before SQLite does: opening another program's database would change its journal mode.
func checkFile(path string) error {
	f, err := os.Open(path) //nolint:gosec // the path that the caller asked for
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	// SQLite makes its -wal and -shm files with the mode of the database file.
	switch info, err := f.Stat(); {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s is not a regular file", ErrNotAStore, path)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%w: %s has mode %#o", ErrNotPrivate, path, info.Mode().Perm())
	}
	header := make([]byte, 100) // https://www.sqlite.org/fileformat2.html#the_database_header
	if _, err := io.ReadFull(f, header); err != nil {
		return fmt.Errorf("%w: %s: read header: %w", ErrNotAStore, path, err)
	}
	if !bytes.HasPrefix(header, []byte("SQLite format 3\x00")) {
		return fmt.Errorf("%w: %s is not an SQLite database", ErrNotAStore, path)
	}
	if id := binary.BigEndian.Uint32(header[68:]); id != applicationID {
		return fmt.Errorf("%w: %s has application id %#x", ErrNotAStore, path, id)
	}
	return nil
}

// connect adds a connection to pool once it is known to have the settings that it needs.
func (db *DB) connect(ctx context.Context, from *sql.DB, pool chan *connection) error {
	conn, err := from.Conn(ctx)
	if err != nil {
		return err
	}
	on := &connection{conn: conn, prepared: make(map[string]*sql.Stmt)}
	db.all = append(db.all, on)
	pool <- on
	return checkSettings(ctx, conn)
}

func checkSettings(ctx context.Context, conn *sql.Conn) error {
	var journal string
	if err := conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal); err != nil {
		return err
	}
	if journal != "wal" { // a file system without shared memory falls back without an error
		return fmt.Errorf("%w: journal mode is %s, not wal", ErrSettings, journal)
	}
	var synchronous int
	if err := conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil {
		return err
	}
	if synchronous != 2 {
		return fmt.Errorf("%w: synchronous is %d, not 2 (full)", ErrSettings, synchronous)
	}
	return nil
}

// rollback ends the transaction of a connection, unless the database did so by itself after an error.
func rollback(ctx context.Context, on *connection) error {
	ended := false
	err := on.conn.Raw(func(c any) error {
		sc, ok := c.(*sqlite3.SQLiteConn)
		ended = ok && sc.AutoCommit()
		return nil
	})
	if err != nil || ended {
		return err
	}
	return on.exec(ctx, "ROLLBACK")
}

// connector opens connections to one file. It is used in place of a registered driver name, which would be global.
type connector struct {
	path     string
	readOnly bool
}

// Driver implements [driver.Connector].
func (connector) Driver() driver.Driver { return &sqlite3.SQLiteDriver{} }

// Connect implements [driver.Connector].
func (c connector) Connect(context.Context) (driver.Conn, error) {
	abs, err := filepath.Abs(c.path)
	if err != nil {
		return nil, err
	}
	q := url.Values{
		"mode":           {"rw"}, // never makes a file
		"_journal_mode":  {"WAL"},
		"_synchronous":   {"FULL"},
		"_foreign_keys":  {"on"},
		"_secure_delete": {"on"},
		"_busy_timeout":  {fmt.Sprint(busyTimeoutMS)},
	}
	if c.readOnly {
		q.Set("_query_only", "on")
	}
	dsn := (&url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}).String()
	d := &sqlite3.SQLiteDriver{ConnectHook: func(conn *sqlite3.SQLiteConn) error {
		// A database file can hold triggers and views of an attacker's; they may call nothing with side effects. Sizes
		// of cells are checked when a page is read, so that a damaged page is an error early.
		_, err := conn.Exec("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON", nil)
		return err
	}}
	return d.Open(dsn)
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the directory of the path that the caller asked for
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
