package softhsm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ModuleEnv names the environment variable that holds the path of libsofthsm2.so where it is in none of the usual places.
const ModuleEnv = "SOFTHSM2_MODULE"

// ErrNotInstalled says how to install SoftHSM2.
var ErrNotInstalled = errors.New("SoftHSM2 is not installed: apt-get install softhsm2 " +
	"(Fedora: dnf install softhsm; macOS: brew install softhsm), or set " + ModuleEnv + " to the path of libsofthsm2.so")

func usualPlaces() []string {
	return []string{
		"/usr/lib/softhsm/libsofthsm2.so",             // Debian, Ubuntu
		"/usr/lib/*/softhsm/libsofthsm2.so",           // Debian, Ubuntu, by architecture
		"/usr/lib64/pkcs11/libsofthsm2.so",            // Fedora, RHEL
		"/usr/lib64/softhsm/libsofthsm2.so",           // SUSE
		"/usr/lib64/libsofthsm2.so",                   //
		"/usr/lib/pkcs11/libsofthsm2.so",              // Arch
		"/usr/lib/libsofthsm2.so",                     // Alpine, FreeBSD ports
		"/usr/local/lib/softhsm/libsofthsm2.so",       // built from source, Homebrew on Intel
		"/opt/homebrew/lib/softhsm/libsofthsm2.so",    // Homebrew
		"/home/linuxbrew/.linuxbrew/lib/softhsm/*.so", // Homebrew on Linux
	}
}

// Module returns the absolute path of libsofthsm2.so, or [ErrNotInstalled].
func Module() (string, error) {
	if p := os.Getenv(ModuleEnv); p != "" {
		if !filepath.IsAbs(p) {
			return "", fmt.Errorf("%s=%s is not an absolute path", ModuleEnv, p)
		}
		if _, err := os.Stat(p); err != nil { //nolint:gosec // the operator names the module
			return "", fmt.Errorf("%s: %w: %w", ModuleEnv, err, ErrNotInstalled)
		}
		return p, nil
	}
	return search(usualPlaces())
}

func search(places []string) (string, error) {
	for _, pattern := range places {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		for _, p := range found {
			if strings.HasPrefix(filepath.Base(p), "libsofthsm2") {
				return p, nil
			}
		}
	}
	return "", ErrNotInstalled
}
