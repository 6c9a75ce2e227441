package simtest_test

import (
	"errors"
	"sync"
	"testing"

	"antipode/replication/simtest"
)

// errDead is what a Region gets of its store and token after its process was ended.
var errDead = errors.New("the process has ended")

// process is a Region's process: it can be made to end before or after a commit, and counts commits.
type process struct {
	r *simtest.Region

	mu     sync.Mutex
	ended  bool
	left   int  // commits until it ends; 0 if it does not
	after  bool // it ends after the commit, not before
	writes int  // commits, for who keeps what it has read
}

func newProcess(r *simtest.Region) *process {
	p := &process{r: r}
	p.watch()
	return p
}

// watch puts the process between the Region and its store and token.
func (p *process) watch() {
	p.r.StoreFault = func(op string) (bool, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.ended {
			return false, errDead
		}
		if op != "update" {
			return false, nil
		}
		p.writes++
		if p.left == 0 {
			return false, nil
		}
		if p.left--; p.left > 0 {
			return false, nil
		}
		p.ended = true
		return p.after, errDead
	}
	p.r.Tokens.Fail(func(string) (bool, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.ended {
			return false, errDead
		}
		return false, nil
	})
}

// endAt ends the process at the n-th commit from now, before or after it.
func (p *process) endAt(n int, after bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.after = n, after
}

func (p *process) dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// version tells whether the store may have changed.
func (p *process) version() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writes
}

// start starts the Region again, by what.
func (p *process) start(t *testing.T, what func(testing.TB)) {
	t.Helper()
	what(t)
	p.mu.Lock()
	p.ended, p.left = false, 0
	p.writes++
	p.mu.Unlock()
	p.watch()
}
