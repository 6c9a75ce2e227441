package keyset

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"antipode/regions/canon"
)

const (
	maxApprovals  = 32
	approvalLabel = "antipode/approval/1"
)

// Approval is one operator's consent to a new generation.
type Approval struct {
	Operator  [32]byte `cbor:"1,keyasint"` // [OperatorID]
	Signature [64]byte `cbor:"2,keyasint"` // Ed25519 over [Proposal.Bytes]
}

// Proposal is what operators approve.
type Proposal struct {
	Scope         string // what it is about; see [KeyScope]
	From, To      Epoch
	Primary       string // the new primary
	RosterVersion uint64
}

// KeyScope returns the scope that is one key.
func KeyScope(account, keyID string) string { return "key/" + account + "/" + keyID }

// OperatorID returns the id of an operator's public key, SHA-256.
func OperatorID(key ed25519.PublicKey) [32]byte { return sha256.Sum256(key) }

// Proposal returns what the operators must have signed for the certificate of a new generation.
func (c Certificate) Proposal() Proposal {
	return Proposal{
		Scope: KeyScope(c.Account, c.KeyID), From: c.From, To: c.To, Primary: c.Primary, RosterVersion: c.RosterVersion,
	}
}

// Bytes returns what is signed: the deterministic CBOR array of "antipode/approval/1", scope, from, to, primary and
// roster version.
func (p Proposal) Bytes() ([]byte, error) {
	return canon.Marshal([]any{approvalLabel, p.Scope, p.From, p.To, p.Primary, p.RosterVersion})
}

// ParseProposal returns the proposal that [Proposal.Bytes] made data of. It returns [ErrInvalid] for everything else.
func ParseProposal(data []byte) (Proposal, error) {
	var f struct {
		_             struct{} `cbor:",toarray"`
		Label, Scope  string
		From, To      Epoch
		Primary       string
		RosterVersion uint64
	}
	if err := canon.Unmarshal(data, &f); err != nil {
		return Proposal{}, fmt.Errorf("%w: proposal: %w", ErrInvalid, err)
	}
	// People read it before they sign, so nothing in it may look like what it is not.
	if f.Label != approvalLabel || f.Scope == "" || !printable(f.Scope) || !printable(f.Primary) {
		return Proposal{}, fmt.Errorf("%w: not a proposal", ErrInvalid)
	}
	return Proposal{Scope: f.Scope, From: f.From, To: f.To, Primary: f.Primary, RosterVersion: f.RosterVersion}, nil
}

// printable: ASCII without spaces and control characters, at most 256 bytes.
func printable(s string) bool {
	return len(s) <= 256 && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
}

// validApprovals: in order of operator, each once.
func validApprovals(list []Approval) error {
	if len(list) > maxApprovals {
		return fmt.Errorf("%w: more than %d approvals", ErrInvalid, maxApprovals)
	}
	for i := 1; i < len(list); i++ {
		if bytes.Compare(list[i-1].Operator[:], list[i].Operator[:]) >= 0 {
			return fmt.Errorf("%w: approvals repeated or out of order", ErrInvalid)
		}
	}
	return nil
}

// checkQuorum returns [ErrUncertified] unless the certificate of a new generation is approved by the present operators, or,
// if past ones will do, by those of any time.
func checkQuorum(c Certificate, trust Trust, past bool) error {
	operators, need := trust.OperatorQuorum()
	err := VerifyApprovals(c.Proposal(), c.Approvals, operators, need)
	if err == nil || !past {
		return err
	}
	for _, q := range trust.PastQuorums() {
		if VerifyApprovals(c.Proposal(), c.Approvals, q.Operators, q.Need) == nil {
			return nil
		}
	}
	return err
}

// Quorum is some operators and how many of them must approve.
type Quorum struct {
	Operators []ed25519.PublicKey
	Need      int
}

// VerifyApprovals returns [ErrUncertified] unless a majority of the operators, and as many as need says, approved the
// proposal; [ErrInvalid] if the approvals are not in order of operator, each once. One wrong approval spoils it: whoever
// put it there is not to be trusted with the rest.
func VerifyApprovals(p Proposal, approvals []Approval, operators []ed25519.PublicKey, need int) error {
	if need <= 0 || 2*need <= len(operators) {
		return fmt.Errorf("%w: no quorum is set up", ErrUncertified)
	}
	if err := validApprovals(approvals); err != nil {
		return err
	}
	byID := make(map[[32]byte]ed25519.PublicKey, len(operators))
	for _, key := range operators {
		if len(key) == ed25519.PublicKeySize {
			byID[OperatorID(key)] = key
		}
	}
	signed, err := p.Bytes()
	if err != nil {
		return err
	}
	// Operators are unique in valid approvals, so each counts once.
	for _, a := range approvals {
		key, known := byID[a.Operator]
		if !known || !ed25519.Verify(key, signed, a.Signature[:]) {
			return fmt.Errorf("%w: an approval is by nobody, or not of this", ErrUncertified)
		}
	}
	if len(approvals) < need {
		return fmt.Errorf("%w: %d of %d approvals", ErrUncertified, len(approvals), need)
	}
	return nil
}

// SortApprovals returns the approvals in order of operator, each operator's first one only.
func SortApprovals(list []Approval) []Approval {
	out := append([]Approval{}, list...)
	slices.SortStableFunc(out, func(a, b Approval) int { return bytes.Compare(a.Operator[:], b.Operator[:]) })
	return slices.CompactFunc(out, func(a, b Approval) bool { return a.Operator == b.Operator })
}
