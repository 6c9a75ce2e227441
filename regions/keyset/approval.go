package keyset

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"

	"antipode/regions/canon"
)

const maxApprovals = 32

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
	return canon.Marshal([]any{"antipode/approval/1", p.Scope, p.From, p.To, p.Primary, p.RosterVersion})
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

// checkQuorum returns [ErrUncertified] unless a majority of the operators, and as many as the roster demands, approved
// the certificate. One wrong approval spoils it: whoever put it there is not to be trusted with the rest.
func checkQuorum(c Certificate, trust Trust) error {
	operators, need := trust.OperatorQuorum()
	if need <= 0 || 2*need <= len(operators) {
		return fmt.Errorf("%w: no quorum is set up", ErrUncertified)
	}
	byID := make(map[[32]byte]ed25519.PublicKey, len(operators))
	for _, key := range operators {
		if len(key) == ed25519.PublicKeySize {
			byID[OperatorID(key)] = key
		}
	}
	signed, err := c.Proposal().Bytes()
	if err != nil {
		return err
	}
	// Operators are unique in a valid certificate, so each counts once.
	for _, a := range c.Approvals {
		key, known := byID[a.Operator]
		if !known || !ed25519.Verify(key, signed, a.Signature[:]) {
			return fmt.Errorf("%w: an approval is by nobody, or not of this", ErrUncertified)
		}
	}
	if len(c.Approvals) < need {
		return fmt.Errorf("%w: %d of %d approvals", ErrUncertified, len(c.Approvals), need)
	}
	return nil
}
