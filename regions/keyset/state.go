package keyset

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"fmt"

	"antipode/regions/canon"
	"antipode/regions/cose"
)

// OriginExternal is the origin of keys whose material is imported, with AWS's name.
const OriginExternal = "EXTERNAL"

// MemberStatus is where a Region stands in a key set.
type MemberStatus string

// The statuses of a member. Both count at the rotation barrier.
const (
	Creating MemberStatus = "Creating" // material was or may have been sent, the receipt is not there yet
	Active   MemberStatus = "Active"   // the receipt is there
)

// MaterialStatus is what a material is used for.
type MaterialStatus string

// The statuses of a material.
const (
	Current    MaterialStatus = "Current"    // encrypts and decrypts
	NonCurrent MaterialStatus = "NonCurrent" // decrypts
	Pending    MaterialStatus = "Pending"    // is on its way to every member; decrypts, and becomes current later
	// Abandoned was pending and never became current: its primary has lost it, and nobody had it. It is listed for ever, as
	// every material is, and no member needs to hold it.
	Abandoned MaterialStatus = "Abandoned"
)

// State is all that the Regions of a multi-Region key share.
type State struct {
	Account string `cbor:"1,keyasint"` // 12 digits
	KeyID   string `cbor:"2,keyasint"` // "mrk-" and 32 hex digits
	Spec    string `cbor:"3,keyasint"` // KeySpec, for instance SYMMETRIC_DEFAULT
	Usage   string `cbor:"4,keyasint"` // KeyUsage
	Origin  string `cbor:"5,keyasint"`
	Created int64  `cbor:"6,keyasint"` // Unix milliseconds at the first primary
	// Epoch, Certificate and Primary are those of the chain's head.
	Epoch       Epoch          `cbor:"7,keyasint"`
	Certificate [HashSize]byte `cbor:"8,keyasint"`
	Primary     string         `cbor:"9,keyasint"`
	// Sequence counts changes inside an epoch, from 1.
	Sequence  uint64     `cbor:"10,keyasint"`
	Members   []Member   `cbor:"11,keyasint"` // in order of Region, the primary among them
	Materials []Material `cbor:"12,keyasint"` // in the order in which they came
	Rotation  Rotation   `cbor:"13,keyasint"`
}

// Member is one Region of a key set.
type Member struct {
	Region string `cbor:"1,keyasint"`
	// Incarnation is the id of the exchange that made this replica, or 16 random bytes of the first primary. Receipts
	// of another incarnation don't count.
	Incarnation [16]byte     `cbor:"2,keyasint"`
	Status      MemberStatus `cbor:"3,keyasint"`
}

// Material is one version of the key material, by its id.
type Material struct {
	ID      string         `cbor:"1,keyasint"` // 64 lower-case hex digits
	Status  MaterialStatus `cbor:"2,keyasint"`
	Created int64          `cbor:"3,keyasint"` // Unix milliseconds
	// Cause says how it came by a rotation: [Automatic] or [OnDemand]; empty for a key's first material.
	Cause RotationCause `cbor:"4,keyasint,omitempty"`
	// Rotated is when it became current by a rotation that had waited for other members, Unix milliseconds; 0 if it was
	// current from the beginning, or has not become so.
	Rotated int64 `cbor:"5,keyasint,omitempty"`
}

// RotationCause is what began a rotation, with AWS's names.
type RotationCause string

// The causes of a rotation.
const (
	Automatic RotationCause = "AUTOMATIC"
	OnDemand  RotationCause = "ON_DEMAND"
)

// Rotation is the schedule of automatic rotation.
type Rotation struct {
	Enabled    bool   `cbor:"1,keyasint"`
	PeriodDays uint64 `cbor:"2,keyasint"` // 90 to 2560 if enabled, otherwise that or 0
	// Next is when it rotates next, Unix milliseconds; 0 if it is not enabled.
	Next int64 `cbor:"3,keyasint,omitempty"`
}

// Member returns the member of this Region.
func (s State) Member(region string) (Member, bool) {
	for _, m := range s.Members {
		if m.Region == region {
			return m, true
		}
	}
	return Member{}, false
}

// Current returns the id of the current material, "" if there is none.
func (s State) Current() string {
	for _, m := range s.Materials {
		if m.Status == Current {
			return m.ID
		}
	}
	return ""
}

// Pending returns the material that is on its way to every member, if there is one.
func (s State) Pending() (Material, bool) {
	for _, m := range s.Materials {
		if m.Status == Pending {
			return m, true
		}
	}
	return Material{}, false
}

