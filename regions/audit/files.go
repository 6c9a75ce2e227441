package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	filePrefix = "audit-"
	fileSuffix = ".log"
)

// logFile is one file of a log; first is the seq of its first record.
type logFile struct {
	dir   string
	first uint64
}

func (f logFile) name() string { return fmt.Sprintf("%s%020d%s", filePrefix, f.first, fileSuffix) }
func (f logFile) path() string { return filepath.Join(f.dir, f.name()) }

// listFiles answers the log's files in order. Other files are not looked at.
func listFiles(dir string) ([]logFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []logFile
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), filePrefix)
		if !ok {
			continue
		}
		digits, ok = strings.CutSuffix(digits, fileSuffix)
		if !ok || len(digits) != 20 {
			continue
		}
		if first, err := strconv.ParseUint(digits, 10, 64); err == nil && first > 0 {
			files = append(files, logFile{dir: dir, first: first})
		}
	}
	slices.SortFunc(files, func(a, b logFile) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	return files, nil
}

// fileWith answers the file that record seq is in, if it is in any.
func fileWith(files []logFile, seq uint64) (logFile, bool) {
	for _, f := range slices.Backward(files) {
		if f.first <= seq {
			return f, true
		}
	}
	return logFile{}, false
}

// errStop ends a walk without an error.
var errStop = errors.New("stop")

// walk gives fn each line of the file, valid until fn returns, with the line's number and offset. The last line may
// lack its newline, and a line that is longer than any record is cut and has none. fn ends the walk by errStop.
func (f logFile) walk(ctx context.Context, fn func(line []byte, number int, offset int64) error) (err error) {
	in, err := os.Open(f.path())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	// What is written meanwhile is left out, so that a line that lacks its newline is the last one.
	r := bufio.NewReaderSize(io.LimitReader(in, info.Size()), int(min(info.Size(), MaxLineBytes))+1)
	var offset int64
	for number := 1; ; number++ {
		if number%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, err := r.ReadSlice('\n')
		last := errors.Is(err, io.EOF)
		if err != nil && !last && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if last && len(line) == 0 {
			return nil
		}
		switch err := fn(line, number, offset); {
		case errors.Is(err, errStop):
			return nil
		case err != nil:
			return err
		case last:
			return nil
		}
		offset += int64(len(line))
	}
}

// read walks the file and adds its records to c, giving each to fn if fn is not nil. Its error for a bad record is a
// *BadRecordError; offset is then where that record begins. records is the number of good ones.
func (f logFile) read(ctx context.Context, c *chain, fn func(*Record) error) (records int, offset int64, err error) {
	var bad *BadRecordError
	err = f.walk(ctx, func(line []byte, number int, at int64) error {
		r, err := ParseRecord(line)
		if bad != nil {
			if err == nil {
				bad.Err = ErrCorrupt // a crash does not spare what is behind
				return errStop
			}
			return nil
		}
		offset = at
		if err == nil && number == 1 && r.Seq != f.first {
			err = fmt.Errorf("it is record %d", r.Seq)
		}
		if err == nil {
			err = c.next(&r, number == 1)
		}
		if err != nil {
			bad = &BadRecordError{File: f.name(), Line: number, Seq: c.head.Seq + 1, Reason: err.Error(), Err: ErrCorrupt}
			if errors.Is(err, errNewline) && len(line) <= MaxLineBytes {
				bad.Err = ErrTorn
			}
			// Zero bytes are never written; they are what a disk shows for a part that it had not got to.
			if bytes.IndexByte(line, 0) >= 0 {
				bad.Err = ErrTorn
				return nil // go on, to see whether that is all there is
			}
			return errStop
		}
		records = number
		if fn == nil {
			return nil
		}
		return fn(&r)
	})
	if err == nil && bad != nil {
		err = bad
	}
	return records, offset, err
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the directory of the configuration
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
