package keyring

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	"antipode/hsmbackend"
	"antipode/regions/keyspec"
)

// Working is a working copy of key material in use: SENSITIVE, not EXTRACTABLE, able to do what its spec and usage need, only.
type Working struct {
	Ref hsmbackend.KeyRef
	set *workingSet
	e   *workingEntry
}

// Release gives the copy back; every Acquire needs one Release.
func (w Working) Release(ctx context.Context) { w.set.release(context.WithoutCancel(ctx), w.e) }

// Lost says that the token no longer has the copy; the next Acquire makes a new one. Release is still due.
func (w Working) Lost() { w.set.forget(w.e) }

// Acquire returns the working copy of m, making it if the token does not hold it. The number of copies is bounded, the
// least recently used one that nobody uses goes first.
func (r *Ring) Acquire(ctx context.Context, m Material) (Working, error) {
	return r.working.acquire(ctx, m)
}

// Evict destroys the working copies of a material before it returns, waiting for their users to release them. If it
// returns an error a copy may still be on the token; a further Evict tries again.
func (r *Ring) Evict(ctx context.Context, materialID string) error {
	return r.working.evict(ctx, materialID)
}

// WorkingCopies returns how many working copies the ring holds on the token, those that are being destroyed or that the
// token failed to destroy included. Material that is kept on the token counts while it is in use here.
func (r *Ring) WorkingCopies() int {
	r.working.mu.Lock()
	defer r.working.mu.Unlock()
	n := r.working.lru.Len()
	for _, entries := range r.working.leaving {
		n += len(entries)
	}
	return n
}

type workingSet struct {
	ring *Ring
	max  int

	mu  sync.Mutex
	by  map[string]*workingEntry // by material id
	lru *list.List               // of *workingEntry, most recently used first

	// leaving are the entries that are out of the set and may still be on the token, by material id: in use, being
	// destroyed, or not destroyed because the token failed to.
	leaving map[string]map[*workingEntry]struct{}
	changed chan struct{} // closed and replaced when an attempt to destroy an entry has ended
	closed  bool
}

type workingEntry struct {
	id    string
	ready chan struct{} // closed when ref or err is set
	ref   hsmbackend.KeyRef
	err   error
	token bool // a token object, which is not destroyed when it leaves the set

	// Guarded by workingSet.mu.
	uses  int
	out   bool  // no longer in the set
	dying bool  // somebody is destroying it
	left  error // why the last attempt to destroy it failed
	at    *list.Element
}

func newWorkingSet(r *Ring, limit int) *workingSet {
	return &workingSet{
		ring: r, max: limit, by: map[string]*workingEntry{}, lru: list.New(),
		leaving: map[string]map[*workingEntry]struct{}{}, changed: make(chan struct{}),
	}
}

func (s *workingSet) acquire(ctx context.Context, m Material) (Working, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return Working{}, errClosed
	}
	e, ok := s.by[m.ID]
	var idle []*workingEntry
	if ok {
		e.uses++
		s.lru.MoveToFront(e.at)
	} else {
		e = &workingEntry{id: m.ID, ready: make(chan struct{}), token: m.Storage == StorageToken, uses: 1}
		e.at = s.lru.PushFront(e)
		s.by[m.ID] = e
		idle = s.shrink() // not e itself, which is in use
	}
	s.mu.Unlock()

	s.destroy(context.WithoutCancel(ctx), idle...)
	if !ok {
		// The copy is everybody's who waits for it, so one caller's cancellation must not fail the others.
		e.ref, e.err = s.load(context.WithoutCancel(ctx), m)
		if e.err != nil {
			s.forget(e)
		}
		close(e.ready)
	}
	select {
	case <-e.ready:
	case <-ctx.Done():
		s.release(context.WithoutCancel(ctx), e)
		return Working{}, fmt.Errorf("%w: %w", hsmbackend.ErrBusy, ctx.Err())
	}
	if e.err != nil {
		s.release(context.WithoutCancel(ctx), e)
		return Working{}, e.err
	}
	return Working{Ref: e.ref, set: s, e: e}, nil
}

func (s *workingSet) load(ctx context.Context, m Material) (ref hsmbackend.KeyRef, err error) {
	if m.Storage == StorageToken {
		if ref, err = s.ring.token.FindToken(ctx, classOf(m), m.Object); err != nil {
			return ref, fmt.Errorf("find key material on the token: %w", err)
		}
		id, err := s.ring.identify(ctx, ref, m)
		if err != nil {
			return ref, err
		}
		if id != m.ID {
			return ref, fmt.Errorf("%w: token object %s holds material %s, recorded as %s", ErrRefused, m.Object, id, m.ID)
		}
		return ref, nil
	}
	if ref, err = s.ring.unwrapEKT(ctx, m, s.ring.workingAttributes(m)); err != nil {
		return ref, err
	}
	return ref, s.ring.verify(ctx, ref, m)
}

func classOf(m Material) hsmbackend.Class {
	spec, _ := keyspec.Lookup(m.Spec)
	return spec.Class()
}

// shrink takes idle entries out of the set until it is within its bound, and returns them to be destroyed. Called with
// mu held.
func (s *workingSet) shrink() (idle []*workingEntry) {
	for at := s.lru.Back(); at != nil && s.lru.Len() > s.max; {
		e, before := at.Value.(*workingEntry), at.Prev() // the list holds nothing else
		if e.uses == 0 {
			s.remove(e)
			e.dying = true
			idle = append(idle, e)
		}
		at = before
	}
	return idle
}

// remove takes the entry out of the set. Called with mu held.
func (s *workingSet) remove(e *workingEntry) {
	if e.out {
		return
	}
	e.out = true
	s.lru.Remove(e.at)
	delete(s.by, e.id)
	if s.leaving[e.id] == nil {
		s.leaving[e.id] = map[*workingEntry]struct{}{}
	}
	s.leaving[e.id][e] = struct{}{}
}

func (s *workingSet) release(ctx context.Context, e *workingEntry) {
	s.mu.Lock()
	e.uses--
	var idle []*workingEntry
	if e.uses == 0 && e.out && !e.dying {
		e.dying = true
		idle = append(idle, e)
	}
	idle = append(idle, s.shrink()...) // the set may have grown past its bound while all were in use
	s.mu.Unlock()
	s.destroy(ctx, idle...)
}

func (s *workingSet) forget(e *workingEntry) {
	s.mu.Lock()
	s.remove(e)
	s.mu.Unlock()
}
