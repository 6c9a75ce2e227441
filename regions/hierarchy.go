package regions

import (
	"context"
	"errors"
	"fmt"

	"antipode/regions/audit"
	"antipode/regions/keyring"
	"antipode/regions/roster"
)

// What keeps a change of the Region's own keys from being made.
var (
	// ErrTokenInUse: the token is the one that the Region runs on.
	ErrTokenInUse = errors.New("the Region runs on this token")
	// ErrForeignKeys: the token holds keys of this Region that the store knows nothing of.
	ErrForeignKeys = errors.New("the token holds keys of this Region that its store does not know: they are of a token " +
		"that was removed, or of another store. Initialise the token anew, and add it then")
	// ErrNoDomainKey: there is no such version of the domain key.
	ErrNoDomainKey = errors.New("no such version of the domain key")
	// ErrDomainKeyNeeded: a key token or a backup needs the version of the domain key, or it is the one in use.
	ErrDomainKeyNeeded = errors.New("this version of the domain key is needed")
	// ErrNoBackup: no such backup is on record.
	ErrNoBackup = errors.New("no such backup is on record")
)

// changeKeys takes the right to change the Region's own keys. done gives it back.
func (r *Region) changeKeys(ctx context.Context) (done func(), err error) {
	select {
	case r.keys <- struct{}{}:
		return func() { <-r.keys }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Hierarchy returns the Region's own wrapped keys, on all of its tokens.
func (r *Region) Hierarchy(ctx context.Context) (h keyring.Hierarchy, err error) {
	err = r.cfg.Store.View(ctx, func(rd Reader) error {
		h, err = r.hierarchy(ctx, rd)
		return err
	})
	return h, err
}

func (r *Region) hierarchy(ctx context.Context, rd Reader) (keyring.Hierarchy, error) {
	rec, err := Get[HierarchyRecord](ctx, rd, r.ring, HierarchyRecord{Region: r.cfg.Name}.RecordKey())
	if err != nil {
		return keyring.Hierarchy{}, fmt.Errorf("read region keys: %w", err)
	}
	return rec.Hierarchy, nil
}

// updateHierarchy commits a change of the hierarchy and of what change writes besides, and makes the ring follow. The
// newest version of the domain key that every token holds becomes the current one in the same transaction.
func (r *Region) updateHierarchy(ctx context.Context, change func(Tx, *keyring.Hierarchy) error) (keyring.Hierarchy, error) {
	var next keyring.Hierarchy
	promoted := false
	err := r.Update(ctx, func(tx Tx) error {
		h, err := r.hierarchy(ctx, tx)
		if err != nil {
			return err
		}
		next = h.Clone()
		if err := change(tx, &next); err != nil {
			return err
		}
		promoted = next.Promote()
		return Put(ctx, tx, r.ring, HierarchyRecord{Region: r.cfg.Name, Hierarchy: next})
	})
	if err != nil {
		return next, err
	}
	// It is committed, so nobody's impatience keeps the ring from it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	if err := r.ring.Follow(ctx, next); err != nil || !promoted {
		return next, err
	}
	return next, r.logPromotion(ctx, next)
}

// logPromotion records that another version of the domain key wraps what is new.
func (r *Region) logPromotion(ctx context.Context, h keyring.Hierarchy) error {
	var f audit.Fields
	f.Int("version", int64(h.Current))
	f.Int("tokens", int64(len(h.Tokens)))
	err := r.cfg.Audit.Service(ctx, audit.Event{
		EventName: "UseDomainKey", EventType: audit.TypeServiceEvent, EventTime: r.Now(), AWSRegion: r.cfg.Name,
		UserIdentity: audit.UserIdentity{InvokedBy: "AWS Internal"}, ServiceEventDetails: f,
	})
	if err != nil {
		return fmt.Errorf("audit the domain key in use: %w", err)
	}
	return nil
}

// PutMaterials writes key material inside a transaction. Material whose key token was wrapped under a version of the
// domain key that is not the current one any more is wrapped anew, so that no commit brings a version back into use.
func (r *Region) PutMaterials(ctx context.Context, tx Tx, materials ...keyring.Material) error {
	if len(materials) == 0 {
		return nil
	}
	h, err := r.hierarchy(ctx, tx)
	if err != nil {
		return err
	}
	for _, m := range materials {
		if m.Storage == keyring.StorageWrapped {
			if m, err = r.ring.Rewrap(ctx, m, h.Current); err != nil {
				return err
			}
		}
		if err := Put(ctx, tx, r.ring, MaterialRecord{m}); err != nil {
			return err
		}
	}
	return nil
}

// SigningKeys returns the public halves of the RSKs of all of the Region's tokens as the roster has them, DER
// SubjectPublicKeyInfo, in the order in which the tokens were added.
func (r *Region) SigningKeys(ctx context.Context) ([][]byte, error) {
	h, err := r.Hierarchy(ctx)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, k := range h.Tokens {
		out = append(out, k.RSKPublic)
	}
	return out, nil
}

// changeOwnEntry changes the Region's entry of itself inside a transaction, if there is one yet. It returns the roster to
// be put in place after the commit, or nil if nothing changed.
func (r *Region) changeOwnEntry(ctx context.Context, tx Tx, change func(e *roster.Entry) bool) (*roster.Roster, error) {
	current, err := r.readRoster(ctx, tx)
	if err != nil {
		return nil, err
	}
	e, err := current.Entry(r.cfg.Name)
	if errors.Is(err, roster.ErrUnknownRegion) {
		return nil, nil // it is made with all keys when the Region first serves
	}
	if err != nil {
		return nil, err
	}
	e.Version++
	e.Own = e.Version // it is this Region that counts
	if !change(&e) {
		return nil, nil
	}
	next, err := current.With(e)
	if err != nil {
		return nil, err
	}
	return &next, Put(ctx, tx, r.ring, RosterRecord{Roster: next})
}
