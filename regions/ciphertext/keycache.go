package ciphertext

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"antipode/hsmbackend"
)

// destroyTimeout bounds the wait for a session to destroy a derived key in, after the call that used it is done.
const destroyTimeout = 2 * time.Second

type usage uint8

const (
	encrypting usage = iota
	decrypting
	usages
)

// derivedID names the derived key that a message needs. To encrypt, the prefix is zero: any derived key of the material
// will do, and the cache chooses its real prefix.
type derivedID struct {
	material materialID
	prefix   [prefixLength]byte
	usage    usage
}

// derived is one derived key on the token.
type derived struct {
	id    derivedID
	ready chan struct{} // closed when prefix, ref and err are set

	prefix [prefixLength]byte
	ref    hsmbackend.KeyRef
	err    error

	// The rest is guarded by keyCache.mu.
	since   time.Time     // when it was asked for
	left    int           // messages that it may still encrypt
	users   int           // calls that hold it
	retired bool          // in the map no more: destroyed as soon as users is 0
	elem    *list.Element // place in the list of kept keys; nil until a call has succeeded with it
}

// keyCache holds the derived keys of a token. Concurrent calls share a key and its derivation. A key is kept for further
// calls only when one has succeeded with it, so that forged ciphertexts push nothing out.
type keyCache struct {
	token  Token
	clock  func() time.Time
	limits Limits
	sizes  [usages]int

	mu      sync.Mutex
	keys    map[derivedID]*derived
	kept    [usages]list.List  // of *derived, most recently used first
	live    map[materialID]int // derived keys that exist or may exist on the token
	evicted map[materialID]int // running evictions
	orphans []*derived         // retired and unused, but the token failed to destroy them
	changed chan struct{}      // closed and replaced when live or orphans have changed
	closed  bool
}

func newKeyCache(token Token, clock func() time.Time, limits Limits) *keyCache {
	return &keyCache{
		token: token, clock: clock, limits: limits,
		sizes: [usages]int{encrypting: max(limits.EncryptKeys, 0), decrypting: max(limits.DecryptKeys, 0)},
		keys:  map[derivedID]*derived{}, live: map[materialID]int{}, evicted: map[materialID]int{},
		changed: make(chan struct{}),
	}
}

// acquire returns a derived key that the caller may use for one message and must release. To encrypt, the message is
// counted, whether it will succeed or not.
func (c *keyCache) acquire(ctx context.Context, id derivedID, working hsmbackend.KeyRef, random io.Reader) (*derived, error) {
	for {
		d, leader, replaced, err := c.hold(id)
		if err != nil {
			return nil, err
		}
		if leader {
			c.derive(ctx, d, working, random)
			c.destroy(ctx, replaced)
		} else {
			select {
			case <-d.ready:
			case <-ctx.Done():
				c.release(ctx, d)
				return nil, ctx.Err()
			}
		}
		if d.err == nil {
			return d, nil
		}
		err = d.err
		c.drop(d)
		c.release(ctx, d)
		// The leader derives within its own deadline; that it has passed is nothing to the others that waited.
		late := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, hsmbackend.ErrBusy)
		if leader || !late || ctx.Err() != nil {
			return nil, err
		}
	}
}

// hold finds or enters the derived key, and counts the caller among its users. A leader has entered it and must derive
// it. replaced is an entry that has served its time and has to be destroyed, or nil.
func (c *keyCache) hold(id derivedID) (d *derived, leader bool, replaced *derived, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, false, nil, ErrClosed
	}
	now := c.clock()
	d = c.keys[id]
	if d != nil && c.spent(d, now) {
		if c.retire(d) {
			replaced = d
		}
		d = nil
	}
	if d == nil {
		leader = true
		d = &derived{id: id, ready: make(chan struct{}), since: now, left: c.limits.Messages}
		c.live[id.material]++
		if c.evicted[id.material] > 0 {
			d.retired = true // for this call alone
		} else {
			c.keys[id] = d
		}
	}
	d.users++
	d.left--
	return d, leader, replaced, nil
}

// spent reports whether the key may encrypt no further message. A clock that went back is not trusted.
func (c *keyCache) spent(d *derived, now time.Time) bool {
	age := now.Sub(d.since)
	return d.id.usage == encrypting && (d.left <= 0 || age < 0 || age >= c.limits.Age)
}

func (c *keyCache) derive(ctx context.Context, d *derived, working hsmbackend.KeyRef, random io.Reader) {
	defer close(d.ready)
	attr := hsmbackend.Attributes{
		Label: "antipode message key", Usage: hsmbackend.UsageDecrypt, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESGCM},
	}
	d.prefix = d.id.prefix
	if d.id.usage == encrypting {
		attr.Usage = hsmbackend.UsageEncrypt
		if _, err := io.ReadFull(random, d.prefix[:]); err != nil {
			d.err = fmt.Errorf("random nonce: %w", err)
			return
		}
	}
	if d.ref, d.err = c.token.DeriveXAES(ctx, working, d.prefix, attr); d.err != nil {
		d.ref = hsmbackend.KeyRef{}
	}
}

// keep records that a call has succeeded with the key, and makes room for it.
func (c *keyCache) keep(ctx context.Context, d *derived) {
	c.mu.Lock()
	kept := &c.kept[d.id.usage]
	var dead *derived
	switch {
	case d.retired:
	case d.elem != nil:
		kept.MoveToFront(d.elem)
	default:
		d.elem = kept.PushFront(d)
		if kept.Len() > c.sizes[d.id.usage] {
			if oldest, ok := kept.Back().Value.(*derived); ok && c.retire(oldest) {
				dead = oldest
			}
		}
	}
	c.mu.Unlock()
	c.destroy(ctx, dead)
}

// drop takes the key out of use, because it is gone from the token or never was there. The caller still has to release it.
func (c *keyCache) drop(d *derived) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retire(d)
}

// release ends one use of the key.
func (c *keyCache) release(ctx context.Context, d *derived) {
	c.mu.Lock()
	d.users--
	if d.users == 0 && d.elem == nil {
		c.retire(d)
	}
	dead := d.users == 0 && d.retired
	c.mu.Unlock()
	if dead {
		c.destroy(ctx, d)
	}
}

// retire takes the key out of the cache and reports whether the caller has to destroy it; otherwise the last user will.
// c.mu is held.
func (c *keyCache) retire(d *derived) bool {
	if d.retired {
		return false
	}
	d.retired = true
	delete(c.keys, d.id)
	if d.elem != nil {
		c.kept[d.id.usage].Remove(d.elem)
		d.elem = nil
	}
	return d.users == 0
}

// destroy destroys a retired key that has no users. It does so even if ctx has ended. nil is no key.
func (c *keyCache) destroy(ctx context.Context, d *derived) {
	if d == nil {
		return
	}
	var err error
	if !d.ref.IsZero() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), destroyTimeout)
		defer cancel()
		if err = c.token.Destroy(ctx, d.ref); errors.Is(err, hsmbackend.ErrSessionLost) {
			err = c.token.Destroy(ctx, d.ref)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && !errors.Is(err, hsmbackend.ErrObjectNotFound) {
		d.err = err
		c.orphans = append(c.orphans, d)
	} else if c.live[d.id.material]--; c.live[d.id.material] == 0 {
		delete(c.live, d.id.material)
	}
	close(c.changed)
	c.changed = make(chan struct{})
}
