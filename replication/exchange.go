package replication

import (
	"encoding/hex"

	"antipode/regions"
	"antipode/replication/wire"
)

// Step is how far an exchange has come.
type Step string

// The steps. An exchange ends in StepFinished, StepFailed, StepLost or StepRefused.
const (
	StepOffered     Step = "offered"     // source: m1 may have been sent, nothing depends on it
	StepAccepted    Step = "accepted"    // source: the destination is a member; m3 was not made yet
	StepTransferred Step = "transferred" // source: m3 may have been sent
	StepReserved    Step = "reserved"    // destination: m2 may have been sent, RAKB is in memory
	StepFinished    Step = "finished"    // both: the receipt is kept
	StepFailed      Step = "failed"      // source: refused, or given up before anything was sent
	StepLost        Step = "lost"        // both: RAKB died; another exchange takes its place
	StepRefused     Step = "refused"     // destination: will never be accepted
)

// SourceExchange is the source's record of one exchange, and of the intent behind it.
type SourceExchange struct {
	ID    [16]byte             `cbor:"1,keyasint"`
	Order regions.ReplicaOrder `cbor:"2,keyasint"`
	Step  Step                 `cbor:"3,keyasint"`
	M1    []byte               `cbor:"4,keyasint"`
	M2    []byte               `cbor:"5,keyasint"`
	M3    []byte               `cbor:"6,keyasint"`
	M4    []byte               `cbor:"7,keyasint"`
	// Due is when the exchange is tried again, Unix milliseconds; 0 if it has ended.
	Due      int64  `cbor:"8,keyasint"`
	Attempts uint32 `cbor:"9,keyasint"`
	// Code and Message say why it failed.
	Code    string `cbor:"10,keyasint"`
	Message string `cbor:"11,keyasint"`
	// Resumes is the exchange that this one takes the place of, whose incarnation the destination has in the key set
	// until this one is accepted. Zero for the first exchange of an intent.
	Resumes [16]byte `cbor:"12,keyasint"`
	// Purpose is why the material is sent. The Order of a supply names account, key and Region only.
	Purpose wire.Purpose `cbor:"13,keyasint"`
}

// RecordKey implements [regions.Body].
func (e SourceExchange) RecordKey() regions.RecordKey {
	return regions.RecordKey{
		Kind: regions.KindSourceEx, Account: e.Order.Account, ID: e.Order.KeyID, Sub: hex.EncodeToString(e.ID[:]),
	}
}

// RecordIndex implements [regions.Body].
func (e SourceExchange) RecordIndex() (string, int64) { return "", e.Due }

// member reports whether the destination is in the key set because of this intent.
func (e SourceExchange) member() bool { return !e.supply() && (e.resumed() || e.Step != StepOffered) }

func (e SourceExchange) supply() bool { return e.Purpose == wire.PurposeSupply }

// lasting reports whether the exchange goes on by itself: nobody waits for it who could be told to try again.
func (e SourceExchange) lasting() bool { return e.supply() || e.member() }

func (e SourceExchange) resumed() bool { return e.Resumes != [16]byte{} }

func (e SourceExchange) open() bool {
	return e.Step == StepOffered || e.Step == StepAccepted || e.Step == StepTransferred
}

// DestinationExchange is the destination's record of one exchange.
type DestinationExchange struct {
	ID      [16]byte `cbor:"1,keyasint"`
	From    string   `cbor:"2,keyasint"`
	Account string   `cbor:"3,keyasint"`
	KeyID   string   `cbor:"4,keyasint"`
	Step    Step     `cbor:"5,keyasint"`
	M1      []byte   `cbor:"6,keyasint"`
	M2      []byte   `cbor:"7,keyasint"`
	// Transfer is the hash of the m3 that Answer, m4 or a refusal, answers.
	Transfer []byte `cbor:"8,keyasint"`
	Answer   []byte `cbor:"9,keyasint"`
}

// RecordKey implements [regions.Body].
func (e DestinationExchange) RecordKey() regions.RecordKey { return destinationKey(e.From, e.ID) }

func (e DestinationExchange) rakb() rakbID { return rakbID{from: e.From, id: e.ID} }

func destinationKey(from string, id [16]byte) regions.RecordKey {
	return regions.RecordKey{Kind: regions.KindDestEx, Account: from, ID: hex.EncodeToString(id[:])}
}

// RecordIndex implements [regions.Body]: open exchanges are found by "open", those that have ended by their key's id.
func (e DestinationExchange) RecordIndex() (string, int64) {
	if e.Step == StepReserved {
		return openRef, 0
	}
	return e.KeyID, 0
}

const openRef = "open"
