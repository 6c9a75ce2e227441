package regions

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"antipode/regions/keyring"
)

// NewDomainKey makes a version of the domain key on the Region's token. It wraps nothing before every token of the Region
// has acknowledged it; a Region of one token uses it at once. While a version is pending, no other is made and that one
// is returned, so that the call may be repeated.
func (r *Region) NewDomainKey(ctx context.Context) (version uint32, err error) {
	done, err := r.changeKeys(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	h, err := r.Hierarchy(ctx)
	if err != nil {
		return 0, err
	}
	if pending := h.Versions(); pending[len(pending)-1] > h.Current {
		version = pending[len(pending)-1]
		if mine, _ := h.Token(r.cfg.Token.Info().Serial); !mine.Holds(version) {
			return 0, fmt.Errorf("domain key %d is pending and not on this token: remove the token that holds it, or destroy "+
				"the version", version)
		}
		_, err = r.updateHierarchy(ctx, func(Tx, *keyring.Hierarchy) error { return nil })
		return version, err
	}
	made, version, err := r.ring.MakeDomainKey(ctx, h, r.Now().UnixMilli())
	if err == nil {
		err = r.proveDomainKey(ctx, made, version)
	}
	if err != nil {
		return 0, errors.Join(err, r.ring.Follow(context.WithoutCancel(ctx), h))
	}
	_, err = r.updateHierarchy(ctx, func(_ Tx, now *keyring.Hierarchy) error {
		*now = made.Clone()
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("new domain key: %w", err)
	}
	return version, nil
}

// proveDomainKey loads a version that was made and not committed, and sees that it opens what it wraps.
func (r *Region) proveDomainKey(ctx context.Context, h keyring.Hierarchy, version uint32) error {
	if err := r.ring.Follow(ctx, h); err != nil {
		return err
	}
	m, err := r.ring.Probe(ctx, version)
	if err != nil {
		return err
	}
	return r.ring.OpenProbe(ctx, m)
}

// rewrapPage is how many records are read at a time.
const rewrapPage = 256

// Rewrap wraps every key token that is under another version of the domain key anew under the current one, one record in
// a transaction, and returns how many. It may be cut off and repeated. Each is proven to open to the same material
// before it is written.
func (r *Region) Rewrap(ctx context.Context) (n int, err error) {
	done, err := r.changeKeys(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	h, err := r.Hierarchy(ctx)
	if err != nil {
		return 0, err
	}
	err = r.eachMaterial(ctx, func(m MaterialRecord) error {
		if m.Storage != keyring.StorageWrapped || m.DKVersion == h.Current {
			return nil
		}
		changed, err := r.rewrapOne(ctx, m, h.Current)
		if changed {
			n++
		}
		return err
	})
	pairs := 0
	if err == nil {
		pairs, err = r.rewrapPairs(ctx, h.Current)
	}
	n += pairs
	if err != nil {
		return n, fmt.Errorf("rewrap key tokens: %w", err)
	}
	// One commit at least, so that the store knows of the event even if there was nothing to do.
	return n, r.Update(ctx, func(Tx) error { return nil })
}

// rewrapOne replaces one key token, unless the record has changed meanwhile: then it was written under the current
// version, as everything is.
func (r *Region) rewrapOne(ctx context.Context, m MaterialRecord, version uint32) (changed bool, err error) {
	next, err := r.ring.Rewrap(ctx, m.Material, version)
	if err != nil {
		return false, err
	}
	err = r.Update(ctx, func(tx Tx) error {
		changed = false
		now, err := Get[MaterialRecord](ctx, tx, r.ring, m.RecordKey())
		if errors.Is(err, ErrNoRecord) {
			return nil // the key was deleted
		}
		if err != nil || now.DKVersion != m.DKVersion || !slices.Equal(now.EKT, m.EKT) {
			return err
		}
		changed = true
		now.DKVersion, now.EKT = next.DKVersion, next.EKT
		return Put(ctx, tx, r.ring, now)
	})
	return changed && err == nil, err
}

// eachMaterial calls fn for all key material in the store, page by page, outside of any transaction.
func (r *Region) eachMaterial(ctx context.Context, fn func(MaterialRecord) error) error {
	var after RecordKey
	for {
		var page []MaterialRecord
		err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
			page, err = List[MaterialRecord](ctx, rd, r.ring, Query{Kind: KindMaterial, After: after, Limit: rewrapPage})
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, m := range page {
			if err := fn(m); err != nil {
				return err
			}
		}
		after = page[len(page)-1].RecordKey()
	}
}

// DestroyDomainKey destroys a version of the domain key: its wrapped key on every token's list, and the loaded object. It
// returns [ErrDomainKeyNeeded] if the version is the current one, or if a key token in the store is under it, or if a
// backup that is on record carries it, and [ErrNoDomainKey] if there is none. All of that is looked at in the transaction
// that removes it.
func (r *Region) DestroyDomainKey(ctx context.Context, version uint32) error {
	done, err := r.changeKeys(ctx)
	if err != nil {
		return err
	}
	defer done()
	_, err = r.updateHierarchy(ctx, func(tx Tx, h *keyring.Hierarchy) error {
		switch {
		case !slices.Contains(h.Versions(), version):
			return ErrNoDomainKey
		case version == h.Current:
			return fmt.Errorf("%w: it wraps what is new", ErrDomainKeyNeeded)
		}
		if err := r.checkUnneeded(ctx, tx, version); err != nil {
			return err
		}
		for i := range h.Tokens {
			h.Tokens[i].DomainKeys = slices.DeleteFunc(h.Tokens[i].DomainKeys, func(d keyring.DomainKey) bool { return d.Version == version })
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("destroy domain key %d: %w", version, err)
	}
	return nil
}

// checkUnneeded looks through all key material and all backups for one that needs the version. Every record is
// authenticated: one that was altered to hide its need stops the destruction.
func (r *Region) checkUnneeded(ctx context.Context, rd Reader, version uint32) error {
	backups, err := List[Backup](ctx, rd, r.ring, Query{Kind: KindBackup})
	if err != nil {
		return err
	}
	for _, b := range backups {
		if slices.Contains(b.Versions, version) {
			return fmt.Errorf("%w: the backup %s carries it; destroy the file, then `antipode backup forget`", ErrDomainKeyNeeded, b.ID)
		}
	}
	var after RecordKey
	for {
		page, err := List[MaterialRecord](ctx, rd, r.ring, Query{Kind: KindMaterial, After: after, Limit: rewrapPage})
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return r.eachPair(ctx, rd, func(p ImportPair) error {
				if p.Pair.DKVersion == version {
					return fmt.Errorf("%w: import parameters of key %s are under it; `antipode domain-key rewrap`", ErrDomainKeyNeeded, p.KeyID)
				}
				return nil
			})
		}
		for _, m := range page {
			if m.Storage == keyring.StorageWrapped && m.DKVersion == version {
				return fmt.Errorf("%w: key %s is under it; `antipode domain-key rewrap`", ErrDomainKeyNeeded, m.KeyID)
			}
		}
		after = page[len(page)-1].RecordKey()
	}
}
