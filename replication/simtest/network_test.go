package simtest_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"antipode/replication/simtest"
)

// network is how messages fare: each link, in each direction, is whole, broken, or does what its own seed says.
type network struct {
	w *simtest.World

	mu    sync.Mutex
	links map[[2]string]*link
	late  []simtest.Message
}

type link struct {
	quality quality
	rng     *rand.Rand
	past    [][]byte // messages that went this way
}

type quality uint8

const (
	whole quality = iota
	flaky
	broken
)

func newNetwork(w *simtest.World, seed uint64, names []string) *network {
	n := &network{w: w, links: map[[2]string]*link{}}
	for i, from := range names {
		for j, to := range names {
			n.links[[2]string{from, to}] = &link{rng: rand.New(rand.NewPCG(seed, uint64(100+10*i+j)))}
		}
	}
	return n
}

// set makes both directions between two Regions of a quality.
func (n *network) set(a, b string, q quality) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[[2]string{a, b}].quality, n.links[[2]string{b, a}].quality = q, q
}

// takeLate returns a message that was held back, the i-th modulo their number, which it forgets in two of three cases.
func (n *network) takeLate(i int) (simtest.Message, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.late) == 0 {
		return simtest.Message{}, false
	}
	at := i % len(n.late)
	m := n.late[at]
	if i%3 != 0 {
		n.late = slices.Delete(n.late, at, at+1)
	}
	return m, true
}

// mostKept bounds what is kept of a link's past and of messages held back.
const mostKept = 50

// carry is the [simtest.Carrier].
func (n *network) carry(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
	n.mu.Lock()
	l := n.links[[2]string{m.From, m.To}]
	q, fate, old := l.quality, l.rng.IntN(12), []byte(nil)
	if len(l.past) > 0 {
		old = l.past[l.rng.IntN(len(l.past))]
	}
	if l.past = append(l.past, slices.Clone(m.Data)); len(l.past) > mostKept {
		l.past = l.past[1:]
	}
	if q == flaky && fate == 3 && len(n.late) < mostKept {
		n.late = append(n.late, m)
	}
	n.mu.Unlock()
	switch q {
	case broken:
		return nil, simtest.ErrLost
	case whole:
		return deliver(m.Data)
	case flaky:
	}
	switch fate {
	case 0, 3:
		return nil, simtest.ErrLost
	case 1:
		_, err := deliver(m.Data)
		return nil, errors.Join(simtest.ErrLost, err)
	case 2:
		if _, err := deliver(m.Data); err != nil {
			return nil, err
		}
	case 4, 5:
		if old != nil {
			_, _ = deliver(old) // whatever it answers
		}
	case 6:
		n.w.Advance(70 * time.Second) // the exchange takes longer than a RAKB lives
	}
	return deliver(m.Data)
}
