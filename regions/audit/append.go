package audit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"
)

// record writes an event, and waits for the disk if durable is set. It fills in the event's id and time.
func (l *Log) record(kind Kind, t Ticket, e *Event, durable bool) (uint64, error) {
	if e.EventName == "" {
		return 0, fmt.Errorf("%w: no event name", ErrEvent)
	}
	e.EventID, e.EventTime = or(e.EventID, t.eventID), timeOr(e.EventTime, t.at)
	if e.EventTime.IsZero() {
		e.EventTime = l.cfg.Clock()
	}
	if !writable(e.EventTime) {
		return 0, fmt.Errorf("%w: event time out of range", ErrEvent)
	}
	if e.EventID == "" {
		id, err := l.ids.next()
		if err != nil {
			return 0, fmt.Errorf("make event id: %w", err)
		}
		e.EventID = id
	}
	// The event is encoded by its own goroutine; only numbering, hashing and writing are one after the other.
	buf, ok := l.buffers.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
		*buf = make([]byte, 0, defaultBufferedBytes)
	}
	*buf = appendEvent((*buf)[:0], e)
	defer func() {
		if cap(*buf) <= 16*defaultBufferedBytes { // one huge event must not be kept for good
			l.buffers.Put(buf)
		}
	}()
	if len(*buf) > MaxEventBytes {
		return 0, fmt.Errorf("%w: %d bytes, at most %d", ErrEvent, len(*buf), MaxEventBytes)
	}
	if !durable {
		l.mu.Lock()
		defer l.mu.Unlock()
		seq, err := l.appendEvent(kind, t.seq, *buf)
		if err == nil {
			l.arm()
		}
		return seq, err
	}
	var seq uint64
	write := func() (err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if seq, err = l.appendEvent(kind, t.seq, *buf); err != nil {
			return err
		}
		return l.syncTo(seq)
	}
	step := l.cfg.Step
	if step == nil {
		step = func(_ Kind, write func() error) error { return write() }
	}
	err := step(kind, write)
	return seq, err
}

func timeOr(t, def time.Time) time.Time {
	if t.IsZero() {
		return def
	}
	return t
}

// writable reports whether t has a year of four digits, as the formats of times have.
func writable(t time.Time) bool {
	y := t.UTC().Year()
	return 0 <= y && y <= 9999
}

// appendEvent writes one record and answers its number. It holds mu, but for waits within makeRoom.
func (l *Log) appendEvent(kind Kind, intent uint64, event []byte) (uint64, error) {
	if l.closed {
		return 0, ErrClosed
	}
	if err := l.makeRoom(len(event)); err != nil {
		return 0, err
	}
	switch kind { //nolint:exhaustive // the others need nothing
	case KindIntent:
		if len(l.open) >= MaxOpen {
			return 0, ErrTooManyOpen
		}
	case KindOutcome:
		if _, ok := l.open[intent]; !ok {
			return 0, ErrNotOpen
		}
	}
	r := Record{Kind: kind, Intent: intent, Event: event}
	if err := l.write(&r); err != nil {
		return 0, err
	}
	switch kind { //nolint:exhaustive // the others change nothing
	case KindIntent:
		l.open[r.Seq] = struct{}{}
	case KindOutcome:
		delete(l.open, intent)
		l.found = slices.DeleteFunc(l.found, func(o OpenIntent) bool { return o.Ticket.seq == intent })
	}
	return r.Seq, nil
}

// write completes r, writes it as the next line and moves the head.
func (l *Log) write(r *Record) error {
	if l.failed != nil {
		return l.failed
	}
	r.Seq, r.Node, r.Prev = l.head.Seq+1, l.cfg.Node, l.head.Hash
	if r.Time = l.cfg.Clock().UTC(); !writable(r.Time) {
		return fmt.Errorf("%w: the clock is out of range", ErrEvent)
	}
	l.line = r.appendHashed(append(l.line[:0], hashDomain...))
	r.Hash = sha256.Sum256(l.line)
	l.line = appendTrailer(l.line, r.Hash)
	line := l.line[len(hashDomain):]
	if len(line) > MaxLineBytes {
		return fmt.Errorf("%w: the line would have %d bytes", ErrEvent, len(line))
	}
	n, err := l.file.Write(line)
	l.size += int64(n)
	if err != nil {
		// What was written of the line has no newline; the next Open cuts it off.
		return l.fail("write", err)
	}
	l.head = Head{Seq: r.Seq, Hash: r.Hash}
	return nil
}

func (l *Log) fail(action string, err error) error {
	if l.failed == nil {
		l.failed = fmt.Errorf("%w: %s: %w", ErrFailed, action, err)
	}
	return l.failed
}

// makeRoom begins a new file if the present one has no room for an event of n bytes. Each file takes at least one.
func (l *Log) makeRoom(n int) error {
	for l.size+int64(n)+maxEnvelope > l.cfg.MaxFileBytes && l.head.Seq > l.first {
		if l.failed != nil {
			return l.failed
		}
		if l.syncing { // by a goroutine that uses the file; someone else may make room until it is done
			l.synced.Wait()
			if l.closed {
				return ErrClosed
			}
			continue
		}
		if err := l.rotate(); err != nil {
			return err
		}
	}
	return l.failed
}

// rotate ends the file and begins the next one. The old file is on disk before the new one exists, so that only the last
// file of a log can be incomplete.
func (l *Log) rotate() error {
	if err := l.sync(l.file); err != nil {
		return l.fail("sync", err)
	}
	l.durable = l.head
	if err := l.file.Close(); err != nil {
		return l.fail("close", err)
	}
	return l.begin()
}

// begin makes the next file with its first record, on disk.
func (l *Log) begin() error {
	f := logFile{dir: l.cfg.Dir, first: l.head.Seq + 1}
	file, err := os.OpenFile(f.path(), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return l.fail("create file", err)
	}
	l.file, l.size, l.first = file, 0, f.first
	r := Record{Kind: KindFile, File: FileStart{Log: l.logID, Open: slices.Sorted(maps.Keys(l.open))}}
	if err := l.write(&r); err != nil {
		return err
	}
	if err := errors.Join(l.sync(file), syncDir(l.cfg.Dir)); err != nil {
		return l.fail("sync", err)
	}
	l.durable = l.head
	return nil
}
