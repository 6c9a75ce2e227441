package replication

import (
	"encoding/binary"
	"hash/fnv"
	"sync"
	"time"
)

// paces keeps, in memory, when each other Region is next sent something, and that one worker at a time does it. After a
// restart every Region is tried at once.
type paces struct {
	self  string
	every time.Duration // between comparisons

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

	compare time.Time   // when the shared states are compared next
	rounds  uint32      // comparisons made
	looked  [2][32]byte // digests, here and there, whose difference has its reason
}

func newPaces(self string, every time.Duration) *paces {
	return &paces{self: self, every: every, by: map[string]*pace{}}
}

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
	if one.busy || now.Before(one.next) || !one.left && now.Before(one.compare) {
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
	if back {
		one.compare = time.Time{}
	}
	one.tries, one.next, one.fault = 0, time.Time{}, nil
	return back
}

// comparing reports whether the shared states are to be compared with a Region's now.
func (p *paces) comparing(region string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !now.Before(p.of(region).compare)
}

// compared notes that they were. The next time is a period later, more or less by a tenth: so that Regions that were started
// together don't ask each other all at once for ever.
func (p *paces) compared(region string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.of(region)
	one.rounds++
	h := fnv.New32a()
	_, _ = h.Write(binary.BigEndian.AppendUint32([]byte(p.self+"/"+region), one.rounds))
	part := float64(h.Sum32()) / (1 << 32)
	one.compare = now.Add(p.every - p.every/10 + time.Duration(part*float64(p.every/5)))
}

// lookedAt reports whether the difference of two digests was looked at already, and has its reason.
func (p *paces) lookedAt(region string, here, there [32]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of(region).looked == [2][32]byte{here, there}
}

// looked notes that it was.
func (p *paces) looked(region string, here, there [32]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of(region).looked = [2][32]byte{here, there}
}
