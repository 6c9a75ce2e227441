package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"antipode/hsmbackend/p11"
	"antipode/regions"
	"antipode/regions/arn"
	"antipode/regions/store"
	"antipode/replication/peer"
)

func initCommand() *cobra.Command {
	var path, logLevel, account, credentials string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a Region's token objects and store",
		Long: `Makes what one Region needs on its token (the token's key-encryption key, the replication signing key and the audit
key) and in its data folder (the store with the wrapped keys, the identity for other Regions). The token must exist and
its PIN be set. It may be repeated after a failure; on a Region that is complete it changes nothing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				return errors.New("--config is required: the configuration file of the Region")
			}
			cfg, err := readConfig(path)
			if err != nil {
				return err
			}
			if !arn.IsAccount(account) {
				return fmt.Errorf("--account: %q is not an account, 12 digits", account)
			}
			log, err := newLog(logLevel)
			if err != nil {
				return err
			}
			tokens, err := initRegion(cmd.Context(), cfg, log)
			if err != nil {
				return fmt.Errorf("region %s: %w", cfg.Region, err)
			}
			if credentials != "" {
				if err := initAdministrator(cmd.Context(), cfg, account, credentials, log); err != nil {
					return err
				}
			}
			text := fmt.Sprintf("region %s is ready in %s.\n", cfg.Region, cfg.Data)
			if tokens < 2 {
				text += "WARNING: only this token holds the Region's domain key. If it dies, every key without a replica in another " +
					"Region is lost. Give a second token the key with `antipode token add`, and keep replicas of the keys that matter.\n"
			}
			_, err = fmt.Fprint(cmd.ErrOrStderr(), text)
			return err
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "configuration file (required)")
	cmd.Flags().StringVar(&credentials, "credentials", "", "AWS shared-credentials file whose default profile becomes an administrator; made if missing. Take the file along to give the other Regions the same administrator")
	cmd.Flags().StringVar(&account, "account", "111122223333", "account of the administrator")
	cmd.Flags().StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

// initAdministrator gives the Region the administrator whose credentials are in the file.
func initAdministrator(ctx context.Context, cfg config, account, path string, log zerolog.Logger) (err error) {
	n, err := openNode(ctx, cfg.node(log))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	return ensureProfiles(ctx, path, []profileUser{administratorOf(account)}, []*node{n})
}

// initRegion makes what is missing. Each of its steps may be repeated. It returns how many tokens hold the Region's keys.
func initRegion(ctx context.Context, cfg config, log zerolog.Logger) (tokens int, err error) {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return 0, err
	}
	lock, err := lockFolder(cfg.Data)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := finishRestore(filepath.Join(cfg.Data, storeFile)); err != nil {
		return 0, fmt.Errorf("finish a restore that was cut off: %w", err)
	}
	token, err := p11.Open(ctx, cfg.p11(log))
	if err != nil {
		return 0, fmt.Errorf("open token: %w", err)
	}
	defer func() { err = errors.Join(err, token.Close()) }()
	db, err := openOrCreate(ctx, filepath.Join(cfg.Data, storeFile))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := checkOwner(ctx, db, cfg); err != nil {
		return 0, err
	}
	durable, stepped := withSteps(db, token)
	if err := regions.Init(ctx, cfg.Region, durable, stepped); err != nil {
		return 0, err
	}
	if err := ensurePeer(filepath.Join(cfg.Data, peerFile), cfg.Region); err != nil {
		return 0, err
	}
	return regions.CountTokens(ctx, cfg.Region, db)
}

// checkOwner refuses a data folder in which another Region was made, or begun.
func checkOwner(ctx context.Context, db regions.Store, cfg config) error {
	return db.View(ctx, func(rd regions.Reader) error {
		for _, kind := range []regions.RecordKind{regions.KindPlan, regions.KindHierarchy} {
			found, err := rd.List(ctx, regions.Query{Kind: kind})
			if err != nil {
				return err
			}
			for _, rec := range found {
				if rec.ID != cfg.Region {
					return fmt.Errorf("%s holds the Region %s already", cfg.Data, rec.ID)
				}
			}
		}
		return nil
	})
}

func openOrCreate(ctx context.Context, path string) (*store.DB, error) {
	db, err := store.Open(ctx, path)
	if errors.Is(err, os.ErrNotExist) {
		err = durably("make the store", func() (err error) {
			db, err = store.Create(ctx, path)
			return err
		})
	}
	return db, err
}

// ensurePeer makes the file with the Region's identity for other Regions, unless it is there.
func ensurePeer(path, region string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	id, err := peer.NewIdentity(region)
	if err != nil {
		return err
	}
	pem, err := id.MarshalPEM()
	if err != nil {
		return err
	}
	return durably("write the peer identity", func() error { return writeFile(path, pem) })
}
