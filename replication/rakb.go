package replication

import (
	"context"
	"errors"
	"sync"
	"time"

	"antipode/hsmbackend"
	"antipode/replication/wire"
)

// maxRakbs bounds the RAKBs of all peers together: each is a session of the token, which the Region needs itself.
const maxRakbs = 128

// errBusy is answered when a peer has as many exchanges open as its roster entry allows.
var errBusy = errors.New("too many exchanges are open")

// rakbID names an exchange as the destination does. Exchange ids are the sources' own, so two peers may choose the same.
type rakbID struct {
	from string
	id   [16]byte
}

// rakb is the destination's ephemeral key of one exchange, in a session of its own.
type rakb struct {
	rakbID
	scope hsmbackend.Scope
	ref   hsmbackend.KeyRef
	until time.Time
}

// rakbs holds the RAKBs of open exchanges, at most so many a peer, each for a bounded time.
type rakbs struct {
	token  hsmbackend.Token
	steady func() time.Time

	mu    sync.Mutex
	open  map[rakbID]*rakb
	inUse map[rakbID]struct{} // taken for their one use, which has not ended
	per   map[string]int      // by peer, those being made included
	// slow is held while an RSA pair is made. That takes a token seconds and one of its places, so one is made at a time:
	// calls of the API have the others.
	slow chan struct{}
}

func newRakbs(token hsmbackend.Token, steady func() time.Time) *rakbs {
	return &rakbs{
		token: token, steady: steady, open: map[rakbID]*rakb{}, inUse: map[rakbID]struct{}{}, per: map[string]int{}, slow: make(chan struct{}, 1),
	}
}

// full reports whether a peer has as many exchanges open as limit allows.
func (s *rakbs) full(from string, limit uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(s.per[from]) >= limit || len(s.open) >= maxRakbs //nolint:gosec // a count
}

// make makes a RAKB for an exchange and returns its public half in the form of the suite.
func (s *rakbs) make(ctx context.Context, id rakbID, suite wire.Suite, limit uint64) ([]byte, error) {
	s.mu.Lock()
	if uint64(s.per[id.from]) >= limit || len(s.open) >= maxRakbs { //nolint:gosec // a count
		s.mu.Unlock()
		return nil, errBusy
	}
	s.per[id.from]++
	s.mu.Unlock()
	r := &rakb{rakbID: id}
	public, err := s.generate(ctx, r, suite)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.uncount(id.from)
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.until = s.steady().Add(rakbLife)
	s.open[id] = r
	return public, nil
}

func (s *rakbs) generate(ctx context.Context, r *rakb, suite wire.Suite) (public []byte, err error) {
	if suite.RSA() {
		select {
		case s.slow <- struct{}{}:
			defer func() { <-s.slow }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if r.scope, err = s.token.OpenScope(ctx); err != nil {
		return nil, err
	}
	if r.ref, public, err = exchangeKey(ctx, s.token, suite, r.scope); err != nil {
		return nil, errors.Join(err, s.token.CloseScope(r.scope))
	}
	return public, nil
}

func (s *rakbs) uncount(from string) {
	if s.per[from]--; s.per[from] == 0 {
		delete(s.per, from)
	}
}

// has reports whether the exchange's RAKB is alive, or in its one use.
func (s *rakbs) has(id rakbID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, used := s.inUse[id]; used {
		return true
	}
	r, ok := s.open[id]
	return ok && s.steady().Before(r.until)
}

// take hands the RAKB over for its one use, which the caller ends by release.
func (s *rakbs) take(id rakbID) (*rakb, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.open[id]
	if !ok || !s.steady().Before(r.until) {
		return nil, false
	}
	delete(s.open, id)
	s.inUse[id] = struct{}{}
	return r, true
}

// release destroys what the use of a taken RAKB has left on the token.
func (s *rakbs) release(r *rakb) error {
	s.mu.Lock()
	delete(s.inUse, r.rakbID)
	s.uncount(r.from)
	s.mu.Unlock()
	return s.token.CloseScope(r.scope)
}

// drop destroys an exchange's RAKB, if there is one.
func (s *rakbs) drop(id rakbID) error {
	s.mu.Lock()
	r, ok := s.open[id]
	if ok {
		delete(s.open, id)
		s.uncount(r.from)
	}
	s.mu.Unlock()
	if !ok {
		return nil
	}
	return s.token.CloseScope(r.scope)
}

// overdue reports whether a RAKB has lived too long.
func (s *rakbs) overdue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.steady()
	for _, r := range s.open {
		if !now.Before(r.until) {
			return true
		}
	}
	return false
}

// close destroys all RAKBs.
func (s *rakbs) close() error {
	s.mu.Lock()
	ids := make([]rakbID, 0, len(s.open))
	for id := range s.open {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	var errs []error
	for _, id := range ids {
		errs = append(errs, s.drop(id))
	}
	return errors.Join(errs...)
}
