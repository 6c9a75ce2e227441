// Package softhsm makes SoftHSM2 tokens in directories, one token in each.
//
// Invariants:
//   - A token's directory holds all that belongs to it (PINs, configuration, objects) and may be renamed as a whole:
//     the one absolute path in it, in softhsm2.conf, is written anew by [Open].
//   - [Create] leaves a directory that is complete and on disk, or returns an error; the caller makes a crash harmless by
//     creating under a temporary name and renaming.
//   - PINs never appear in argument lists, environments, logs or errors.
package softhsm

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rs/zerolog"

	"antipode/hsmbackend/p11"
)

// Names inside a token's directory.
const (
	confFile   = "softhsm2.conf"
	pinFile    = "pin"
	soPINFile  = "so-pin"
	tokenFile  = "token.json"
	objectsDir = "tokens"
)

// Token is a SoftHSM2 token in a directory. At most one connection to it may be open at a time, in all processes:
// SoftHSM's file locks do not hold between copies of the library in one process.
type Token struct {
	Dir    string // absolute
	Module string // absolute path of libsofthsm2.so
	Label  string
	Serial string
}

// description is token.json: it says which token the directory must hold.
type description struct {
	Label  string `json:"label"`
	Serial string `json:"serial"`
}

// Create makes a token labelled label (1 to 32 bytes) in dir, which is made with mode 0700 and must be empty if it
// exists. The PINs have 256 random bits each.
func Create(ctx context.Context, dir, label string) (Token, error) {
	t, err := create(ctx, dir, label)
	if err != nil {
		return Token{}, fmt.Errorf("create SoftHSM token: %w", err)
	}
	return t, nil
}

func create(ctx context.Context, dir, label string) (Token, error) {
	module, err := Module()
	if err != nil {
		return Token{}, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return Token{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Token{}, err
	}
	if names, err := os.ReadDir(dir); err != nil {
		return Token{}, err
	} else if len(names) != 0 {
		return Token{}, fmt.Errorf("%s is not empty", dir)
	}
	if err := os.Mkdir(filepath.Join(dir, objectsDir), 0o700); err != nil {
		return Token{}, err
	}
	t := Token{Dir: dir, Module: module, Label: label}
	if err := t.writeConf(); err != nil {
		return Token{}, err
	}
	pin, soPIN := newPIN(), newPIN()
	defer clear(pin)
	defer clear(soPIN)
	t.Serial, err = p11.InitToken(ctx, p11.NewToken{
		Module: module, PrivateCopy: true, Env: t.env(), Label: label, PIN: pin, SOPIN: soPIN,
	})
	if err != nil {
		return Token{}, err
	}
	desc, err := json.Marshal(description{Label: label, Serial: t.Serial})
	if err != nil {
		return Token{}, err
	}
	if err := errors.Join(
		writeFile(filepath.Join(dir, pinFile), pin, 0o400),
		writeFile(filepath.Join(dir, soPINFile), soPIN, 0o400),
		syncTree(filepath.Join(dir, objectsDir)),
		writeFile(filepath.Join(dir, tokenFile), append(desc, '\n'), 0o400),
	); err != nil {
		return Token{}, err
	}
	return t, nil
}

// Open finds the token that [Create] made in dir, which may have been renamed since, and points its configuration to
// where it is now. It opens no connection; see [Token.Config].
func Open(dir string) (Token, error) {
	t, err := open(dir)
	if err != nil {
		return Token{}, fmt.Errorf("open SoftHSM token: %w", err)
	}
	return t, nil
}

func open(dir string) (Token, error) {
	module, err := Module()
	if err != nil {
		return Token{}, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return Token{}, err
	}
	raw, err := os.ReadFile(filepath.Join(dir, tokenFile)) //nolint:gosec // the operator names the directory
	if err != nil {
		return Token{}, err
	}
	var desc description
	if err := json.Unmarshal(raw, &desc); err != nil {
		return Token{}, fmt.Errorf("%s: %w", tokenFile, err)
	}
	if desc.Label == "" || desc.Serial == "" {
		return Token{}, fmt.Errorf("%s names no label or no serial number", tokenFile)
	}
	t := Token{Dir: dir, Module: module, Label: desc.Label, Serial: desc.Serial}
	return t, t.writeConf()
}

// Config is what [p11.Open] needs to open the token. Several tokens may be open in one process: each gets its own copy of
// the library.
func (t Token) Config(log zerolog.Logger) p11.Config {
	return p11.Config{
		Module: t.Module, PrivateCopy: true, Env: t.env(), Label: t.Label, Serial: t.Serial,
		PIN:     func() ([]byte, error) { return os.ReadFile(filepath.Join(t.Dir, pinFile)) },
		Profile: p11.SoftHSM(), Log: log,
	}
}

func (t Token) env() []string {
	return []string{"SOFTHSM2_CONF=" + filepath.Join(t.Dir, confFile)}
}

// writeConf makes the configuration hold the directory's present place.
func (t Token) writeConf() error {
	if strings.ContainsAny(t.Dir, "\r\n#") {
		return fmt.Errorf("SoftHSM can't be configured with the path %q", t.Dir)
	}
	conf := "# Written by antipode; overwritten whenever the token is opened.\n" +
		"directories.tokendir = " + filepath.Join(t.Dir, objectsDir) + "\n" +
		"objectstore.backend = file\n" +
		"log.level = ERROR\n" +
		"slots.removable = false\n"
	path := filepath.Join(t.Dir, confFile)
	if old, err := os.ReadFile(path); err == nil && string(old) == conf { //nolint:gosec // our own file
		return nil
	}
	return writeFile(path, []byte(conf), 0o600)
}

// newPIN returns 52 characters that hold 256 random bits.
func newPIN() []byte {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: the Go runtime aborts instead
	defer clear(b[:])
	return base32.StdEncoding.WithPadding(base32.NoPadding).AppendEncode(nil, b[:])
}