// Needed returns the materials that exchanges bring to each member, in order: all but abandoned ones. Imported material
// travels in no exchange; its owner brings it to each Region.
func (s State) Needed() []Material {
	if s.Origin == OriginExternal {
		return nil
	}
	needed := make([]Material, 0, len(s.Materials))
	for _, m := range s.Materials {
		if m.Status != Abandoned {
			needed = append(needed, m)
		}
	}
	return needed
}

// Newer reports whether a has a higher (generation, term, sequence) than b.
func Newer(a, b State) bool { return compareNumbers(a, b) > 0 }

func compareNumbers(a, b State) int {
	return cmp.Or(a.Epoch.Compare(b.Epoch), cmp.Compare(a.Sequence, b.Sequence))
}

// Accept decides whether got takes the place of have, which is nil if there is none. Who signed got was checked by
// [OpenState]. It returns false without an error if got is what there is already, and else [ErrInvalid], [ErrStale],
// [ErrConflict] or [ErrShrinks].
func Accept(have *State, got State) (changed bool, err error) {
	if err := got.Validate(); err != nil {
		return false, err
	}
	if have == nil {
		return true, nil
	}
	if got.Account != have.Account || got.KeyID != have.KeyID {
		return false, fmt.Errorf("%w: state of another key", ErrInvalid)
	}
	switch n := compareNumbers(got, *have); {
	case n < 0:
		return false, fmt.Errorf("%w: %v/%d, held is %v/%d", ErrStale, got.Epoch, got.Sequence, have.Epoch, have.Sequence)
	case n == 0:
		same, err := equal(*have, got)
		if err != nil {
			return false, err
		}
		if !same {
			return false, fmt.Errorf("%w: %s at %v/%d", ErrConflict, got.KeyID, got.Epoch, got.Sequence)
		}
		return false, nil
	}
	return true, have.keptBy(got)
}

// keptBy returns [ErrShrinks] if next lacks a material of s, abandons one that has been current, takes one up again that
// was abandoned, or alters what is fixed at creation.
func (s State) keptBy(next State) error {
	if s.Spec != next.Spec || s.Usage != next.Usage || s.Origin != next.Origin || s.Created != next.Created {
		return fmt.Errorf("%w: spec, usage, origin or creation of %s", ErrShrinks, s.KeyID)
	}
	kept := make(map[string]Material, len(next.Materials))
	for _, m := range next.Materials {
		kept[m.ID] = m
	}
	for _, m := range s.Materials {
		k, there := kept[m.ID]
		if !there || k.Created != m.Created || k.Cause != m.Cause {
			return fmt.Errorf("%w: material %s", ErrShrinks, m.ID)
		}
		if (m.Status == Abandoned) != (k.Status == Abandoned) && m.Status != Pending {
			return fmt.Errorf("%w: material %s was %s and is %s", ErrShrinks, m.ID, m.Status, k.Status)
		}
	}
	return nil
}

func equal(a, b State) (bool, error) {
	x, err := canon.Marshal(a)
	if err != nil {
		return false, err
	}
	y, err := canon.Marshal(b)
	if err != nil {
		return false, err
	}
	return bytes.Equal(x, y), nil
}

// SignState returns the signed state. s must be the RSK of its primary.
func SignState(ctx context.Context, s cose.Signer, state State) ([]byte, error) {
	if err := state.Validate(); err != nil {
		return nil, err
	}
	payload, err := canon.Marshal(state)
	if err != nil {
		return nil, fmt.Errorf("encode key set state: %w", err)
	}
	return cose.Sign(ctx, s, TypeState, payload)
}

// OpenState returns a signed state if it is signed by an active key of the primary that head names and is of head's
// key, epoch and certificate. It returns [ErrUncertified] or [ErrInvalid] otherwise.
func OpenState(data []byte, head Head, trust Trust) (State, error) {
	msg, err := cose.Verify(data, TypeState, func(id []byte) (*ecdsa.PublicKey, error) {
		return trust.VerifyKey(head.Primary, id)
	})
	if err != nil {
		return State{}, fmt.Errorf("%w: state: %w", ErrUncertified, err)
	}
	var s State
	if err := canon.Unmarshal(msg.Payload, &s); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := s.Validate(); err != nil {
		return State{}, err
	}
	if s.Account != head.Account || s.KeyID != head.KeyID || s.Epoch != head.Epoch || s.Primary != head.Primary ||
		s.Certificate != head.Certificate {
		return State{}, fmt.Errorf("%w: state is not of the certified epoch", ErrUncertified)
	}
	return s, nil
}
