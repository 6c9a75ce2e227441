package roster

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"antipode/regions/canon"
	"antipode/regions/keyset"
)

// OperatorKey is one operator's Ed25519 public key.
type OperatorKey struct {
	PublicKey [32]byte `cbor:"1,keyasint"`
	Name      string   `cbor:"2,keyasint"` // for people, 1 to 128 bytes
}

// OperatorSet is the operators of one time. The sets of a roster are a chain: each names the one before by its hash, and
// counts by the approvals of that one's operators. The first counts because the operator of each Region has compared its
// fingerprint.
type OperatorSet struct {
	Version uint64        `cbor:"1,keyasint"` // from 1
	Quorum  uint64        `cbor:"2,keyasint"` // how many must approve, more than half
	Keys    []OperatorKey `cbor:"3,keyasint"` // in order of key
	// Previous is the hash of the set before, empty for the first.
	Previous []byte `cbor:"4,keyasint"`
	// Approvals are by the operators of the set before, of [OperatorSet.Proposal]; none for the first. They are not part of
	// the hash: who approved a set is not what it is.
	Approvals []keyset.Approval `cbor:"5,keyasint"`
}

// NextOperators returns the set that follows the last of sets, or the first one, without approvals. Keys are put in
// order. It returns [ErrInvalid].
func NextOperators(sets []OperatorSet, quorum uint64, keys []OperatorKey) (OperatorSet, error) {
	s := OperatorSet{Version: 1, Quorum: quorum, Keys: slices.Clone(keys), Previous: []byte{}, Approvals: []keyset.Approval{}}
	slices.SortFunc(s.Keys, func(a, b OperatorKey) int { return bytes.Compare(a.PublicKey[:], b.PublicKey[:]) })
	if n := len(sets); n > 0 {
		sum, err := sets[n-1].hash()
		if err != nil {
			return s, err
		}
		s.Version, s.Previous = sets[n-1].Version+1, sum[:]
	}
	return s, s.validate()
}

// Proposal is what the operators of the set before approve: the scope names the set by its hash. It is of no roster's
// version, because each Region counts its own.
func (s OperatorSet) Proposal() (keyset.Proposal, error) {
	sum, err := s.hash()
	if err != nil {
		return keyset.Proposal{}, err
	}
	return keyset.Proposal{
		Scope: "operators/" + hex.EncodeToString(sum[:]),
		From:  keyset.Epoch{Generation: s.Version - 1}, To: keyset.Epoch{Generation: s.Version},
	}, nil
}

// Fingerprint is for people to compare: over the set and, by the hash of the one before, all sets before it.
func (s OperatorSet) Fingerprint() (string, error) {
	data, err := s.signed()
	if err != nil {
		return "", err
	}
	return fingerprint(operatorsLabel, data), nil
}

// WithApprovals returns the set with these approvals in order, each operator's once.
func (s OperatorSet) WithApprovals(list []keyset.Approval) OperatorSet {
	s.Approvals = keyset.SortApprovals(list)
	return s
}

const operatorsLabel = "antipode/operators/1"

func (s OperatorSet) signed() ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	return canon.Marshal([]any{s.Version, s.Quorum, s.Keys, s.Previous})
}

func (s OperatorSet) hash() ([sha256.Size]byte, error) {
	data, err := s.signed()
	return sha256.Sum256(append([]byte(operatorsLabel+"\x00"), data...)), err
}

func (s OperatorSet) keys() (out []ed25519.PublicKey) {
	for _, k := range s.Keys {
		out = append(out, slices.Clone(k.PublicKey[:]))
	}
	return out
}

func (s OperatorSet) validate() error {
	n := uint64(len(s.Keys))
	switch {
	case s.Version == 0 || (s.Version == 1) != (len(s.Previous) == 0):
		return fmt.Errorf("%w: operators: version %d, and the first names no other", ErrInvalid, s.Version)
	case s.Version > 1 && len(s.Previous) != sha256.Size:
		return fmt.Errorf("%w: operators: hash of the set before", ErrInvalid)
	case n == 0 || n > MaxOperators:
		return fmt.Errorf("%w: %d operators, 1 to %d are allowed", ErrInvalid, n, MaxOperators)
	case s.Quorum > n || 2*s.Quorum <= n:
		return fmt.Errorf("%w: a quorum of %d of %d operators is not a majority", ErrInvalid, s.Quorum, n)
	}
	for i, k := range s.Keys {
		if len(k.Name) == 0 || len(k.Name) > 128 {
			return fmt.Errorf("%w: operator name of %d bytes", ErrInvalid, len(k.Name))
		}
		if i > 0 && bytes.Compare(s.Keys[i-1].PublicKey[:], k.PublicKey[:]) >= 0 {
			return fmt.Errorf("%w: operators repeated or out of order", ErrInvalid)
		}
	}
	return nil
}

