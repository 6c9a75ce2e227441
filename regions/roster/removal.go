package roster

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"antipode/regions/cose"
	"antipode/regions/keyset"
)

// Removal takes a Region, or one of its signing keys, out of the roster for ever, by a quorum of the operators.
type Removal struct {
	Region string `cbor:"1,keyasint"`
	// Key is the id of the signing key, empty if the whole Region goes.
	Key []byte `cbor:"2,keyasint"`
	// Approvals are of [Removal.Proposal], in order of operator.
	Approvals []keyset.Approval `cbor:"3,keyasint"`
}

// Proposal is what the operators approve. It can be repeated without harm, so it is of no epoch and no roster's version.
func (m Removal) Proposal() keyset.Proposal {
	scope := "region/" + m.Region + "/remove"
	if len(m.Key) > 0 {
		scope += "-key/" + hex.EncodeToString(m.Key)
	}
	return keyset.Proposal{Scope: scope}
}

func (m Removal) same(o Removal) bool { return m.Region == o.Region && slices.Equal(m.Key, o.Key) }

func validateRemovals(list []Removal) error {
	if len(list) > MaxRemovals {
		return fmt.Errorf("%w: more than %d removals", ErrInvalid, MaxRemovals)
	}
	for i, m := range list {
		if !ValidRegion(m.Region) || len(m.Key) != 0 && len(m.Key) != len(cose.KeyID(nil)) {
			return fmt.Errorf("%w: removal of %.40q", ErrInvalid, m.Region)
		}
		if slices.ContainsFunc(list[:i], m.same) {
			return fmt.Errorf("%w: removal of %s repeated", ErrInvalid, m.Region)
		}
	}
	return nil
}

// WithRemoval returns the roster without a Region, or with one of its signing keys removed, as the present operators have
// approved. What was removed so before changes nothing. It returns [ErrUnapproved], [ErrUnknownRegion] or [ErrUnknownKey].
func (r Roster) WithRemoval(m Removal) (Roster, error) {
	if slices.ContainsFunc(r.Removals, m.same) {
		return r, nil
	}
	set, _ := r.PresentOperators()
	if err := set.Approved(m.Proposal(), m.Approvals); err != nil {
		return Roster{}, err
	}
	next, err := r.Without(m.Region, m.Key)
	if err != nil {
		return Roster{}, err
	}
	next.Removals = append(slices.Clone(r.Removals), m)
	next.Version = r.Version + 1
	return next, next.Validate()
}

// Without returns the roster without a Region, or, if key is not empty, with that one of its signing keys removed. It is
// the word of the holder's own operator, which needs no other's. What was removed before changes nothing. It returns
// [ErrUnknownRegion] or [ErrUnknownKey].
func (r Roster) Without(region string, key []byte) (Roster, error) {
	e, err := r.Entry(region)
	if errors.Is(err, ErrRemoved) {
		return r, nil
	}
	if err != nil {
		return Roster{}, err
	}
	e.Version++
	if len(key) == 0 {
		e.Removed = true
		return r.With(e)
	}
	at := slices.IndexFunc(e.RSKs, func(k RSK) bool { return slices.Equal(k.KeyID(), key) })
	if at < 0 {
		return Roster{}, fmt.Errorf("%w: region %s", ErrUnknownKey, region)
	}
	if e.RSKs[at].State == Removed {
		return r, nil
	}
	e.RSKs[at].State, e.RSKs[at].Since = Removed, e.Version
	return r.With(e)
}

// RemovedRegions returns the Regions that were removed, in order.
func (r Roster) RemovedRegions() (names []string) {
	for _, e := range r.Regions {
		if e.Removed {
			names = append(names, e.Region)
		}
	}
	return names
}
