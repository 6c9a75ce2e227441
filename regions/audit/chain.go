package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
)

// What a caller branches on, with errors.Is.
var (
	// ErrCorrupt: a record is not what was written; the error is a [*BadRecordError].
	ErrCorrupt = errors.New("audit log is corrupt")
	// ErrTorn: the last line is incomplete, as a crash (or a write that is going on) leaves it, and all before it is
	// whole; the error is a [*BadRecordError].
	ErrTorn = errors.New("audit log ends in an incomplete record")
)

// BadRecordError names the first bad record. Err is [ErrCorrupt] or [ErrTorn].
type BadRecordError struct {
	File   string // name within the directory
	Line   int    // from 1
	Seq    uint64 // that the record should have
	Reason string
	Err    error
}

// Error implements error.
func (e *BadRecordError) Error() string {
	return fmt.Sprintf("%v: %s line %d (record %d): %s", e.Err, e.File, e.Line, e.Seq, e.Reason)
}

// Unwrap makes errors.Is find Err.
func (e *BadRecordError) Unwrap() error { return e.Err }

// Head is the end of a chain: the last record's number and hash. The zero Head is that of an empty log. Who keeps it
// can show later that the log up to it is unchanged.
type Head struct {
	Seq  uint64
	Hash [32]byte
}

// String is "SEQ:HASH" with the hash in hex.
func (h Head) String() string {
	return strconv.FormatUint(h.Seq, 10) + ":" + hex.EncodeToString(h.Hash[:])
}

// chain checks records one after the other.
type chain struct {
	head Head
	node string // of the log; "" before the first record
	log  [16]byte
	// open are the intents without outcome; the values are for whoever walks the chain.
	open map[uint64]*Record
}

func newChain(from Head) *chain { return &chain{head: from, open: make(map[uint64]*Record)} }

// next adds a record, or answers why it can't be the next one. start says that it is the first of its file.
func (c *chain) next(r *Record, start bool) error {
	switch {
	case r.Seq != c.head.Seq+1:
		return fmt.Errorf("it is record %d", r.Seq)
	case r.Prev != c.head.Hash:
		return errors.New("it does not continue the record before it")
	case c.node != "" && r.Node != c.node:
		return errors.New("it is another node's")
	case (r.Kind == KindFile) != start:
		return fmt.Errorf("a record of kind %s is not allowed here", r.Kind)
	}
	switch r.Kind {
	case KindFile:
		if err := c.startFile(r); err != nil {
			return err
		}
	case KindIntent:
		c.open[r.Seq] = nil
	case KindOutcome:
		if _, ok := c.open[r.Intent]; !ok {
			return fmt.Errorf("it closes %d, which is no open intent", r.Intent)
		}
		delete(c.open, r.Intent)
	case KindData, KindService:
	}
	c.node = r.Node
	c.head = Head{Seq: r.Seq, Hash: r.Hash}
	return nil
}

func (c *chain) startFile(r *Record) error {
	if c.node == "" {
		// The walk begins here, so what the file says of the time before is all that there is.
		c.log = r.File.Log
		for _, seq := range r.File.Open {
			if seq >= r.Seq {
				return fmt.Errorf("open intent %d lies ahead", seq)
			}
			c.open[seq] = nil
		}
		return nil
	}
	if r.File.Log != c.log {
		return errors.New("it is another log's")
	}
	if len(r.File.Open) != len(c.open) {
		return fmt.Errorf("it names %d open intents of %d", len(r.File.Open), len(c.open))
	}
	for _, seq := range r.File.Open {
		if _, ok := c.open[seq]; !ok {
			return fmt.Errorf("%d is no open intent", seq)
		}
	}
	return nil
}