// validateOperators checks a whole chain of sets, approvals included.
func validateOperators(sets []OperatorSet) error {
	if len(sets) > MaxSets {
		return fmt.Errorf("%w: more than %d sets of operators", ErrInvalid, MaxSets)
	}
	for i, s := range sets {
		if err := s.validate(); err != nil {
			return err
		}
		if s.Version != uint64(i)+1 {
			return fmt.Errorf("%w: operators: version %d in place %d", ErrInvalid, s.Version, i+1)
		}
		if i == 0 {
			if len(s.Approvals) > 0 {
				return fmt.Errorf("%w: nobody can approve the first operators", ErrInvalid)
			}
			continue
		}
		if err := s.follows(sets[i-1]); err != nil {
			return err
		}
	}
	return nil
}

// follows returns [ErrUnapproved] or [ErrInvalid] unless s names the set before and is approved by its operators.
func (s OperatorSet) follows(before OperatorSet) error {
	sum, err := before.hash()
	if err != nil {
		return err
	}
	if !bytes.Equal(s.Previous, sum[:]) {
		return fmt.Errorf("%w: operators %d follow others than %d", ErrInvalid, s.Version, before.Version)
	}
	p, err := s.Proposal()
	if err != nil {
		return err
	}
	return before.Approved(p, s.Approvals)
}

// Approved returns [ErrUnapproved] unless a quorum of the set approved the proposal.
func (s OperatorSet) Approved(p keyset.Proposal, approvals []keyset.Approval) error {
	err := keyset.VerifyApprovals(p, approvals, s.keys(), int(s.Quorum)) //nolint:gosec // at most MaxOperators
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnapproved, err)
	}
	return nil
}

// PresentOperators returns the operators of now; false if none were ever enrolled.
func (r Roster) PresentOperators() (OperatorSet, bool) {
	if len(r.Operators) == 0 {
		return OperatorSet{}, false
	}
	return r.Operators[len(r.Operators)-1], true
}

// WithOperators returns the roster with this chain of sets, first to last, and its own version raised by one. A roster
// without operators takes the whole chain: whoever calls this has had its fingerprint compared. A roster with operators
// takes what extends its own chain. It returns r as it is if the chain adds nothing, [ErrConflict] if the two part,
// [ErrStepBack] if the chain is shorter, [ErrUnapproved] or [ErrInvalid].
func (r Roster) WithOperators(sets []OperatorSet) (Roster, error) {
	if err := validateOperators(sets); err != nil {
		return Roster{}, err
	}
	for i := range min(len(sets), len(r.Operators)) {
		a, errA := sets[i].hash()
		b, errB := r.Operators[i].hash()
		if err := errors.Join(errA, errB); err != nil {
			return Roster{}, err
		}
		if a != b {
			return Roster{}, fmt.Errorf("%w: operators %d", ErrConflict, i+1)
		}
	}
	switch {
	case len(sets) < len(r.Operators):
		return Roster{}, fmt.Errorf("%w: operators from version %d to %d", ErrStepBack, len(r.Operators), len(sets))
	case len(sets) == len(r.Operators):
		return r, nil
	}
	next := r
	next.Operators = slices.Clone(r.Operators)
	next.Operators = append(next.Operators, sets[len(r.Operators):]...)
	next.Version++
	return next, next.Validate()
}

// OperatorQuorum returns the present operators' public keys and how many of them must approve. Without operators nothing
// can be approved, and it returns 0.
func (r Roster) OperatorQuorum() (operators []ed25519.PublicKey, need int) {
	s, _ := r.PresentOperators()
	return s.keys(), int(s.Quorum) //nolint:gosec // at most MaxOperators
}

// PastQuorums returns the same of the operators of former times, newest first.
func (r Roster) PastQuorums() (out []keyset.Quorum) {
	for i := len(r.Operators) - 2; i >= 0; i-- {
		s := r.Operators[i]
		out = append(out, keyset.Quorum{Operators: s.keys(), Need: int(s.Quorum)}) //nolint:gosec // at most MaxOperators
	}
	return out
}
