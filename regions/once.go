package regions

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// Codes of calls that are to be made once only.
const (
	CodeIdempotencyKeyInUse = "IdempotencyKeyInUseException"
	CodeIdempotentMismatch  = "IdempotentParameterMismatchException"
	onceDomain              = "antipode/once/1"
	onceTime                = 24 * time.Hour
	maxOnce                 = 10000                // of a caller, within that time
	pruneAtOnce             = 16                   // records whose time is over, removed with each that is added
	onceReplay              = "idempotentReplayOf" // in audit events
)

// OnceRecord says that a creation was made and answered under a client's idempotency key. It is committed with what was
// created, so that neither is there without the other.
type OnceRecord struct {
	Account string `cbor:"1,keyasint"`
	ID      string `cbor:"2,keyasint"` // hash of the caller and his key, 64 hex digits
	Caller  string `cbor:"3,keyasint"` // hash of the caller, 64 hex digits
	Request []byte `cbor:"4,keyasint"` // SHA-256 of operation and input
	// Answer is the operation's output, JSON; empty if it answers nothing, or makes its answer anew.
	Answer    []byte `cbor:"5,keyasint"`
	RequestID string `cbor:"6,keyasint"` // of the call that created
	Made      int64  `cbor:"7,keyasint"` // Unix milliseconds
}

// RecordKey implements [Body].
func (o OnceRecord) RecordKey() RecordKey {
	return RecordKey{Kind: KindOnce, Account: o.Account, ID: o.ID}
}

// RecordIndex implements [Body].
func (o OnceRecord) RecordIndex() (string, int64) { return o.Caller, o.Made + onceTime.Milliseconds() }

func (o *OnceRecord) expired(now int64) bool { return now >= o.Made+onceTime.Milliseconds() }

// Once reports whether the operation creates something, so that [Region.DoOnce] can make it once only.
func (o Operation) Once() bool {
	return slices.Contains([]string{"CreateAlias", "CreateGrant", "CreateKey", "ReplicateKey"}, o.Name)
}

// DoOnce is [Region.Do] under an idempotency key, 1 to 255 bytes that the client chose: for a day the same caller's same
// call under the same key is answered as the first one that succeeded, without being made again. Another call under the
// key answers [CodeIdempotentMismatch], and one that is made while the first is still being made, [CodeIdempotencyKeyInUse].
// A call that failed has used nothing. Whether the caller may make the call is asked each time. With "" for the key,
// and for operations that create nothing, it is [Region.Do].
func (r *Region) DoOnce(ctx context.Context, op Operation, caller Caller, key string, input any) (any, error) {
	c := &Call{op: op, caller: caller}
	if key == "" || !op.Once() {
		return r.do(ctx, c, input)
	}
	request, err := json.Marshal(input, json.Deterministic(true))
	if err != nil {
		return nil, &Error{Code: CodeInternal}
	}
	c.once = &OnceRecord{
		Account: caller.Account, ID: onceHash(caller.ARN, key), Caller: onceHash(caller.ARN), RequestID: caller.RequestID,
	}
	sum := sha256.Sum256(append([]byte(op.Name+"\x00"), request...))
	c.once.Request = sum[:]
	if !r.onces.begin(c.once.ID) {
		c.onceBusy = true
	} else {
		defer r.onces.end(c.once.ID)
	}
	return r.do(ctx, c, input)
}

func onceHash(parts ...string) string {
	h := sha256.New()
	h.Write([]byte(onceDomain))
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p)))) //nolint:gosec // a header or an ARN
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// onces are the idempotency keys of calls that are being made.
type onces struct {
	mu   sync.Mutex
	open map[string]bool
}

func (o *onces) begin(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open[id] {
		return false
	}
	if o.open == nil {
		o.open = map[string]bool{}
	}
	o.open[id] = true
	return true
}

func (o *onces) end(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.open, id)
}

// onceAnswer ends a call whose creation was made before.
type onceAnswer struct{ record OnceRecord }

func (a *onceAnswer) Error() string { return "answered before" }

// answered ends a call that was made before under its idempotency key. It is asked when the caller was found to be allowed,
// and before anything that the first call may have changed.
func (r *Region) answered(ctx context.Context, c *Call) error {
	if c.once == nil || c.dryRun {
		return nil
	}
	if !c.allowed {
		return fmt.Errorf("%s asks for its answer without a decision", c.op.Name)
	}
	if c.onceBusy {
		return Errorf(CodeIdempotencyKeyInUse, "A request with this idempotency key is being worked on.")
	}
	now := r.Now().UnixMilli()
	var before OnceRecord
	var used int
	err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		if before, err = Get[OnceRecord](ctx, rd, r.ring, c.once.RecordKey()); !errors.Is(err, ErrNoRecord) {
			return err
		}
		recs, err := rd.List(ctx, Query{Kind: KindOnce, Account: c.once.Account, Ref: c.once.Caller, Limit: maxOnce})
		used = len(recs)
		return err
	})
	switch {
	case err != nil:
		return err
	case before.ID == "" && used >= maxOnce:
		return Errorf(CodeLimitExceeded, "More than %d idempotency keys were used within a day.", maxOnce)
	case before.ID == "" || before.expired(now):
		return nil
	case subtle.ConstantTimeCompare(before.Request, c.once.Request) != 1:
		return Errorf(CodeIdempotentMismatch, "The idempotency key was used for another request.")
	}
	c.admitted = true
	return &onceAnswer{before}
}

// replay is the answer of a call that was made before.
func (c *Call) replay(a *onceAnswer) (any, error) {
	c.event.AdditionalEventData.Str(onceReplay, a.record.RequestID)
	if len(a.record.Answer) == 0 {
		return nil, nil
	}
	out := c.op.NewOutput()
	if err := json.Unmarshal(a.record.Answer, out); err != nil {
		return nil, fmt.Errorf("decode the first answer of %s: %w", c.op.Name, err)
	}
	return out, nil
}

// putOnce records in the transaction of a creation what it is answered with; out is nil if it answers nothing.
func (r *Region) putOnce(ctx context.Context, tx Tx, c *Call, out any) (err error) {
	if c.once == nil {
		return nil
	}
	rec := *c.once
	if out != nil {
		if rec.Answer, err = json.Marshal(out); err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
	}
	return r.PutOnce(ctx, tx, &rec)
}

// PutOnce writes the record of a creation, if there is one to be written, and removes some whose time is over: more than it
// adds, so that they don't pile up.
func (r *Region) PutOnce(ctx context.Context, tx Tx, rec *OnceRecord) error {
	if rec == nil {
		return nil
	}
	now := r.Now().UnixMilli()
	over, err := tx.List(ctx, Query{Kind: KindOnce, DueBy: now, Limit: pruneAtOnce})
	if err != nil {
		return err
	}
	for _, o := range over {
		if err := tx.Delete(ctx, o.RecordKey); err != nil {
			return err
		}
	}
	made := *rec
	made.Made = now
	return Put(ctx, tx, r.ring, made)
}
