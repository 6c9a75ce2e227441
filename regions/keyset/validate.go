package keyset

import (
	"fmt"
	"strings"
)

// Limits of a state.
const (
	MaxMembers   = 64
	MaxMaterials = 1024
)

// Validate returns [ErrInvalid] with the first rule that the state breaks.
func (s State) Validate() error {
	switch {
	case !validAccount(s.Account):
		return fmt.Errorf("%w: account %.20q", ErrInvalid, s.Account)
	case !validKeyID(s.KeyID):
		return fmt.Errorf("%w: key id %.60q", ErrInvalid, s.KeyID)
	case !validName(s.Spec) || !validName(s.Usage) || !validName(s.Origin):
		return fmt.Errorf("%w: spec, usage or origin", ErrInvalid)
	case s.Epoch.Generation == 0 || s.Epoch.Term == 0 || s.Sequence == 0:
		return fmt.Errorf("%w: number %v/%d", ErrInvalid, s.Epoch, s.Sequence)
	}
	if err := s.validateMembers(); err != nil {
		return err
	}
	if err := s.validateMaterials(); err != nil {
		return err
	}
	return s.Rotation.validate()
}

func (r Rotation) validate() error {
	if p := r.PeriodDays; (p < 90 || p > 2560) && (p != 0 || r.Enabled) {
		return fmt.Errorf("%w: rotation period of %d days", ErrInvalid, p)
	}
	if r.Enabled != (r.Next > 0) || r.Next < 0 {
		return fmt.Errorf("%w: rotation at %d, enabled is %t", ErrInvalid, r.Next, r.Enabled)
	}
	return nil
}

func (s State) validateMembers() error {
	if len(s.Members) > MaxMembers {
		return fmt.Errorf("%w: more than %d members", ErrInvalid, MaxMembers)
	}
	for i, m := range s.Members {
		if !validName(m.Region) || m.Incarnation == [16]byte{} {
			return fmt.Errorf("%w: member %.40q", ErrInvalid, m.Region)
		}
		if m.Status != Creating && m.Status != Active {
			return fmt.Errorf("%w: member status %.20q", ErrInvalid, m.Status)
		}
		if i > 0 && s.Members[i-1].Region >= m.Region {
			return fmt.Errorf("%w: members repeated or out of order", ErrInvalid)
		}
	}
	if p, there := s.Member(s.Primary); !there || p.Status != Active {
		return fmt.Errorf("%w: the primary is not an active member", ErrInvalid)
	}
	return nil
}

func (s State) validateMaterials() error {
	if len(s.Materials) > MaxMaterials {
		return fmt.Errorf("%w: more than %d materials", ErrInvalid, MaxMaterials)
	}
	count := map[MaterialStatus]int{}
	seen := make(map[string]bool, len(s.Materials))
	for _, m := range s.Materials {
		if !ValidMaterialID(m.ID) || seen[m.ID] {
			return fmt.Errorf("%w: material id malformed or repeated", ErrInvalid)
		}
		seen[m.ID] = true
		if m.Cause != "" && m.Cause != Automatic && m.Cause != OnDemand {
			return fmt.Errorf("%w: cause of rotation %.20q", ErrInvalid, m.Cause)
		}
		if m.Rotated < 0 || m.Rotated != 0 && (m.Cause == "" || m.Status == Pending || m.Status == Abandoned) {
			return fmt.Errorf("%w: %s material became current at %d", ErrInvalid, m.Status, m.Rotated)
		}
		switch m.Status {
		case Current, NonCurrent, Pending, Abandoned:
			count[m.Status]++
		default:
			return fmt.Errorf("%w: material status %.20q", ErrInvalid, m.Status)
		}
	}
	// A key whose material is imported begins without any.
	if count[Current] != 1 && (s.Origin != OriginExternal || len(s.Materials) != 0) {
		return fmt.Errorf("%w: %d current materials", ErrInvalid, count[Current])
	}
	if count[Pending] > 1 {
		return fmt.Errorf("%w: %d pending materials", ErrInvalid, count[Pending])
	}
	return nil
}

// ValidMaterialID reports whether id has the form of a material id: 64 lower-case hex digits.
func ValidMaterialID(id string) bool { return len(id) == 64 && only(id, "0123456789abcdef") }

func validAccount(s string) bool { return len(s) == 12 && only(s, "0123456789") }

func validKeyID(s string) bool {
	hex, ok := strings.CutPrefix(s, "mrk-")
	return ok && len(hex) == 32 && only(hex, "0123456789abcdef")
}

// validName holds for Region names (the roster knows which exist) and the names of the AWS API.
func validName(s string) bool {
	return s != "" && len(s) <= 64 && only(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
}

func only(s, set string) bool { return strings.Trim(s, set) == "" }
