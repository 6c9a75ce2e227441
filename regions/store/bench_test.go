package store_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"antipode/regions"
)

// BenchmarkUpdate commits one record of 1 KiB; median-ns is the median of single commits.
func BenchmarkUpdate(b *testing.B) {
	for _, place := range []struct{ name, dir string }{{"shm", fastDir(b)}, {"disk", b.TempDir()}} {
		b.Run(place.name, func(b *testing.B) {
			db := create(b, filepath.Join(place.dir, fmt.Sprint("store", b.N)))
			rec := regions.Record{Body: make([]byte, 1024), MAC: make([]byte, 32)}
			took := make([]time.Duration, 0, b.N)
			for n := 0; b.Loop(); n++ {
				rec.RecordKey = regions.RecordKey{Kind: "key", Account: "111122223333", ID: fmt.Sprintf("mrk-%032x", n)}
				start := time.Now()
				if err := db.Update(b.Context(), func(tx regions.Tx) error { return tx.Put(b.Context(), rec) }); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2]), "median-ns")
			must(b, db.Close())
		})
	}
}

func BenchmarkGet(b *testing.B) {
	db := create(b, filepath.Join(fastDir(b), "store"))
	put(b, db, "a", string(make([]byte, 1024)))
	for b.Loop() {
		wantBody(b, db, "a", string(make([]byte, 1024)))
	}
	must(b, db.Close())
}
