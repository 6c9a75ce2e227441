package roster

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"antipode/regions/canon"
	"antipode/regions/cose"
)

// KeyState is the state of a Replication Signing Key. It moves only forward.
type KeyState string

// The states of a key.
const (
	Active  KeyState = "active"  // signs
	Retired KeyState = "retired" // replaced in good order: what it signed counts, it signs nothing new
	Removed KeyState = "removed" // taken out, for instance as compromised
)

func (s KeyState) rank() int {
	return slices.Index([]KeyState{Active, Retired, Removed}, s)
}

// RSK is the public half of a Region's Replication Signing Key, ECDSA on P-384.
type RSK struct {
	SPKI  []byte   `cbor:"1,keyasint"` // DER SubjectPublicKeyInfo
	State KeyState `cbor:"2,keyasint"`
	Since uint64   `cbor:"3,keyasint"` // version of the entry that gave it this state
	// Proof is [ProvePossession] by this key; a key that comes by an announcement needs it.
	Proof []byte `cbor:"4,keyasint,omitempty"`
}

// KeyID returns the id by which messages name the key: SHA-256 of SPKI.
func (k RSK) KeyID() []byte { return cose.KeyID(k.SPKI) }

// Limits bound what the Region that holds the roster exchanges with another.
type Limits struct {
	// Accounts are those whose keys may go there: 12 digits each, in order, or the one element "*". Empty is none.
	Accounts []string `cbor:"1,keyasint"`
	// MinSuite is the weakest key-exchange suite accepted, "" for any.
	MinSuite string `cbor:"2,keyasint"`
	// MaxOpenExchanges is the largest number of exchanges that the other may have open here, 1 to 10000.
	MaxOpenExchanges uint64 `cbor:"3,keyasint"`
}

// Entry is one Region.
type Entry struct {
	Region  string `cbor:"1,keyasint"`
	Version uint64 `cbor:"2,keyasint"` // from 1, as the Region that holds the roster counts
	// Endpoint is where its peers reach it, "https://host:port" without a path, or "" if that is known otherwise.
	Endpoint string   `cbor:"3,keyasint"`
	RSKs     []RSK    `cbor:"4,keyasint"` // in the order in which they came
	TLSKey   [32]byte `cbor:"5,keyasint"` // SHA-256 of the SubjectPublicKeyInfo of its TLS certificate
	Limits   Limits   `cbor:"6,keyasint"`
	Removed  bool     `cbor:"7,keyasint"`
	// Own is the version by the count of the Region that the entry is of: what it says of itself with a lower one is old. 0 if
	// it has never said anything.
	Own uint64 `cbor:"8,keyasint"`
}

// Validate returns [ErrInvalid] with the first rule that the entry breaks.
func (e Entry) Validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: region %.40q: %s", ErrInvalid, e.Region, fmt.Sprintf(format, args...))
	}
	if !ValidRegion(e.Region) {
		return bad("not a region name")
	}
	if e.Version == 0 {
		return bad("version 0")
	}
	if !validEndpoint(e.Endpoint) {
		return bad("endpoint is not https://host:port")
	}
	if e.TLSKey == [32]byte{} {
		return bad("no TLS key")
	}
	if n := len(e.RSKs); n == 0 || n > MaxKeys {
		return bad("%d signing keys, 1 to %d are allowed", n, MaxKeys)
	}
	for i, k := range e.RSKs {
		if _, err := cose.ParseKey(k.SPKI); err != nil {
			return fmt.Errorf("%w: region %s: signing key: %w", ErrInvalid, e.Region, err)
		}
		if k.State.rank() < 0 {
			return bad("signing key state %.20q", k.State)
		}
		if k.Since == 0 || k.Since > e.Version {
			return bad("signing key since version %d", k.Since)
		}
		if slices.ContainsFunc(e.RSKs[:i], func(o RSK) bool { return bytes.Equal(o.SPKI, k.SPKI) }) {
			return bad("signing key repeated")
		}
	}
	if n := e.Limits.MaxOpenExchanges; n == 0 || n > 10000 {
		return bad("%d open exchanges, 1 to 10000 are allowed", n)
	}
	if len(e.Limits.MinSuite) > 64 {
		return bad("name of a suite longer than 64 bytes")
	}
	if !validAccounts(e.Limits.Accounts) {
		return bad("accounts are not in order, or not 12 digits each")
	}
	return nil
}

