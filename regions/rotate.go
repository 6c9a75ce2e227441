package regions

import (
	"context"
	"errors"
	"sync"
	"time"

	"antipode/regions/arn"
	"antipode/regions/audit"
	"antipode/regions/keyring"
	"antipode/regions/keyset"
)

// eventRotateKey is the audit log's name for a rotation, whoever asked for it.
const eventRotateKey = "RotateKey"

// errNoRotation says that a key is not to be rotated now: its rotation was switched off, or it was rotated.
var errNoRotation = errors.New("the key is not due for rotation")

// rotations are the keys that are being rotated, at most one rotation of each.
type rotations struct {
	mu   sync.Mutex
	keys map[RecordKey]chan struct{} // closed at the end
}

// begin reports whether no other rotation of the key is going on. If so, end must be called.
func (s *rotations) begin(key RecordKey) bool { return s.claim(key) == nil }

// enter waits until no other rotation of the key is going on. If it returns nil, end must be called.
func (s *rotations) enter(ctx context.Context, key RecordKey) error {
	for {
		busy := s.claim(key)
		if busy == nil {
			return nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// claim returns nil if the key is the caller's now, and otherwise what is closed when it is free again.
func (s *rotations) claim(key RecordKey) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if busy, is := s.keys[key]; is {
		return busy
	}
	if s.keys == nil {
		s.keys = map[RecordKey]chan struct{}{}
	}
	s.keys[key] = make(chan struct{})
	return nil
}

func (s *rotations) end(key RecordKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.keys[key])
	delete(s.keys, key)
}

// rotate gives the key new material; if it is imported, the pending one: see [Region.rotateImported]. If the key has no replica: intent, new material on the token, one transaction that
// stores it and lets it encrypt from then on, outcome. Cut off anywhere, the key has either its old material or the new
// one, and nothing of the other is left on the token. If it has replicas the material is pending afterwards; see
// [Region.AdvanceRotation]. The materials before it stay and decrypt. It returns errNoRotation, or an [*Error] for a
// rotation that is not allowed.
func (r *Region) rotate(ctx context.Context, at RecordKey, cause keyset.RotationCause) error {
	if !r.rotating.begin(at) {
		return Errorf(CodeConflict, "A rotation of the key %s is in progress.", r.KeyARN(at.Account, at.ID))
	}
	defer r.rotating.end(at)
	for {
		var k Key
		err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
			if k, err = Get[Key](ctx, rd, r.ring, at); err != nil {
				return err
			}
			return r.checkRotation(k, cause)
		})
		if isNoRecord(err) {
			return errNoRotation
		}
		if err != nil {
			return err
		}
		if k.Origin == OriginExternal {
			return r.rotateImported(ctx, k)
		}
		if k.alone() {
			err = r.rotateAlone(ctx, k, cause)
		} else {
			err = r.beginRotation(ctx, k, cause)
		}
		if !errors.Is(err, errJoined) {
			return err
		}
	}
}

// rotateAlone rotates a key that is in no other Region. It returns errJoined if it is now.
func (r *Region) rotateAlone(ctx context.Context, k Key, cause keyset.RotationCause) error {
	return r.Audited(ctx, r.rotateEvent(k, cause), func(e *audit.Event) error {
		m, err := r.makeMaterial(ctx, k, r.Now().UnixMilli())
		if err != nil {
			return err
		}
		if err := r.commitRotation(ctx, k, m, cause); err != nil {
			r.abandon(ctx, k, m)
			return err
		}
		e.ServiceEventDetails.Str("currentKeyMaterialId", m.ID)
		return nil
	})
}

// checkBegin checks, in the transaction that begins a rotation, that the key is as it was read for it.
func (r *Region) checkBegin(ctx context.Context, tx Tx, k Key, cause keyset.RotationCause) error {
	now, err := Get[Key](ctx, tx, r.ring, k.RecordKey())
	if err != nil {
		return err
	}
	if now.Current != k.Current {
		return Errorf(CodeConflict, "A rotation of the key %s is in progress.", r.KeyARN(k.Account, k.KeyID))
	}
	if err := r.checkRotation(now, cause); err != nil {
		return err
	}
	if k.alone() && !now.alone() {
		return errJoined
	}
	return nil
}

// commitRotation lets the material m encrypt in place of k.Current. A commit that reports an error may have happened all
// the same, and then there is none.
func (r *Region) commitRotation(ctx context.Context, k Key, m keyring.Material, cause keyset.RotationCause) error {
	at := k.RecordKey()
	err := r.Update(ctx, func(tx Tx) error {
		if err := r.checkBegin(ctx, tx, k, cause); err != nil {
			return err
		}
		if err := r.PutMaterials(ctx, tx, m); err != nil {
			return err
		}
		err := r.changeRotation(ctx, tx, at, func(k *Key, s *keyset.Rotation, have *[]keyset.Material) error {
			for i := range *have {
				if (*have)[i].Status == keyset.Current {
					(*have)[i].Status = keyset.NonCurrent
				}
			}
			*have = append(*have, keyset.Material{ID: m.ID, Status: keyset.Current, Created: m.Created, Cause: cause})
			k.Current = m.ID
			if cause == keyset.Automatic {
				s.Next = r.nextRotation(*s)
			}
			return nil
		})
		if err != nil {
			return err
		}
		return tx.Delete(ctx, TokenKey{Account: k.Account, KeyID: k.KeyID}.RecordKey())
	})
	if err != nil && r.hasMaterial(ctx, m) {
		return nil
	}
	return err
}

