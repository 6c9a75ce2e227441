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
	err := r.updateRoster(ctx, func(_ Tx, current roster.Roster) (roster.Roster, error) { return current.With(e) })
	if err != nil {
		return fmt.Errorf("enrol region %s: %w", e.Region, err)
	}
	return nil
}

// EnrolOperators gives the roster a chain of operator sets, whose last one is the present one from then on. A Region
// that has operators takes only what they approved; for one that has none, whoever calls this has compared the
// fingerprint of the last set. It may be repeated. It returns the roster package's errors.
func (r *Region) EnrolOperators(ctx context.Context, sets []roster.OperatorSet) error {
	err := r.updateRoster(ctx, func(_ Tx, current roster.Roster) (roster.Roster, error) { return current.WithOperators(sets) })
	if err != nil {
		return fmt.Errorf("enrol operators: %w", err)
	}
	return nil
}

// TakeAnnouncement takes over what a Region says of itself, in an announcement that one of its keys, by, has signed. It
// returns the entry held then, and the roster package's errors. It may be repeated.
func (r *Region) TakeAnnouncement(ctx context.Context, e roster.Entry, by []byte) (held roster.Entry, err error) {
	err = r.updateRoster(ctx, func(_ Tx, current roster.Roster) (next roster.Roster, err error) {
		if next, err = current.WithAnnounced(e, by); err != nil {
			return next, err
		}
		held, err = next.Entry(e.Region)
		return next, err
	})
	if err != nil {
		return held, fmt.Errorf("announcement of region %s: %w", e.Region, err)
	}
	return held, nil
}

// Remove takes a Region, or one of its signing keys if m.Key is not empty, out of the roster, for ever: by a quorum of the
// operators if m has approvals, else by the word of this Region's own operator. Every message of it is refused from then
// on. It may be repeated. It returns the roster package's errors, or [ErrRemovesSelf].
func (r *Region) Remove(ctx context.Context, m roster.Removal) error {
	if m.Region == r.cfg.Name && len(m.Approvals) == 0 {
		return ErrRemovesSelf
	}
	err := r.updateRoster(ctx, func(_ Tx, current roster.Roster) (roster.Roster, error) {
		if len(m.Approvals) == 0 {
			return current.Without(m.Region, m.Key)
		}
		return current.WithRemoval(m)
	})
	if err != nil {
		return fmt.Errorf("remove region %s: %w", m.Region, err)
	}
	return nil
}

// ErrRemovesSelf says that a Region was told by its own operator to remove itself or its own key.
var ErrRemovesSelf = errors.New("a Region does not remove itself: the others do, or a quorum of the operators")

// updateRoster commits a change of the roster, and of what change writes besides, and puts it in place. A roster of the
// same version is not written.
func (r *Region) updateRoster(ctx context.Context, change func(Tx, roster.Roster) (roster.Roster, error)) error {
	var next roster.Roster
	err := r.Update(ctx, func(tx Tx) error {
		current, err := r.readRoster(ctx, tx)
		if err != nil {
			return err
		}
		if next, err = change(tx, current); err != nil || next.Version == current.Version {
			return err
		}
		return Put(ctx, tx, r.ring, RosterRecord{Roster: next})
	})
	if err == nil {
		r.setRoster(next)
	}
	return err
}

// setRoster puts a committed roster in place, unless a later one is there: two commits may end in another order than
// they began.
func (r *Region) setRoster(next roster.Roster) {
	for {
		now := r.roster.Load()
		if now != nil && now.Version >= next.Version || r.roster.CompareAndSwap(now, &next) {
			return
		}
	}
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
