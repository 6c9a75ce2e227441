package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"antipode/regions"
)

func compareKeys(a, b regions.RecordKey) int {
	return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Sub, b.Sub))
}

func testOrder(t *testing.T, s regions.Store) {
	var recs []regions.Record
	for _, a := range []string{"", "a", "a\x00", "\xff"} {
		for _, b := range awkward() {
			recs = append(recs, record("1", a, b, "z"), record("2", a, b))
		}
	}
	put(t, s, recs...)
	put(t, s, regions.Record{RecordKey: regions.RecordKey{Kind: testKind + "s"}}) // another kind does not show
	slices.SortFunc(recs, func(a, b regions.Record) int { return compareKeys(a.RecordKey, b.RecordKey) })
	wantList(t, s, regions.Query{Kind: testKind}, recs)
}

func testDue(t *testing.T, s regions.Store) {
	var recs []regions.Record
	for i, due := range []int64{0, 1, 5, 6, -1, 1 << 62} {
		r := record("x", "a", string(rune('f'-i))) // ids run against the times
		r.Due = due
		recs = append(recs, r)
	}
	put(t, s, recs...)
	wantList(t, s, regions.Query{Kind: testKind, DueBy: 5}, []regions.Record{recs[2], recs[1]})
	wantList(t, s, regions.Query{Kind: testKind, DueBy: 5, Limit: 1}, []regions.Record{recs[2]})
	wantList(t, s, regions.Query{Kind: testKind, DueBy: 5, After: recs[2].RecordKey}, []regions.Record{recs[1]})
	wantList(t, s, regions.Query{Kind: testKind, DueBy: -1}, nil)
	wantList(t, s, regions.Query{Kind: "other", DueBy: 5}, nil)
}

func testRef(t *testing.T, s regions.Store) {
	with := func(ref string, parts ...string) regions.Record {
		r := record("x", parts...)
		r.Ref = ref
		return r
	}
	recs := []regions.Record{
		with("key-1", "a", "alias/1"), with("key-2", "a", "alias/2"), with("key-1", "a", "alias/3"),
		with("", "a", "alias/4"), with("key-1", "b", "alias/1"),
	}
	put(t, s, recs...)
	wantList(t, s, regions.Query{Kind: testKind, Ref: "key-1"}, []regions.Record{recs[0], recs[2], recs[4]})
	wantList(t, s, regions.Query{Kind: testKind, Account: "a", Ref: "key-1"}, []regions.Record{recs[0], recs[2]})
	wantList(t, s, regions.Query{Kind: testKind, Ref: "key-1", After: recs[0].RecordKey, Limit: 1}, recs[2:3])
	wantList(t, s, regions.Query{Kind: testKind, Ref: "key"}, nil)
	wantList(t, s, regions.Query{Kind: testKind}, recs)
}

// testPages walks every kind of listing page by page, with each size, and expects exactly what one long page has.
func testPages(t *testing.T, s regions.Store) {
	var recs []regions.Record
	for _, a := range []string{"", "a", "b"} {
		for _, id := range []string{"", "x", "x\x00", "y"} {
			for _, sub := range []string{"", "1", "2"} {
				r := record(a+id+sub, a, id, sub)
				r.Ref, r.Due = sub, int64(len(id))
				recs = append(recs, r)
			}
		}
	}
	put(t, s, recs...)
	for _, q := range []regions.Query{
		{},
		{Account: "a"},
		{Account: "a", ID: "x"},
		{ID: "x"},
		{Ref: "1"},
		{Account: "b", Ref: "2"},
		{DueBy: 1},
		{Account: "a", DueBy: 2},
		{Account: "none"},
	} {
		q.Kind = testKind
		all := list(t, s, q)
		if len(all) == 0 && q.Account != "none" {
			t.Fatalf("list %+v is empty", q)
		}
		for limit := 1; limit <= len(all)+1; limit++ {
			q.Limit, q.After = limit, regions.RecordKey{}
			var paged []regions.Record
			for {
				page := list(t, s, q)
				if len(page) > limit {
					t.Fatalf("list %+v answers %d records", q, len(page))
				}
				paged = append(paged, page...)
				if len(page) < limit || len(paged) > len(all) {
					break
				}
				q.After = page[len(page)-1].RecordKey
			}
			if !slices.EqualFunc(paged, all, same) {
				t.Fatalf("list %+v by pages of %d\n got %s\nwant %s", q, limit, showAll(paged), showAll(all))
			}
		}
	}
	// The place to go on from need not exist, nor lie within what the query selects.
	wantList(t, s, regions.Query{Kind: testKind, Account: "b", After: key("a", "zzz"), Limit: 1}, recs[24:25])
	wantList(t, s, regions.Query{Kind: testKind, Account: "a", After: key("b"), Limit: 1}, nil)
	wantList(t, s, regions.Query{Kind: testKind, Account: "a", ID: "x", After: key("a", "y"), Limit: 1}, nil)
	wantList(t, s, regions.Query{Kind: testKind, After: key("", "", "11"), Limit: 1}, recs[2:3])
	// The key whose parts are all empty has a kind, and so is a place to go on from.
	wantList(t, s, regions.Query{Kind: testKind, After: key(), Limit: 1}, recs[1:2])
}

