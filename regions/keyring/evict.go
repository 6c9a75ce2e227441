package keyring

import (
	"context"
	"errors"
	"fmt"

	"antipode/hsmbackend"
)

// errClosed is answered by a ring after Close.
var errClosed = fmt.Errorf("%w: key ring is closed", hsmbackend.ErrUnavailable)

// evict destroys what there is of a material: the copy in the set, and those that left it before and are still in use,
// being destroyed, or left behind by a token that failed.
func (s *workingSet) evict(ctx context.Context, materialID string) error {
	s.mu.Lock()
	if e, ok := s.by[materialID]; ok {
		s.remove(e)
	}
	s.mu.Unlock()
	return s.drain(ctx, materialID)
}

// close destroys all copies and lets none be made any more.
func (s *workingSet) close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for _, e := range s.by {
		s.remove(e)
	}
	var ids []string
	for id := range s.leaving {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	var errs []error
	for _, id := range ids {
		errs = append(errs, s.drain(ctx, id))
	}
	return errors.Join(errs...)
}

// drain destroys the leaving entries of a material and waits until none is left but those that the token fails to
// destroy, whose errors it returns.
func (s *workingSet) drain(ctx context.Context, materialID string) error {
	var mine []*workingEntry
	s.mu.Lock()
	for e := range s.leaving[materialID] {
		if e.uses == 0 && !e.dying {
			e.dying = true
			mine = append(mine, e)
		}
	}
	s.mu.Unlock()
	s.destroy(ctx, mine...)
	for {
		wait := false
		var errs []error
		s.mu.Lock()
		for e := range s.leaving[materialID] {
			if e.uses > 0 || e.dying {
				wait = true
			} else {
				errs = append(errs, e.left)
			}
		}
		changed := s.changed
		s.mu.Unlock()
		if !wait {
			return errors.Join(errs...)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("evict working copy: %w", ctx.Err())
		}
	}
}

// destroy destroys entries that are out of the set and in nobody's use, and that the caller has marked as dying.
func (s *workingSet) destroy(ctx context.Context, entries ...*workingEntry) {
	for _, e := range entries {
		var err error
		if e.err == nil && !e.token {
			if err = s.ring.token.Destroy(ctx, e.ref); errors.Is(err, hsmbackend.ErrSessionLost) {
				err = s.ring.token.Destroy(ctx, e.ref)
			}
		}
		s.mu.Lock()
		e.dying, e.left = false, nil
		if err != nil && !errors.Is(err, hsmbackend.ErrObjectNotFound) {
			e.left = fmt.Errorf("destroy working copy: %w", err)
		} else {
			delete(s.leaving[e.id], e)
			if len(s.leaving[e.id]) == 0 {
				delete(s.leaving, e.id)
			}
		}
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
}
