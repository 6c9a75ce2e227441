package regions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"antipode/regions/audit"
)

// usageTable has the uses of keys that are not in the store yet: one entry for each key that was used since the last
// round of [Region.KeepUsage]. A call adds to it under one lock, with neither the token nor the disk; what a crash takes
// from it is in the audit log, after the mark that the store has.
type usageTable struct {
	mu     sync.Mutex
	fresh  map[usedKey]use
	saving map[usedKey]use // being committed
	mark   UsageMark       // of the store, or as it will be first

	round sync.Mutex // one KeepUsage at a time
	// noted is the audit log's head at the last round. A call notes its use after its record is written, so that the mark
	// stays one round behind: by then every call that had written a record up to it has noted it.
	noted audit.Head
}

type usedKey struct{ account, id string }

// use is one successful operation; seq is the number of its audit record.
type use struct {
	seq                       uint64
	at                        int64
	operation, event, request string
}

// usagePage is how many uses one transaction commits: a token authenticates each, while other commits wait.
const usagePage = 64

// note remembers a successful cryptographic operation as its record in the audit log has it, for each of its keys.
func (t *usageTable) note(seq uint64, e *audit.Event) {
	if len(e.Resources) == 0 { // GenerateRandom
		return
	}
	u := use{
		seq: seq, at: e.EventTime.Truncate(time.Second).UnixMilli(), operation: e.EventName, event: e.EventID, request: e.RequestID,
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range e.Resources {
		res := &e.Resources[i]
		t.add(usedKey{res.AccountID, res.ARN[strings.LastIndexByte(res.ARN, '/')+1:]}, u)
	}
}

// add keeps the later of two uses. It holds mu.
func (t *usageTable) add(k usedKey, u use) {
	if t.fresh == nil {
		t.fresh = map[usedKey]use{}
	}
	if have, is := t.fresh[k]; !is || have.seq < u.seq {
		t.fresh[k] = u
	}
}

func (t *usageTable) find(k usedKey) (LastUsage, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u, is := t.fresh[k]
	if s, saving := t.saving[k]; saving && (!is || u.seq < s.seq) {
		u, is = s, true
	}
	return u.record(k), is
}

func (t *usageTable) started() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mark.Started
}

func (u use) record(k usedKey) LastUsage {
	return LastUsage{Account: k.account, KeyID: k.id, Operation: u.operation, At: u.at, EventID: u.event, RequestID: u.request}
}

// KeepUsage commits the uses of keys that are in memory alone, and the audit log's head, which each commit keeps. It may
// be called at any time; what it could not commit stays for the next time.
func (r *Region) KeepUsage(ctx context.Context) error {
	t := &r.usage
	t.round.Lock()
	defer t.round.Unlock()
	head := r.cfg.Audit.Durable()
	t.mu.Lock()
	t.saving, t.fresh = t.fresh, nil
	mark := t.mark
	keys := make([]usedKey, 0, len(t.saving))
	for k := range t.saving {
		keys = append(keys, k)
	}
	saving := t.saving // read only until the end of the round
	t.mu.Unlock()
	mark.Sequence, mark.Hash = t.noted.Seq, t.noted.Hash
	slices.SortFunc(keys, func(a, b usedKey) int { return strings.Compare(a.id, b.id) })
	err := r.saveUses(ctx, keys, saving, mark)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.saving = nil
	if err != nil {
		for k, u := range saving {
			t.add(k, u)
		}
		return fmt.Errorf("keep the last uses of keys: %w", err)
	}
	t.mark, t.noted = mark, head
	return nil
}

// saveUses commits the uses page by page, and with the last page the mark, which says that all are there.
func (r *Region) saveUses(ctx context.Context, keys []usedKey, uses map[usedKey]use, mark UsageMark) error {
	for {
		page := keys[:min(len(keys), usagePage)]
		keys = keys[len(page):]
		err := r.Update(ctx, func(tx Tx) error {
			for _, k := range page {
				_, err := tx.Get(ctx, Key{Account: k.account, KeyID: k.id}.RecordKey())
				if isNoRecord(err) {
					continue // deleted since
				}
				if err == nil {
					err = Put(ctx, tx, r.ring, uses[k].record(k))
				}
				if err != nil {
					return err
				}
			}
			if len(keys) > 0 {
				return nil
			}
			return Put(ctx, tx, r.ring, mark)
		})
		if err != nil || len(keys) == 0 {
			return err
		}
	}
}

