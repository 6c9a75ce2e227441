package p11

import (
	"context"
	"fmt"

	"antipode/hsmbackend"
)

// OpenScope implements [hsmbackend.Scoper]. It returns [hsmbackend.ErrFull] when Profile.MaxSessions does not allow
// another session.
func (t *Token) OpenScope(ctx context.Context) (hsmbackend.Scope, error) {
	o := newOwner()
	t.mu.Lock()
	if len(t.scopes) >= t.cfg.Profile.maxScopes() {
		t.mu.Unlock()
		return 0, &hsmbackend.Error{
			Op: "open scope", Kind: hsmbackend.ErrFull,
			Info: fmt.Sprintf("%d scopes are open", t.cfg.Profile.maxScopes()),
		}
	}
	t.last++
	o.scope = t.last
	t.scopes[o.scope] = o // counted from here on
	t.mu.Unlock()

	// The session of the call is not the scope's: two are needed for a moment, and the first goes back to the pool.
	err := t.run(ctx, "open scope", nil, true, func(k *call) error {
		h, err := k.c.openSession()
		if err == nil {
			o.c, o.h = k.c, h
		}
		return err
	})
	if err != nil {
		t.mu.Lock()
		delete(t.scopes, o.scope)
		t.mu.Unlock()
		return 0, err
	}
	return o.scope, nil
}

// CloseScope implements [hsmbackend.Scoper]: C_CloseSession destroys the session's objects. It returns
// [hsmbackend.ErrBusy] if a call that uses the scope does not end; it can then be called again.
func (t *Token) CloseScope(scope hsmbackend.Scope) error {
	t.mu.Lock()
	o := t.scopes[scope]
	t.mu.Unlock()
	if o == nil {
		return nil
	}
	if !t.await(nil, o.lock) {
		return &hsmbackend.Error{Op: "close scope", Kind: hsmbackend.ErrBusy, Info: "scope in use"}
	}
	t.mu.Lock()
	delete(t.scopes, scope)
	t.mu.Unlock()
	c, h := o.c, o.h
	t.disown(o)
	if h == 0 {
		return nil
	}
	// The lock is kept: nobody may use this owner again. Its session is closed by the next call if it can't be now.
	if !t.await(nil, t.places) {
		c.mu.Lock()
		c.doomed = append(c.doomed, h)
		c.mu.Unlock()
		return nil
	}
	defer t.leave()
	t.mu.Lock()
	current := t.conn == c
	t.mu.Unlock()
	if !current || c.isBroken() {
		return nil // it went with the connection
	}
	ft, _ := judge(&t.cfg.Profile, ck("C_CloseSession", c.mod.raw.CloseSession(h)), func() fate { return fateModule })
	if ft == fateModule {
		c.breakUp()
	}
	return nil
}
