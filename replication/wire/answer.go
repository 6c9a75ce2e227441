package wire

import (
	"fmt"
	"strings"

	"antipode/regions/keyset"
)

// Receipt is m4: the destination holds the materials, in its store and under its own keys. Both Regions keep it.
type Receipt struct {
	Route
	Transfer    [HashSize]byte `cbor:"5,keyasint"` // Hash of m3
	Materials   []string       `cbor:"6,keyasint"` // ids of all materials of the key held after it
	Epoch       keyset.Epoch   `cbor:"7,keyasint"` // of the shared state held after it
	Sequence    uint64         `cbor:"8,keyasint"`
	Incarnation [16]byte       `cbor:"9,keyasint"` // of the replica that holds them
}

// Type returns [TypeReceipt].
func (*Receipt) Type() string { return TypeReceipt }

func (r *Receipt) validate() error {
	if err := r.Route.validate(); err != nil {
		return err
	}
	if err := validateIDs(r.Materials); err != nil {
		return err
	}
	if r.Epoch.Generation == 0 || r.Epoch.Term == 0 || r.Sequence == 0 || r.Incarnation == [16]byte{} {
		return fmt.Errorf("%w: epoch, sequence or incarnation", ErrMalformed)
	}
	return nil
}

// Answers returns [ErrMismatch] unless r is the receipt of this transfer, m3 as it was sent, by the replica that a
// announced, for at least all materials sent.
func (r *Receipt) Answers(m3 []byte, t *Transfer, a *Accept) error {
	if err := answers(r.Route, t.Route); err != nil {
		return err
	}
	if r.Transfer != Hash(m3) {
		return fmt.Errorf("%w: receipt of another transfer", ErrMismatch)
	}
	if r.Incarnation != a.Incarnation {
		return fmt.Errorf("%w: receipt of another incarnation", ErrMismatch)
	}
	held := make(map[string]bool, len(r.Materials))
	for _, id := range r.Materials {
		held[id] = true
	}
	for _, w := range t.Materials {
		if !held[w.ID] {
			return fmt.Errorf("%w: material %s was not received", ErrMismatch, w.ID)
		}
	}
	return nil
}

// Codes of refusals that are the protocol's own. A refusal on behalf of the AWS API carries an AWS error code, for
// instance AccessDeniedException, AlreadyExistsException, LimitExceededException or UnsupportedOperationException.
const (
	// CodeExchangeLost: the destination no longer has the key that it made for the exchange. The source starts a new
	// exchange under the same intent. Never final.
	CodeExchangeLost = "ExchangeLost"
	// CodeNoCommonSuite: the two tokens have no suite in common.
	CodeNoCommonSuite = "NoCommonSuite"
	// CodeNotCertified: chain or state do not prove that the source may send this.
	CodeNotCertified = "NotCertified"
	// CodeMaterialMismatch: what was unwrapped is not the material that the offer named.
	CodeMaterialMismatch = "MaterialMismatch"
	// CodeBusy: too many exchanges are open. Try again later. Never final.
	CodeBusy = "Busy"
	// CodeExchangeEnded: the exchange ended with another transfer. Never final.
	CodeExchangeEnded = "ExchangeEnded"
	// CodeReplicaDeleted: the replica of this exchange was deleted; the destination holds nothing of it.
	CodeReplicaDeleted = "ReplicaDeleted"
	// CodeNotPrimary: the Region that was told of a change is not the key's primary. Never final.
	CodeNotPrimary = "NotPrimary"
	// CodeNotMember: by the shared state one of the two Regions is no member of the key set.
	CodeNotMember = "NotMember"
	// CodeStaleState: the shared state is older than the one held.
	CodeStaleState = "StaleState"
	// CodeConflict: the shared state or its chain contradicts what is held. An alarm.
	CodeConflict = "Conflict"
	// CodeNothingMissing: all of it is held already.
	CodeNothingMissing = "NothingMissing"
	// CodeUnknownKey: the key is not here.
	CodeUnknownKey = "UnknownKey"
)

// Refusal says that what it answers was not done, and ends the exchange: nothing of it is held by the destination, nor
// will be, even if its messages come again.
type Refusal struct {
	Route
	Refuses [HashSize]byte `cbor:"5,keyasint"` // Hash of the message refused
	Code    string         `cbor:"6,keyasint"` // 1 to 64 letters and digits
	Message string         `cbor:"7,keyasint"` // for people; at most 1024 bytes
	// Final says that a new exchange for the same purpose would be refused too, so the source gives its intent up.
	// Otherwise it tries again.
	Final bool `cbor:"8,keyasint"`
	// State and Chain, in the refusals [CodeNotPrimary] and [CodeStaleState], are the newest that the refusing Region holds
	// of the key, so that the sender learns what it does not know. Both are absent otherwise, and may be then.
	State []byte   `cbor:"9,keyasint,omitempty"`
	Chain [][]byte `cbor:"10,keyasint,omitempty"`
}

// Type returns [TypeRefusal].
func (*Refusal) Type() string { return TypeRefusal }

func (r *Refusal) validate() error {
	if err := r.Route.validate(); err != nil {
		return err
	}
	letters := "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	if r.Code == "" || len(r.Code) > 64 || strings.Trim(r.Code, letters) != "" {
		return fmt.Errorf("%w: refusal code", ErrMalformed)
	}
	if len(r.Message) > 1024 {
		return fmt.Errorf("%w: refusal message of %d bytes", ErrMalformed, len(r.Message))
	}
	if r.Final && (r.Code == CodeExchangeLost || r.Code == CodeBusy || r.Code == CodeExchangeEnded || r.Code == CodeNotPrimary) {
		return fmt.Errorf("%w: %s is never final", ErrMalformed, r.Code)
	}
	if len(r.State) == 0 && len(r.Chain) == 0 {
		return nil
	}
	if r.Code != CodeNotPrimary && r.Code != CodeStaleState {
		return fmt.Errorf("%w: a state in the refusal %s", ErrMalformed, r.Code)
	}
	return validateShared(r.State, r.Chain)
}

// Answers returns [ErrMismatch] unless r refuses this message, data as it was sent with this route.
func (r *Refusal) Answers(data []byte, sent Route) error {
	if err := answers(r.Route, sent); err != nil {
		return err
	}
	if r.Refuses != Hash(data) {
		return fmt.Errorf("%w: refuses another message", ErrMismatch)
	}
	return nil
}
