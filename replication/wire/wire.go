// Package wire is the messages by which two Regions exchange key material and what they know of it, as they travel and as they are kept.
//
//	source                                   destination
//	Offer    "antipode/m1"    ->
//	                          <-   Accept    "antipode/m2"
//	Transfer "antipode/m3"    ->
//	                          <-   Receipt   "antipode/m4"  or at any step  Refusal "antipode/refusal"
//
// and single questions with one answer each, [Refusal] among the answers of the first three:
//
//	Sync "antipode/sync"      <->  SyncAck   "antipode/sync-ack"     the shared state of a key
//	Want "antipode/want"      <->  WantAck   "antipode/want-ack"     asks for an exchange that brings material
//	Gone "antipode/gone"      <->  GoneAck   "antipode/gone-ack"     a replica was deleted
//	HandOver "antipode/hand-over" <-> HandOverAck "antipode/hand-over-ack"   the addressee becomes the primary
//	Know "antipode/know"      <->  Known     "antipode/known"        what a Region knows, page by page
//	Roster "antipode/roster"  <->  RosterAck "antipode/roster-ack"   a Region's own keys, and what operators decided
//	Compare "antipode/compare" <-> Compared  "antipode/compared"     whether two Regions hold the same shared states
//
// Invariants:
//   - A message is a COSE_Sign1 under the sender's Replication Signing Key over deterministic CBOR (packages cose and
//     canon): one content has one encoding, and every byte of it is signed.
//   - [Open] is the only way in: signature, sender and addressee are checked before anything of a message is used.
//   - Every message names by hash the one it answers, so an exchange is one chain that both sides hold and agree on;
//     [Transcript] binds the wrapping key to all of it.
//   - Material travels only as blobs that a token wrapped; no field holds a secret.
//   - All lengths and counts are bounded here, and those that follow from the key's spec are checked exactly.
//
// Messages are told apart by (exchange id, type), never by their signatures: those differ each time one signs.
package wire

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha512"
	"errors"
	"fmt"

	"antipode/regions/canon"
	"antipode/regions/cose"
)

// The COSE types of the messages.
const (
	TypeOffer    = "antipode/m1"
	TypeAccept   = "antipode/m2"
	TypeTransfer = "antipode/m3"
	TypeReceipt  = "antipode/m4"
	TypeRefusal  = "antipode/refusal"
	TypeSync     = "antipode/sync"
	TypeSyncAck  = "antipode/sync-ack"
	TypeWant     = "antipode/want"
	TypeWantAck  = "antipode/want-ack"
	TypeKnow     = "antipode/know"
	TypeKnown    = "antipode/known"
	TypeGone     = "antipode/gone"
	TypeGoneAck  = "antipode/gone-ack"
	TypeCompare  = "antipode/compare"
	TypeCompared = "antipode/compared"

	TypeHandOver    = "antipode/hand-over"
	TypeHandOverAck = "antipode/hand-over-ack"

	TypeRoster    = "antipode/roster"
	TypeRosterAck = "antipode/roster-ack"
)

// MaxSize is the largest message in bytes.
const MaxSize = cose.MaxSize

var (
	// ErrMalformed says that a message breaks a rule of form or of content.
	ErrMalformed = errors.New("malformed replication message")
	// ErrUntrusted says that the message is not signed by a key that may introduce something here.
	ErrUntrusted = errors.New("replication message is not signed by a peer")
	// ErrMisrouted says that the message is not from whom it says, or not to this Region.
	ErrMisrouted = errors.New("replication message is not for this region")
	// ErrMismatch says that a message does not fit the one it answers.
	ErrMismatch = errors.New("replication message does not fit its exchange")
	// ErrUnsupported says that a suite or spec has no message form in this version.
	ErrUnsupported = errors.New("not supported in replication messages")
)

// HashSize is the length of [Hash].
const HashSize = sha512.Size384

// Hash returns SHA-384 of a whole signed message, by which other messages name it.
func Hash(message []byte) [HashSize]byte { return sha512.Sum384(message) }

// Route is what every message begins with.
type Route struct {
	ExchangeID [16]byte `cbor:"1,keyasint"` // random, made by the source, unique in its store
	From       string   `cbor:"2,keyasint"` // Region that signs
	To         string   `cbor:"3,keyasint"` // Region that it is meant for
	// RosterVersion is that of the roster the sender held; informative, each Region decides by its own.
	RosterVersion uint64 `cbor:"4,keyasint"`
}

// Header returns the route.
func (r Route) Header() Route { return r }

// Answer returns the route of an answer by a Region whose roster has this version.
func (r Route) Answer(rosterVersion uint64) Route {
	return Route{ExchangeID: r.ExchangeID, From: r.To, To: r.From, RosterVersion: rosterVersion}
}

