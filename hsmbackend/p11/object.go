package p11

import (
	"sync"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// object is what a reference names.
type object struct {
	ref   hsmbackend.KeyRef
	token bool // a token object, which can be found again
	owner *owner

	// mu is held for reading while a call uses the handle, and for writing while it changes or is destroyed.
	mu   sync.RWMutex
	c    *conn // the connection that h belongs to
	h    pkcs11.ObjectHandle
	kt   hsmbackend.KeyType
	pub  []byte // DER SubjectPublicKeyInfo of a private key
	dead bool

	// host is set, for good, if this is no object of the token but a message key that the host makes when it is used.
	host *messageKey
}

// owner is a session that owns session objects.
type owner struct {
	scope hsmbackend.Scope
	lock  chan struct{} // held by the call that uses the session
	// c and h belong to whoever holds lock. A session of a connection that is no longer the Token's is gone.
	c *conn
	h pkcs11.SessionHandle // 0 is none
	// refs is guarded by Token.mu.
	refs map[*object]struct{}
}

func newOwner() *owner {
	return &owner{lock: make(chan struct{}, 1), refs: map[*object]struct{}{}}
}

// session returns the owner's session on c. The long-lived one is opened when it is missing; a scope that lost its
// session has ended.
func (o *owner) session(c *conn) (pkcs11.SessionHandle, error) {
	if o.h != 0 && o.c == c {
		return o.h, nil
	}
	if o.scope != 0 {
		return 0, &hsmbackend.Error{Op: "use scope", Kind: hsmbackend.ErrSessionLost}
	}
	h, err := c.openSession()
	if err == nil {
		o.c, o.h = c, h
	}
	return h, err
}

// owner returns the owner of a scope's objects.
func (t *Token) owner(op string, scope hsmbackend.Scope) (*owner, error) {
	if scope == 0 {
		return t.holder, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if o := t.scopes[scope]; o != nil {
		return o, nil
	}
	return nil, invalid(op, "no such scope is open")
}

func (t *Token) object(ref hsmbackend.KeyRef) *object {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.objects[ref]
}

// enlist makes a new object known. It reports false if its reference is taken.
func (t *Token) enlist(o *object) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.objects[o.ref] != nil {
		return false
	}
	t.objects[o.ref] = o
	if o.owner != nil {
		o.owner.refs[o] = struct{}{}
	}
	return true
}

// strike makes an object unknown. The caller holds o.mu for writing.
func (t *Token) strike(o *object) {
	o.dead = true
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.objects[o.ref] == o {
		delete(t.objects, o.ref)
	}
	if o.owner != nil {
		delete(o.owner.refs, o)
	}
}

// drop forgets the handles of objects: a token object will be found again, a session object is gone. It reports
// whether a token object was among them.
func (t *Token) drop(gone []*object) bool {
	again := false
	for _, o := range gone {
		o.mu.Lock()
		if o.token {
			again = true
			if o.c != nil {
				o.c.forgetSigner(o.ref.ID)
			}
			o.c = nil
		} else {
			t.strike(o)
		}
		o.mu.Unlock()
	}
	return again
}

// disown forgets the objects of a session that has ended, and the session. The caller holds owner.lock.
func (t *Token) disown(ow *owner) {
	t.mu.Lock()
	objects := make([]*object, 0, len(ow.refs))
	for o := range ow.refs {
		objects = append(objects, o)
	}
	t.mu.Unlock()
	for _, o := range objects {
		o.mu.Lock()
		t.strike(o)
		o.mu.Unlock()
	}
	ow.c, ow.h = nil, 0
}

// forgetSessions forgets all session objects, which went with their connection. The caller holds all places.
func (t *Token) forgetSessions() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ref, o := range t.objects {
		if !o.token {
			delete(t.objects, ref)
		}
	}
	for _, o := range t.scopes {
		clear(o.refs)
	}
	clear(t.holder.refs)
}
