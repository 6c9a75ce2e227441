// Package roster is the list of a partition's Regions, their keys and what each may be sent, as one Region holds it.
//
// Invariants:
//   - Entries are versioned and only grow: an entry replaces another only with a higher version, keeps all of its keys,
//     and moves a key's state only forward (active, retired, removed). A Region that is removed stays removed.
//   - A key id belongs to one Region and a TLS key to one Region, for ever.
//   - Only an active key of a Region that is not removed introduces something new. A retired or removed key verifies
//     what was signed before, and nothing else.
//   - Who may be sent what is asked by name and denied by default.
//
// A Roster is a value: no method changes it, and it is safe for concurrent use. Its record is authenticated by whoever
// stores it; the fingerprint is for people who compare two copies out of band.
package roster

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"

	"antipode/regions/canon"
)

// Limits of a roster.
const (
	MaxRegions   = 64
	MaxKeys      = 64 // of one Region, past ones included
	MaxOperators = 32
	MaxSets      = 64   // of operators, past ones included
	MaxRemovals  = 1024 // by a quorum
	MaxAccounts  = 1024 // named in one entry's limits
)

var (
	// ErrInvalid says that a roster or an entry breaks a rule of form.
	ErrInvalid = errors.New("invalid roster")
	// ErrStepBack says that an entry is older than the one held, or lacks or revives what it has.
	ErrStepBack = errors.New("roster entry steps back")
	// ErrConflict says that an entry has the version of the one held and another content: an alarm.
	ErrConflict = errors.New("roster entry of this version has another content")
	// ErrUnknownRegion says that there is no entry of that name.
	ErrUnknownRegion = errors.New("region is not in the roster")
	// ErrRemoved says that the Region was removed.
	ErrRemoved = errors.New("region was removed from the roster")
	// ErrUnknownKey says that no key with that id belongs to the Region.
	ErrUnknownKey = errors.New("key is not in the roster")
	// ErrInactiveKey says that the key was retired or removed, so it introduces nothing.
	ErrInactiveKey = errors.New("key is no longer active")
	// ErrUnapproved says that too few operators approved, or that an approval is not one.
	ErrUnapproved = errors.New("not approved by a quorum of the operators")
)

// Roster is a partition's roster.
type Roster struct {
	Partition string  `cbor:"1,keyasint"` // ARN partition, for instance "aws"
	Version   uint64  `cbor:"2,keyasint"` // rises with each change
	Regions   []Entry `cbor:"3,keyasint"` // in order of Region
	// Operators approve what only a quorum may decide: the sets of all times, oldest first, the last being the present
	// one; empty until they are enrolled.
	Operators []OperatorSet `cbor:"4,keyasint"`
	// Removals are what a quorum has removed, in the order in which it became known here.
	Removals []Removal `cbor:"5,keyasint"`
}

// New returns the roster of a partition without Regions, version 0.
func New(partition string) (Roster, error) {
	r := Roster{Partition: partition, Regions: []Entry{}, Operators: []OperatorSet{}, Removals: []Removal{}}
	return r, r.Validate()
}

// Decode returns the roster that Encode made data of. It returns [ErrInvalid] for everything else.
func Decode(data []byte) (Roster, error) {
	var r Roster
	if err := canon.Unmarshal(data, &r); err != nil {
		return Roster{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := r.Validate(); err != nil {
		return Roster{}, err
	}
	return r, nil
}

// Encode returns the one encoding of a valid roster.
func (r Roster) Encode() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	data, err := canon.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return data, nil
}

// Validate returns [ErrInvalid] with the first rule that the roster breaks.
func (r Roster) Validate() error {
	if !validLabel(r.Partition) {
		return fmt.Errorf("%w: partition %q", ErrInvalid, r.Partition)
	}
	if len(r.Regions) > MaxRegions {
		return fmt.Errorf("%w: more than %d regions", ErrInvalid, MaxRegions)
	}
	if err := validateOperators(r.Operators); err != nil {
		return err
	}
	if err := validateRemovals(r.Removals); err != nil {
		return err
	}
	keys, pins := map[string]string{}, map[[32]byte]string{}
	for i, e := range r.Regions {
		if err := e.Validate(); err != nil {
			return err
		}
		if i > 0 && r.Regions[i-1].Region >= e.Region {
			return fmt.Errorf("%w: regions repeated or out of order at %s", ErrInvalid, e.Region)
		}
		for _, k := range e.RSKs {
			id := string(k.KeyID())
			if owner, taken := keys[id]; taken {
				return fmt.Errorf("%w: a signing key of %s is one of %s", ErrInvalid, e.Region, owner)
			}
			keys[id] = e.Region
		}
		if owner, taken := pins[e.TLSKey]; taken {
			return fmt.Errorf("%w: the TLS key of %s is that of %s", ErrInvalid, e.Region, owner)
		}
		pins[e.TLSKey] = e.Region
	}
	return nil
}

// With returns the roster with e added, or put in the place of its Region's entry, and its own version raised by one.
// An entry equal to the one held changes nothing. It returns [ErrInvalid], [ErrStepBack], [ErrConflict], or
// [ErrRemoved] for the return of a removed Region. r is not changed.
func (r Roster) With(e Entry) (Roster, error) {
	if err := e.Validate(); err != nil {
		return Roster{}, err
	}
	i, found := r.find(e.Region)
	next := r
	next.Regions = slices.Clone(r.Regions)
	if found {
		same, err := r.Regions[i].replacedBy(e)
		if err != nil {
			return Roster{}, err
		}
		if same {
			return r, nil
		}
		next.Regions[i] = e.clone()
	} else {
		if err := e.validateNew(); err != nil {
			return Roster{}, err
		}
		next.Regions = slices.Insert(next.Regions, i, e.clone())
	}
	next.Version++
	if err := next.Validate(); err != nil {
		return Roster{}, err
	}
	return next, nil
}

// Fingerprint returns what two people compare, by reading it to each other, to know that they hold the same roster:
// SHA-256 of its encoding in base32, 52 characters in groups of four.
func (r Roster) Fingerprint() (string, error) {
	data, err := r.Encode()
	if err != nil {
		return "", err
	}
	return fingerprint("antipode/roster/1", data), nil
}

func fingerprint(label string, data []byte) string {
	h := sha256.New()
	h.Write([]byte(label))
	h.Write([]byte{0})
	h.Write(data)
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil))
	var b strings.Builder
	for i := 0; i < len(text); i += 4 {
		if i > 0 {
			b.WriteByte('-')
		}
		b.WriteString(text[i:min(i+4, len(text))])
	}
	return b.String()
}

func (r Roster) find(region string) (int, bool) {
	return slices.BinarySearchFunc(r.Regions, region, func(e Entry, name string) int {
		return strings.Compare(e.Region, name)
	})
}
