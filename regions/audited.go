package regions

import (
	"context"
	"fmt"
	"time"

	"antipode/regions/audit"
	"antipode/regions/encctx"
)

// AuditHead is the head of the audit log as of the last commit of the store. A log that ends before it was cut.
type AuditHead struct {
	Region   string   `cbor:"1,keyasint"`
	Sequence uint64   `cbor:"2,keyasint"`
	Hash     [32]byte `cbor:"3,keyasint"`
}

// RecordKey implements [Body].
func (h AuditHead) RecordKey() RecordKey { return RecordKey{Kind: KindAuditHead, ID: h.Region} }

// RecordIndex implements [Body].
func (h AuditHead) RecordIndex() (string, int64) { return "", 0 }

func (r *Region) newEvent(c *Call) audit.Event {
	return audit.Event{
		EventName: c.op.Name, EventTime: r.Now(), AWSRegion: r.cfg.Name,
		UserIdentity: c.caller.identity(), AdditionalEventData: c.caller.Proof.fields(),
		SourceIPAddress: c.caller.SourceIP, UserAgent: c.caller.UserAgent, RequestID: c.caller.RequestID,
		ReadOnly: c.op.Class != ClassManage, RecipientAccountID: c.caller.Account,
	}
}

// param records one of the request's parameters. What a caller may not want others to read is never given to it.
func (c *Call) param(name string, value any) { setField(&c.event.RequestParameters, name, value) }

// contextParam records an encryption context, which is no secret.
func (c *Call) contextParam(name string, ec encctx.Context) {
	if len(ec) > 0 {
		c.event.RequestParameters.Map(name, ec)
	}
}

// response records a part of the answer.
func (c *Call) response(name string, value string) { c.event.ResponseElements.Str(name, value) }

func setField(f *audit.Fields, name string, value any) {
	switch v := value.(type) {
	case string:
		f.Str(name, v)
	case int:
		f.Int(name, int64(v))
	case bool:
		f.Bool(name, v)
	}
}

// resource records that the call is about this key.
func (c *Call) resource(arn, account string) {
	for _, have := range c.event.Resources {
		if have.ARN == arn {
			return
		}
	}
	c.event.Resources = append(c.event.Resources, audit.Resource{ARN: arn, AccountID: account})
}

// eventTime formats a time as audit records do.
func (r *Region) eventTime(millis int64) string {
	return time.UnixMilli(millis).UTC().Format("2006-01-02T15:04:05Z")
}

// closeIntents writes an outcome for each intent that a crash left open. What became of the change is in the store;
// the record says only that nobody was answered. Of a deletion or rotation, which is an event of its own, it says whether it was done.
func (r *Region) closeIntents(ctx context.Context) error {
	for _, open := range r.cfg.Audit.OpenIntents() {
		e := open.Event
		if !r.wasDeleted(ctx, e) && !r.wasRotated(ctx, &e) && !r.wasExpired(ctx, e) {
			e.ErrorCode, e.ErrorMessage = CodeInternal, "The service stopped before the call was answered."
		}
		if err := r.cfg.Audit.Outcome(ctx, open.Ticket, e); err != nil {
			return err
		}
	}
	return nil
}

// checkAuditHead refuses an audit log that lacks what the store's last commit knew to be in it.
func (r *Region) checkAuditHead(ctx context.Context) error {
	var head AuditHead
	err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		head, err = Get[AuditHead](ctx, rd, r.ring, AuditHead{Region: r.cfg.Name}.RecordKey())
		return err
	})
	if isNoRecord(err) {
		if r.Recovering() {
			return nil // restored without its audit log, which MarkRestored has made it forget
		}
		return r.checkFresh(ctx)
	}
	if err != nil {
		return err
	}
	holds, err := r.cfg.Audit.Holds(ctx, audit.Head{Seq: head.Sequence, Hash: head.Hash})
	if err != nil {
		return fmt.Errorf("look for the audit log's head: %w", err)
	}
	if holds {
		return r.checkCommits(ctx, head.Sequence)
	}
	return fmt.Errorf("the audit log does not hold record %d as the store knows it: records were removed or altered, "+
		"or the log of another time or Region is in place", head.Sequence)
}

// checkFresh refuses a store that has lost the audit log's head: every commit after Init writes it.
func (r *Region) checkFresh(ctx context.Context) error {
	return r.cfg.Store.View(ctx, func(rd Reader) error {
		for _, kind := range []RecordKind{KindKey, KindUser, KindRoster} {
			recs, err := rd.List(ctx, Query{Kind: kind, Limit: 1})
			if err != nil {
				return err
			}
			if len(recs) > 0 {
				return fmt.Errorf("%w: the audit log's head is missing", ErrForgedRecord)
			}
		}
		return nil
	})
}

// checkCommits starts recovery if the audit log shows a change that was answered and that the store does not have. A
// commit keeps the log's head of that moment, which includes the change's own intent; so an intent after the store's
// head whose outcome is a success is one whose commit was lost: the store was rolled back.
func (r *Region) checkCommits(ctx context.Context, head uint64) error {
	lost := uint64(0)
	err := r.cfg.Audit.Since(ctx, head, func(rec *audit.Record) error {
		if rec.Kind != audit.KindOutcome || rec.Intent <= head || lost != 0 {
			return nil
		}
		e, err := audit.DecodeEvent(rec.Event)
		if err != nil {
			return err
		}
		if e.ErrorCode == "" {
			lost = rec.Seq
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("compare the store with the audit log: %w", err)
	}
	if lost == 0 || r.Recovering() {
		return nil
	}
	r.cfg.Log.Error().Str("region", r.cfg.Name).Uint64("record", lost).
		Msg("the store lacks a change that the audit log has: it was rolled back")
	return r.enterRecovery(ctx)
}

// Audited is for changes that another Region asks for: it writes the intent, runs fn, and writes the outcome. e needs
// the event's name, resources and whoever is to be held responsible; nothing happens if the intent can't be written.
func (r *Region) Audited(ctx context.Context, e audit.Event, fn func(*audit.Event) error) error {
	e.AWSRegion, e.EventTime = r.cfg.Name, r.Now()
	ticket, err := r.cfg.Audit.Intent(ctx, e)
	if err != nil {
		return fmt.Errorf("audit intent: %w", err)
	}
	err = fn(&e)
	if err != nil {
		apiErr := AsError(err)
		e.ErrorCode, e.ErrorMessage = apiErr.Code, apiErr.Message
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	if auditErr := r.cfg.Audit.Outcome(ctx, ticket, e); auditErr != nil {
		return fmt.Errorf("audit outcome: %w", auditErr)
	}
	return err
}
