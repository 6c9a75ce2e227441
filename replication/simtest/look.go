package simtest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/audit"
	"antipode/replication"
)

// Holding is all that a Region's store holds of one key.
type Holding struct {
	Key       *regions.Key // nil if there is none
	Policies  int
	Materials []regions.MaterialRecord
	Source    []replication.SourceExchange
	Dest      []replication.DestinationExchange
}

// Holds reads what the Region's store holds of a key. Faults of the store apply.
func (r *Region) Holds(ctx context.Context, keyID string) Holding {
	r.world.t.Helper()
	var h Holding
	ring := r.Region.Ring()
	err := r.Region.Store().View(ctx, func(rd regions.Reader) error {
		k, err := regions.Get[regions.Key](ctx, rd, ring, regions.Key{Account: Account, KeyID: keyID}.RecordKey())
		if err == nil {
			h.Key = &k
		} else if !errors.Is(err, regions.ErrNoRecord) {
			return err
		}
		policies, err := rd.List(ctx, regions.Query{Kind: regions.KindPolicy, Account: Account, ID: keyID})
		if err != nil {
			return err
		}
		h.Policies = len(policies)
		q := regions.Query{Kind: regions.KindMaterial, Account: Account, ID: keyID}
		if h.Materials, err = regions.List[regions.MaterialRecord](ctx, rd, ring, q); err != nil {
			return err
		}
		q.Kind = regions.KindSourceEx
		if h.Source, err = regions.List[replication.SourceExchange](ctx, rd, ring, q); err != nil {
			return err
		}
		dest, err := regions.List[replication.DestinationExchange](ctx, rd, ring, regions.Query{Kind: regions.KindDestEx})
		for _, e := range dest {
			if e.KeyID == keyID {
				h.Dest = append(h.Dest, e)
			}
		}
		return err
	})
	if err != nil {
		r.world.t.Fatalf("read the store of %s: %v", r.Name, err)
	}
	return h
}

// OpenExchanges counts the exchanges that the Region has not ended, of both sides.
func (r *Region) OpenExchanges(ctx context.Context) (n int) {
	r.world.t.Helper()
	ring := r.Region.Ring()
	err := r.Region.Store().View(ctx, func(rd regions.Reader) error {
		source, err := regions.List[replication.SourceExchange](ctx, rd, ring, regions.Query{Kind: regions.KindSourceEx, DueBy: 1<<62 - 1})
		if err != nil {
			return err
		}
		dest, err := regions.List[replication.DestinationExchange](ctx, rd, ring, regions.Query{Kind: regions.KindDestEx, Ref: "open"})
		n = len(source) + len(dest)
		return err
	})
	if err != nil {
		r.world.t.Fatalf("read the store of %s: %v", r.Name, err)
	}
	return n
}

// Standings returns what the Region, as the primary of a key, knows of the other members and has to send them, in order of
// Region.
func (r *Region) Standings(ctx context.Context, keyID string) []regions.MemberStanding {
	r.world.t.Helper()
	return r.standings(ctx, regions.Query{Kind: regions.KindStanding, Account: Account, ID: keyID})
}

// Unsent returns the standings of members that have not acknowledged a state and are to be sent it.
func (r *Region) Unsent(ctx context.Context) []regions.MemberStanding {
	r.world.t.Helper()
	return r.standings(ctx, regions.Query{Kind: regions.KindStanding, DueBy: 1<<62 - 1})
}

func (r *Region) standings(ctx context.Context, q regions.Query) (out []regions.MemberStanding) {
	r.world.t.Helper()
	err := r.Region.Store().View(ctx, func(rd regions.Reader) (err error) {
		out, err = regions.List[regions.MemberStanding](ctx, rd, r.Region.Ring(), q)
		return err
	})
	if err != nil {
		r.world.t.Fatalf("read the store of %s: %v", r.Name, err)
	}
	return out
}

// HandOvers returns the changes of a primary that this Region has begun and that have not ended.
func (r *Region) HandOvers(ctx context.Context) (out []regions.HandOver) {
	r.world.t.Helper()
	err := r.Region.Store().View(ctx, func(rd regions.Reader) (err error) {
		out, err = regions.List[regions.HandOver](ctx, rd, r.Region.Ring(), regions.Query{Kind: regions.KindHandOver})
		return err
	})
	if err != nil {
		r.world.t.Fatalf("read the store of %s: %v", r.Name, err)
	}
	return out
}

// Graves returns the tombstones that the Region has of a key, in order of incarnation.
func (r *Region) Graves(ctx context.Context, keyID string) []regions.Tombstone {
	r.world.t.Helper()
	return r.graves(ctx, regions.Query{Kind: regions.KindTombstone, Account: Account, ID: keyID})
}

// Unsaid returns the tombstones for which something is left to be done.
func (r *Region) Unsaid(ctx context.Context) []regions.Tombstone {
	r.world.t.Helper()
	return r.graves(ctx, regions.Query{Kind: regions.KindTombstone, DueBy: 1<<62 - 1})
}

func (r *Region) graves(ctx context.Context, q regions.Query) (out []regions.Tombstone) {
	r.world.t.Helper()
	err := r.Region.Store().View(ctx, func(rd regions.Reader) (err error) {
		out, err = regions.List[regions.Tombstone](ctx, rd, r.Region.Ring(), q)
		return err
	})
	if err != nil {
		r.world.t.Fatalf("read the store of %s: %v", r.Name, err)
	}
	return out
}

// Extra counts the session objects on the token beyond the Region's own keys and the working copies that it has cached.
// It is not 0 while an exchange is open, after one that ended badly, and after Encrypt or Decrypt, which keep derived
// keys.
func (r *Region) Extra() int {
	r.world.t.Helper()
	return hsmtest.SessionObjects(r.world.t, r.Token) - r.Region.Ring().WorkingCopies() - ownKeys
}

// ownKeys are the domain key, the record key and the sealing key.
const ownKeys = 3

// Events returns the events of this name in the Region's audit log, outcomes in place of intents, oldest first.
func (r *Region) Events(ctx context.Context, name string) (out []audit.Event) {
	r.world.t.Helper()
	_, err := audit.Scan(ctx, filepath.Join(r.Dir, "audit"), audit.Head{}, func(rec *audit.Record) error {
		if rec.Kind == audit.KindFile || rec.Kind == audit.KindIntent {
			return nil
		}
		e, err := audit.DecodeEvent(rec.Event)
		if err != nil {
			return fmt.Errorf("record %d: %w", rec.Seq, err)
		}
		if e.EventName == name {
			out = append(out, e)
		}
		return nil
	})
	if err != nil {
		r.world.t.Fatalf("audit log of %s: %v", r.Name, err)
	}
	return out
}
