// Package keyset is the part of a multi-Region key that all its Regions share, with the proof of who may change it.
//
// Invariants:
//   - An [Epoch] counts only with its [Certificate]. A term is raised by the primary before it; a generation only by a
//     majority of the operators, so that a hand-over inside a partition can't outrun what the operators decided.
//   - Each certificate names the hash of the one before it. Of two certificates that follow the same one, at most one
//     is ever accepted: the other is [ErrFork], unless it leads to a higher generation, which operators decided.
//   - A [State] is accepted only from the certified primary of its epoch and only with a higher (generation, term,
//     sequence). The same number with another content is [ErrConflict], an alarm, and never merged.
//   - Materials are named by id, never by place, and only grow: a state that lacks one is refused.
package keyset

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha512"
	"errors"
	"fmt"
)

// The COSE types of what this package signs.
const (
	TypeState       = "antipode/state"
	TypeCertificate = "antipode/epoch"
)

// HashSize is the length of the hashes of this package, SHA-384.
const HashSize = sha512.Size384

var (
	// ErrInvalid says that a state or certificate breaks a rule of form.
	ErrInvalid = errors.New("invalid key set")
	// ErrUncertified says that a certificate or state is not signed by who may sign it, or that a quorum is missing.
	ErrUncertified = errors.New("key set change is not certified")
	// ErrStale says that what was received is older than what is held. It is no alarm.
	ErrStale = errors.New("key set state is stale")
	// ErrFork says that two certificates claim the same place. Accept neither and alarm.
	ErrFork = errors.New("epoch certificates contradict each other")
	// ErrConflict says that two states of one number differ. Alarm.
	ErrConflict = errors.New("key set states of one number contradict each other")
	// ErrShrinks says that a newer state lacks a material, or changes what never changes.
	ErrShrinks = errors.New("key set state drops or alters what is fixed")
)

// Epoch says whose turn it is: Generation is raised by the operators, Term by the primary that hands over.
type Epoch struct {
	_          struct{} `cbor:",toarray"`
	Generation uint64
	Term       uint64
}

// Compare orders epochs: first by generation, then by term.
func (e Epoch) Compare(o Epoch) int {
	return cmp.Or(cmp.Compare(e.Generation, o.Generation), cmp.Compare(e.Term, o.Term))
}

// String returns "generation.term".
func (e Epoch) String() string { return fmt.Sprintf("%d.%d", e.Generation, e.Term) }

// First returns the epoch of a new key, (1, 1).
func First() Epoch { return Epoch{Generation: 1, Term: 1} }

// Trust is what this package asks of the roster.
type Trust interface {
	// VerifyKey returns the key of this Region with this id if it may introduce something new.
	VerifyKey(region string, keyID []byte) (*ecdsa.PublicKey, error)
	// HistoricKey returns it whatever its state.
	HistoricKey(region string, keyID []byte) (*ecdsa.PublicKey, error)
	// OperatorQuorum returns the operators' keys and how many must approve; 0 if nothing can be approved.
	OperatorQuorum() (operators []ed25519.PublicKey, need int)
	// PastQuorums returns the operators of former times, newest first.
	PastQuorums() []Quorum
}

// Hash returns SHA-384 of a signed certificate, by which the next one and the states name it.
func Hash(certificate []byte) [HashSize]byte { return sha512.Sum384(certificate) }

func commonPrefix(a, b [][]byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if !bytes.Equal(a[i], b[i]) {
			return i
		}
	}
	return n
}