func (r Route) validate() error {
	switch {
	case r.ExchangeID == [16]byte{}:
		return fmt.Errorf("%w: no exchange id", ErrMalformed)
	case r.From == "" || len(r.From) > 32 || r.To == "" || len(r.To) > 32:
		return fmt.Errorf("%w: region names", ErrMalformed)
	case r.From == r.To:
		return fmt.Errorf("%w: from a region to itself", ErrMalformed)
	}
	return nil
}

// Message is one of [*Offer], [*Accept], [*Transfer], [*Receipt], [*Refusal], [*Sync], [*SyncAck], [*Want], [*WantAck],
// [*Know], [*Known], [*Gone], [*GoneAck], [*HandOver], [*HandOverAck], [*Roster], [*RosterAck], [*Compare], [*Compared], [*IdentityRequest] and [*IdentityExport].
type Message interface {
	// Type returns the COSE type.
	Type() string
	// Header returns the route.
	Header() Route
	validate() error
}

// Keys is what this package asks of the roster.
type Keys interface {
	// SigningKey returns the Region to which a key id belongs, with the key, if it may sign what is opened.
	SigningKey(keyID []byte) (region string, key *ecdsa.PublicKey, err error)
}

// Sign returns the signed message. s must be an RSK of the Region that the message is from.
func Sign(ctx context.Context, s cose.Signer, m Message) ([]byte, error) {
	payload, err := encode(m)
	if err != nil {
		return nil, err
	}
	data, err := cose.Sign(ctx, s, m.Type(), payload)
	if err != nil {
		return nil, fmt.Errorf("sign replication message: %w", err)
	}
	return data, nil
}

func encode(m Message) ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	payload, err := canon.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return payload, nil
}

// Open returns the message in data if it is signed by a Region that keys knows, says that it is from that Region, and
// is meant for self, another one. Nothing may be done for a message before. It returns [ErrUntrusted], [ErrMisrouted] or
// [ErrMalformed]; none of them is answered with a signed message.
func Open(data []byte, self string, keys Keys) (Message, error) {
	typ, _, err := cose.Peek(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	m, err := blank(typ)
	if err != nil {
		return nil, err
	}
	var sender string
	msg, err := cose.Verify(data, typ, func(id []byte) (*ecdsa.PublicKey, error) {
		region, key, err := keys.SigningKey(id)
		sender = region
		return key, err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if err := decode(msg.Payload, m); err != nil {
		return nil, err
	}
	switch r := m.Header(); {
	case r.From != sender:
		return nil, fmt.Errorf("%w: signed by %s, says it is from %s", ErrMisrouted, sender, r.From)
	case r.From == self:
		return nil, fmt.Errorf("%w: from this region", ErrMisrouted)
	case r.To != self:
		return nil, fmt.Errorf("%w: to %s", ErrMisrouted, r.To)
	}
	return m, nil
}

// Parse returns the message in data without verifying its signature: only for what this Region signed or opened itself
// and kept in an authenticated record since.
func Parse(data []byte) (Message, error) {
	typ, _, err := cose.Peek(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	m, err := blank(typ)
	if err != nil {
		return nil, err
	}
	payload, err := cose.Unverified(data, typ)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return m, decode(payload, m)
}

func blank(typ string) (Message, error) {
	switch typ {
	case TypeOffer:
		return &Offer{}, nil
	case TypeAccept:
		return &Accept{}, nil
	case TypeTransfer:
		return &Transfer{}, nil
	case TypeReceipt:
		return &Receipt{}, nil
	case TypeRefusal:
		return &Refusal{}, nil
	case TypeSync:
		return &Sync{}, nil
	case TypeSyncAck:
		return &SyncAck{}, nil
	case TypeWant:
		return &Want{}, nil
	case TypeWantAck:
		return &WantAck{}, nil
	case TypeKnow:
		return &Know{}, nil
	case TypeKnown:
		return &Known{}, nil
	case TypeGone:
		return &Gone{}, nil
	case TypeGoneAck:
		return &GoneAck{}, nil
	case TypeHandOver:
		return &HandOver{}, nil
	case TypeHandOverAck:
		return &HandOverAck{}, nil
	case TypeRoster:
		return &Roster{}, nil
	case TypeRosterAck:
		return &RosterAck{}, nil
	case TypeCompare:
		return &Compare{}, nil
	case TypeCompared:
		return &Compared{}, nil
	case TypeIdentityRequest:
		return &IdentityRequest{}, nil
	case TypeIdentityExport:
		return &IdentityExport{}, nil
	}
	return nil, fmt.Errorf("%w: type %q", ErrMalformed, typ)
}

func decode(payload []byte, m Message) error {
	if err := canon.Unmarshal(payload, m); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return m.validate()
}
