package regions

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"antipode/hsmbackend"
	"antipode/regions/audit"
	"antipode/regions/keyring"
	"antipode/regions/keyset"
)

// Recovery is the record of a Region whose store may be older than what the Region once answered: it was restored from a
// backup, or was found to lack something that it had signed. Such a Region encrypts and decrypts with what it has. It
// makes no shared change of a multi-Region key and acknowledges none, until the recovery ends. The record stays when it
// has: Since is what tells the keys whose term was not raised since then.
type Recovery struct {
	Region string `cbor:"1,keyasint"`
	Since  int64  `cbor:"2,keyasint"` // Unix milliseconds; later than that of every recovery before
	Ended  int64  `cbor:"3,keyasint"` // Unix milliseconds; 0 while the Region recovers
	// Without are the Regions that the operator said not to wait for, in order.
	Without []string `cbor:"4,keyasint"`
}

// RecordKey implements [Body].
func (r Recovery) RecordKey() RecordKey { return RecordKey{Kind: KindRecovery, ID: r.Region} }

// RecordIndex implements [Body].
func (r Recovery) RecordIndex() (string, int64) { return "", 0 }

// MarkRestored marks a store that was brought back from a backup, before it is opened as a Region, and checks that it
// is this Region's and belongs to this token. newLog says that the audit log did not come along: then the store's memory
// of its head is dropped, which otherwise keeps the Region from opening beside another log.
func MarkRestored(ctx context.Context, name string, store Store, token hsmbackend.Token, now int64, newLog bool) (err error) {
	h, err := readHierarchy(ctx, store, name)
	if err != nil {
		return err
	}
	ring, err := keyring.Open(ctx, token, h, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ring.Close(context.WithoutCancel(ctx))) }()
	return store.Update(ctx, func(tx Tx) error {
		if _, err := Get[HierarchyRecord](ctx, tx, ring, RecordKey{Kind: KindHierarchy, ID: name}); err != nil {
			return err
		}
		if newLog {
			if err := tx.Delete(ctx, AuditHead{Region: name}.RecordKey()); err != nil {
				return err
			}
		}
		return begin(ctx, tx, ring, name, now)
	})
}

// begin records a recovery that begins, later than any before.
func begin(ctx context.Context, tx Tx, auth Authenticator, name string, now int64) error {
	last, err := Get[Recovery](ctx, tx, auth, Recovery{Region: name}.RecordKey())
	if err != nil && !isNoRecord(err) {
		return err
	}
	return Put(ctx, tx, auth, Recovery{Region: name, Since: max(now, last.Since+1)})
}

// Recovery returns the record of the last recovery, zero if there was none. The Region recovers while Since is set and
// Ended is not.
func (r *Region) Recovery() Recovery {
	if p := r.recovery.Load(); p != nil {
		return *p
	}
	return Recovery{Region: r.cfg.Name}
}

// Recovering reports whether the Region's store may be older than what it once answered.
func (r *Region) Recovering() bool {
	rec := r.Recovery()
	return rec.Since != 0 && rec.Ended == 0
}

// SetWaits says what the recovery waits for, for people: short of each other Region, full for the operator.
func (r *Region) SetWaits(short string, full []string) { r.waits.Store(&waits{short, full}) }

type waits struct {
	short string
	full  []string
}

// Waits returns what [Region.SetWaits] said last.
func (r *Region) Waits() (short string, full []string) {
	if w := r.waits.Load(); w != nil {
		return w.short, w.full
	}
	return "", nil
}

// EnterRecovery starts a recovery because of what was found, which goes to the audit log. It does nothing in a Region
// that recovers already.
func (r *Region) EnterRecovery(ctx context.Context, why string) error {
	if r.Recovering() {
		return nil
	}
	r.cfg.Log.Error().Str("region", r.cfg.Name).Str("why", why).
		Msg("the store is older than what this Region once answered: it was rolled back")
	var f audit.Fields
	f.Str("reason", why)
	return r.Audited(ctx, audit.Event{
		EventName: "EnterRecovery", EventType: audit.TypeServiceEvent,
		UserIdentity: audit.UserIdentity{InvokedBy: "AWS Internal"}, ServiceEventDetails: f,
	}, func(*audit.Event) error { return r.enterRecovery(ctx) })
}

