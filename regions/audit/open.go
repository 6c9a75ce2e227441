package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Open opens the log in cfg.Dir for writing, or begins one. It reads the last file and checks each of its records and
// their connection with the file before; [Verify] checks the rest. An incomplete last line is put aside and cut off. It
// answers a [*BadRecordError] if a complete record is bad, [ErrLocked] and [ErrNode].
func Open(ctx context.Context, cfg Config) (*Log, error) {
	l, err := open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	return l, nil
}

func open(ctx context.Context, cfg Config) (_ *Log, err error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.FlushEvery == 0 {
		cfg.FlushEvery = defaultFlushEvery
	}
	if cfg.MaxFileBytes == 0 {
		cfg.MaxFileBytes = defaultMaxFileBytes
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	l := &Log{
		cfg: cfg, ids: &ids{random: cfg.Random}, lock: lock, sync: fdatasync,
		open: make(map[uint64]struct{}), dirty: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	l.synced = sync.NewCond(&l.mu)
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
			if l.file != nil {
				err = errors.Join(err, l.file.Close())
			}
		}
	}()
	if err := l.resume(ctx); err != nil {
		return nil, err
	}
	l.flusher.Go(l.flush)
	return l, nil
}

// lockDir makes the directory if it is missing and locks it until the answer is closed.
func lockDir(dir string) (*os.File, error) {
	if err := os.Mkdir(dir, 0o700); err == nil {
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	d, err := os.Open(dir) //nolint:gosec // the directory of the configuration
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(os.NewSyscallError("flock", err), d.Close())
	}
	return d, nil
}

// resume finds the end of the log, or begins it.
func (l *Log) resume(ctx context.Context) error {
	files, err := listFiles(l.cfg.Dir)
	if err != nil {
		return err
	}
	for len(files) > 0 {
		last := files[len(files)-1]
		c, err := l.readLast(ctx, files)
		if err != nil {
			return err
		}
		if c == nil { // the crash was while the file was begun, so the one before it is the last
			if err := os.Remove(last.path()); err != nil {
				return err
			}
			files = files[:len(files)-1]
			continue
		}
		return l.continueFile(ctx, last, c)
	}
	if _, err := io.ReadFull(l.cfg.Random, l.logID[:]); err != nil {
		return fmt.Errorf("make log id: %w", err)
	}
	return l.begin()
}

// readLast checks the last file, and cuts off an incomplete record. The answer is nil if the file has no record.
func (l *Log) readLast(ctx context.Context, files []logFile) (*chain, error) {
	last := files[len(files)-1]
	from := Head{Seq: last.first - 1}
	if len(files) > 1 {
		r, err := files[len(files)-2].lastRecord()
		if err != nil {
			return nil, err
		}
		from = Head{Seq: r.Seq, Hash: r.Hash}
	} else if last.first > 1 {
		// Older files were moved away: what the file says of the record before can't be checked here.
		err := last.walk(ctx, func(line []byte, _ int, _ int64) error {
			if r, err := ParseRecord(line); err == nil {
				from.Hash = r.Prev
			}
			return errStop
		})
		if err != nil {
			return nil, err
		}
	}
	c := newChain(from)
	records, offset, err := last.read(ctx, c, func(r *Record) error {
		if r.Kind == KindIntent {
			kept := *r
			kept.Event = slices.Clone(r.Event)
			c.open[r.Seq] = &kept
		}
		return nil
	})
	if errors.Is(err, ErrTorn) {
		err = last.cutAt(offset)
	}
	if err != nil {
		return nil, err
	}
	if records == 0 {
		return nil, nil //nolint:nilnil // no record is an answer
	}
	if c.node != l.cfg.Node {
		return nil, fmt.Errorf("%w: %s", ErrNode, c.node)
	}
	return c, nil
}

// findIntents fills in the records of open that are in older files, reading each of those files once.
func findIntents(ctx context.Context, dir string, open map[uint64]*Record) error {
	for _, seq := range slices.Sorted(maps.Keys(open)) {
		if open[seq] != nil {
			continue
		}
		err := visit(ctx, dir, seq, func(r *Record) error {
			if was, ok := open[r.Seq]; ok && was == nil && r.Kind == KindIntent {
				kept := *r
				kept.Event = slices.Clone(r.Event)
				open[r.Seq] = &kept
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("find open intent %d: %w", seq, err)
		}
		if open[seq] == nil {
			return fmt.Errorf("%w: record %d is named as an open intent and is none", ErrCorrupt, seq)
		}
	}
	return nil
}

// continueFile takes over what the chain came to, and opens the file for more.
func (l *Log) continueFile(ctx context.Context, last logFile, c *chain) error {
	l.head, l.logID, l.first = c.head, c.log, last.first
	if err := findIntents(ctx, l.cfg.Dir, c.open); err != nil {
		return err
	}
	for _, seq := range slices.Sorted(maps.Keys(c.open)) {
		l.open[seq] = struct{}{}
		r := c.open[seq]
		e, err := DecodeEvent(r.Event)
		if err != nil {
			return fmt.Errorf("open intent %d: %w", seq, err)
		}
		t := Ticket{seq: seq, eventID: e.EventID, at: e.EventTime}
		l.found = append(l.found, OpenIntent{Ticket: t, Time: r.Time, Event: e})
	}
	file, err := os.OpenFile(last.path(), os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	l.file = file
	info, err := file.Stat()
	if err != nil {
		return err
	}
	l.size = info.Size()
	// A process that was killed may have left records that only the kernel has.
	if err := errors.Join(l.sync(file), syncDir(l.cfg.Dir)); err != nil {
		return err
	}
	l.durable = l.head
	return nil
}
