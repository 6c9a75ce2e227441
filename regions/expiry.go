package regions

import (
	"context"
	"errors"
	"fmt"

	"antipode/regions/arn"
	"antipode/regions/audit"
)

// eventExpire is the audit log's name for the removal of material whose time is over.
const eventExpire = "DeleteExpiredKeyMaterial"

// errNotExpired says that material is not to be removed now: it was imported again, or its key is gone.
var errNotExpired = errors.New("the key material has not expired")

// ExpireDue removes imported key material whose time is over by this Region's clock, and import parameters that have
// expired, and takes from the token what an earlier attempt left there. It may be called again at any time, and goes on
// past what can't be removed; the error joins those of all such. A Region that recovers removes no material: its store may
// lack a later import. It is not used then either.
func (r *Region) ExpireDue(ctx context.Context) error {
	r.expiry.Lock()
	defer r.expiry.Unlock()
	errs := []error{r.prunePairs(ctx), r.evictExpired(ctx)}
	if r.Recovering() {
		return errors.Join(errs...)
	}
	for q := (Query{Kind: KindImported, DueBy: max(r.Now().UnixMilli(), 1), Limit: 256}); ; {
		var due []Record
		err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
			due, err = rd.List(ctx, q) // one by one below, so that a forged record keeps no other material
			return err
		})
		for _, rec := range due {
			if err := r.expire(ctx, rec.RecordKey); err != nil {
				errs = append(errs, fmt.Errorf("remove expired material of key %s: %w", rec.ID, err))
			}
			q.After = rec.RecordKey
		}
		if err = errors.Join(err, ctx.Err()); err != nil || len(due) < q.Limit {
			return errors.Join(append(errs, err)...)
		}
	}
}

// expire removes one material: intent, one transaction, the token, outcome.
func (r *Region) expire(ctx context.Context, at RecordKey) error {
	i := ImportedMaterial{Account: at.Account, KeyID: at.ID, ID: at.Sub}
	err := r.cfg.Store.View(ctx, func(rd Reader) error {
		now, err := Get[ImportedMaterial](ctx, rd, r.ring, at)
		if err != nil {
			return err
		}
		return r.isExpired(now)
	})
	if isNoRecord(err) || errors.Is(err, errNotExpired) {
		return nil
	}
	if err != nil {
		return err
	}
	err = r.Audited(ctx, r.expireEvent(i), func(*audit.Event) error {
		// Before the commit: should the eviction fail, its copy is known.
		r.lingering[i] = struct{}{}
		if err := r.removeMaterial(ctx, i, func(_ Key, now ImportedMaterial) error { return r.isExpired(now) }); err != nil {
			return err
		}
		delete(r.lingering, i)
		return nil
	})
	if errors.Is(err, errNotExpired) {
		delete(r.lingering, i)
		return nil // imported again in this instant; the outcome says so
	}
	return err
}

func (r *Region) isExpired(i ImportedMaterial) error {
	if i.Expires == 0 || i.Expires > r.Now().UnixMilli() {
		return errNotExpired
	}
	return nil
}

// evictExpired takes from the token the copies of expired material that could not be destroyed at once. That it is done
// now is recorded as one more event: the first one's outcome was an error.
func (r *Region) evictExpired(ctx context.Context) error {
	var errs []error
	for i := range r.lingering {
		gone, err := r.isGone(ctx, i)
		if err == nil && gone {
			err = r.evictAll(ctx, []string{i.ID})
		}
		if err == nil && gone {
			err = r.cfg.Audit.Service(ctx, r.serviceEvent(r.expireEvent(i)))
		}
		if err == nil {
			delete(r.lingering, i)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// isGone reports whether a material is not in the store.
func (r *Region) isGone(ctx context.Context, i ImportedMaterial) (gone bool, err error) {
	err = r.cfg.Store.View(ctx, func(rd Reader) error {
		_, err := rd.Get(ctx, RecordKey{Kind: KindMaterial, Account: i.Account, ID: i.KeyID, Sub: i.ID})
		if gone = isNoRecord(err); gone {
			return nil
		}
		return err
	})
	return gone, err
}

// wasExpired reports whether an intent that a crash left open is that of a removal that was committed. The copies on the
// token went with the process.
func (r *Region) wasExpired(ctx context.Context, e audit.Event) bool {
	if e.EventName != eventExpire || e.EventType != audit.TypeServiceEvent || len(e.Resources) != 1 {
		return false
	}
	name, err := arn.Resolve(e.Resources[0].ARN, r.place(e.RecipientAccountID))
	if err != nil {
		return false
	}
	id, is := e.ServiceEventDetails.Text("keyMaterialId")
	if !is {
		return false
	}
	gone, err := r.isGone(ctx, ImportedMaterial{Account: e.RecipientAccountID, KeyID: name.ID, ID: id})
	return err == nil && gone
}

func (r *Region) expireEvent(i ImportedMaterial) audit.Event {
	at := r.KeyARN(i.Account, i.KeyID)
	e := audit.Event{
		EventName: eventExpire, EventType: audit.TypeServiceEvent,
		UserIdentity:       audit.UserIdentity{AccountID: i.Account, InvokedBy: "AWS Internal"},
		RecipientAccountID: i.Account,
		Resources:          []audit.Resource{{ARN: at, AccountID: i.Account}},
	}
	e.ServiceEventDetails.Str("keyId", i.KeyID)
	e.ServiceEventDetails.Str("keyMaterialId", i.ID)
	return e
}
