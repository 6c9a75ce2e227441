package p11

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/miekg/pkcs11"
)

// environ is held while a process-wide environment variable is set for C_Initialize. It is the one variable of this
// package: the environment is the process's, so its lock must be too.
var environ sync.Mutex

// withEnv runs f while the variables of env are set.
func withEnv(env []string, f func() error) (err error) {
	if len(env) == 0 {
		return f()
	}
	environ.Lock()
	defer environ.Unlock()
	for _, kv := range env {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || name == "" {
			return fmt.Errorf("environment %q is not NAME=VALUE", kv)
		}
		old, had := os.LookupEnv(name)
		if err := os.Setenv(name, value); err != nil {
			return err
		}
		defer func() {
			if had {
				err = errors.Join(err, os.Setenv(name, old))
			} else {
				err = errors.Join(err, os.Unsetenv(name))
			}
		}()
	}
	return f()
}

// module is a loaded PKCS#11 library. It stays loaded, and its path stays good, until close.
type module struct {
	path   string
	raw    *pkcs11.Ctx
	native *native
	file   io.Closer // the file behind path, for private copies in memory
	dir    string    // the folder of a private copy on disk
}

// load loads the library, or a private copy of it.
func load(path string, private bool) (*module, error) {
	m, err := loadRaw(path, private)
	if err != nil {
		return nil, err
	}
	if m.native, err = openNative(m.path); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

func loadRaw(path string, private bool) (*module, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("PKCS#11 module: %w", err)
	}
	if !private {
		raw := pkcs11.New(path)
		if raw == nil {
			return nil, fmt.Errorf("%s is not a PKCS#11 module that can be loaded", path)
		}
		return &module{path: path, raw: raw}, nil
	}
	p, file, err := memoryCopy(path)
	if err == nil {
		if raw := pkcs11.New(p); raw != nil {
			return &module{path: p, raw: raw, file: file}, nil
		}
		err = errors.Join(errors.New("no library can be loaded from memory"), file.Close())
	}
	m, err2 := loadFromDisk(path)
	if err2 != nil {
		return nil, fmt.Errorf("load a private copy of %s: %w", path, errors.Join(err, err2))
	}
	return m, nil
}

// loadFromDisk is for systems that forbid executable memory files.
func loadFromDisk(path string) (*module, error) {
	dir, err := os.MkdirTemp("", "pkcs11-module-*") // mode 0700
	if err != nil {
		return nil, err
	}
	lib, err := os.ReadFile(path) //nolint:gosec // the operator names the module
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	p := filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(p, lib, 0o500); err != nil { //nolint:gosec // a library must be executable
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	raw := pkcs11.New(p)
	if raw == nil {
		return nil, errors.Join(fmt.Errorf("%s can't be loaded (is its file system mounted noexec?)", p), os.RemoveAll(dir))
	}
	return &module{path: p, raw: raw, dir: dir}, nil
}

// close unloads the library. It must be finalised already.
func (m *module) close() error {
	if m.native != nil {
		m.native.close()
	}
	m.raw.Destroy()
	var err error
	if m.file != nil {
		err = m.file.Close()
	}
	if m.dir != "" {
		err = errors.Join(err, os.RemoveAll(m.dir))
	}
	return err
}
