package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// What a caller branches on, with errors.Is.
var (
	// ErrFailed: a write or a sync failed earlier. Nothing can be recorded until the log is opened again.
	ErrFailed = errors.New("audit log has failed")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("audit log is closed")
	// ErrLocked: another process, or another Log of this one, writes the directory.
	ErrLocked = errors.New("audit log is in use")
	// ErrNode: the log was written under another node's name.
	ErrNode = errors.New("audit log is another node's")
	// ErrNotOpen: the ticket's intent is not open: it was closed before, or the ticket is not from this log.
	ErrNotOpen = errors.New("intent is not open")
	// ErrTooManyOpen: MaxOpen intents have no outcome.
	ErrTooManyOpen = errors.New("too many open intents")
)

// Limits.
const (
	// MaxOpen is the largest number of intents without outcome: each new file names them all in one line.
	MaxOpen = 10_000
	// MaxEventBytes is the largest length of an event as JSON.
	MaxEventBytes = MaxLineBytes - maxEnvelope

	maxEnvelope          = 1024
	defaultFlushEvery    = 100 * time.Millisecond
	defaultMaxFileBytes  = 64 << 20
	defaultBufferedBytes = 4096
)

// Config says where and how a log is written.
type Config struct {
	// Dir is the log's directory. It is made with mode 0700 if it is missing; its parent must exist.
	Dir string
	// Node is the name of the node, in every record: 1 to 64 of A-Z a-z 0-9 . _ : -
	Node string
	// Clock gives the time of records. Required.
	Clock func() time.Time
	// Random gives event ids and the log's id, 16 bytes each; crypto/rand.Reader. Required.
	Random io.Reader
	// Strict makes Data wait for the disk, in groups.
	Strict bool
	// FlushEvery is the longest time that a data record waits until it is being written to the disk; default 100 ms.
	FlushEvery time.Duration
	// MaxFileBytes is the size at which a new file is begun; default 64 MiB. Opening a log reads its last file.
	MaxFileBytes int64
	// Step, unless nil, runs each write of a record that waits for the disk. It is for tests that end the process
	// before or after one: write must be called once, and its error returned.
	Step func(kind Kind, write func() error) error
}

func (c Config) validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("no directory"))
	}
	if !validNode(c.Node) {
		errs = append(errs, fmt.Errorf("node name %q: want 1 to %d of A-Z a-z 0-9 . _ : -", c.Node, maxNode))
	}
	if c.Clock == nil || c.Random == nil {
		errs = append(errs, errors.New("no clock or no source of randomness"))
	}
	if c.FlushEvery < 0 || c.MaxFileBytes < 0 {
		errs = append(errs, errors.New("negative limit"))
	}
	return errors.Join(errs...)
}

// Log is an open audit log; it is safe for concurrent use. Callers that wait for the disk at the same time share one
// sync.
type Log struct {
	cfg Config
	ids *ids

	lock *os.File // the directory, locked
	// sync brings a file's data to the disk. Tests put faults here.
	sync func(*os.File) error

	buffers sync.Pool // of *[]byte, for events

	mu      sync.Mutex
	synced  *sync.Cond // of mu: syncing has become false
	syncing bool       // one goroutine syncs file, without mu; file is not exchanged meanwhile
	file    *os.File
	size    int64  // of file
	first   uint64 // seq of the file's first record
	logID   [16]byte
	head    Head // written
	durable Head // on disk
	open    map[uint64]struct{}
	found   []OpenIntent // by Open, and not closed yet
	line    []byte       // the line being made, after hashDomain
	armed   bool         // the flusher knows that there is something to sync
	failed  error
	closed  bool

	dirty    chan struct{} // wakes the flusher
	stop     chan struct{}
	flusher  sync.WaitGroup
	closeErr error
}

// Ticket stands for an open intent.
type Ticket struct {
	seq     uint64
	eventID string
	at      time.Time
}

// Seq is the number of the intent's record.
func (t Ticket) Seq() uint64 { return t.seq }

// OpenIntent is an intent that has no outcome in the log: its call was cut off, and its effect is not known.
type OpenIntent struct {
	Ticket Ticket
	Time   time.Time // of the record
	Event  Event
}

// Intent records that a management call is about to act. When it returns the record is on disk. If ctx has ended nothing
// is written; the wait for the disk is not cut short, because a record whose fate nobody knows would be the worse.
func (l *Log) Intent(ctx context.Context, e Event) (Ticket, error) {
	if err := ctx.Err(); err != nil {
		return Ticket{}, fmt.Errorf("record intent: %w", err)
	}
	seq, err := l.record(KindIntent, Ticket{}, &e, true)
	if err != nil {
		return Ticket{}, fmt.Errorf("record intent: %w", err)
	}
	return Ticket{seq: seq, eventID: e.EventID, at: e.EventTime}, nil
}

// Outcome records what became of an intent, which is then closed. When it returns the record is on disk. Event id and
// time are the intent's unless given. It writes whether or not ctx has ended: the effect has happened.
func (l *Log) Outcome(_ context.Context, t Ticket, e Event) error {
	if _, err := l.record(KindOutcome, t, &e, true); err != nil {
		return fmt.Errorf("record outcome: %w", err)
	}
	return nil
}

// Data records a data-plane call. When it returns the record is with the kernel and will be on disk within FlushEvery,
// or it is on disk if the log is strict. It writes whether or not ctx has ended: the call has happened.
func (l *Log) Data(ctx context.Context, e Event) error {
	_, err := l.DataOf(ctx, &e)
	return err
}

// DataOf is [Log.Data] for who needs to know the record afterwards: it answers the record's number, and fills in the
// event's id and time.
func (l *Log) DataOf(_ context.Context, e *Event) (seq uint64, err error) {
	if seq, err = l.record(KindData, Ticket{}, e, l.cfg.Strict); err != nil {
		return 0, fmt.Errorf("record data event: %w", err)
	}
	return seq, nil
}

// Service records what the service did by itself. When it returns the record is on disk. It writes whether or not ctx
// has ended.
func (l *Log) Service(_ context.Context, e Event) error {
	if _, err := l.record(KindService, Ticket{}, &e, true); err != nil {
		return fmt.Errorf("record service event: %w", err)
	}
	return nil
}

// OpenIntents are the intents that Open found without outcome and that have not been closed since, oldest first.
func (l *Log) OpenIntents() []OpenIntent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]OpenIntent(nil), l.found...)
}

// Head is the last record that was written. A loss of power may take back data records up to FlushEvery old, and the
// head with them: what is kept elsewhere as proof is [Log.Durable].
func (l *Log) Head() Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Durable is the last record that is known to be on disk. After an Intent has returned it is that intent or a later
// record, so a store that commits it with the intent's effect never knows of a record that the log can lose.
func (l *Log) Durable() Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable
}

// Err is why the log has failed ([ErrFailed]), or nil.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Close brings everything to the disk and frees the directory. It is idempotent. Open intents stay open, and the next
// Open finds them.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		defer l.mu.Unlock()
		return l.closeErr
	}
	l.closed = true
	l.mu.Unlock()
	close(l.stop)
	l.flusher.Wait()

	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.syncTo(l.head.Seq)
	for l.syncing {
		l.synced.Wait()
	}
	err = errors.Join(err, l.file.Close(), l.lock.Close())
	if err != nil {
		l.closeErr = fmt.Errorf("close audit log: %w", err)
	}
	return l.closeErr
}
