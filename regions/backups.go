package regions

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// Backup is the record of a copy of the store that somebody keeps. It carries the wrapped keys of the Region as they were,
// so a version of the domain key that is in it is not destroyed as long as it is kept.
type Backup struct {
	ID       string   `cbor:"1,keyasint"` // 32 hex digits
	Path     string   `cbor:"2,keyasint"` // where it was written
	Created  int64    `cbor:"3,keyasint"` // Unix milliseconds
	Versions []uint32 `cbor:"4,keyasint"` // of the domain key, that the copy carries
}

// RecordKey implements [Body].
func (b Backup) RecordKey() RecordKey { return RecordKey{Kind: KindBackup, ID: b.ID} }

// RecordIndex implements [Body].
func (b Backup) RecordIndex() (string, int64) { return "", 0 }

// Backup records a backup and then has write make the copy at path. The record is in the copy too. A write that fails
// takes the record back; if the process ends before, the record stays until it is forgotten. Meanwhile the Region's own
// keys do not change.
func (r *Region) Backup(ctx context.Context, path string, write func(ctx context.Context, path string) error) (Backup, error) {
	b, err := r.backup(ctx, path, write)
	if err != nil {
		return b, fmt.Errorf("back up region: %w", err)
	}
	return b, nil
}

func (r *Region) backup(ctx context.Context, path string, write func(ctx context.Context, path string) error) (b Backup, err error) {
	done, err := r.changeKeys(ctx)
	if err != nil {
		return b, err
	}
	defer done()
	raw, err := r.cfg.Token.Random(ctx, 16)
	if err != nil {
		return b, err
	}
	b = Backup{ID: hex.EncodeToString(raw), Path: path, Created: r.Now().UnixMilli()}
	err = r.Update(ctx, func(tx Tx) error {
		h, err := r.hierarchy(ctx, tx)
		if err != nil {
			return err
		}
		b.Versions = h.Versions()
		return Put(ctx, tx, r.ring, b)
	})
	if err != nil {
		return b, err
	}
	if err := write(ctx, path); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
		defer cancel()
		return b, errors.Join(err, r.Update(ctx, func(tx Tx) error { return tx.Delete(ctx, b.RecordKey()) }))
	}
	return b, nil
}

// Backups returns the backups on record, oldest first.
func (r *Region) Backups(ctx context.Context) (out []Backup, err error) {
	err = r.cfg.Store.View(ctx, func(rd Reader) error {
		out, err = List[Backup](ctx, rd, r.ring, Query{Kind: KindBackup})
		return err
	})
	slices.SortStableFunc(out, func(a, b Backup) int { return cmp.Compare(a.Created, b.Created) })
	return out, err
}

// ForgetBackup takes a backup off the record, on its operator's word that the file is destroyed. It returns
// [ErrNoBackup].
func (r *Region) ForgetBackup(ctx context.Context, id string) error {
	done, err := r.changeKeys(ctx)
	if err != nil {
		return err
	}
	defer done()
	return r.Update(ctx, func(tx Tx) error {
		_, err := Get[Backup](ctx, tx, r.ring, Backup{ID: id}.RecordKey())
		if errors.Is(err, ErrNoRecord) {
			return fmt.Errorf("%w: %q", ErrNoBackup, id)
		}
		if err != nil {
			return err
		}
		return tx.Delete(ctx, Backup{ID: id}.RecordKey())
	})
}
