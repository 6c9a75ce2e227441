package regions_test

import (
	"bytes"
	"slices"
	"sync"
	"testing"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/canon"
	"antipode/regions/regionstest"
	"antipode/regions/roster"
	"antipode/regions/store"
)

// opsCounter counts the calls that reach a real token.
type opsCounter struct {
	mu sync.Mutex
	n  map[string]int
}

func (o *opsCounter) wrap(tok hsmbackend.Token) hsmbackend.Token {
	return hsmtest.Faulty(tok, func(op string) (bool, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.n == nil {
			o.n = map[string]int{}
		}
		o.n[op]++
		return false, nil
	})
}

func (o *opsCounter) count(ops ...string) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, op := range ops {
		n += o.n[op]
	}
	return n
}

// vandal edits the store of a closed Region without its record key.
type vandal struct {
	t  *testing.T
	tx regions.Tx

	a, b       string // ids of two keys
	foreign    map[regions.RecordKey]regions.Record
	adminKeyID string
}

func (v *vandal) get(key regions.RecordKey) regions.Record {
	v.t.Helper()
	rec, err := v.tx.Get(v.t.Context(), key)
	if err != nil {
		v.t.Fatalf("record %+v: %v", key, err)
	}
	return rec
}

func (v *vandal) one(kind regions.RecordKind, id string) regions.Record {
	v.t.Helper()
	recs, err := v.tx.List(v.t.Context(), regions.Query{Kind: kind})
	if err != nil {
		v.t.Fatal(err)
	}
	recs = slices.DeleteFunc(recs, func(r regions.Record) bool { return r.ID != id })
	if len(recs) != 1 {
		v.t.Fatalf("%d records %s %s", len(recs), kind, id)
	}
	return recs[0]
}

func (v *vandal) put(rec regions.Record) {
	v.t.Helper()
	if err := v.tx.Put(v.t.Context(), rec); err != nil {
		v.t.Fatal(err)
	}
}

// edit decodes a body, changes it, and writes it back under the old MAC.
func edit[T any](v *vandal, rec regions.Record, change func(*T)) {
	v.t.Helper()
	var body T
	if err := canon.Unmarshal(rec.Body, &body); err != nil {
		v.t.Fatal(err)
	}
	change(&body)
	raw, err := canon.Marshal(body)
	if err != nil {
		v.t.Fatal(err)
	}
	if bytes.Equal(raw, rec.Body) {
		v.t.Fatal("the edit changes nothing")
	}
	rec.Body = raw
	v.put(rec)
}

// swap exchanges what two rows hold and leaves their names.
func (v *vandal) swap(one, two regions.Record) {
	one.RecordKey, two.RecordKey = two.RecordKey, one.RecordKey
	v.put(one)
	v.put(two)
}

func enrol(t *testing.T, f, of *regionstest.Fixture, tls byte) {
	t.Helper()
	err := f.Region.Enrol(t.Context(), roster.Entry{
		Region: of.Region.Name(), Version: 1, Endpoint: "https://127.0.0.1:7001", TLSKey: [32]byte{tls + 1},
		RSKs:   []roster.RSK{{SPKI: of.Region.Ring().RSK().SPKI(), State: roster.Active, Since: 1}},
		Limits: roster.Limits{Accounts: []string{"*"}, MaxOpenExchanges: 16},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// snapshot reads all records of a store.
func snapshot(t *testing.T, db regions.Store, into map[regions.RecordKey]regions.Record) {
	t.Helper()
	err := db.View(t.Context(), func(rd regions.Reader) error {
		for _, kind := range []regions.RecordKind{
			regions.KindKey, regions.KindMaterial, regions.KindPolicy, regions.KindAlias, regions.KindUser, regions.KindGrant,
			regions.KindAccessKey, regions.KindRoster, regions.KindHierarchy, regions.KindTokenKey,
		} {
			recs, err := rd.List(t.Context(), regions.Query{Kind: kind})
			if err != nil {
				return err
			}
			for _, rec := range recs {
				into[rec.RecordKey] = rec
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// tamper edits the store of a closed Region.
func tamper(t *testing.T, path string, alter func(regions.Tx)) {
	t.Helper()
	db, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := db.Update(t.Context(), func(tx regions.Tx) error { alter(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}
