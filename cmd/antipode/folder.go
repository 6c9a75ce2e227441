package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/rs/zerolog"

	"antipode/hsmbackend/p11"
	"antipode/regions"
	"antipode/regions/store"
	"antipode/softhsm"
)

// What a Region's folder holds. audit may be elsewhere.
const (
	tokenFolder = "token"
	storeFile   = "store.db"
	auditFolder = "audit"
	peerFile    = "peer.pem"
	lockFile    = "lock"
	newPrefix   = ".antipode-new-" // the folder may hold files of others, which are left alone
)

// lockFolder takes the folder for this process alone, until the file is closed.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(filepath.Clean(dir), lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another antipode process", dir), f.Close())
	}
	return f, nil
}

// removeUnfinished removes what a makeRegion that was cut off has left in dir.
func removeUnfinished(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, newPrefix+"*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := durably("remove an unfinished region", func() error { return os.RemoveAll(path) }); err != nil {
			return err
		}
	}
	return nil
}

// makeRegion makes a Region with a SoftHSM2 token in dir/name. It appears there complete or not at all.
func makeRegion(ctx context.Context, dir, name string, log zerolog.Logger) (err error) {
	tmp, err := os.MkdirTemp(dir, newPrefix+name+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := fillRegion(ctx, tmp, name, log); err != nil {
		return err
	}
	return durably("put a new region in place", func() error {
		if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
			return err
		}
		return syncFolder(dir)
	})
}

// fillRegion makes the token, the store and the peer identity of a new Region, and closes them again.
func fillRegion(ctx context.Context, dir, name string, log zerolog.Logger) (err error) {
	made, err := softhsm.Create(ctx, filepath.Join(dir, tokenFolder), "antipode-"+name)
	if err != nil {
		return fmt.Errorf("make token: %w", err)
	}
	token, err := p11.Open(ctx, made.Config(log))
	if err != nil {
		return fmt.Errorf("open token: %w", err)
	}
	defer func() { err = errors.Join(err, token.Close()) }()
	db, err := store.Create(ctx, filepath.Join(dir, storeFile))
	if err != nil {
		return fmt.Errorf("make store: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := regions.Init(ctx, name, db, token); err != nil {
		return fmt.Errorf("make region keys: %w", err)
	}
	return ensurePeer(filepath.Join(dir, peerFile), name)
}

// writeFile writes a new private file, which is there whole or not at all, and waits for the disk.
func writeFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), newPrefix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return errors.Join(f.Close(), syncFolder(filepath.Dir(path)))
}

func syncFolder(dir string) (err error) {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}
