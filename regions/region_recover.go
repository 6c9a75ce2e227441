package regions

import (
	"context"
	"errors"
	"fmt"

	"antipode/regions/canon"
	"antipode/regions/keyring"
)

// The plan of a Region's keys is the one record without a MAC: it exists only before there is a record key, and names
// objects that nobody without the PIN can make.
func readPlan(ctx context.Context, rd Reader, name string) (keyring.TokenKeys, error) {
	var h keyring.TokenKeys
	rec, err := rd.Get(ctx, RecordKey{Kind: KindPlan, ID: name})
	if errors.Is(err, ErrNoRecord) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	if err := canon.Unmarshal(rec.Body, &h); err != nil {
		return h, fmt.Errorf("decode plan: %w", err)
	}
	return h, nil
}

func writePlan(ctx context.Context, store Store, name string, plan keyring.TokenKeys) error {
	body, err := canon.Marshal(plan)
	if err != nil {
		return fmt.Errorf("encode plan: %w", err)
	}
	return store.Update(ctx, func(tx Tx) error {
		return tx.Put(ctx, Record{RecordKey: RecordKey{Kind: KindPlan, ID: name}, Body: body})
	})
}

// readHierarchy reads the hierarchy without checking its MAC, which needs the record key that is inside.
func readHierarchy(ctx context.Context, store Store, name string) (keyring.Hierarchy, error) {
	var h HierarchyRecord
	err := store.View(ctx, func(rd Reader) error {
		rec, err := rd.Get(ctx, RecordKey{Kind: KindHierarchy, ID: name})
		if err != nil {
			return err
		}
		return canon.Unmarshal(rec.Body, &h)
	})
	if errors.Is(err, ErrNoRecord) {
		return h.Hierarchy, errors.New("the store holds no such Region; `antipode init` or `antipode dev` makes one")
	}
	if err != nil {
		return h.Hierarchy, fmt.Errorf("read region keys: %w", err)
	}
	return h.Hierarchy, nil
}

// recover finishes what a crash left in this Region alone: token objects of keys that were never committed are
// destroyed, and the audit log's open intents are closed.
func (r *Region) recover(ctx context.Context) error {
	// Before the first commit, which brings the store's memory of the audit log up to date.
	if err := r.checkAuditHead(ctx); err != nil {
		return err
	}
	var left []TokenKey
	err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		left, err = List[TokenKey](ctx, rd, r.ring, Query{Kind: KindTokenKey})
		return err
	})
	if err != nil {
		return err
	}
	for _, t := range left {
		if err := r.settleTokenKey(ctx, t); err != nil {
			return err
		}
	}
	// A deletion that was cut off is done on the token before the log says that it was. If the token fails, the
	// background work tries again.
	graves, err := r.graves(ctx)
	if err != nil {
		return err
	}
	for _, t := range graves {
		if err := r.destroyObjects(ctx, t); err != nil {
			r.cfg.Log.Error().Err(err).Str("key", t.KeyID).Msg("a deleted key is still on the token")
		}
	}
	if err := r.loadUsage(ctx); err != nil {
		return err
	}
	return r.closeIntents(ctx)
}

// settleTokenKey destroys a token object that was made for a key and not committed, and then the note of it.
func (r *Region) settleTokenKey(ctx context.Context, t TokenKey) error {
	if err := r.checkUncommitted(ctx, t); err != nil {
		return err
	}
	if err := r.ring.DestroyOnToken(ctx, t.Object); err != nil {
		return fmt.Errorf("destroy what key %s left on the token: %w", t.KeyID, err)
	}
	return r.Update(ctx, func(tx Tx) error { return tx.Delete(ctx, t.RecordKey()) })
}

// checkUncommitted refuses to destroy an object that is the material of a key in the store: the note was deleted when the
// material was committed, so somebody has put it back.
func (r *Region) checkUncommitted(ctx context.Context, t TokenKey) error {
	return r.cfg.Store.View(ctx, func(rd Reader) error {
		found, err := List[MaterialRecord](ctx, rd, r.ring, Query{Kind: KindMaterial, Account: t.Account, ID: t.KeyID})
		if err != nil {
			return err
		}
		for _, m := range found {
			if m.Object == t.Object {
				return fmt.Errorf("%w: material of key %s is in the store, and is noted as never committed", ErrForgedRecord, t.KeyID)
			}
		}
		return nil
	})
}

// CountTokens returns how many tokens hold the keys of the Region in a store that is not open as a Region. It is not
// checked, and is for what an operator is told.
func CountTokens(ctx context.Context, name string, store Store) (int, error) {
	h, err := readHierarchy(ctx, store, name)
	return len(h.Tokens), err
}
