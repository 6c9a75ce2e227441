package storetest

import (
	"bytes"
	"testing"

	"antipode/regions"
)

func testRoundTrip(t *testing.T, s regions.Store) {
	rec := regions.Record{
		RecordKey: regions.RecordKey{Kind: testKind, Account: "111122223333", ID: "mrk-1", Sub: "policy/default"},
		Ref:       "alias/x", Due: 1 << 62, Body: []byte{0, 1, 255, '\'', '"'}, MAC: []byte{9, 0, 9},
	}
	put(t, s, rec)
	wantRecord(t, s, rec)
	for _, other := range []regions.RecordKey{
		{Kind: "other", Account: rec.Account, ID: rec.ID, Sub: rec.Sub},
		{Kind: rec.Kind, Account: "x", ID: rec.ID, Sub: rec.Sub},
		{Kind: rec.Kind, Account: rec.Account, ID: "x", Sub: rec.Sub},
		{Kind: rec.Kind, Account: rec.Account, ID: rec.ID, Sub: "x"},
		{Kind: rec.Kind, Account: rec.Account, ID: rec.ID},
	} {
		wantNone(t, s, other)
	}
}

func testReplace(t *testing.T, s regions.Store) {
	old := record("old", "a", "b", "c")
	old.Ref, old.Due = "ref", 7
	put(t, s, old)
	fresh := record("new", "a", "b", "c")
	put(t, s, fresh)
	wantRecord(t, s, fresh)
	wantList(t, s, regions.Query{Kind: testKind}, []regions.Record{fresh})
	wantList(t, s, regions.Query{Kind: testKind, Ref: "ref"}, nil)
	wantList(t, s, regions.Query{Kind: testKind, DueBy: 10}, nil)
}

func testDelete(t *testing.T, s regions.Store) {
	stay := record("stay", "a", "b", "d")
	put(t, s, record("go", "a", "b", "c"), stay)
	for range 2 { // the second time it is not there, which is no error
		err := s.Update(t.Context(), func(tx regions.Tx) error { return tx.Delete(t.Context(), key("a", "b", "c")) })
		if err != nil {
			t.Fatalf("delete: %v", err)
		}
		wantNone(t, s, key("a", "b", "c"))
		wantRecord(t, s, stay)
	}
}

func testMissing(t *testing.T, s regions.Store) {
	wantNone(t, s, key("a"))
	wantNone(t, s, regions.RecordKey{})
	if recs := list(t, s, regions.Query{Kind: testKind}); len(recs) != 0 {
		t.Fatalf("an empty store lists %s", showAll(recs))
	}
}

func testNilAndEmpty(t *testing.T, s regions.Store) {
	put(t, s, regions.Record{RecordKey: regions.RecordKey{Kind: testKind}})
	wantRecord(t, s, regions.Record{RecordKey: key(), Body: []byte{}, MAC: []byte{}})
	wantList(t, s, regions.Query{Kind: testKind}, []regions.Record{{RecordKey: key()}})
	put(t, s, regions.Record{RecordKey: key("x"), Body: []byte{}, MAC: []byte{}})
	wantRecord(t, s, regions.Record{RecordKey: key("x")})
}

func testLargeBody(t *testing.T, s regions.Store) {
	for _, n := range []int{1, 4095, 4096, 4097, 1 << 16, 1<<20 - 1, 1 << 20} {
		rec := record("", "large")
		rec.Body = bytes.Repeat([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255}, n/11+1)[:n]
		put(t, s, rec)
		wantRecord(t, s, rec)
	}
}

// awkward are key parts that a text column, a locale or a C string would mix up.
func awkward() []string {
	return []string{
		"", "\x00", "\x00\x00", "\x00a", "a", "a\x00", "a\x00b", "a ", "A", "B", "b", "ä", "ß", "ss",
		"é", "e\u0301", "\x7f", "\x80", "\xff", "\xff\xfe", "%", "_", "'", "\"", "?", "$1", "1", "01", "1.0", "NULL",
	}
}

func testBinaryKeys(t *testing.T, s regions.Store) {
	var recs []regions.Record
	for _, part := range awkward() {
		for i := range 3 {
			parts := []string{"-", "-", "-"}
			parts[i] = part
			rec := record("body of "+part, parts...)
			rec.Ref = part
			recs = append(recs, rec)
		}
	}
	put(t, s, recs...)
	for _, rec := range recs {
		wantRecord(t, s, rec)
	}
	for _, part := range awkward() {
		got := list(t, s, regions.Query{Kind: testKind, Account: part})
		for _, r := range got {
			if part != "" && r.Account != part {
				t.Errorf("list of account %q has %s", part, show(r))
			}
		}
		if len(got) == 0 {
			t.Errorf("list of account %q is empty", part)
		}
		for _, r := range list(t, s, regions.Query{Kind: testKind, Ref: part}) {
			if part != "" && r.Ref != part {
				t.Errorf("list of ref %q has %s", part, show(r))
			}
		}
	}
	kind := regions.Record{RecordKey: regions.RecordKey{Kind: "\xff\x00"}, Body: []byte("kind")}
	put(t, s, kind)
	wantRecord(t, s, kind)
	wantList(t, s, regions.Query{Kind: kind.Kind}, []regions.Record{kind})
}

// testNoAliasing: the store keeps what it was given, not the caller's memory.
func testNoAliasing(t *testing.T, s regions.Store) {
	body := []byte("before")
	err := s.Update(t.Context(), func(tx regions.Tx) error {
		err := tx.Put(t.Context(), regions.Record{RecordKey: key("x"), Body: body})
		copy(body, "AFTER!")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := regions.Record{RecordKey: key("x"), Body: []byte("before")}
	wantRecord(t, s, want)
	copy(get(t, s, key("x")).Body, "AFTER!")
	wantRecord(t, s, want)
}
