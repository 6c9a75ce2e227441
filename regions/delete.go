package regions

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"antipode/regions/arn"
	"antipode/regions/audit"
	"antipode/regions/keyring"
	"antipode/regions/keyset"
)

// eventDeleteKey is the audit log's name for a deletion at the end of the waiting period.
const eventDeleteKey = "DeleteKey"

// errNotDue says that a key is not to be deleted now: its deletion was cancelled, or its clock was set back.
var errNotDue = errors.New("the key is not due for deletion")

// errHeld says what a deletion whose time has come waits for.
var errHeld = errors.New("the key can't be deleted yet")

// DeleteDue deletes the keys whose waiting period is over by this Region's clock, and finishes what earlier deletions
// left to be done on the token. A Region that recovers deletes nothing: the older state that it has may lack a
// cancellation. It may be called again at any time, and goes on past a key that can't be deleted; the error joins those
// of all such keys.
func (r *Region) DeleteDue(ctx context.Context) error {
	r.deletion.Lock()
	defer r.deletion.Unlock()
	errs := []error{r.finishDeletions(ctx)}
	if r.Recovering() {
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, r.eachDue(ctx, func(at RecordKey) error {
		if err := r.deleteKey(ctx, at); err != nil {
			return fmt.Errorf("delete key %s: %w", at.ID, err)
		}
		return nil
	}))...)
}

// eachDue calls fn for each key that is due for something by this Region's clock, and goes on past errors, which it
// joins.
func (r *Region) eachDue(ctx context.Context, fn func(at RecordKey) error) error {
	var errs []error
	for q := (Query{Kind: KindKey, DueBy: max(r.Now().UnixMilli(), 1), Limit: 256}); ; {
		var due []Record
		err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
			due, err = rd.List(ctx, q) // one by one below, so that a forged record keeps no other key
			return err
		})
		for _, rec := range due {
			errs = append(errs, fn(rec.RecordKey))
			q.After = rec.RecordKey
		}
		if err = errors.Join(err, ctx.Err()); err != nil || len(due) < q.Limit {
			return errors.Join(append(errs, err)...)
		}
	}
}

// deleteKey deletes one key: intent, one transaction that leaves nothing but a tombstone, then the token, then the
// outcome.
func (r *Region) deleteKey(ctx context.Context, at RecordKey) error {
	var k Key
	var materials []MaterialRecord
	err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		k, materials, err = r.dueKey(ctx, rd, at)
		return err
	})
	if errors.Is(err, errNotDue) {
		return nil
	}
	if err != nil {
		return err
	}
	// There should be no copy: a key that is pending deletion is not used. What the token fails to destroy keeps the key
	// from being deleted, not only from being forgotten.
	if err := r.evict(ctx, materials); err != nil {
		return err
	}
	err = r.Audited(ctx, r.deleteEvent(k.Account, k.KeyID), func(e *audit.Event) error {
		var grave Tombstone
		err := r.Update(ctx, func(tx Tx) (err error) {
			grave, err = r.bury(ctx, tx, at)
			return err
		})
		if err != nil && !r.isBuried(ctx, at) { // a commit that reported an error may have happened all the same
			return err
		}
		e.ResponseElements.Str("keyId", r.KeyARN(k.Account, k.KeyID))
		r.undone[at] = materials
		return r.finishDeletion(ctx, grave, at)
	})
	if errors.Is(err, errNotDue) {
		return nil // cancelled in this instant; the outcome says so
	}
	return err
}

func (r *Region) deleteEvent(account, keyID string) audit.Event {
	e := audit.Event{
		EventName: eventDeleteKey, EventType: audit.TypeServiceEvent,
		UserIdentity:       audit.UserIdentity{AccountID: account, InvokedBy: "AWS Internal"},
		RecipientAccountID: account,
		Resources:          []audit.Resource{{ARN: r.KeyARN(account, keyID), AccountID: account}},
	}
	e.ServiceEventDetails.Str("keyId", keyID)
	return e
}

