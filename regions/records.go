package regions

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"antipode/regions/canon"
)

// ErrForgedRecord is answered for a record whose MAC, identity or index columns are not what this Region wrote. The
// store was altered, restored from another Region, or is damaged; nothing is done with the record.
var ErrForgedRecord = errors.New("record is not authentic")

// Body is what a record holds, as a CBOR struct that includes its own identity.
type Body interface {
	// RecordKey is the identity of the record that the body belongs to.
	RecordKey() RecordKey
	// RecordIndex gives the index columns: Ref and Due of [Record].
	RecordIndex() (ref string, due int64)
}

// Authenticator computes MACs under the Region's record key; *keyring.Ring is one.
type Authenticator interface {
	MAC(ctx context.Context, data []byte) ([]byte, error)
	VerifyMAC(ctx context.Context, data, mac []byte) error
}

// macInput is "antipode/record/1" and then SHA-256 over kind, account, id, sub and body, each after its u32 length. The
// token is given a digest because a body may be longer than what a token takes at once.
func macInput(key RecordKey, body []byte) []byte {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(key.Kind), []byte(key.Account), []byte(key.ID), []byte(key.Sub), body} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) //nolint:gosec // the store refuses larger bodies
		h.Write(part)
	}
	return h.Sum([]byte("antipode/record/1"))
}

// Put authenticates a body and writes it.
func Put(ctx context.Context, tx Tx, auth Authenticator, b Body) error {
	body, err := canon.Marshal(b)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	rec := Record{RecordKey: b.RecordKey(), Body: body}
	rec.Ref, rec.Due = b.RecordIndex()
	if rec.MAC, err = auth.MAC(ctx, macInput(rec.RecordKey, body)); err != nil {
		return fmt.Errorf("authenticate record: %w", err)
	}
	return tx.Put(ctx, rec)
}

// Get reads the record with this identity and checks it. It returns [ErrNoRecord] or [ErrForgedRecord].
func Get[T Body](ctx context.Context, rd Reader, auth Authenticator, key RecordKey) (T, error) {
	var zero T
	rec, err := rd.Get(ctx, key)
	if err != nil {
		return zero, err
	}
	return open[T](ctx, auth, rec)
}

// List reads and checks the records that match q, whose Kind must be T's.
func List[T Body](ctx context.Context, rd Reader, auth Authenticator, q Query) ([]T, error) {
	recs, err := rd.List(ctx, q)
	if err != nil {
		return nil, err
	}
	out := make([]T, 0, len(recs))
	for _, rec := range recs {
		b, err := open[T](ctx, auth, rec)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

func open[T Body](ctx context.Context, auth Authenticator, rec Record) (T, error) {
	var b T
	if err := auth.VerifyMAC(ctx, macInput(rec.RecordKey, rec.Body), rec.MAC); err != nil {
		return b, fmt.Errorf("%w: %s %s %s %s: %w", ErrForgedRecord, rec.Kind, rec.Account, rec.ID, rec.Sub, err)
	}
	if err := canon.Unmarshal(rec.Body, &b); err != nil {
		return b, fmt.Errorf("decode record %s %s: %w", rec.Kind, rec.ID, err)
	}
	if b.RecordKey() != rec.RecordKey {
		return b, fmt.Errorf("%w: %s %s %s %s holds another record's body", ErrForgedRecord, rec.Kind, rec.Account, rec.ID, rec.Sub)
	}
	if ref, due := b.RecordIndex(); ref != rec.Ref || due != rec.Due {
		return b, fmt.Errorf("%w: %s %s %s %s has altered index columns", ErrForgedRecord, rec.Kind, rec.Account, rec.ID, rec.Sub)
	}
	return b, nil
}
