package roster

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"

	"antipode/regions/canon"
	"antipode/regions/keyset"
)

// Request is what operators are asked to approve, as it goes to them in a file.
type Request struct {
	// Proposal is [keyset.Proposal.Bytes]: what is signed.
	Proposal []byte `cbor:"1,keyasint"`
	// Operators is the chain of operator sets whose last one the proposal is about, so that people see whom they approve;
	// empty if it is about something else.
	Operators []OperatorSet `cbor:"2,keyasint"`
}

// SignedApproval is one operator's approval, as it comes back in a file.
type SignedApproval struct {
	Proposal []byte          `cbor:"1,keyasint"` // what was signed
	Approval keyset.Approval `cbor:"2,keyasint"`
}

// The armour of the two kinds of files.
const (
	pemRequest  = "ANTIPODE APPROVAL REQUEST"
	pemApproval = "ANTIPODE APPROVAL"
)

// MaxApprovalFile is the largest file of a request or an approval in bytes.
const MaxApprovalFile = 1 << 20

// NewRequest returns a request about a proposal.
func NewRequest(p keyset.Proposal) (Request, error) {
	data, err := p.Bytes()
	return Request{Proposal: data, Operators: []OperatorSet{}}, err
}

// NewOperatorsRequest returns the request to have the last of sets follow the one before it.
func NewOperatorsRequest(sets []OperatorSet) (Request, error) {
	if len(sets) == 0 {
		return Request{}, fmt.Errorf("%w: no operators", ErrInvalid)
	}
	p, err := sets[len(sets)-1].Proposal()
	if err != nil {
		return Request{}, err
	}
	r, err := NewRequest(p)
	r.Operators = sets
	return r, err
}

// Parse returns what the request is about. Operators that come with it are what the proposal says, or [ErrInvalid] is
// returned; those before the last are approved as they must be, except that the first counts by its fingerprint alone.
func (r Request) Parse() (keyset.Proposal, error) {
	p, err := keyset.ParseProposal(r.Proposal)
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	n := len(r.Operators)
	if n == 0 {
		return p, nil
	}
	if err := validateOperators(r.Operators[:n-1]); err != nil {
		return p, err
	}
	last := r.Operators[n-1]
	about, err := last.Proposal()
	if err != nil {
		return p, err
	}
	if about != p || last.Version != uint64(n) {
		return p, fmt.Errorf("%w: the request is about other operators than it shows", ErrInvalid)
	}
	return p, nil
}

// Encode returns the file of the request: PEM around its CBOR.
func (r Request) Encode() ([]byte, error) { return armour(pemRequest, r) }

// DecodeRequest returns the request in a file that [Request.Encode] made, if it parses. It returns [ErrInvalid].
func DecodeRequest(file []byte) (r Request, err error) {
	if err := unarmour(pemRequest, file, &r); err != nil {
		return Request{}, err
	}
	if _, err := r.Parse(); err != nil {
		return Request{}, err
	}
	return r, nil
}

// Approve signs the request with an operator's key. Whoever calls it has shown a person what it says.
func (r Request) Approve(key ed25519.PrivateKey) (SignedApproval, error) {
	if _, err := r.Parse(); err != nil {
		return SignedApproval{}, err
	}
	public, isEd25519 := key.Public().(ed25519.PublicKey)
	if !isEd25519 {
		return SignedApproval{}, fmt.Errorf("%w: not an Ed25519 key", ErrInvalid)
	}
	a := SignedApproval{Proposal: r.Proposal, Approval: keyset.Approval{Operator: keyset.OperatorID(public)}}
	copy(a.Approval.Signature[:], ed25519.Sign(key, r.Proposal))
	return a, nil
}

// Encode returns the file of the approval: PEM around its CBOR.
func (a SignedApproval) Encode() ([]byte, error) { return armour(pemApproval, a) }

// DecodeApproval returns the approval in a file that [SignedApproval.Encode] made. Its signature is not looked at. It
// returns [ErrInvalid].
func DecodeApproval(file []byte) (a SignedApproval, err error) {
	if err := unarmour(pemApproval, file, &a); err != nil {
		return SignedApproval{}, err
	}
	if _, err := keyset.ParseProposal(a.Proposal); err != nil {
		return SignedApproval{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return a, nil
}

// CollectApprovals returns the approvals in these files in the form in which certificates carry them, if each is of the
// proposal. It does not ask who may approve: [OperatorSet.Approved] does. It returns [ErrInvalid] or [ErrUnapproved].
func CollectApprovals(p keyset.Proposal, files [][]byte) ([]keyset.Approval, error) {
	want, err := p.Bytes()
	if err != nil {
		return nil, err
	}
	var list []keyset.Approval
	for i, file := range files {
		a, err := DecodeApproval(file)
		if err != nil {
			return nil, fmt.Errorf("approval %d: %w", i+1, err)
		}
		if !bytes.Equal(a.Proposal, want) {
			return nil, fmt.Errorf("%w: approval %d is of something else", ErrUnapproved, i+1)
		}
		list = append(list, a.Approval)
	}
	return keyset.SortApprovals(list), nil
}

func armour(kind string, v any) ([]byte, error) {
	data, err := canon.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), nil
}

func unarmour(kind string, file []byte, v any) error {
	if len(file) > MaxApprovalFile {
		return fmt.Errorf("%w: more than %d bytes", ErrInvalid, MaxApprovalFile)
	}
	block, rest := pem.Decode(file)
	if block == nil || block.Type != kind || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return fmt.Errorf("%w: not a file with one block %q", ErrInvalid, kind)
	}
	if err := canon.Unmarshal(block.Bytes, v); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}
