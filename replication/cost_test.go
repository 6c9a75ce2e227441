package replication_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// many puts n multi-Region keys into the stores of two Regions, as replication would have left them: certificates and states
// signed by the first one's token, records authenticated by each one's. Their material is one key, wrapped by each Region's
// token; nothing here opens it.
func many(t testing.TB, a, b *simtest.Region, n int) (keys []string) {
	t.Helper()
	ctx := context.Background()
	like := a.CreateKey(ctx)
	if err := a.Replicate(ctx, like, b.Name); err != nil {
		t.Fatal(err)
	}
	here, there := a.Holds(ctx, like), b.Holds(ctx, like)
	for i := range n {
		keys = append(keys, fmt.Sprintf("mrk-%032x", 0xabc000000+i))
	}
	const batch = 250
	for from := 0; from < n; from += batch {
		part := keys[from:min(from+batch, n)]
		shared := make([]regions.MultiRegion, len(part))
		for i, id := range part {
			shared[i] = signedState(t, a, *here.Key.MultiRegion.State, id)
		}
		for _, r := range []struct {
			region *simtest.Region
			like   simtest.Holding
		}{{a, here}, {b, there}} {
			err := r.region.Region.Update(ctx, func(tx regions.Tx) error {
				for i, id := range part {
					k, m, mr := *r.like.Key, r.like.Materials[0], shared[i]
					mr.Incarnation = r.like.Key.MultiRegion.Incarnation
					k.KeyID, k.MultiRegion, m.KeyID = id, &mr, id
					for _, body := range []regions.Body{k, m, regions.PolicyRecord{Account: k.Account, KeyID: id, Document: `{"Version":"2012-10-17","Statement":[]}`}} {
						if err := regions.Put(ctx, tx, r.region.Region.Ring(), body); err != nil {
							return err
						}
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return keys
}

// signedState is the shared state of a key like another one, with a certificate of its own.
func signedState(t testing.TB, a *simtest.Region, s keyset.State, id string) regions.MultiRegion {
	t.Helper()
	ctx := context.Background()
	genesis, err := keyset.SignCertificate(ctx, a.Region.Ring().RSK(), keyset.Certificate{
		Account: s.Account, KeyID: id, To: keyset.First(), Primary: a.Name, RosterVersion: 1, IssuedAt: s.Created,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.KeyID, s.Certificate, s.Members = id, keyset.Hash(genesis), append([]keyset.Member(nil), s.Members...)
	for i := range s.Members {
		s.Members[i].Status = keyset.Active
	}
	signed, err := keyset.SignState(ctx, a.Region.Ring().RSK(), s)
	if err != nil {
		t.Fatal(err)
	}
	return regions.MultiRegion{State: &s, Signed: signed, Certificates: [][]byte{genesis}}
}

// cost is what some work took, over both Regions.
type cost struct {
	messages, bytes, transactions, records int
	took                                   time.Duration
}

func (c cost) String() string {
	return fmt.Sprintf("%d messages, %d bytes, %d transactions, %d records read or written, %v", c.messages, c.bytes, c.transactions,
		c.records, c.took.Round(10*time.Microsecond))
}

func costOf(t testing.TB, w *simtest.World, all []*simtest.Region, work func()) (c cost) {
	t.Helper()
	var transactions atomic.Int64
	w.Net.Forget()
	for _, r := range all {
		r.StoreFault = func(string) (bool, error) { transactions.Add(1); return false, nil }
		r.Tokens.Forget()
	}
	begun := time.Now()
	work()
	c.took = time.Since(begun)
	for _, r := range all {
		r.StoreFault = nil
		for _, call := range r.Tokens.Calls() { // a record is authenticated by one call when it is read, and by one when it is written
			if call == "Sign" || call == "Verify" || call == "MAC" || call == "VerifyMAC" || call == "SignHMAC" || call == "VerifyHMAC" {
				c.records++
			}
		}
	}
	for _, m := range w.Net.Log() {
		c.messages++
		c.bytes += len(m.Data)
	}
	c.transactions = int(transactions.Load())
	return c
}

// The cost of synchronisation grows with the number of keys that were changed, not with the number of keys: messages and
// transactions are the same with 100 keys as with 1,000 and, if ANTIPODE_LARGE is set, 10,000. Only the first
// digest after a start reads every key.
func TestSyncCost(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	sizes := []int{100, 1000}
	if os.Getenv("ANTIPODE_LARGE") != "" {
		sizes = append(sizes, 10000)
	}
	type kind struct {
		name string
		c    cost
	}
	var first []kind
	for _, n := range sizes {
		w, a, b := twoRegions(t)
		all := []*simtest.Region{a, b}
		keys := many(t, a, b, n)
		w.Settle(ctx)
		a.Restart(t)
		b.Restart(t)
		t.Logf("%6d keys: the first digest after a start: %v", n, costOf(t, w, all, func() {
			for _, r := range all {
				if _, _, err := r.Region.Common(ctx, ohio); err != nil {
					t.Fatal(err)
				}
			}
		}))
		tick := func(r *simtest.Region) {
			if err := r.Node.Tick(ctx); err != nil {
				t.Fatal(err)
			}
		}
		tick(a)
		tick(b)
		var got []kind
		measure := func(name string, work func()) {
			w.Advance(2 * time.Minute)
			got = append(got, kind{name, costOf(t, w, all, work)})
		}
		measure("nothing differs", func() { tick(a) })
		for _, changed := range []int{1, 10} {
			for i := range changed {
				reschedule(t, a, keys[i*n/changed], 100)
			}
			measure(strconv.Itoa(changed)+" pushed", func() { tick(a) })
			for i := range changed {
				reschedule(t, a, keys[i*n/changed], 101)
				forgetDue(t, a, keys[i*n/changed])
			}
			measure(strconv.Itoa(changed)+" found by comparison", func() { tick(b) })
			for i := range changed {
				agree(t, keys[i*n/changed], a, b)
			}
			tick(a)
		}
		for i, k := range got {
			t.Logf("%6d keys: %-22s %v", n, k.name, k.c)
			if len(first) == len(got) && (k.c.messages != first[i].c.messages || k.c.transactions != first[i].c.transactions || k.c.records != first[i].c.records) {
				t.Errorf("%s of %d keys: %v\nof %d: %v", k.name, n, k.c, sizes[0], first[i].c)
			}
		}
		if first == nil {
			first = got
		}
		if n := sent(w, wire.TypeKnow); n > 10 {
			t.Errorf("%d keys were asked for", n)
		}
	}
}
