package replication

import (
	"sync"
	"time"
)

// paces keeps, in memory, when each other Region is next sent something, and that one worker at a time does it. After a
// restart every Region is tried at once.
type paces struct {
	mu sync.Mutex
	by map[string]*pace
}

type pace struct {
	busy  bool
	again bool      // something was committed while it was busy
	left  bool      // something may be left to be sent
	tries int       // in vain
	next  time.Time // not before
	fault error     // of the last try; nil after an answer
}

func newPaces() *paces { return &paces{by: map[string]*pace{}} }

func (p *paces) of(region string) *pace {
	one, there := p.by[region]
	if !there {
		one = &pace{left: true}
		p.by[region] = one
	}
	return one
}

// begin reports whether a Region is to be sent something now, and takes it for the caller then, until end.
func (p *paces) begin(region string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.of(region)
	if one.busy || !one.left || now.Before(one.next) {
		return false
	}
	one.busy, one.again = true, false
	return true
}

// end gives a Region back, with whether anything is left for it. It reports whether the caller is to go on at once, and
// keeps it then.
func (p *paces) end(region string, now time.Time, left bool) (more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.of(region)
	one.left = left || one.again
	one.busy = one.again && !now.Before(one.next)
	one.again = false
	return one.busy
}

// stir notes that something was committed that may be for any Region.
func (p *paces) stir() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.by {
		one.left, one.again = true, one.busy
	}
}

// silent notes that a Region did not answer: the next try is after a pause that doubles.
func (p *paces) silent(region string, now time.Time, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.of(region)
	pause := lastBackoff
	if one.tries < 8 {
		pause = min(pause, firstBackoff<<one.tries)
	}
	one.tries++
	one.next, one.fault = now.Add(pause), why
}

// answered notes that a Region is there. It reports whether it was not, before.
func (p *paces) answered(region string) (back bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.of(region)
	back = one.tries > 0
	one.tries, one.next, one.fault = 0, time.Time{}, nil
	return back
}
