package keyring

import (
	"context"
	"errors"
	"fmt"

	"antipode/hsmbackend"
)

// PartKind is a kind of the Region's wrapped keys.
type PartKind string

// The kinds, as they stand in the transcript of a token that is added.
const (
	KindDomain  PartKind = "domain"
	KindRecord  PartKind = "record"
	KindSealing PartKind = "sealing"
)

// Part names one of the Region's wrapped keys, on its way from one of the Region's tokens to another. CBOR.
type Part struct {
	Kind    PartKind `cbor:"1,keyasint"`
	Version uint32   `cbor:"2,keyasint"` // of the domain key; 0 otherwise
}

// DomainPart is a version of the domain key.
func DomainPart(version uint32) Part { return Part{Kind: KindDomain, Version: version} }

// RecordPart is the record key.
func RecordPart() Part { return Part{Kind: KindRecord} }

// SealingPart is the sealing key.
func SealingPart() Part { return Part{Kind: KindSealing} }

func (p Part) keyType() hsmbackend.KeyType {
	if p.Kind == KindRecord {
		return hsmbackend.HMACSHA256
	}
	return hsmbackend.AES256
}

// transient are the attributes of an extractable copy, which can do nothing but be wrapped.
func (p Part) transient(scope hsmbackend.Scope) hsmbackend.Attributes {
	mech := hsmbackend.MechAESECB
	switch p.Kind {
	case KindDomain:
		mech = hsmbackend.MechAESKWP
	case KindRecord:
		mech = hsmbackend.MechHMACSHA256
	case KindSealing:
	}
	return hsmbackend.Attributes{Scope: scope, Extractable: true, Mechanisms: []hsmbackend.Mechanism{mech}}
}

// missing says which parts of from a token does not hold yet.
func (k TokenKeys) missing(from TokenKeys) []Part {
	var out []Part
	for _, d := range from.DomainKeys {
		if !k.Holds(d.Version) {
			out = append(out, DomainPart(d.Version))
		}
	}
	if len(k.RecordKey) == 0 {
		out = append(out, RecordPart())
	}
	if len(k.SealingKey) == 0 {
		out = append(out, SealingPart())
	}
	return out
}

// Missing returns the parts of the Region's keys that the ring's token holds and another does not.
func (r *Ring) Missing(other TokenKeys) []Part {
	mine := TokenKeys{RecordKey: r.record.wrapped, SealingKey: r.sealing.wrapped}
	for _, v := range r.versions() {
		mine.DomainKeys = append(mine.DomainKeys, DomainKey{Version: v})
	}
	return other.missing(mine)
}

func (r *Ring) wrappedPart(p Part) ([]byte, error) {
	switch p.Kind {
	case KindRecord:
		return r.record.wrapped, nil
	case KindSealing:
		return r.sealing.wrapped, nil
	case KindDomain:
		if k, held := r.version(p.Version); held {
			return k.wrapped, nil
		}
	}
	return nil, fmt.Errorf("%w: no %s key %d", ErrRefused, p.Kind, p.Version)
}

// Hand wraps parts of the Region's keys under wrapping, for another token of the Region that can derive the same wrapping
// key. Each is an extractable session object of scope for the time of one wrapping.
func (r *Ring) Hand(ctx context.Context, parts []Part, wrapping hsmbackend.KeyRef, scope hsmbackend.Scope) ([][]byte, error) {
	out := make([][]byte, 0, len(parts))
	for _, p := range parts {
		wrapped, err := r.wrappedPart(p)
		if err != nil {
			return nil, err
		}
		blob, err := rewrap(ctx, r.token, r.kek, wrapping, p, wrapped, scope)
		if err != nil {
			return nil, fmt.Errorf("hand over %s key: %w", p.Kind, err)
		}
		out = append(out, blob)
	}
	return out, nil
}

// Receive unwraps what [Ring.Hand] made, on the token that keys are of and that [Prepare] has prepared, wraps it under
// that token's own KEK, and returns keys with it. now is when, Unix milliseconds.
func Receive(ctx context.Context, token hsmbackend.Token, keys TokenKeys, parts []Part, blobs [][]byte,
	wrapping hsmbackend.KeyRef, scope hsmbackend.Scope, now int64,
) (TokenKeys, error) {
	if len(parts) != len(blobs) {
		return keys, fmt.Errorf("%w: %d keys for %d names", ErrRefused, len(blobs), len(parts))
	}
	kek, err := token.FindToken(ctx, hsmbackend.ClassSecret, keys.KEK)
	if err != nil {
		return keys, fmt.Errorf("find token key-encryption key %s: %w", keys.KEK, err)
	}
	keys = Hierarchy{Tokens: []TokenKeys{keys}}.Clone().Tokens[0]
	for i, p := range parts {
		wrapped, err := rewrap(ctx, token, wrapping, kek, p, blobs[i], scope)
		if err != nil {
			return keys, fmt.Errorf("receive %s key: %w", p.Kind, err)
		}
		switch p.Kind {
		case KindDomain:
			keys.DomainKeys = insertVersion(keys.DomainKeys, DomainKey{Version: p.Version, Wrapped: wrapped, Acknowledged: now})
		case KindRecord:
			keys.RecordKey = wrapped
		case KindSealing:
			keys.SealingKey = wrapped
		}
	}
	return keys, nil
}

// rewrap opens a key under one key and wraps it under another, on the token.
func rewrap(ctx context.Context, token hsmbackend.Token, from, to hsmbackend.KeyRef, p Part, blob []byte, scope hsmbackend.Scope) (out []byte, err error) {
	ref, err := token.Unwrap(ctx, from, blob, p.keyType(), p.transient(scope))
	if errors.Is(err, hsmbackend.ErrIntegrity) || errors.Is(err, hsmbackend.ErrInvalidInput) {
		return nil, fmt.Errorf("%w: it was not wrapped under this key", ErrRefused)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, token.Destroy(context.WithoutCancel(ctx), ref)) }()
	return token.Wrap(ctx, to, ref)
}

// ProbeTag returns a value that two rings have in common if, and only if, their sealing keys are the same. It is secret
// as [hsmbackend.Tagger] says: compared in constant time, overwritten, and never shown.
func (r *Ring) ProbeTag(ctx context.Context) (tag []byte, err error) {
	err = r.sealing.use(ctx, func(ref hsmbackend.KeyRef) error {
		tag, err = r.token.Tag(ctx, ref)
		return err
	})
	return tag, err
}
