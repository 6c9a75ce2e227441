// Package storetest is the suite that each implementation of [regions.Store] passes.
//
// Invariant: every sentence of the interface has a test here, and every test can be made to fail by a store that
// breaks that sentence.
package storetest

import (
	"testing"

	"antipode/regions"
)

// Run runs the suite. open answers a new, empty store, which the suite closes; it is called from several goroutines.
func Run(t *testing.T, open func(t *testing.T) regions.Store) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*testing.T, regions.Store)
	}{
		{"get answers what put stored", testRoundTrip},
		{"put replaces", testReplace},
		{"delete", testDelete},
		{"missing record", testMissing},
		{"nil and empty are the same", testNilAndEmpty},
		{"bodies up to 1 MiB", testLargeBody},
		{"any bytes in keys", testBinaryKeys},
		{"a record is copied", testNoAliasing},
		{"list: order is byte by byte", testOrder},
		{"list: by due", testDue},
		{"list: by ref", testRef},
		{"list: limit and after", testPages},
		{"list: bad queries", testBadQueries},
		{"list: agrees with a model", testModel},
		{"update: sees its own writes", testOwnWrites},
		{"update: an error rolls back", testErrorRollsBack},
		{"update: a panic rolls back", testPanicRollsBack},
		{"update: goexit rolls back", testGoexitRollsBack},
		{"update: a context that ends rolls back", testCancelRollsBack},
		{"update: a cancelled context starts nothing", testCancelledBefore},
		{"update: a context ends the wait", testCancelWhileWaiting},
		{"update: one after the other", testConcurrentUpdates},
		{"view: one consistent state", testViewIsConsistent},
		{"view: never half an update", testViewNeverHalf},
		{"view: sees every acknowledged update", testViewSeesAcknowledged},
		{"a reader is over with its function", testOver},
		{"close is idempotent and final", testClose},
		{"close waits", testCloseWaits},
		{"faulty: lost", testFaultyLost},
		{"faulty: applied but reported as failed", testFaultyApplied},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			c.test(t, s)
		})
	}
}