// keepLastUsage is the last round, when no call is running any more. If it fails nothing is lost: the next Open reads the
// audit log from the mark on.
func (r *Region) keepLastUsage(ctx context.Context) {
	r.usage.mu.Lock()
	idle := len(r.usage.fresh) == 0
	r.usage.mu.Unlock()
	if idle {
		return
	}
	r.usage.round.Lock()
	r.usage.noted = r.cfg.Audit.Durable()
	r.usage.round.Unlock()
	if err := r.KeepUsage(ctx); err != nil {
		r.cfg.Log.Warn().Err(err).Str("region", r.cfg.Name).Msg("keep when keys were used last")
	}
}

// loadUsage takes from the audit log the uses that the store does not know yet. A store without a mark is of a Region
// that an earlier version made; one whose mark is not in the log has another log: in both the uses before now are not
// known.
func (r *Region) loadUsage(ctx context.Context) error {
	now := r.cfg.Audit.Durable()
	mark, known := UsageMark{}, false
	err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		mark, err = Get[UsageMark](ctx, rd, r.ring, UsageMark{Region: r.cfg.Name}.RecordKey())
		return err
	})
	switch {
	case err == nil && mark.Sequence == 0: // the beginning of the log, unless the log of before is gone
		known = !r.Recovering()
	case err == nil:
		known, err = r.cfg.Audit.Holds(ctx, audit.Head{Seq: mark.Sequence, Hash: mark.Hash})
		if err != nil && !errors.Is(err, audit.ErrNoRecords) {
			return fmt.Errorf("look for the last known use of keys: %w", err)
		}
	case !isNoRecord(err):
		return err
	}
	if !known {
		mark = UsageMark{Region: r.cfg.Name, Sequence: now.Seq, Hash: now.Hash, Started: r.Now().UnixMilli()}
	}
	r.usage.mark, r.usage.noted = mark, audit.Head{Seq: mark.Sequence, Hash: mark.Hash}
	err = r.cfg.Audit.Since(ctx, mark.Sequence, func(rec *audit.Record) error {
		e, used, err := usedIn(rec)
		if err == nil && used {
			r.usage.note(rec.Seq, &e)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read the last uses of keys: %w", err)
	}
	r.usage.noted = now
	return nil
}

// usedIn returns what note needs of a record of a successful cryptographic operation. It decodes nothing else: the
// record's hash was checked, and there may be many.
func usedIn(rec *audit.Record) (e audit.Event, used bool, err error) {
	if rec.Kind != audit.KindData {
		return e, false, nil
	}
	var w struct {
		EventSource string    `json:"eventSource"`
		EventName   string    `json:"eventName"`
		EventTime   time.Time `json:"eventTime"`
		ErrorCode   string    `json:"errorCode"`
		RequestID   string    `json:"requestID"`
		EventID     string    `json:"eventID"`
		Resources   []struct {
			AccountID string `json:"accountId"`
			ARN       string `json:"ARN"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(rec.Event, &w, jsontext.AllowDuplicateNames(true)); err != nil {
		return e, false, fmt.Errorf("event of record %d: %w", rec.Seq, err)
	}
	op, known := OperationByName(w.EventName)
	if !known || op.Class != ClassData || w.EventSource != audit.EventSource || w.ErrorCode != "" {
		return e, false, nil
	}
	e = audit.Event{EventName: w.EventName, EventTime: w.EventTime, RequestID: w.RequestID, EventID: w.EventID}
	for _, res := range w.Resources {
		e.Resources = append(e.Resources, audit.Resource{AccountID: res.AccountID, ARN: res.ARN})
	}
	return e, true, nil
}
