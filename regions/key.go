package regions

import (
	"antipode/regions/keyring"
	"antipode/regions/keyset"
)

// KeyState is a key's state, with AWS's names.
type KeyState string

// The key states of AWS KMS that this Region can show.
const (
	StateEnabled                KeyState = "Enabled"
	StateDisabled               KeyState = "Disabled"
	StatePendingDeletion        KeyState = "PendingDeletion"
	StatePendingReplicaDeletion KeyState = "PendingReplicaDeletion"
	StatePendingImport          KeyState = "PendingImport"
	StateCreating               KeyState = "Creating"
	StateUpdating               KeyState = "Updating"
	StateUnavailable            KeyState = "Unavailable"
)

// What the key specs, usages and origins built so far are called.
const (
	SpecSymmetricDefault = keyring.SpecSymmetric
	UsageEncryptDecrypt  = "ENCRYPT_DECRYPT"
	OriginAWSKMS         = "AWS_KMS"
	OriginExternal       = "EXTERNAL"
)

// The kinds of records that the domain keeps.
const (
	KindKey       RecordKind = "key"
	KindKeyCount  RecordKind = "key-count"
	KindMaterial  RecordKind = "material"
	KindPolicy    RecordKind = "policy"
	KindAlias     RecordKind = "alias"
	KindUser      RecordKind = "user"
	KindRole      RecordKind = "role"
	KindAccount   RecordKind = "account"
	KindAccessKey RecordKind = "access-key"
	KindRoster    RecordKind = "roster"
	KindRotateRSK RecordKind = "rsk-rotation"
	KindHierarchy RecordKind = "hierarchy"
	KindPlan      RecordKind = "hierarchy-plan"
	KindTokenPlan RecordKind = "token-plan"
	KindBackup    RecordKind = "backup"
	KindTokenKey  RecordKind = "token-key"
	KindAuditHead RecordKind = "audit-head"
	KindSourceEx  RecordKind = "exchange-source"
	KindRecovery  RecordKind = "recovery"
	KindDestEx    RecordKind = "exchange-destination"
	KindTombstone RecordKind = "tombstone"
	KindGrant     RecordKind = "grant"
	KindOnce      RecordKind = "once"
	KindStanding  RecordKind = "member-standing"

	KindHandOver   RecordKind = "hand-over"
	KindSuccession RecordKind = "succession"
)

// Tag is a key's tag.
type Tag struct {
	TagKey   string `json:"TagKey" cbor:"1,keyasint"`
	TagValue string `json:"TagValue" cbor:"2,keyasint"`
}

// Key is this Region's record of a KMS key: its own properties and, for a multi-Region key, the shared ones as the
// primary signed them.
type Key struct {
	Account      string          `cbor:"1,keyasint"`
	KeyID        string          `cbor:"2,keyasint"`
	Spec         string          `cbor:"3,keyasint"`
	Usage        string          `cbor:"4,keyasint"`
	Origin       string          `cbor:"5,keyasint"`
	Description  string          `cbor:"6,keyasint"`
	State        KeyState        `cbor:"7,keyasint"`
	Created      int64           `cbor:"8,keyasint"`  // Unix milliseconds, in this Region
	DeletionDate int64           `cbor:"9,keyasint"`  // Unix milliseconds, 0 if none
	PendingDays  uint8           `cbor:"10,keyasint"` // the window of a pending deletion, 7 to 30, 0 if none
	Tags         []Tag           `cbor:"11,keyasint"`
	Storage      keyring.Storage `cbor:"12,keyasint"`
	Current      string          `cbor:"13,keyasint"`           // id of the material that encrypts; "" before there is any
	MultiRegion  *MultiRegion    `cbor:"14,keyasint,omitempty"` // nil for a single-Region key
	Rotation     *Rotation       `cbor:"15,keyasint,omitempty"` // nil before there was any, and for a multi-Region key
	// HeldBack is the id of the pending material whose rotation the audit log has been told is held back; "" if none.
	HeldBack string `cbor:"16,keyasint,omitempty"`
}