func testBadQueries(t *testing.T, s regions.Store) {
	put(t, s, record("x", "a"))
	for name, q := range map[string]regions.Query{
		"negative limit":    {Kind: testKind, Limit: -1},
		"after other kind":  {Kind: testKind, After: regions.RecordKey{Kind: "a", Account: "a"}},
		"after lost a kind": {Kind: testKind, After: regions.RecordKey{Account: "a"}},
	} {
		err := s.View(t.Context(), func(r regions.Reader) error {
			recs, err := r.List(t.Context(), q)
			if err == nil {
				t.Errorf("%s: no error, but %s", name, showAll(recs))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// testModel does random things to the store and to a map, and compares what both list.
func testModel(t *testing.T, s regions.Store) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	randomKey := func() regions.RecordKey {
		return regions.RecordKey{
			Kind:    regions.RecordKind(pick("k", "k\x00", "l")),
			Account: pick("", "a", "b", "\xff"), ID: pick("", "i", "i\x00", "j"), Sub: pick("", "s", "t"),
		}
	}
	model := make(map[regions.RecordKey]regions.Record)
	for step := range 400 {
		rec := regions.Record{
			RecordKey: randomKey(), Ref: pick("", "r", "r\x00"), Due: rng.Int64N(4),
			Body: fmt.Append(nil, step), MAC: []byte("m"),
		}
		remove, abort := rng.IntN(3) == 0, rng.IntN(8) == 0
		err := s.Update(t.Context(), func(tx regions.Tx) error {
			var err error
			if remove {
				err = tx.Delete(t.Context(), rec.RecordKey)
			} else {
				err = tx.Put(t.Context(), rec)
			}
			if err == nil && abort {
				return errAbort
			}
			return err
		})
		switch {
		case abort && err == nil, !abort && err != nil:
			t.Fatalf("step %d: %v", step, err)
		case abort:
		case remove:
			delete(model, rec.RecordKey)
		default:
			model[rec.RecordKey] = rec
		}
		q := regions.Query{Kind: randomKey().Kind, Limit: rng.IntN(5)}
		if rng.IntN(2) == 0 {
			q.Account = pick("a", "b", "\xff")
		}
		if rng.IntN(3) == 0 {
			q.ID = pick("i", "i\x00", "j")
		}
		if rng.IntN(3) == 0 {
			q.Ref = pick("r", "r\x00")
		}
		if rng.IntN(3) == 0 {
			q.DueBy = 1 + rng.Int64N(3)
		}
		if rng.IntN(2) == 0 {
			q.After = randomKey()
			q.After.Kind = q.Kind
		}
		wantList(t, s, q, modelList(model, q))
	}
}

func modelList(model map[regions.RecordKey]regions.Record, q regions.Query) []regions.Record {
	var recs []regions.Record
	for _, r := range model {
		if r.Kind == q.Kind && (q.Account == "" || r.Account == q.Account) && (q.ID == "" || r.ID == q.ID) &&
			(q.Ref == "" || r.Ref == q.Ref) && (q.DueBy == 0 || 0 < r.Due && r.Due <= q.DueBy) &&
			(q.After == regions.RecordKey{} || compareKeys(r.RecordKey, q.After) > 0) {
			recs = append(recs, r)
		}
	}
	slices.SortFunc(recs, func(a, b regions.Record) int { return compareKeys(a.RecordKey, b.RecordKey) })
	if q.Limit > 0 && len(recs) > q.Limit {
		recs = recs[:q.Limit]
	}
	return recs
}
