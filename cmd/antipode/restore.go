package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"antipode/hsmbackend"
	"antipode/hsmbackend/p11"
	"antipode/regions"
	"antipode/regions/store"
	"antipode/softhsm"
)

func restoreCommand() *cobra.Command {
	var path, dev, from, logLevel string
	cmd := &cobra.Command{
		Use: "restore", Args: cobra.NoArgs,
		Short: "Bring a Region's store back from a backup",
		Long: `Puts a backup in the place of the store of a Region that does not run. The store that was there is kept beside it.
The Region then starts in recovery: it encrypts and decrypts with what it has, and takes no part in shared changes of
multi-Region keys until every Region that it trusts has said what it knows and what is missing was fetched, or until
'antipode region recovered --without'. Keys of this Region alone that were made since the backup are lost.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLog(logLevel)
			if err != nil {
				return err
			}
			cfg, err := restoreTarget(path, dev, log)
			if err != nil {
				return err
			}
			if from == "" {
				return errors.New("--from is required: the file that 'antipode backup' made")
			}
			kept, err := restore(cmd.Context(), cfg, from)
			if err != nil {
				return fmt.Errorf("region %s: %w", cfg.name, err)
			}
			lines := []string{"restored " + cfg.name}
			if kept != "" {
				lines = append(lines, "the store that was there is now "+kept)
			}
			return printLines(cmd, lines...)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "configuration file of the Region")
	cmd.Flags().StringVar(&dev, "dev-region", "", "or: the folder of a Region of `antipode dev`, DIR/REGION")
	cmd.Flags().StringVar(&from, "from", "", "the backup (required)")
	cmd.Flags().StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

// restoreTarget says which Region is meant.
func restoreTarget(path, dev string, log zerolog.Logger) (nodeConfig, error) {
	switch {
	case (path == "") == (dev == ""):
		return nodeConfig{}, errors.New("one of --config and --dev-region is required")
	case path != "":
		cfg, err := readConfig(path)
		if err != nil {
			return nodeConfig{}, err
		}
		return cfg.node(log), nil
	}
	dir, err := filepath.Abs(dev)
	if err != nil {
		return nodeConfig{}, err
	}
	return nodeConfig{
		dir: dir, name: filepath.Base(dir), log: log, clock: time.Now,
		token: func(ctx context.Context) (hsmbackend.Token, error) {
			made, err := softhsm.Open(filepath.Join(dir, tokenFolder))
			if err != nil {
				return nil, err
			}
			return p11.Open(ctx, made.Config(log))
		},
	}, nil
}

// A restore is prepared in a file of its own, decided by that file's rename to ".restored-TIME", and carried out by
// moving the old store away and the new one in. Whoever is about to use the store carries out first what was decided, so
// that a Region never runs on a part of the one and a part of the other.
const (
	restoringSuffix = ".restoring"
	restoredSuffix  = ".restored-"
	replacedSuffix  = ".replaced-"
)

// storeSuffixes are what the files of a store end in. The write-ahead log belongs to the database: it goes first, so that
// it is never found beside another.
func storeSuffixes() []string { return []string{"-wal", "-shm", "-journal", ""} }

// restore checks a backup, marks it, and puts it in the store's place. It may be repeated if it is cut off. It returns
// where the store that was there is now, "" if there was none.
func restore(ctx context.Context, cfg nodeConfig, from string) (kept string, err error) {
	lock, err := lockFolder(cfg.dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	path := filepath.Join(cfg.dir, storeFile)
	if err := finishRestore(path); err != nil {
		return "", fmt.Errorf("finish the restore before: %w", err)
	}
	temp := path + restoringSuffix
	if err := durably("restore: remove an unfinished copy", func() error { return removeStore(temp) }); err != nil {
		return "", err
	}
	if err := durably("restore: copy the backup", func() error { return copyFile(from, temp) }); err != nil {
		return "", err
	}
	if err := markRestored(ctx, cfg, temp); err != nil {
		return "", errors.Join(err, durably("restore: remove a refused copy", func() error { return removeStore(temp) }))
	}
	stamp := time.Now().UTC().Format("20060102T150405.000000000Z")
	if _, err := os.Stat(path); err == nil {
		// Closing it moves its write-ahead log into the file, so that what is kept is one file. A store too damaged to be
		// opened is kept as it is.
		if old, err := store.Open(ctx, path); err == nil {
			if err := durably("restore: close the store that is there", old.Close); err != nil {
				return "", fmt.Errorf("close the store that is there: %w", err)
			}
		}
		kept = path + replacedSuffix + stamp
	}
	err = durably("restore: decide", func() error {
		if err := os.Rename(temp, path+restoredSuffix+stamp); err != nil {
			return err
		}
		return syncFolder(cfg.dir)
	})
	if err != nil {
		return "", err
	}
	return kept, finishRestore(path)
}

// finishRestore carries out what restore has decided for the store at path, if anything. It may be repeated. The folder's
// lock is the caller's.
func finishRestore(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		stamp, decided := strings.CutPrefix(e.Name(), filepath.Base(path)+restoredSuffix)
		if !decided {
			continue
		}
		if err := replaceStore(path, path+restoredSuffix+stamp, path+replacedSuffix+stamp); err != nil {
			return err
		}
	}
	return nil
}

// replaceStore moves the store at path, if there is one, to kept, and puts next in its place.
func replaceStore(path, next, kept string) error {
	for _, suffix := range storeSuffixes() {
		err := durably("restore: move the old store", func() error { return os.Rename(path+suffix, kept+suffix) })
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return durably("restore: put the new store in place", func() error {
		// The folder is brought to the disk in this order, so that a loss of power keeps it too.
		if err := syncFolder(filepath.Dir(path)); err != nil {
			return err
		}
		if err := os.Rename(next, path); err != nil {
			return err
		}
		return syncFolder(filepath.Dir(path))
	})
}

func markRestored(ctx context.Context, cfg nodeConfig, path string) (err error) {
	token, err := cfg.token(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, token.Close()) }()
	db, err := store.Open(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	auditDir := cfg.auditDir
	if auditDir == "" {
		auditDir = filepath.Join(cfg.dir, auditFolder)
	}
	_, statErr := os.Stat(auditDir)
	durable, stepped := withSteps(db, token)
	return regions.MarkRestored(ctx, cfg.name, durable, stepped, cfg.clock().UnixMilli(), errors.Is(statErr, os.ErrNotExist))
}

// removeStore removes a store's files, those that are there.
func removeStore(path string) error {
	for _, suffix := range storeSuffixes() {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// copyFile copies a file to a new private one and waits for the disk.
func copyFile(from, to string) (err error) {
	in, err := os.Open(filepath.Clean(from))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(filepath.Clean(to), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync()
}
