package keyring

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"antipode/hsmbackend"
	"antipode/regions/keyspec"
)

// domainKey is a version of the domain key as the ring holds it.
func (r *Ring) domainKey(wrapped []byte) *loadedKey {
	return &loadedKey{ring: r, wrapped: wrapped, keyType: hsmbackend.AES256, attr: hsmbackend.Attributes{
		Usage:      hsmbackend.UsageWrap | hsmbackend.UsageUnwrap,
		Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP}, UnwrapSensitive: true,
	}}
}

func (r *Ring) version(v uint32) (*loadedKey, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	k, held := r.domain[v]
	return k, held
}

func (r *Ring) versions() []uint32 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.domain))
}

func (r *Ring) currentVersion() uint32 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.current
}

func insertVersion(list []DomainKey, k DomainKey) []DomainKey {
	at, found := slices.BinarySearchFunc(list, k.Version, func(d DomainKey, v uint32) int { return int(d.Version) - int(v) })
	if found {
		list[at] = k
		return list
	}
	return slices.Insert(list, at, k)
}

// MakeDomainKey makes the key of the next version on the ring's token and returns h with it, for this token only and
// acknowledged at now (Unix milliseconds). It wraps nothing until [Hierarchy.Promote] says so, and the ring holds it
// when [Ring.Follow] is told.
func (r *Ring) MakeDomainKey(ctx context.Context, h Hierarchy, now int64) (Hierarchy, uint32, error) {
	h = h.Clone()
	at := slices.IndexFunc(h.Tokens, func(k TokenKeys) bool { return k.Serial == r.serial })
	if at < 0 {
		return h, 0, fmt.Errorf("%w: serial number %q", ErrUnknownToken, r.serial)
	}
	version := max(h.Last, h.Current) + 1
	wrapped, err := makeWrapped(ctx, r.token, r.kek, DomainPart(version))
	if err != nil {
		return h, 0, fmt.Errorf("make domain key: %w", err)
	}
	h.Last = version
	h.Tokens[at].DomainKeys = insertVersion(h.Tokens[at].DomainKeys, DomainKey{Version: version, Wrapped: wrapped, Acknowledged: now})
	return h, version, nil
}

// Follow makes the ring hold those versions of the domain key that h has for its token, and wrap under h's current one.
// Versions that h has no more leave the token before it returns; one that the token fails to destroy is tried again by
// the next Follow, and by Close.
func (r *Ring) Follow(ctx context.Context, h Hierarchy) error {
	r.follow.Lock()
	defer r.follow.Unlock()
	keys, known := h.Token(r.serial)
	if !known || !keys.Holds(h.Current) {
		return fmt.Errorf("%w: serial number %q", ErrUnknownToken, r.serial)
	}
	if err := r.signWith(ctx, keys); err != nil {
		return err
	}
	for _, dk := range keys.DomainKeys {
		if have, held := r.version(dk.Version); held && slices.Equal(have.wrapped, dk.Wrapped) {
			continue
		}
		k := r.domainKey(dk.Wrapped)
		if err := k.load(ctx, hsmbackend.KeyRef{}); err != nil {
			return fmt.Errorf("load domain key %d: %w", dk.Version, err)
		}
		r.mu.Lock()
		if old := r.domain[dk.Version]; old != nil {
			r.gone = append(r.gone, old)
		}
		r.domain[dk.Version] = k
		r.mu.Unlock()
	}
	r.mu.Lock()
	r.current = h.Current
	for v, k := range r.domain {
		if !keys.Holds(v) {
			delete(r.domain, v)
			r.gone = append(r.gone, k)
		}
	}
	gone := r.gone
	r.gone = nil
	r.mu.Unlock()
	var errs []error
	for _, k := range gone {
		if err := k.close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("destroy domain key: %w", err))
			r.mu.Lock()
			r.gone = append(r.gone, k)
			r.mu.Unlock()
		}
	}
	return errors.Join(errs...)
}

// Rewrap returns m with its EKT under a version of the domain key that the ring holds, proven to open to the same
// material. Nothing of it stays on the token. What is kept on the token itself is returned as it is.
func (r *Ring) Rewrap(ctx context.Context, m Material, version uint32) (_ Material, err error) {
	if m.Storage != StorageWrapped || m.DKVersion == version {
		return m, nil
	}
	scope, err := r.token.OpenScope(ctx)
	if err != nil {
		return m, fmt.Errorf("rewrap key material: %w", err)
	}
	defer func() { err = errors.Join(err, r.token.CloseScope(scope)) }()
	ref, err := r.Transient(ctx, m, scope)
	if err != nil {
		return m, err
	}
	next, err := r.wrapUnder(ctx, ref, m, version)
	if err != nil {
		return m, err
	}
	return next, r.opens(ctx, next, scope)
}

// opens returns ErrRefused unless m's EKT opens to the material that m names.
func (r *Ring) opens(ctx context.Context, m Material, scope hsmbackend.Scope) error {
	attr := r.workingAttributes(m)
	attr.Scope = scope
	ref, err := r.unwrapEKT(ctx, m, attr)
	if err != nil {
		return err
	}
	return r.verify(ctx, ref, m)
}

// probeKey names the material of a [Ring.Probe], which belongs to no key.
const probeKey = "probe"

// Probe makes material that is of no key, wraps it under a version of the domain key, and destroys it: what is left is an
// EKT that another holder of that version can open, and that is of no use.
func (r *Ring) Probe(ctx context.Context, version uint32) (_ Material, err error) {
	scope, err := r.token.OpenScope(ctx)
	if err != nil {
		return Material{}, fmt.Errorf("probe domain key: %w", err)
	}
	defer func() { err = errors.Join(err, r.token.CloseScope(scope)) }()
	m := Material{KeyID: probeKey, Spec: SpecSymmetric, Usage: keyspec.EncryptDecrypt}
	attr := r.transient(m)
	attr.Scope = scope
	ref, err := r.token.GenerateKey(ctx, hsmbackend.AES256, attr)
	if err != nil {
		return m, fmt.Errorf("probe domain key: %w", err)
	}
	if m.ID, err = r.identify(ctx, ref, m); err != nil {
		return m, fmt.Errorf("probe domain key: %w", err)
	}
	return r.wrapUnder(ctx, ref, m, version)
}

// OpenProbe returns ErrRefused unless the ring's domain key opens what [Ring.Probe] of the same version has made, to the
// same material.
func (r *Ring) OpenProbe(ctx context.Context, m Material) (err error) {
	scope, err := r.token.OpenScope(ctx)
	if err != nil {
		return fmt.Errorf("probe domain key: %w", err)
	}
	defer func() { err = errors.Join(err, r.token.CloseScope(scope)) }()
	return r.opens(ctx, m, scope)
}
