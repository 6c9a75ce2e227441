package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

// migrate brings the schema up to what this program knows. A schema that is newer is left as it is and refused, before
// anything is written.
func migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect, migrations fs.FS) error {
	p, err := goose.NewProvider(dialect, db, migrations, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	// The provider is not closed: that would close db.
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if current > target {
		return fmt.Errorf("%w: schema %d, this program knows up to %d", ErrSchemaNewer, current, target)
	}
	if current == target {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate schema from %d to %d: %w", current, target, err)
	}
	return nil
}

//go:embed migrations/sqlite/*.sql
var migrationFiles embed.FS

func sqliteMigrations() (fs.FS, error) { return fs.Sub(migrationFiles, "migrations/sqlite") }
