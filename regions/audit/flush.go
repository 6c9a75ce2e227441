package audit

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

func fdatasync(f *os.File) error { return os.NewSyscallError("fdatasync", unix.Fdatasync(int(f.Fd()))) }

// syncTo returns when record seq is on disk. It is called with mu, and gives it up while it waits. Of the goroutines
// that wait, one syncs for all that was written before it began.
func (l *Log) syncTo(seq uint64) error {
	for l.durable.Seq < seq {
		if l.failed != nil {
			return l.failed
		}
		if l.syncing {
			l.synced.Wait()
			continue
		}
		l.syncing = true
		head, file := l.head, l.file
		l.mu.Unlock()
		err := l.sync(file)
		l.mu.Lock()
		l.syncing = false
		l.synced.Broadcast()
		if err != nil {
			// The kernel may have dropped what it could not write: another sync could succeed without it.
			return l.fail("sync", err)
		}
		l.durable = head
	}
	return nil
}

// arm tells the flusher that there is something to sync. It is called with mu.
func (l *Log) arm() {
	if l.armed {
		return
	}
	l.armed = true
	select {
	case l.dirty <- struct{}{}:
	default:
	}
}

// flush syncs what Data wrote. It begins after half of FlushEvery, to be done within it; a sync that fails is kept in
// failed.
func (l *Log) flush() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-l.dirty:
		}
		timer.Reset(l.cfg.FlushEvery / 2)
		select {
		case <-l.stop:
			return // Close syncs
		case <-timer.C:
		}
		l.mu.Lock()
		l.armed = false
		_ = l.syncTo(l.head.Seq) // failed has it
		l.mu.Unlock()
	}
}
