package audit

import (
	"context"
	"errors"
	"fmt"
)

// Verify checks every record of the log in dir, from record 1 to the end, and answers the head that it came to. It may
// run while the log is written. For the first record that is altered, missing, out of place or another log's it answers
// a [*BadRecordError] and the head before it; an incomplete last line is [ErrTorn]. A log that is cut back to an earlier
// record verifies: compare the head with one that was kept elsewhere, or ask [Holds].
func Verify(ctx context.Context, dir string) (Head, error) { return Scan(ctx, dir, Head{}, nil) }

// Scan is Verify for the records after from, which must be the last record before a file (or the zero Head), and gives
// each verified record to fn, unless fn is nil. The record's bytes are valid until fn returns; an error of fn ends the
// scan and is answered as it is.
func Scan(ctx context.Context, dir string, from Head, fn func(*Record) error) (Head, error) {
	files, err := listFiles(dir)
	if err != nil {
		return from, fmt.Errorf("list audit log: %w", err)
	}
	c := newChain(from)
	for i, f := range files {
		if f.first <= from.Seq {
			continue
		}
		if f.first != c.head.Seq+1 {
			return c.head, &BadRecordError{
				File: f.name(), Line: 1, Seq: c.head.Seq + 1, Err: ErrCorrupt,
				Reason: fmt.Sprintf("the file begins with record %d; those before it are missing", f.first),
			}
		}
		_, _, err := f.read(ctx, c, fn)
		if bad := (*BadRecordError)(nil); errors.As(err, &bad) && i < len(files)-1 {
			bad.Err = ErrCorrupt // only the last file can be torn
		}
		if err != nil {
			return c.head, err
		}
	}
	return c.head, nil
}

// ErrNoRecords says that the file that held a record is not in the directory any more.
var ErrNoRecords = errors.New("the audit log's older files are missing")

// Holds reports whether the log in dir has the record h, as opposed to another or none with its number. It reads the
// one file that the record must be in, and looks at no other: it answers for a Head that was kept, not for the whole.
func Holds(ctx context.Context, dir string, h Head) (bool, error) {
	if h.Seq == 0 {
		return h == Head{}, nil
	}
	holds := false
	err := visit(ctx, dir, h.Seq, func(r *Record) error {
		if r.Seq < h.Seq {
			return nil
		}
		holds = r.Hash == h.Hash
		return errStop
	})
	if err != nil {
		return false, fmt.Errorf("find record %d: %w", h.Seq, err)
	}
	return holds, nil
}

// visit gives fn the records of the one file that record seq is in, if the log has come to it, in order. Each record's
// own hash and number are checked, not the chain.
func visit(ctx context.Context, dir string, seq uint64, fn func(*Record) error) error {
	files, err := listFiles(dir)
	if err != nil || len(files) == 0 {
		return err
	}
	f, ok := fileWith(files, seq)
	if !ok {
		return ErrNoRecords
	}
	return f.walk(ctx, func(line []byte, number int, _ int64) error {
		want := f.first + uint64(number) - 1 //nolint:gosec // number is positive
		r, err := ParseRecord(line)
		if errors.Is(err, errNewline) {
			return errStop // it is being written, or torn
		}
		if err == nil && r.Seq != want {
			err = fmt.Errorf("it is record %d", r.Seq)
		}
		if err != nil {
			return &BadRecordError{File: f.name(), Line: number, Seq: want, Reason: err.Error(), Err: ErrCorrupt}
		}
		return fn(&r)
	})
}

// Holds is [Holds] for this log. Records that a Data call has just written may not be seen.
func (l *Log) Holds(ctx context.Context, h Head) (bool, error) { return Holds(ctx, l.cfg.Dir, h) }
