package p11

import (
	"bytes"
	"context"
	"errors"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// call is one operation inside the module: a place, a session and the objects that it keeps from being destroyed.
type call struct {
	t     *Token
	c     *conn
	s     pkcs11.SessionHandle
	owner *owner // whose session s is; nil for a session of the pool
	used  [2]*object
	n     int
}

// run does f in a session of owner, or of the pool if owner is nil. If the session or the connection turns out to be
// dead it closes it and, where again says that f may be repeated, does f with a new one: twice, because a new session
// may show that the connection is lost, too.
func (t *Token) run(ctx context.Context, op string, o *owner, again bool, f func(*call) error) error {
	if o != nil {
		if !t.await(ctx.Done(), o.lock) {
			return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrBusy, Info: "scope in use"}
		}
		defer func() { <-o.lock }()
	}
	for attempt := 0; ; attempt++ {
		ft, err := t.once(ctx, op, o, f)
		if again && attempt < 2 && (ft == fateSession || ft == fateModule) {
			continue
		}
		return err
	}
}

// once is one attempt of run.
func (t *Token) once(ctx context.Context, op string, o *owner, f func(*call) error) (fate, error) {
	c, err := t.enter(ctx, op)
	if err != nil {
		return fateFine, err
	}
	defer t.leave()
	k := &call{t: t, c: c, owner: o}
	if o != nil {
		k.s, err = o.session(c)
	} else {
		k.s, err = c.session()
	}
	got := err == nil
	if got {
		err = f(k)
	}
	ft, err := judge(&t.cfg.Profile, err, func() fate {
		if !got {
			return fateModule
		}
		return c.probe(k.s)
	})
	gone := k.gone(err, ft)
	k.release()
	switch {
	case !got:
	case ft == fateSession:
		t.cfg.Log.Warn().Str("op", op).Err(err).Msg("session lost")
		_ = c.mod.raw.CloseSession(k.s) // most likely it is gone
		if o != nil {
			t.disown(o)
		}
	case ft == fateFine && o == nil:
		c.putBack(k.s)
	}
	if ft == fateModule {
		t.cfg.Log.Error().Str("op", op).Err(err).Msg("connection to the token lost")
		c.breakUp()
	}
	if t.drop(gone) && ft == fateFine {
		ft = fateSession // a token object changed its handle: find it again and repeat
	}
	return ft, err
}

// use returns the object of ref, which can't be destroyed before release.
func (k *call) use(ref hsmbackend.KeyRef) (*object, error) {
	o, err := k.hold(ref)
	if err == nil && o.host != nil {
		return nil, &hsmbackend.Error{Op: "use key", Kind: hsmbackend.ErrNotPermitted, Info: "a message key in host memory"}
	}
	return o, err
}

// hold is use for message keys in host memory, too.
func (k *call) hold(ref hsmbackend.KeyRef) (*object, error) {
	o := k.t.object(ref)
	if o == nil {
		return nil, &hsmbackend.Error{Op: "use key", Kind: hsmbackend.ErrObjectNotFound}
	}
	for {
		o.mu.RLock()
		if o.dead || o.c != k.c && !o.token {
			o.mu.RUnlock()
			return nil, &hsmbackend.Error{Op: "use key", Kind: hsmbackend.ErrObjectNotFound}
		}
		if o.c == k.c {
			k.used[k.n] = o
			k.n++
			return o, nil
		}
		o.mu.RUnlock()
		if err := k.resolve(o, ref); err != nil {
			return nil, err
		}
	}
}

// useTwo is use for two keys. They are locked in the order of their ids, so that two calls can't wait for each other.
func (k *call) useTwo(a, b hsmbackend.KeyRef) (*object, *object, error) {
	return k.two(a, b, k.use)
}

func (k *call) two(a, b hsmbackend.KeyRef, use func(hsmbackend.KeyRef) (*object, error)) (*object, *object, error) {
	if c := bytes.Compare(a.ID[:], b.ID[:]); c > 0 || c == 0 && a.Class > b.Class {
		ob, oa, err := k.two(b, a, use)
		return oa, ob, err
	}
	oa, err := use(a)
	if err != nil {
		return nil, nil, err
	}
	if a == b {
		return oa, oa, nil
	}
	ob, err := use(b)
	return oa, ob, err
}

// gone returns the objects in use whose handles the token no longer knows, if that may be why it answered err.
func (k *call) gone(err error, ft fate) []*object {
	var e *hsmbackend.Error
	if ft != fateFine || !errors.As(err, &e) || e.RV == 0 || !errors.Is(err, hsmbackend.ErrObjectNotFound) {
		return nil
	}
	var gone []*object
	for _, o := range k.used[:k.n] {
		_, err := k.c.mod.raw.GetAttributeValue(k.s, o.h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, nil)})
		if errors.Is(err, pkcs11.Error(pkcs11.CKR_OBJECT_HANDLE_INVALID)) {
			gone = append(gone, o)
		}
	}
	return gone
}

func (k *call) release() {
	for _, o := range k.used[:k.n] {
		o.mu.RUnlock()
	}
	k.n = 0
}
