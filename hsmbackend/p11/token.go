package p11

import (
	"context"
	"errors"
	"sync"
	"time"

	"antipode/hsmbackend"
)

// Token is one logged-in token. It implements [hsmbackend.Token] and is safe for concurrent use.
type Token struct {
	cfg   Config
	mod   *module
	caps  hsmbackend.Capabilities
	info  hsmbackend.Info
	mechs map[uint]struct{} // every CKM_ that the token has

	places chan struct{} // one for each call inside the module; all of them for opening and closing
	whole  chan struct{} // held by whoever collects all places

	mu      sync.Mutex
	conn    *conn // nil while there is no connection
	closed  bool
	refused error         // the answer to a PIN that was refused: final
	retryAt time.Time     // no attempt to re-open before
	backoff time.Duration // after the next failed attempt
	objects map[hsmbackend.KeyRef]*object
	scopes  map[hsmbackend.Scope]*owner
	last    hsmbackend.Scope
	holder  *owner   // owns the session objects of scope 0
	lastIV  [12]byte // that the token made
}

var _ hsmbackend.Token = (*Token)(nil)

// Open loads the module, chooses the token and logs in. It returns [hsmbackend.ErrPIN] if the PIN was refused (it was
// tried once), [hsmbackend.ErrUnavailable] if no such token is there or it does not answer, [hsmbackend.ErrUnsupported]
// if the token lacks a mechanism without which nothing works or does not satisfy Config.ApprovedOnly,
// [hsmbackend.ErrTokenLies] if it does not give the published ciphertexts, and [hsmbackend.ErrInvalidInput] for a bad
// Config.
func Open(ctx context.Context, cfg Config) (*Token, error) {
	if err := cfg.complete(); err != nil {
		return nil, invalid("open token", err.Error())
	}
	if err := ctx.Err(); err != nil {
		return nil, &hsmbackend.Error{Op: "open token", Kind: hsmbackend.ErrBusy, Info: err.Error()}
	}
	mod, err := load(cfg.Module, cfg.PrivateCopy)
	if err != nil {
		return nil, &hsmbackend.Error{Op: "load module", Kind: hsmbackend.ErrUnavailable, Info: err.Error()}
	}
	t := &Token{
		cfg: cfg, mod: mod, backoff: cfg.Profile.Backoff,
		places:  make(chan struct{}, cfg.Profile.MaxCalls),
		whole:   make(chan struct{}, 1),
		objects: map[hsmbackend.KeyRef]*object{},
		scopes:  map[hsmbackend.Scope]*owner{},
		holder:  newOwner(),
	}
	if t.conn, err = connect(&t.cfg, mod); err != nil {
		return nil, errors.Join(err, mod.close())
	}
	if err = t.examine(ctx); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.cfg.Log.Info().Str("op", "open").Str("label", t.info.Label).Str("serial", t.info.Serial).
		Str("model", t.info.Model).Str("profile", cfg.Profile.Name).
		Str("xaes", string(t.caps.XAES)).Bool("approved", t.caps.Approved).Msg("token opened")
	return t, nil
}

// Close logs out, finalises the module and unloads it. It waits for calls that are inside the module, at most
// Profile.Wait; it returns [hsmbackend.ErrBusy] if they do not come out, and can then be called again.
func (t *Token) Close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	if !t.enterAlone(nil) {
		return &hsmbackend.Error{Op: "close token", Kind: hsmbackend.ErrBusy}
	}
	defer t.leaveAlone()
	t.mu.Lock()
	c, mod := t.conn, t.mod
	t.conn, t.mod = nil, nil
	clear(t.objects)
	t.mu.Unlock()
	var err error
	if c != nil {
		err = c.close()
	}
	if mod != nil {
		err = errors.Join(err, mod.close())
	}
	if err != nil {
		return &hsmbackend.Error{Op: "close token", Kind: hsmbackend.ErrInternal, Info: err.Error()}
	}
	return nil
}

// await sends to ch, until done or the profile's wait is over.
func (t *Token) await(done <-chan struct{}, ch chan<- struct{}) bool {
	select {
	case ch <- struct{}{}: // the common case costs no timer
		return true
	default:
	}
	timer := time.NewTimer(t.cfg.Profile.Wait)
	defer timer.Stop()
	select {
	case ch <- struct{}{}:
		return true
	case <-done:
	case <-timer.C:
	}
	return false
}

// enter takes a call's place and returns the connection, which is opened again first if it was lost.
func (t *Token) enter(ctx context.Context, op string) (*conn, error) {
	for {
		if ctx.Err() != nil || !t.await(ctx.Done(), t.places) {
			return nil, &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrBusy, Info: "no place before the deadline"}
		}
		t.mu.Lock()
		c, closed, refused := t.conn, t.closed, t.refused
		t.mu.Unlock()
		switch {
		case closed:
			t.leave()
			return nil, &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrUnavailable, Info: "closed"}
		case c != nil && !c.isBroken():
			return c, nil
		}
		t.leave()
		if refused != nil {
			return nil, refused
		}
		if err := t.reopen(ctx, op); err != nil {
			return nil, err
		}
	}
}

func (t *Token) leave() { <-t.places }

// enterAlone takes all places, so that no call is inside the module.
func (t *Token) enterAlone(done <-chan struct{}) bool {
	if !t.await(done, t.whole) {
		return false
	}
	for i := range cap(t.places) {
		if !t.await(done, t.places) {
			for range i {
				t.leave()
			}
			<-t.whole
			return false
		}
	}
	return true
}

func (t *Token) leaveAlone() {
	for range cap(t.places) {
		t.leave()
	}
	<-t.whole
}

// reopen finalises a broken connection and makes another, unless the last attempt failed too short a time ago.
func (t *Token) reopen(ctx context.Context, op string) error {
	if !t.enterAlone(ctx.Done()) {
		return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrBusy, Info: "module is being re-opened"}
	}
	defer t.leaveAlone()
	t.mu.Lock()
	old, closed, now := t.conn, t.closed, t.cfg.Now()
	wait := now.Before(t.retryAt)
	t.mu.Unlock()
	switch {
	case closed, old != nil && !old.isBroken():
		return nil // somebody else was quicker; enter looks again
	case wait:
		return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrUnavailable, Info: "waiting before the module is opened again"}
	}
	if old != nil {
		if err := old.close(); err != nil {
			t.cfg.Log.Warn().Str("op", "reopen").Err(err).Msg("broken connection did not close cleanly")
		}
	}
	t.forgetSessions()
	c, err := connect(&t.cfg, t.mod)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn = c
	if err != nil {
		if errors.Is(err, hsmbackend.ErrPIN) {
			t.refused = err
		}
		t.retryAt = t.cfg.Now().Add(t.backoff)
		t.backoff = min(2*t.backoff, t.cfg.Profile.MaxBackoff)
		t.cfg.Log.Error().Str("op", "reopen").Err(err).Msg("module could not be opened again")
		return err
	}
	t.backoff = t.cfg.Profile.Backoff
	t.cfg.Log.Warn().Str("op", "reopen").Str("serial", t.info.Serial).Msg("module opened again")
	return nil
}

func (c *conn) isBroken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

func (c *conn) breakUp() {
	c.mu.Lock()
	c.broken = true
	c.mu.Unlock()
}
