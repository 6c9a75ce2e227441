package regionstest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"antipode/regions"
	"antipode/regions/audit"
)

// Do calls an operation as this caller. in is a pointer to the operation's input; nil is an input with nothing in it.
func Do(ctx context.Context, r *regions.Region, caller regions.Caller, operation string, in any) (any, error) {
	op, known := regions.OperationByName(operation)
	if !known {
		op, known = regions.OwnOperation(operation)
	}
	if !known {
		return nil, fmt.Errorf("no operation %s", operation)
	}
	if in == nil {
		in = op.NewInput()
	}
	return r.Do(ctx, op, caller, in)
}

// Call calls an operation as the fixture's administrator and returns its answer, which must be an *Out or nothing. The
// error, if any, is an [*regions.Error]; any other fails the test.
func Call[Out any](t testing.TB, f *Fixture, operation string, in any) (*Out, error) {
	t.Helper()
	return CallAs[Out](t, f, f.Admin, operation, in)
}

// CallAs is [Call] with another caller.
func CallAs[Out any](t testing.TB, f *Fixture, caller regions.Caller, operation string, in any) (*Out, error) {
	t.Helper()
	out, err := Do(t.Context(), f.Region, caller, operation, in)
	if err != nil {
		if api := (*regions.Error)(nil); !errors.As(err, &api) {
			t.Fatalf("%s answered an error that is none of the API's: %v", operation, err)
		}
		return nil, err
	}
	if out == nil {
		return nil, nil
	}
	typed, is := out.(*Out)
	if !is {
		t.Fatalf("%s answered a %T", operation, out)
	}
	return typed, nil
}

// Must is [Call] that fails the test on any error.
func Must[Out any](t testing.TB, f *Fixture, operation string, in any) *Out {
	t.Helper()
	out, err := Call[Out](t, f, operation, in)
	if err != nil {
		t.Fatalf("%s: %v", operation, err)
	}
	return out
}

// CreateKey makes a symmetric key.
func (f *Fixture) CreateKey(t testing.TB, multiRegion bool) regions.KeyMetadata {
	t.Helper()
	return Must[regions.CreateKeyOutput](t, f, "CreateKey", &regions.CreateKeyInput{MultiRegion: multiRegion}).KeyMetadata
}

// Encrypt encrypts without a context.
func (f *Fixture) Encrypt(t testing.TB, keyID string, plaintext []byte) []byte {
	t.Helper()
	return Must[regions.EncryptOutput](t, f, "Encrypt", &regions.EncryptInput{KeyID: keyID, Plaintext: plaintext}).CiphertextBlob
}

// Key returns the key's record as it is in the store, checked.
func (f *Fixture) Key(t testing.TB, keyID string) regions.Key {
	t.Helper()
	var found []regions.Key
	err := f.Store.View(t.Context(), func(rd regions.Reader) (err error) {
		found, err = regions.List[regions.Key](t.Context(), rd, f.Region.Ring(), regions.Query{Kind: regions.KindKey, Ref: keyID})
		return err
	})
	if err != nil || len(found) != 1 {
		t.Fatalf("key %s: %d records, %v", keyID, len(found), err)
	}
	return found[0]
}

// PutKey writes the key's record through the Region, with change made to it: a way into states that no operation that is
// built leads to.
func (f *Fixture) PutKey(t testing.TB, keyID string, change func(*regions.Key)) {
	t.Helper()
	k := f.Key(t, keyID)
	change(&k)
	err := f.Region.Update(t.Context(), func(tx regions.Tx) error {
		return regions.Put(t.Context(), tx, f.Region.Ring(), k)
	})
	if err != nil {
		t.Fatalf("put key %s: %v", keyID, err)
	}
}

// Record is a record of the audit log with its event.
type Record struct {
	audit.Record
	Event audit.Event // zero for a record of kind file
}

// Records verifies the audit log and returns all its records.
func (f *Fixture) Records(t testing.TB) []Record {
	t.Helper()
	var out []Record
	_, err := audit.Scan(t.Context(), f.AuditDir, audit.Head{}, func(r *audit.Record) error {
		rec := Record{Record: *r}
		rec.Record.Event = nil // its bytes end with the scan
		if r.Kind != audit.KindFile {
			e, err := audit.DecodeEvent(r.Event)
			if err != nil {
				return err
			}
			rec.Event = e
		}
		out = append(out, rec)
		return nil
	})
	if err != nil {
		t.Fatalf("read audit log: %v", err)
	}
	return out
}
