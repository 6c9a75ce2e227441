package softhsm

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile makes a file appear under its name complete, with its mode, and on disk, or not at all.
func writeFile(path string, data []byte, mode fs.FileMode) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncPath(dir)
}

// syncTree makes everything under dir durable; SoftHSM itself syncs nothing.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncPath(path)
	})
}

func syncPath(path string) error {
	f, err := os.Open(path) //nolint:gosec // our own files
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
