package regions

import (
	"context"
	"errors"
)

// ErrNoRecord is what a [Reader] answers for a record that is not there.
var ErrNoRecord = errors.New("no such record")

func isNoRecord(err error) bool { return errors.Is(err, ErrNoRecord) }

// RecordKind is the kind of a record; with account, id and sub it names one record.
type RecordKind string

// RecordKey is the identity of a record. Empty parts are allowed.
type RecordKey struct {
	Kind    RecordKind
	Account string
	ID      string
	Sub     string
}

// Record is one row of a Region's store. Body is authenticated by MAC under the Region's record key, together with the
// whole RecordKey; Ref and Due are only indexes and are compared with what Body says after a look-up.
type Record struct {
	RecordKey
	Ref  string // secondary index within kind and account, "" if none
	Due  int64  // Unix time in milliseconds at which the record wants attention, 0 if never
	Body []byte
	MAC  []byte
}

// Query selects records of one kind in order of (Account, ID, Sub), byte by byte.
type Query struct {
	Kind    RecordKind
	Account string // "" selects all accounts
	ID      string // "" selects all ids
	Ref     string // "" does not select by Ref
	// DueBy, if not 0, selects records with 0 < Due <= DueBy.
	DueBy int64
	// After, if not zero, selects records strictly after this key.
	After RecordKey
	// Limit is the largest number of records returned; 0 means all.
	Limit int
}

// Reader reads one consistent state of the store. It is valid only inside the function it was given to.
type Reader interface {
	// Get returns the record or [ErrNoRecord].
	Get(ctx context.Context, key RecordKey) (Record, error)
	// List returns the records that match.
	List(ctx context.Context, q Query) ([]Record, error)
}

// Tx reads and writes. It sees its own writes.
type Tx interface {
	Reader
	// Put inserts the record or replaces the one with its key.
	Put(ctx context.Context, rec Record) error
	// Delete removes the record; one that is not there is no error.
	Delete(ctx context.Context, key RecordKey) error
}

// Store is a Region's durable state. Implementations are in regions/store and pass one suite.
type Store interface {
	// View runs fn on a consistent state.
	View(ctx context.Context, fn func(Reader) error) error
	// Update runs fn and commits what it wrote, all or nothing. When it returns nil the change is on disk and survives
	// kill -9 and loss of power; when it returns an error nothing of it is visible, but for an error of the commit
	// itself, after which it may or may not have happened. Updates run one after the other. fn may be run more than
	// once and must have no effect but through the Tx.
	Update(ctx context.Context, fn func(Tx) error) error
	// Close frees the store; it is idempotent.
	Close() error
}