// validateNew holds for the first entry of a Region: all of its keys begin now and one is active.
func (e Entry) validateNew() error {
	if e.Removed || !slices.ContainsFunc(e.RSKs, func(k RSK) bool { return k.State == Active }) {
		return fmt.Errorf("%w: region %s: a new entry needs an active key", ErrInvalid, e.Region)
	}
	return nil
}

// replacedBy reports whether e is equal to next, and otherwise whether next may take its place.
func (e Entry) replacedBy(next Entry) (same bool, err error) {
	a, err := canon.Marshal(e)
	if err != nil {
		return false, err
	}
	b, err := canon.Marshal(next)
	if err != nil {
		return false, err
	}
	switch {
	case bytes.Equal(a, b):
		return true, nil
	case next.Version == e.Version:
		return false, fmt.Errorf("%w: region %s version %d", ErrConflict, e.Region, e.Version)
	case next.Version < e.Version:
		return false, fmt.Errorf("%w: region %s from version %d to %d", ErrStepBack, e.Region, e.Version, next.Version)
	case e.Removed && !next.Removed:
		return false, fmt.Errorf("%w: region %s", ErrRemoved, e.Region)
	case len(next.RSKs) < len(e.RSKs):
		return false, fmt.Errorf("%w: region %s loses a signing key", ErrStepBack, e.Region)
	}
	for i, k := range next.RSKs {
		if i >= len(e.RSKs) {
			if k.Since <= e.Version {
				return false, fmt.Errorf("%w: region %s dates a new key back", ErrStepBack, e.Region)
			}
			continue
		}
		old := e.RSKs[i]
		sameState := k.State == old.State && k.Since == old.Since
		forward := k.State.rank() > old.State.rank() && k.Since > e.Version
		if !bytes.Equal(k.SPKI, old.SPKI) || (!sameState && !forward) || len(old.Proof) > 0 && !bytes.Equal(k.Proof, old.Proof) {
			return false, fmt.Errorf("%w: region %s changes or revives a signing key", ErrStepBack, e.Region)
		}
	}
	return false, nil
}

func (e Entry) clone() Entry {
	e.RSKs = slices.Clone(e.RSKs)
	for i := range e.RSKs {
		e.RSKs[i].SPKI, e.RSKs[i].Proof = slices.Clone(e.RSKs[i].SPKI), slices.Clone(e.RSKs[i].Proof)
	}
	e.Limits.Accounts = slices.Clone(e.Limits.Accounts)
	return e
}

// Fingerprint returns what the operators of two Regions compare by reading it to each other before one enrols the
// other: over the name, the Region's own version, the endpoint, the TLS key and the signing keys with their states. Limits,
// and how the holder of a roster counts, are left out, so both sides see the same one.
func (e Entry) Fingerprint() (string, error) {
	if err := e.Validate(); err != nil {
		return "", err
	}
	var keys [][]any
	for _, k := range e.RSKs {
		keys = append(keys, []any{k.SPKI, k.State})
	}
	data, err := canon.Marshal([]any{e.Region, e.Own, e.Endpoint, e.TLSKey, keys})
	if err != nil {
		return "", err
	}
	return fingerprint("antipode/roster-entry/2", data), nil
}

// ValidRegion reports whether name has the form of an AWS Region: ([a-z]+-){2,3}[0-9]+, at most 32 bytes.
func ValidRegion(name string) bool {
	if len(name) > 32 {
		return false
	}
	parts := strings.Split(name, "-")
	if len(parts) < 3 || len(parts) > 4 {
		return false
	}
	for _, p := range parts[:len(parts)-1] {
		if p == "" || strings.Trim(p, "abcdefghijklmnopqrstuvwxyz") != "" {
			return false
		}
	}
	return isDigits(parts[len(parts)-1])
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// validLabel: a lower-case letter, then letters, digits and hyphens, at most 32 bytes.
func validLabel(s string) bool {
	return s != "" && len(s) <= 32 && s[0] >= 'a' && s[0] <= 'z' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func validEndpoint(s string) bool {
	if s == "" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && len(s) <= 512 && u.Scheme == "https" && u.Hostname() != "" && isDigits(u.Port()) &&
		s == "https://"+u.Host
}

func validAccounts(list []string) bool {
	if len(list) == 1 && list[0] == "*" {
		return true
	}
	for i, a := range list {
		if len(a) != 12 || !isDigits(a) || (i > 0 && list[i-1] >= a) {
			return false
		}
	}
	return len(list) <= MaxAccounts
}
