package replication_test

import (
	"sync"
	"testing"

	"antipode/replication/simtest"
)

// Eight keys are replicated at once, half of them in each direction, while the background work runs.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	const n = 8
	type job struct {
		from, to *simtest.Region
		key      string
	}
	var jobs []job
	for i := range n {
		j := job{from: a, to: b}
		if i%2 == 1 {
			j.from, j.to = b, a
		}
		j.key = j.from.CreateKey(ctx)
		jobs = append(jobs, j)
	}
	var wait sync.WaitGroup
	for _, j := range jobs {
		wait.Go(func() {
			if err := j.from.Replicate(ctx, j.key, j.to.Name); err != nil {
				t.Error(err)
			}
		})
		wait.Go(func() {
			if err := j.from.Node.Tick(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	w.Settle(ctx)
	checkClean(t, a, b)
	for _, j := range jobs {
		checkReplicated(t, j.from, j.to, j.key)
		w.Both(ctx, j.key, ohio, ireland)
	}
}