// nextRotation is one period after the last date. A key that was rotated long after its date, because it was disabled, is
// rotated a period from now.
func (r *Region) nextRotation(s keyset.Rotation) int64 {
	period := time.Duration(s.PeriodDays) * day //nolint:gosec // at most 2560
	now, next := r.Now(), time.UnixMilli(s.Next).Add(period)
	if late := now.Sub(time.UnixMilli(s.Next)); late > day {
		next = now.Add(period)
	}
	return next.UnixMilli()
}

// checkRotation decides whether the key is to be rotated now.
func (r *Region) checkRotation(k Key, cause keyset.RotationCause) error {
	if cause == keyset.Automatic && !r.overdue(k) {
		return errNoRotation
	}
	if err := r.CheckState(opRotate, k); err != nil {
		return err
	}
	if err := r.checkRotatesHere(opRotate, k); err != nil {
		return err
	}
	done := 0
	for _, m := range k.history() {
		if m.Status == keyset.Pending {
			return Errorf(CodeConflict, "A rotation of the key %s is in progress.", r.KeyARN(k.Account, k.KeyID))
		}
		if m.Cause == keyset.OnDemand && m.Status != keyset.Abandoned {
			done++
		}
	}
	if err := r.checkJoined(k); err != nil {
		return err
	}
	if len(k.history()) >= keyset.MaxMaterials {
		return Errorf(CodeLimitExceeded, "The key %s has %d key materials and can have no more.", r.KeyARN(k.Account, k.KeyID), keyset.MaxMaterials)
	}
	if cause == keyset.Automatic {
		return nil
	}
	if s := k.schedule(); s.Enabled && s.Next-r.Now().UnixMilli() <= quietTime.Milliseconds() {
		return Errorf(CodeConflict, "An automatic rotation of the key %s is in progress or scheduled to begin within the next "+
			"20 minutes.", r.KeyARN(k.Account, k.KeyID))
	}
	if done >= maxOnDemand {
		return Errorf(CodeLimitExceeded, "The on-demand rotations limit has been reached for the given keyId. No more on-demand "+
			"rotations can be performed for this key: %s", r.KeyARN(k.Account, k.KeyID))
	}
	return nil
}

func (r *Region) rotateEvent(k Key, cause keyset.RotationCause) audit.Event {
	e := audit.Event{
		EventName: eventRotateKey, EventType: audit.TypeServiceEvent,
		UserIdentity:       audit.UserIdentity{AccountID: k.Account, InvokedBy: "AWS Internal"},
		RecipientAccountID: k.Account,
		Resources:          []audit.Resource{{ARN: r.KeyARN(k.Account, k.KeyID), AccountID: k.Account}},
	}
	e.ServiceEventDetails.Str("keyId", k.KeyID)
	e.ServiceEventDetails.Str("rotationType", string(cause))
	e.ServiceEventDetails.Str("keyOrigin", k.Origin)
	e.ServiceEventDetails.Str("previousKeyMaterialId", k.Current)
	return e
}

// hasMaterial reports whether this material is in the store.
func (r *Region) hasMaterial(ctx context.Context, m keyring.Material) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	return r.cfg.Store.View(ctx, func(rd Reader) error {
		_, err := Get[MaterialRecord](ctx, rd, r.ring, MaterialRecord{m}.RecordKey())
		return err
	}) == nil
}

// wasRotated reports whether an intent that a crash left open is that of a step of a rotation that was committed, and
// completes its event: the key's material is another one than when the step began, or one is pending. No other rotation
// can have come since.
func (r *Region) wasRotated(ctx context.Context, e *audit.Event) bool {
	if e.EventName != eventRotateKey && e.EventName != eventBeginRotation || e.EventType != audit.TypeServiceEvent || len(e.Resources) != 1 {
		return false
	}
	name, err := arn.Resolve(e.Resources[0].ARN, r.place(e.RecipientAccountID))
	if err != nil {
		return false
	}
	var k Key
	err = r.cfg.Store.View(ctx, func(rd Reader) error {
		k, err = Get[Key](ctx, rd, r.ring, Key{Account: e.RecipientAccountID, KeyID: name.ID}.RecordKey())
		return err
	})
	if err != nil {
		return false
	}
	if e.EventName == eventBeginRotation {
		if k.MultiRegion == nil || k.MultiRegion.State == nil {
			return false
		}
		m, pending := k.MultiRegion.State.Pending()
		e.ServiceEventDetails.Str("pendingKeyMaterialId", m.ID)
		return pending
	}
	previous, is := e.ServiceEventDetails.Text("previousKeyMaterialId")
	if !is || previous == k.Current {
		return false
	}
	e.ServiceEventDetails.Str("currentKeyMaterialId", k.Current)
	return true
}