// MultiRegion is what a multi-Region key has in each of its Regions.
type MultiRegion struct {
	// State is the shared state that this Region holds; nil while a replica is Creating. Signed is the same as the
	// primary signed it. The signature was checked when the state was accepted; since then the record's MAC vouches.
	State  *keyset.State `cbor:"1,keyasint,omitempty"`
	Signed []byte        `cbor:"2,keyasint"`
	// Certificates is the chain of signed epoch certificates from genesis on.
	Certificates [][]byte `cbor:"3,keyasint"`
	// Incarnation is the id of the exchange that made this Region's replica, or random for the first primary.
	Incarnation [16]byte `cbor:"4,keyasint"`
	// Source is the Region that a Creating replica is coming from.
	Source string `cbor:"5,keyasint"`
	// Fence is Since of the last recovery before which nothing of the present term was signed here; see
	// [Region.ChangeShared].
	Fence int64 `cbor:"6,keyasint"`
	// HandingTo is the Region that this one, the primary until now, hands the key over to; "" if none. While it is set
	// this Region changes nothing that is shared, and the key is Updating.
	HandingTo string `cbor:"7,keyasint,omitempty"`
}

// RecordKey implements [Body].
func (k Key) RecordKey() RecordKey { return RecordKey{Kind: KindKey, Account: k.Account, ID: k.KeyID} }

// RecordIndex implements [Body]: a key is found by its id in whatever account, and is due when it is to be deleted or its
// material is to be rotated.
func (k Key) RecordIndex() (string, int64) {
	if k.DeletionDate != 0 {
		return k.KeyID, k.DeletionDate
	}
	return k.KeyID, k.rotationDue()
}

// MaterialRecord is one version of a key's material.
type MaterialRecord struct {
	keyring.Material
}

// RecordKey implements [Body].
func (m MaterialRecord) RecordKey() RecordKey {
	return RecordKey{Kind: KindMaterial, Account: m.Account, ID: m.KeyID, Sub: m.ID}
}

// RecordIndex implements [Body].
func (m MaterialRecord) RecordIndex() (string, int64) { return "", 0 }

// TokenKey is the intent to make a token object for a key with storage TOKEN, written before the object is made, so
// that start-up can destroy what a crash left.
type TokenKey struct {
	Account string   `cbor:"1,keyasint"`
	KeyID   string   `cbor:"2,keyasint"`
	Object  [16]byte `cbor:"3,keyasint"`
}

// RecordKey implements [Body].
func (t TokenKey) RecordKey() RecordKey {
	return RecordKey{Kind: KindTokenKey, Account: t.Account, ID: t.KeyID}
}

// RecordIndex implements [Body].
func (t TokenKey) RecordIndex() (string, int64) { return "", 0 }

// PolicyRecord is a key's policy in this Region.
type PolicyRecord struct {
	Account  string `cbor:"1,keyasint"`
	KeyID    string `cbor:"2,keyasint"`
	Document string `cbor:"3,keyasint"` // JSON
}

// RecordKey implements [Body].
func (p PolicyRecord) RecordKey() RecordKey {
	return RecordKey{Kind: KindPolicy, Account: p.Account, ID: p.KeyID, Sub: "default"}
}

// RecordIndex implements [Body].
func (p PolicyRecord) RecordIndex() (string, int64) { return "", 0 }

// Alias is a name for a key of the same account in this Region.
type Alias struct {
	Account string `cbor:"1,keyasint"`
	Name    string `cbor:"2,keyasint"` // "alias/..."
	KeyID   string `cbor:"3,keyasint"`
	Created int64  `cbor:"4,keyasint"` // Unix milliseconds
	Updated int64  `cbor:"5,keyasint"` // Unix milliseconds
}

// RecordKey implements [Body].
func (a Alias) RecordKey() RecordKey {
	return RecordKey{Kind: KindAlias, Account: a.Account, ID: a.Name}
}

// RecordIndex implements [Body]: the aliases of a key are found by its id.
func (a Alias) RecordIndex() (string, int64) { return a.KeyID, 0 }
