package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"antipode/regions"
)

const testKind regions.RecordKind = "test"

func key(parts ...string) regions.RecordKey {
	k := regions.RecordKey{Kind: testKind}
	for i, p := range []*string{&k.Account, &k.ID, &k.Sub} {
		if i < len(parts) {
			*p = parts[i]
		}
	}
	return k
}

func record(body string, parts ...string) regions.Record {
	return regions.Record{RecordKey: key(parts...), Body: []byte(body), MAC: []byte("mac of " + body)}
}

func put(t *testing.T, s regions.Store, recs ...regions.Record) {
	t.Helper()
	err := s.Update(t.Context(), func(tx regions.Tx) error {
		for _, r := range recs {
			if err := tx.Put(t.Context(), r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("put: %v", err)
	}
}

// get answers nil for a record that is not there.
func get(t *testing.T, s regions.Store, k regions.RecordKey) *regions.Record {
	t.Helper()
	var rec *regions.Record
	err := s.View(t.Context(), func(r regions.Reader) error {
		got, err := r.Get(t.Context(), k)
		if errors.Is(err, regions.ErrNoRecord) {
			return nil
		}
		rec = &got
		return err
	})
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return rec
}

func list(t *testing.T, s regions.Store, q regions.Query) []regions.Record {
	t.Helper()
	var recs []regions.Record
	err := s.View(t.Context(), func(r regions.Reader) (err error) {
		recs, err = r.List(t.Context(), q)
		return err
	})
	if err != nil {
		t.Fatalf("list %+v: %v", q, err)
	}
	return recs
}

func wantRecord(t *testing.T, s regions.Store, want regions.Record) {
	t.Helper()
	got := get(t, s, want.RecordKey)
	if got == nil {
		t.Fatalf("record %q is not there", want.RecordKey)
	}
	if !same(*got, want) {
		t.Fatalf("record %q differs\n got %s\nwant %s", want.RecordKey, show(*got), show(want))
	}
}

func wantNone(t *testing.T, s regions.Store, k regions.RecordKey) {
	t.Helper()
	if got := get(t, s, k); got != nil {
		t.Fatalf("record %q is there: %s", k, show(*got))
	}
}

func wantList(t *testing.T, s regions.Store, q regions.Query, want []regions.Record) {
	t.Helper()
	got := list(t, s, q)
	if !slices.EqualFunc(got, want, same) {
		t.Fatalf("list %+v\n got %s\nwant %s", q, showAll(got), showAll(want))
	}
}

func same(a, b regions.Record) bool {
	return a.RecordKey == b.RecordKey && a.Ref == b.Ref && a.Due == b.Due &&
		string(a.Body) == string(b.Body) && string(a.MAC) == string(b.MAC)
}

func show(r regions.Record) string {
	return fmt.Sprintf("%q ref %q due %d body %d bytes %.20q mac %.20q", r.RecordKey, r.Ref, r.Due, len(r.Body), r.Body, r.MAC)
}

func showAll(recs []regions.Record) string {
	s := fmt.Sprintf("%d records", len(recs))
	for _, r := range recs {
		s += "\n  " + show(r)
	}
	return s
}
