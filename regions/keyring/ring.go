package keyring

import (
	"bytes"
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"antipode/hsmbackend"
)

// ErrRefused is answered when what the store says of a key does not agree with what the token finds.
var ErrRefused = errors.New("key record refused")

// ErrUnknownToken is answered when the Region has no keys on the token with this serial number.
var ErrUnknownToken = errors.New("the Region has no keys on this token")

// Ring is the open key ring of one Region. It is safe for concurrent use.
type Ring struct {
	token   hsmbackend.Token
	caps    hsmbackend.Capabilities
	serial  string
	kek     hsmbackend.KeyRef
	record  *loadedKey
	sealing *loadedKey
	rsk     atomic.Pointer[Signer]
	audit   *Signer
	working *workingSet

	follow sync.Mutex // held while the versions of the domain key change
	mu     sync.RWMutex
	domain map[uint32]*loadedKey
	// current is the version of the domain key that wraps.
	current uint32
	gone    []*loadedKey // versions that were dropped and that the token failed to destroy
}

// Open finds and loads the Region's keys, those that h has for this token. It returns [ErrUnknownToken] if h has none.
// working bounds the number of working copies held on the token (at least 1).
// The ring must be closed, unless the token is.
func Open(ctx context.Context, token hsmbackend.Token, h Hierarchy, working int) (_ *Ring, err error) {
	serial := token.Info().Serial
	keys, known := h.Token(serial)
	if !known {
		return nil, fmt.Errorf("%w: serial number %q", ErrUnknownToken, serial)
	}
	if !keys.Holds(h.Current) {
		return nil, fmt.Errorf("%w: no domain key %d", ErrRefused, h.Current)
	}
	kek, err := token.FindToken(ctx, hsmbackend.ClassSecret, keys.KEK)
	if err != nil {
		return nil, fmt.Errorf("find token key-encryption key %s: %w", keys.KEK, err)
	}
	r := &Ring{token: token, caps: token.Capabilities(), serial: serial, kek: kek, domain: map[uint32]*loadedKey{}}
	r.working = newWorkingSet(r, max(working, 1))
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close(context.WithoutCancel(ctx)))
		}
	}()
	for _, dk := range keys.DomainKeys {
		r.domain[dk.Version] = r.domainKey(dk.Wrapped)
	}
	r.current = h.Current
	r.record = &loadedKey{ring: r, wrapped: keys.RecordKey, keyType: hsmbackend.HMACSHA256, attr: hsmbackend.Attributes{
		Usage: hsmbackend.UsageSign, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechHMACSHA256},
	}}
	r.sealing = &loadedKey{ring: r, wrapped: keys.SealingKey, keyType: hsmbackend.AES256, attr: hsmbackend.Attributes{
		Usage: hsmbackend.UsageEncrypt | hsmbackend.UsageDerive, Mechanisms: keyMechanisms(r.caps),
	}}
	for _, k := range r.loaded() {
		if err := k.load(ctx, hsmbackend.KeyRef{}); err != nil {
			return nil, fmt.Errorf("load region key: %w", err)
		}
	}
	if err := r.signWith(ctx, keys); err != nil {
		return nil, err
	}
	if r.audit, err = newSigner(ctx, token, keys.AuditKey); err != nil {
		return nil, fmt.Errorf("find audit key: %w", err)
	}
	return r, nil
}

