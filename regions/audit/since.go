package audit

import (
	"context"
	"fmt"
)

// Since gives fn the records after seq, in order; each record's own hash and number are checked, not the chain. It
// reads the file that seq is in and those after it. The record's bytes are valid until fn returns; an error of fn ends
// the reading and is answered as it is.
func (l *Log) Since(ctx context.Context, seq uint64, fn func(*Record) error) error {
	files, err := listFiles(l.cfg.Dir)
	if err != nil {
		return fmt.Errorf("list audit log: %w", err)
	}
	for i, f := range files {
		if i+1 < len(files) && files[i+1].first <= seq+1 {
			continue
		}
		err := visit(ctx, l.cfg.Dir, f.first, func(r *Record) error {
			if r.Seq <= seq {
				return nil
			}
			return fn(r)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
