package regions

import (
	"context"
	"errors"
	"fmt"

	"antipode/regions/roster"
)

// RosterRecord is the record of the partition's roster as this Region knows it.
type RosterRecord struct {
	Roster roster.Roster `cbor:"1,keyasint"`
}

// RecordKey implements [Body].
func (r RosterRecord) RecordKey() RecordKey { return RecordKey{Kind: KindRoster} }

// RecordIndex implements [Body].
func (r RosterRecord) RecordIndex() (string, int64) { return "", 0 }

// Roster returns the Region's roster, empty before the first enrolment. It is read from the store, and checked, when
// the Region opens and at each change.
func (r *Region) Roster() roster.Roster { return *r.roster.Load() }

// Enrol adds an entry to the roster or replaces the one of its Region by a newer one. The operator, or `antipode dev`,
// vouches for the entry. It returns the roster package's errors.
func (r *Region) Enrol(ctx context.Context, e roster.Entry) error {
	var next roster.Roster
	err := r.Update(ctx, func(tx Tx) (err error) {
		current, err := r.readRoster(ctx, tx)
		if err != nil {
			return err
		}
		if next, err = current.With(e); err != nil {
			return err
		}
		return Put(ctx, tx, r.ring, RosterRecord{Roster: next})
	})
	if err != nil {
		return fmt.Errorf("enrol region %s: %w", e.Region, err)
	}
	r.roster.Store(&next)
	return nil
}

func (r *Region) readRoster(ctx context.Context, rd Reader) (roster.Roster, error) {
	rec, err := Get[RosterRecord](ctx, rd, r.ring, RecordKey{Kind: KindRoster})
	if errors.Is(err, ErrNoRecord) {
		return roster.New(r.cfg.Partition)
	}
	return rec.Roster, err
}

func (r *Region) loadRoster(ctx context.Context) error {
	return r.cfg.Store.View(ctx, func(rd Reader) error {
		ro, err := r.readRoster(ctx, rd)
		if err != nil {
			return fmt.Errorf("roster: %w", err)
		}
		if err := ro.Validate(); err != nil {
			return fmt.Errorf("roster: %w", err)
		}
		r.roster.Store(&ro)
		return nil
	})
}