func (r *Region) enterRecovery(ctx context.Context) error {
	err := r.Update(ctx, func(tx Tx) error { return begin(ctx, tx, r.ring, r.cfg.Name, r.Now().UnixMilli()) })
	if err != nil {
		return fmt.Errorf("begin recovery: %w", err)
	}
	return r.loadRecovery(ctx)
}

// Excuse ends the wait for some Regions on the operator's word: what only they know is given up. It returns
// roster.ErrUnknownRegion for a name that is not in the roster, and an error if the Region does not recover.
func (r *Region) Excuse(ctx context.Context, names []string) error {
	err := r.Update(ctx, func(tx Tx) error {
		rec, err := Get[Recovery](ctx, tx, r.ring, Recovery{Region: r.cfg.Name}.RecordKey())
		if err != nil && !isNoRecord(err) {
			return err
		}
		if rec.Since == 0 || rec.Ended != 0 {
			return fmt.Errorf("region %s does not recover", r.cfg.Name)
		}
		for _, name := range names {
			if _, err := r.Roster().Entry(name); err != nil || name == r.cfg.Name {
				return fmt.Errorf("%s is not another Region that this one knows: %w", name, err)
			}
			rec.Without = append(rec.Without, name)
		}
		slices.Sort(rec.Without)
		rec.Without = slices.Compact(rec.Without)
		return Put(ctx, tx, r.ring, rec)
	})
	if err != nil {
		return fmt.Errorf("recover without: %w", err)
	}
	return r.loadRecovery(ctx)
}

// ErrRecovering is answered when a Region that recovers is asked for, or told of, a shared change.
var ErrRecovering = errors.New("the Region recovers from an older state of its store")

func errRecovering(region string) *Error {
	return Errorf(CodeInvalidState, "Region %s recovers from an older state of its store and changes no multi-Region key "+
		"until it has ended.", region)
}

// Holder is a replica whose Region has signed that it holds these materials, in its present incarnation.
type Holder struct {
	Account, KeyID string
	Region         string
	Incarnation    [16]byte
	Materials      []string
}

// EndRecovery ends the recovery. In the same commit the holders that the shared states of this Region's primaries have
// as Creating become Active, if they hold all materials: their receipts are what the store lost.
func (r *Region) EndRecovery(ctx context.Context, holders []Holder) error {
	err := r.Update(ctx, func(tx Tx) error {
		rec, err := Get[Recovery](ctx, tx, r.ring, Recovery{Region: r.cfg.Name}.RecordKey())
		if err != nil {
			return err
		}
		for _, h := range holders {
			if err := r.confirm(ctx, tx, h); err != nil {
				return err
			}
		}
		rec.Ended = r.Now().UnixMilli()
		return Put(ctx, tx, r.ring, rec)
	})
	if err != nil {
		return fmt.Errorf("end recovery: %w", err)
	}
	return r.loadRecovery(ctx)
}

func (r *Region) confirm(ctx context.Context, tx Tx, h Holder) error {
	k, err := Get[Key](ctx, tx, r.ring, Key{Account: h.Account, KeyID: h.KeyID}.RecordKey())
	if isNoRecord(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if k.MultiRegion == nil || k.MultiRegion.State == nil || k.MultiRegion.State.Primary != r.cfg.Name {
		return nil
	}
	m, member := k.MultiRegion.State.Member(h.Region)
	if !member || m.Status != keyset.Creating || m.Incarnation != h.Incarnation {
		return nil
	}
	for _, want := range k.MultiRegion.State.Needed() {
		if !slices.Contains(h.Materials, want.ID) {
			return nil
		}
	}
	_, err = r.changeShared(ctx, tx, h.Account, h.KeyID, func(_ *Key, s *keyset.State) error {
		for i := range s.Members {
			if s.Members[i].Region == h.Region {
				s.Members[i].Status = keyset.Active
			}
		}
		return nil
	})
	return err
}

func (r *Region) loadRecovery(ctx context.Context) error {
	return r.cfg.Store.View(ctx, func(rd Reader) error {
		rec, err := Get[Recovery](ctx, rd, r.ring, Recovery{Region: r.cfg.Name}.RecordKey())
		if isNoRecord(err) {
			return nil
		}
		if err != nil {
			return err
		}
		r.recovery.Store(&rec)
		if rec.Ended == 0 {
			r.cfg.Log.Warn().Str("region", r.cfg.Name).Msg("recovering: no shared changes until the other Regions have said what they know")
		}
		return nil
	})
}