// dueKey reads a key with its materials and decides whether it is to be deleted now.
func (r *Region) dueKey(ctx context.Context, rd Reader, at RecordKey) (Key, []MaterialRecord, error) {
	k, err := Get[Key](ctx, rd, r.ring, at)
	if isNoRecord(err) {
		return k, nil, errNotDue
	}
	if err != nil {
		return k, nil, err
	}
	if k.State != StatePendingDeletion || k.DeletionDate == 0 || k.DeletionDate > r.Now().UnixMilli() {
		return k, nil, errNotDue
	}
	materials, err := List[MaterialRecord](ctx, rd, r.ring, Query{Kind: KindMaterial, Account: k.Account, ID: k.KeyID})
	if err != nil {
		return k, nil, err
	}
	if err := r.mayLeave(k, materials); err != nil {
		return k, nil, err
	}
	open, err := rd.List(ctx, Query{Kind: KindSourceEx, Account: k.Account, ID: k.KeyID})
	if err != nil {
		return k, nil, err
	}
	for _, e := range open {
		if e.Due != 0 {
			return k, nil, fmt.Errorf("%w: an exchange of it is open", errHeld)
		}
	}
	return k, materials, nil
}

// mayLeave decides whether a multi-Region key may leave this Region. The primary goes last; and no Region gives up a
// material that none of the others is known to hold.
func (r *Region) mayLeave(k Key, materials []MaterialRecord) error {
	if k.MultiRegion == nil {
		return nil
	}
	s := k.MultiRegion.State
	if s == nil {
		return fmt.Errorf("%w: its material is still on the way, and the exchange will end", errHeld)
	}
	if s.Primary == r.cfg.Name {
		if len(s.Members) > 1 {
			return fmt.Errorf("%w: it is a primary and has replicas", errHeld)
		}
		return nil // the set ends
	}
	return r.heldElsewhere(*s, materials)
}

// heldElsewhere returns errHeld unless another member has receipted each of the materials: an active member has
// receipted all that the state lists and that are not pending, the primary what it made.
func (r *Region) heldElsewhere(s keyset.State, materials []MaterialRecord) error {
	others := 0
	for _, m := range s.Members {
		if m.Region != r.cfg.Name && m.Status == keyset.Active {
			others++
		}
	}
	listed := map[string]bool{}
	for _, m := range s.Materials {
		listed[m.ID] = true
	}
	if s.Origin == OriginExternal {
		return nil // its owner has it
	}
	for _, m := range materials {
		if others == 0 || !listed[m.ID] {
			return fmt.Errorf("%w: no other Region is known to hold its material %s", errHeld, m.ID)
		}
	}
	return nil
}

// recordsOfKey selects all that the store holds of a key. Every kind of record that belongs to a key is here, or it
// outlives the key: the kinds whose records are found by account and key id, and those that refer to the key.
func recordsOfKey(account, keyID string) []Query {
	return []Query{
		{Kind: KindKey, Account: account, ID: keyID},
		{Kind: KindMaterial, Account: account, ID: keyID},
		{Kind: KindPolicy, Account: account, ID: keyID},
		{Kind: KindGrant, Account: account, ID: keyID},
		{Kind: KindImported, Account: account, ID: keyID},
		{Kind: KindImportPair, Account: account, ID: keyID},
		{Kind: KindLastUsage, Account: account, ID: keyID},
		{Kind: KindSourceEx, Account: account, ID: keyID},
		{Kind: KindStanding, Account: account, ID: keyID},
		{Kind: KindHandOver, Account: account, ID: keyID},
		{Kind: KindAlias, Account: account, Ref: keyID},
		{Kind: KindDestEx, Ref: keyID}, // those that have ended
	}
}

// bury deletes, inside a transaction, all that the store holds of a key that is due, and puts a tombstone in its place.
func (r *Region) bury(ctx context.Context, tx Tx, at RecordKey) (Tombstone, error) {
	k, materials, err := r.dueKey(ctx, tx, at)
	if err != nil {
		return Tombstone{}, err
	}
	now := max(r.Now().UnixMilli(), 1)
	grave := Tombstone{Account: k.Account, KeyID: k.KeyID, Deleted: now}
	for _, m := range materials {
		if m.Storage == keyring.StorageToken {
			grave.Objects, grave.Due = append(grave.Objects, m.Object), now
		}
	}
	if mr := k.MultiRegion; mr != nil {
		grave.Incarnation, grave.Epoch, grave.Sequence = mr.Incarnation, mr.State.Epoch, mr.State.Sequence
		if mr.State.Primary != r.cfg.Name {
			grave.Primary, grave.Due = mr.State.Primary, now
		}
	}
	for _, q := range recordsOfKey(k.Account, k.KeyID) {
		recs, err := tx.List(ctx, q)
		if err != nil {
			return grave, err
		}
		for _, rec := range recs {
			if err := tx.Delete(ctx, rec.RecordKey); err != nil {
				return grave, err
			}
			if rec.Kind != KindDestEx {
				continue
			}
			// A late message of an exchange that nobody remembers would begin it again.
			if err := r.buryExchange(ctx, tx, grave, rec.ID); err != nil {
				return grave, err
			}
		}
	}
	return grave, Put(ctx, tx, r.ring, grave)
}

