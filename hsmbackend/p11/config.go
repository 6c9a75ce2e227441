// Package p11 is the contract of package hsmbackend on a PKCS#11 module loaded into this process.
//
// Invariants:
//   - A token is chosen by label and serial number, never by slot, and a PIN is never given to another token.
//   - A PIN that was refused is never tried again by the same [Token].
//   - crypto11 opens the module, logs in and signs with key pairs that live on the token; everything else goes through
//     miekg/pkcs11 attached to the same module. No other package imports either of them.
//   - At most Profile.MaxCalls calls are inside the module at once. Whoever closes or re-opens the module holds all of
//     those places, so no call ever runs on a finalised module.
//   - A session that answered with a session error is closed, never used again. A connection that answered with a device
//     error is finalised and opened again; its session objects are then gone, its token objects are found again by
//     CKA_ID.
//   - An object's handle is used only while its object is locked against being destroyed, so that a handle the token
//     hands out again can't make a call work with another key.
//   - No data path searches for objects.
//   - A way to derive message keys is used only after it gave the published answer on this very token.
//   - A message key that must come to host memory (a token without AES-GCM) is there for the time of one call.
package p11

import (
	"crypto/rand"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
)

// Config says which token to open and how.
type Config struct {
	// Module is the absolute path of the PKCS#11 library.
	Module string
	// PrivateCopy loads a copy of Module that nothing else in the process shares. SoftHSM needs it when several tokens
	// are open in one process: it has one token folder for each loaded library.
	PrivateCopy bool
	// Env is set for the time of C_Initialize, "NAME=VALUE" each.
	Env []string
	// Label and Serial choose the token. At least one must be given; each one given must match; exactly one token may.
	Label, Serial string
	// PIN returns the user PIN. It is asked at every login (also the one after a lost connection), and what it returned
	// is overwritten with zeros afterwards. (crypto11 and miekg hand the PIN on in copies that can't be overwritten.)
	PIN func() ([]byte, error)
	// Profile holds what differs between vendors.
	Profile Profile
	// ApprovedOnly leaves out every key derivation that FIPS 140-3 does not approve: ECDH with CKD_NULL is not used, nor
	// RSA-OAEP with SHA-1, and [Open] refuses a token on which nothing approved is left.
	ApprovedOnly bool
	// Log receives what happens to the connection; never a PIN, never key material.
	Log zerolog.Logger
	// Now is the clock of the back-off between attempts to re-open the module; nil means time.Now.
	Now func() time.Time
	// Rand makes CKA_IDs; nil means crypto/rand.
	Rand io.Reader
}

func (cfg *Config) complete() error {
	if !filepath.IsAbs(cfg.Module) {
		return errors.New("the module's path must be absolute")
	}
	if cfg.Label == "" && cfg.Serial == "" {
		return errors.New("a token's label or serial number is needed")
	}
	if cfg.PIN == nil {
		return errors.New("a source of the PIN is needed")
	}
	if err := cfg.Profile.validate(); err != nil {
		return err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	return nil
}
