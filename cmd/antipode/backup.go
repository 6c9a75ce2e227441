package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"antipode/hsmbackend"
	"antipode/hsmbackend/p11"
	"antipode/regions"
	"antipode/regions/store"
	"antipode/softhsm"
)

func backupCommand() *cobra.Command {
	var socket, out string
	cmd := &cobra.Command{
		Use: "backup", Args: cobra.NoArgs,
		Short: "Save a Region's store while it serves",
		Long: `Writes a consistent copy of the store of a Region that runs to a new file. The copy holds every key with storage
'wrapped', as a wrapping that only this Region's token can open; it is of no use without the token. It does not hold what
is on the token, nor the audit log, nor the identity for other Regions (peer.pem): save those by their own means.

Each backup is on record in the Region ('antipode backup list'), with the versions of the domain key that it carries: none
of them is destroyed as long as the backup is kept.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return errors.New("--out is required: the new file")
			}
			path, err := filepath.Abs(out)
			if err != nil {
				return err
			}
			var answer backupAnswer
			if err := adminCall(cmd.Context(), socket, http.MethodPost, "/v1/backup?path="+url.QueryEscape(path), nil, &answer); err != nil {
				return err
			}
			return printLines(cmd, "saved "+answer.Path, "backup "+answer.ID)
		},
	}
	cmd.PersistentFlags().StringVar(&socket, "socket", "", "admin socket of the running Region, DATA/admin.sock (required)")
	cmd.AddCommand(backupListCommand(&socket), backupForgetCommand(&socket))
	cmd.Flags().StringVar(&out, "out", "", "the new file, which the Region's own user must be able to make (required)")
	return cmd
}

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

// restore checks a backup, marks it, and puts it in the store's place. It may be repeated if it is cut off. It returns
// where the store that was there is now, "" if there was none.
func restore(ctx context.Context, cfg nodeConfig, from string) (kept string, err error) {
	lock, err := lockFolder(cfg.dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	path := filepath.Join(cfg.dir, storeFile)
	temp := path + ".restoring"
	if err := removeStore(temp); err != nil {
		return "", err
	}
	if err := copyFile(from, temp); err != nil {
		return "", err
	}
	if err := markRestored(ctx, cfg, temp); err != nil {
		return "", errors.Join(err, removeStore(temp))
	}
	if _, err := os.Stat(path); err == nil {
		// Closing it moves its write-ahead log into the file, so that a crash between the renames loses none of it. A
		// store too damaged to be opened is kept as it is.
		if old, err := store.Open(ctx, path); err == nil {
			if err := old.Close(); err != nil {
				return "", fmt.Errorf("close the store that is there: %w", err)
			}
		}
		kept = path + ".replaced-" + time.Now().UTC().Format("20060102T150405.000000000Z")
		// The write-ahead log belongs to the database: it goes first, so that it is never found beside another.
		for _, suffix := range []string{"-wal", "-shm", ""} {
			if err := os.Rename(path+suffix, kept+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				return "", err
			}
		}
	}
	if err := os.Rename(temp, path); err != nil {
		return "", err
	}
	return kept, syncFolder(cfg.dir)
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
	return regions.MarkRestored(ctx, cfg.name, db, token, cfg.clock().UnixMilli(), errors.Is(statErr, os.ErrNotExist))
}

func removeStore(path string) error {
	for _, suffix := range []string{"-wal", "-shm", "-journal", ""} {
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