func (r *Region) buryExchange(ctx context.Context, tx Tx, of Tombstone, exchange string) error {
	id, err := hex.DecodeString(exchange)
	if err != nil || len(id) != len(of.Incarnation) {
		return fmt.Errorf("%w: exchange %q", ErrForgedRecord, exchange)
	}
	t := Tombstone{Account: of.Account, KeyID: of.KeyID, Incarnation: [16]byte(id), Deleted: of.Deleted}
	if t.Incarnation == of.Incarnation {
		return nil
	}
	return Put(ctx, tx, r.ring, t)
}

// isBuried reports whether the key is gone and has a tombstone.
func (r *Region) isBuried(ctx context.Context, at RecordKey) (buried bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	err := r.cfg.Store.View(ctx, func(rd Reader) error {
		if _, err := rd.Get(ctx, at); !isNoRecord(err) {
			return err
		}
		graves, err := List[Tombstone](ctx, rd, r.ring, Query{Kind: KindTombstone, Account: at.Account, ID: at.ID, Limit: 1})
		buried = len(graves) > 0
		return err
	})
	return buried && err == nil
}

// wasDeleted reports whether an intent that a crash left open is that of a deletion that was committed.
func (r *Region) wasDeleted(ctx context.Context, e audit.Event) bool {
	if e.EventName != eventDeleteKey || e.EventType != audit.TypeServiceEvent || len(e.Resources) != 1 {
		return false
	}
	name, err := arn.Resolve(e.Resources[0].ARN, r.place(e.RecipientAccountID))
	return err == nil && r.isBuried(ctx, Key{Account: e.RecipientAccountID, KeyID: name.ID}.RecordKey())
}

// finishDeletion takes from the token what is left of a deleted key.
func (r *Region) finishDeletion(ctx context.Context, grave Tombstone, at RecordKey) error {
	if err := r.evict(ctx, r.undone[at]); err != nil {
		return err
	}
	if err := r.destroyObjects(ctx, grave); err != nil {
		return err
	}
	delete(r.undone, at)
	return nil
}

// destroyObjects destroys the token objects of a deleted key, then the note of them.
func (r *Region) destroyObjects(ctx context.Context, grave Tombstone) error {
	if len(grave.Objects) == 0 {
		return nil
	}
	for _, object := range grave.Objects {
		if err := r.ring.DestroyOnToken(ctx, object); err != nil {
			return fmt.Errorf("destroy what key %s left on the token: %w", grave.KeyID, err)
		}
	}
	return r.Update(ctx, func(tx Tx) error {
		now, err := Get[Tombstone](ctx, tx, r.ring, grave.RecordKey())
		if err != nil {
			return err
		}
		now.Objects, now.Due = nil, 0 // a key with token objects is in one Region, which tells nobody
		return Put(ctx, tx, r.ring, now)
	})
}

// finishDeletions does what earlier deletions could not do on the token. What it does then is recorded as one more
// DeleteKey: the first one's outcome was an error.
func (r *Region) finishDeletions(ctx context.Context) error {
	graves, err := r.graves(ctx)
	errs := []error{err}
	for at := range r.undone {
		graves = append(graves, Tombstone{Account: at.Account, KeyID: at.ID})
	}
	for _, t := range graves {
		at := Key{Account: t.Account, KeyID: t.KeyID}.RecordKey()
		if _, evict := r.undone[at]; len(t.Objects) == 0 && !evict {
			continue
		}
		err := r.finishDeletion(ctx, t, at)
		if err == nil {
			err = r.cfg.Audit.Service(ctx, r.serviceEvent(r.deleteEvent(t.Account, t.KeyID)))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// graves returns the tombstones for which something is left to be done, whatever the clock said when it was noted.
func (r *Region) graves(ctx context.Context) (graves []Tombstone, err error) {
	err = r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		graves, err = List[Tombstone](ctx, rd, r.ring, Query{Kind: KindTombstone, DueBy: 1<<62 - 1})
		return err
	})
	return graves, err
}

func (r *Region) serviceEvent(e audit.Event) audit.Event {
	e.AWSRegion, e.EventTime = r.cfg.Name, r.Now()
	return e
}