// Close destroys the session objects that the ring holds on the token: the Region's loaded keys and the working copies,
// for whose users it waits. What is called later fails. It may be repeated if it fails.
func (r *Ring) Close(ctx context.Context) error {
	errs := []error{r.working.close(ctx)}
	for _, k := range r.loaded() {
		errs = append(errs, k.close(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close key ring: %w", err)
	}
	return nil
}

func (r *Ring) loaded() []*loadedKey {
	r.mu.RLock()
	defer r.mu.RUnlock()
	keys := append([]*loadedKey{r.record, r.sealing}, r.gone...)
	for _, dk := range r.domain {
		keys = append(keys, dk)
	}
	return keys
}

// Token returns the token that the ring is on.
func (r *Ring) Token() hsmbackend.Token { return r.token }

// RSK returns the Region's replication signing key: another one after a rotation, so it is asked for each time.
func (r *Ring) RSK() *Signer { return r.rsk.Load() }

// signWith makes the replication signing key that is on record the one that signs.
func (r *Ring) signWith(ctx context.Context, keys TokenKeys) error {
	if now := r.rsk.Load(); now != nil && bytes.Equal(now.SPKI(), keys.RSKPublic) {
		return nil
	}
	next, err := newSigner(ctx, r.token, keys.RSK)
	if err != nil {
		return fmt.Errorf("find replication signing key: %w", err)
	}
	if !bytes.Equal(next.SPKI(), keys.RSKPublic) {
		return fmt.Errorf("%w: the replication signing key is not the one on record", ErrRefused)
	}
	r.rsk.Store(next)
	return nil
}

// NewRSK makes a replication signing key on the Region's token, under a name that the caller has stored before, and
// returns it. It may be repeated, and makes nothing twice. label is the Region's name, for CKA_LABEL. What the Region signs
// with is another matter: [Ring.Follow].
func NewRSK(ctx context.Context, token hsmbackend.Token, id hsmbackend.ID, label string) (*Signer, error) {
	if err := ensureSigner(ctx, token, id, "antipode/"+label+"/rsk"); err != nil {
		return nil, err
	}
	s, err := newSigner(ctx, token, id)
	if err != nil {
		return nil, fmt.Errorf("find replication signing key: %w", err)
	}
	return s, nil
}

// AuditKey returns the key that signs checkpoints of the audit log.
func (r *Ring) AuditKey() *Signer { return r.audit }

// MAC returns HMAC-SHA-256 of data under the record key, 32 bytes.
func (r *Ring) MAC(ctx context.Context, data []byte) (mac []byte, err error) {
	err = r.record.use(ctx, func(ref hsmbackend.KeyRef) error {
		mac, err = r.token.MAC(ctx, ref, data)
		return err
	})
	if err == nil && len(mac) != 32 {
		return nil, fmt.Errorf("%w: MAC of %d bytes", hsmbackend.ErrTokenLies, len(mac))
	}
	return mac, err
}

// VerifyMAC returns ErrRefused unless mac is [Ring.MAC] of data.
func (r *Ring) VerifyMAC(ctx context.Context, data, mac []byte) error {
	want, err := r.MAC(ctx, data)
	if err != nil {
		return err
	}
	if !hmac.Equal(want, mac) {
		return fmt.Errorf("%w: its MAC is not the record key's", ErrRefused)
	}
	return nil
}

// loadedKey is one of the Region's wrapped keys, held as a session object that is made again when its session is lost.
type loadedKey struct {
	ring    *Ring
	wrapped []byte
	keyType hsmbackend.KeyType
	attr    hsmbackend.Attributes

	mu     sync.RWMutex
	ref    hsmbackend.KeyRef
	closed bool
}

// use calls fn with the key; if the token no longer has it, the key is loaded again and fn called once more.
func (k *loadedKey) use(ctx context.Context, fn func(hsmbackend.KeyRef) error) error {
	k.mu.RLock()
	ref := k.ref
	k.mu.RUnlock()
	err := fn(ref)
	if !errors.Is(err, hsmbackend.ErrObjectNotFound) {
		return err
	}
	if err := k.load(ctx, ref); err != nil {
		return err
	}
	k.mu.RLock()
	ref = k.ref
	k.mu.RUnlock()
	return fn(ref)
}

// load unwraps the key unless somebody else already replaced the stale reference.
func (k *loadedKey) load(ctx context.Context, stale hsmbackend.KeyRef) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return errClosed
	}
	if k.ref != stale {
		return nil
	}
	ref, err := k.ring.token.Unwrap(ctx, k.ring.kek, k.wrapped, k.keyType, k.attr)
	if errors.Is(err, hsmbackend.ErrIntegrity) || errors.Is(err, hsmbackend.ErrInvalidInput) {
		return fmt.Errorf("%w: a region key was not wrapped under this token's key-encryption key", ErrRefused)
	}
	if err != nil {
		return err
	}
	if !stale.IsZero() {
		// Only the reference was lost, or the object is gone already: either way it must not stay behind.
		if err := k.ring.token.Destroy(ctx, stale); err != nil {
			return errors.Join(err, k.ring.token.Destroy(ctx, ref))
		}
	}
	k.ref = ref
	return nil
}

func (k *loadedKey) close(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	if k.ref.IsZero() {
		return nil
	}
	if err := k.ring.token.Destroy(ctx, k.ref); err != nil && !errors.Is(err, hsmbackend.ErrObjectNotFound) {
		return err
	}
	k.ref = hsmbackend.KeyRef{}
	return nil
}
