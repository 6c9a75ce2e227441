package replication

import (
	"errors"
	"sync"
	"time"

	"antipode/hsmbackend"
	"antipode/replication/wire"
)

const (
	// requestLife is how long a request for identities can be answered: files are carried by people.
	requestLife = 24 * time.Hour
	// maxRequests bounds the open requests: each has a session of the token.
	maxRequests = 8
)

// openRequest is a request for another Region's identities, with the ephemeral key that opens what answers it. The key is
// in a session of its own and ends with the process, so a file that answers is worth nothing after that.
type openRequest struct {
	id      [16]byte
	message []byte // as it was signed
	asked   *wire.IdentityRequest
	scope   hsmbackend.Scope
	ref     hsmbackend.KeyRef
	until   time.Time
}

// identityRequests are the open requests, at most one for each Region that is asked.
type identityRequests struct {
	token  hsmbackend.Token
	steady func() time.Time

	mu   sync.Mutex
	open []*openRequest // oldest first
}

// add makes a request the one that its Region is asked by, in place of one before it, and of the oldest if there are too
// many.
func (s *identityRequests) add(r *openRequest) error {
	r.until = s.steady().Add(requestLife)
	s.mu.Lock()
	var gone, stay []*openRequest
	for _, o := range s.open {
		if o.asked.To == r.asked.To {
			gone = append(gone, o)
		} else {
			stay = append(stay, o)
		}
	}
	if over := len(stay) + 1 - maxRequests; over > 0 {
		gone, stay = append(gone, stay[:over]...), stay[over:]
	}
	s.open = append(stay, r)
	s.mu.Unlock()
	return s.end(gone)
}

// use calls fn with an open request, which nobody else uses meanwhile, and ends the request if fn succeeds. It returns
// [ErrNoRequest] if there is none of this id.
func (s *identityRequests) use(id [16]byte, fn func(*openRequest) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.open {
		if r.id != id || !s.steady().Before(r.until) {
			continue
		}
		err := fn(r)
		if errors.Is(err, hsmbackend.ErrObjectNotFound) {
			return errors.Join(ErrNoRequest, err)
		}
		if err != nil {
			return err
		}
		s.open = append(s.open[:i:i], s.open[i+1:]...)
		return s.token.CloseScope(r.scope)
	}
	return ErrNoRequest
}

// sweep ends the requests that are too old.
func (s *identityRequests) sweep() error {
	s.mu.Lock()
	now := s.steady()
	var gone, stay []*openRequest
	for _, r := range s.open {
		if now.Before(r.until) {
			stay = append(stay, r)
		} else {
			gone = append(gone, r)
		}
	}
	s.open = stay
	s.mu.Unlock()
	return s.end(gone)
}

func (s *identityRequests) close() error {
	s.mu.Lock()
	gone := s.open
	s.open = nil
	s.mu.Unlock()
	return s.end(gone)
}

func (s *identityRequests) end(gone []*openRequest) error {
	var errs []error
	for _, r := range gone {
		errs = append(errs, s.token.CloseScope(r.scope))
	}
	return errors.Join(errs...)
}
