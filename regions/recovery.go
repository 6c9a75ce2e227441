package regions

import (
	"context"
	"errors"
	"fmt"

	"antipode/hsmbackend"
	"antipode/regions/keyring"
)

// Recovery is the record of a Region whose store may be older than what the Region once answered: it was restored from a
// backup. Such a Region encrypts and decrypts with what it has. It makes no shared change of a multi-Region key and
// acknowledges none, until its operator ends the recovery.
type Recovery struct {
	Region string `cbor:"1,keyasint"`
	Since  int64  `cbor:"2,keyasint"` // Unix milliseconds
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
		return Put(ctx, tx, ring, Recovery{Region: name, Since: now})
	})
}

// Recovering reports whether the Region's store may be older than what it once answered.
func (r *Region) Recovering() bool { return r.recovering.Load() }

// ErrRecovering is answered when a Region that recovers is asked for, or told of, a shared change.
var ErrRecovering = errors.New("the Region recovers from an older state of its store")

func errRecovering(region string) *Error {
	return Errorf(CodeInvalidState, "Region %s recovers from an older state of its store and changes no multi-Region key "+
		"until its operator ends the recovery.", region)
}

// EndRecovery ends the recovery on its operator's word: he has seen to it that what the backup lacks is known.
func (r *Region) EndRecovery(ctx context.Context) error {
	err := r.Update(ctx, func(tx Tx) error { return tx.Delete(ctx, Recovery{Region: r.cfg.Name}.RecordKey()) })
	if err != nil {
		return fmt.Errorf("end recovery: %w", err)
	}
	r.recovering.Store(false)
	return nil
}

func (r *Region) loadRecovery(ctx context.Context) error {
	return r.cfg.Store.View(ctx, func(rd Reader) error {
		_, err := Get[Recovery](ctx, rd, r.ring, Recovery{Region: r.cfg.Name}.RecordKey())
		if isNoRecord(err) {
			return nil
		}
		if err != nil {
			return err
		}
		r.recovering.Store(true)
		r.cfg.Log.Warn().Str("region", r.cfg.Name).Msg("recovering: no shared changes until the operator ends it")
		return nil
	})
}
