package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"antipode/hsmbackend"
)

// Hierarchy is what the store keeps of a Region's own keys: the same keys once for each of its tokens. It is useless
// without one of the tokens and its PIN. CBOR.
type Hierarchy struct {
	// Current is the version of the domain key that wraps; every token holds it.
	Current uint32 `cbor:"1,keyasint"`
	// Last is the highest version that was ever made. A number is never used again.
	Last   uint32      `cbor:"2,keyasint"`
	Tokens []TokenKeys `cbor:"3,keyasint"` // in order of their addition
}

// TokenKeys are the Region's keys on one token: the names of the token's own objects, and the Region's keys wrapped
// under the token's own KEK.
type TokenKeys struct {
	Serial     string        `cbor:"1,keyasint"` // by which the token is found
	Label      string        `cbor:"2,keyasint"` // for people
	KEK        hsmbackend.ID `cbor:"3,keyasint"`
	RSK        hsmbackend.ID `cbor:"4,keyasint"`
	AuditKey   hsmbackend.ID `cbor:"5,keyasint"`
	RSKPublic  []byte        `cbor:"6,keyasint"` // DER SubjectPublicKeyInfo
	DomainKeys []DomainKey   `cbor:"7,keyasint"` // oldest first
	RecordKey  []byte        `cbor:"8,keyasint"` // wrapped under KEK, 40 bytes
	SealingKey []byte        `cbor:"9,keyasint"` // wrapped under KEK, 40 bytes
}

// DomainKey is one version of the domain key, wrapped under a token's KEK (40 bytes).
type DomainKey struct {
	Version uint32 `cbor:"1,keyasint"`
	Wrapped []byte `cbor:"2,keyasint"`
	// Acknowledged is when the token was proven to hold it, Unix milliseconds; 0 for what was made with the Region.
	Acknowledged int64 `cbor:"3,keyasint"`
}

// Holds reports whether the token has this version of the domain key.
func (k TokenKeys) Holds(version uint32) bool {
	return slices.ContainsFunc(k.DomainKeys, func(d DomainKey) bool { return d.Version == version })
}

// Token returns the keys on the token with this serial number.
func (h Hierarchy) Token(serial string) (TokenKeys, bool) {
	at := slices.IndexFunc(h.Tokens, func(k TokenKeys) bool { return k.Serial == serial })
	if at < 0 {
		return TokenKeys{}, false
	}
	return h.Tokens[at], true
}

// Versions returns the versions of the domain key that any token holds, oldest first.
func (h Hierarchy) Versions() []uint32 {
	var out []uint32
	for _, k := range h.Tokens {
		for _, d := range k.DomainKeys {
			out = append(out, d.Version)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Promote makes the newest version that every token holds the current one, and reports whether that is a change.
func (h *Hierarchy) Promote() bool {
	versions := h.Versions()
	for i := len(versions) - 1; i >= 0 && versions[i] > h.Current; i-- {
		if !slices.ContainsFunc(h.Tokens, func(k TokenKeys) bool { return !k.Holds(versions[i]) }) {
			h.Current = versions[i]
			return true
		}
	}
	return false
}

// Clone returns a copy that shares nothing that is changed in place.
func (h Hierarchy) Clone() Hierarchy {
	h.Tokens = slices.Clone(h.Tokens)
	for i := range h.Tokens {
		h.Tokens[i].DomainKeys = slices.Clone(h.Tokens[i].DomainKeys)
	}
	return h
}

// Plan chooses the names of a token's objects before any is made. The caller stores it first, so that a Create or a
// Prepare that was cut off is repeated with the same names and leaves no object behind that nobody knows.
func Plan(ctx context.Context, token hsmbackend.Token) (TokenKeys, error) {
	info := token.Info()
	if info.Serial == "" {
		return TokenKeys{}, fmt.Errorf("plan region keys: %w: the token has no serial number", hsmbackend.ErrUnsupported)
	}
	raw, err := token.Random(ctx, 48)
	if err != nil {
		return TokenKeys{}, fmt.Errorf("plan region keys: %w", err)
	}
	k := TokenKeys{Serial: info.Serial, Label: info.Label}
	copy(k.KEK[:], raw[:16])
	copy(k.RSK[:], raw[16:32])
	copy(k.AuditKey[:], raw[32:])
	return k, nil
}

// Prepare makes what plan names and is not on the token yet, and returns plan with the public half of its RSK. It may be
// repeated with the same plan; label is the Region's name, for CKA_LABEL.
func Prepare(ctx context.Context, token hsmbackend.Token, plan TokenKeys, label string) (TokenKeys, error) {
	if serial := token.Info().Serial; serial != plan.Serial {
		return plan, fmt.Errorf("%w: the keys were planned for token %q, this is %q", ErrUnknownToken, plan.Serial, serial)
	}
	if _, err := ensureKEK(ctx, token, plan.KEK, label); err != nil {
		return plan, err
	}
	for _, pair := range []struct {
		id   hsmbackend.ID
		name string
	}{{plan.RSK, "rsk"}, {plan.AuditKey, "audit"}} {
		if err := ensureSigner(ctx, token, pair.id, "antipode/"+label+"/"+pair.name); err != nil {
			return plan, err
		}
	}
	rsk, err := newSigner(ctx, token, plan.RSK)
	if err != nil {
		return plan, fmt.Errorf("find replication signing key: %w", err)
	}
	plan.RSKPublic = rsk.SPKI()
	return plan, nil
}

// Create prepares the Region's first token and makes the wrapped keys on it. It may be repeated with the same plan until
// its answer is stored.
func Create(ctx context.Context, token hsmbackend.Token, plan TokenKeys, label string) (Hierarchy, error) {
	keys, err := Prepare(ctx, token, plan, label)
	if err != nil {
		return Hierarchy{}, err
	}
	kek, err := token.FindToken(ctx, hsmbackend.ClassSecret, keys.KEK)
	if err != nil {
		return Hierarchy{}, fmt.Errorf("find token key-encryption key %s: %w", keys.KEK, err)
	}
	keys.DomainKeys = []DomainKey{{Version: 1}}
	for _, k := range []struct {
		part Part
		into *[]byte
	}{
		{DomainPart(1), &keys.DomainKeys[0].Wrapped}, {RecordPart(), &keys.RecordKey}, {SealingPart(), &keys.SealingKey},
	} {
		if *k.into, err = makeWrapped(ctx, token, kek, k.part); err != nil {
			return Hierarchy{}, fmt.Errorf("make %s key: %w", k.part.Kind, err)
		}
	}
	return Hierarchy{Current: 1, Last: 1, Tokens: []TokenKeys{keys}}, nil
}

func ensureKEK(ctx context.Context, token hsmbackend.Token, id hsmbackend.ID, label string) (hsmbackend.KeyRef, error) {
	ref, err := token.FindToken(ctx, hsmbackend.ClassSecret, id)
	if err == nil || !halfMade(err) {
		return ref, err
	}
	if err := token.Destroy(ctx, hsmbackend.KeyRef{ID: id, Class: hsmbackend.ClassSecret}); err != nil {
		return ref, fmt.Errorf("clear what is left of the token key-encryption key: %w", err)
	}
	ref, err = token.GenerateKey(ctx, hsmbackend.AES256, hsmbackend.Attributes{
		Label: "antipode/" + label + "/kek", Token: true, ID: id,
		Usage:      hsmbackend.UsageWrap | hsmbackend.UsageUnwrap,
		Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP}, UnwrapSensitive: true,
	})
	if err != nil {
		return hsmbackend.KeyRef{}, fmt.Errorf("make token key-encryption key: %w", err)
	}
	return ref, nil
}

// halfMade reports whether err says that there is no key, or one that can't be used: a crash inside the token's
// generation can leave an object without all of its attributes, or one half of a pair. A key that can be used is never
// destroyed here, since the names of a plan are not authenticated.
func halfMade(err error) bool {
	return errors.Is(err, hsmbackend.ErrObjectNotFound) || errors.Is(err, hsmbackend.ErrUnsupported) ||
		errors.Is(err, hsmbackend.ErrTokenLies)
}

func ensureSigner(ctx context.Context, token hsmbackend.Token, id hsmbackend.ID, label string) error {
	ref, err := token.FindToken(ctx, hsmbackend.ClassPrivate, id)
	if err == nil {
		_, err = token.PublicKey(ctx, ref)
	}
	if err == nil || !halfMade(err) {
		return err
	}
	if err := token.Destroy(ctx, hsmbackend.KeyRef{ID: id, Class: hsmbackend.ClassPrivate}); err != nil {
		return fmt.Errorf("clear what is left of %s: %w", label, err)
	}
	_, _, err = token.GenerateKeyPair(ctx, hsmbackend.ECP384, hsmbackend.Attributes{
		Label: label, Token: true, ID: id, Usage: hsmbackend.UsageSign,
		Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechECDSA},
	})
	if err != nil {
		return fmt.Errorf("make %s: %w", label, err)
	}
	return nil
}

// makeWrapped makes a transient key that can do nothing but be wrapped, and returns it wrapped under kek.
func makeWrapped(ctx context.Context, token hsmbackend.Token, kek hsmbackend.KeyRef, part Part) (wrapped []byte, err error) {
	ref, err := token.GenerateKey(ctx, part.keyType(), part.transient(0))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, token.Destroy(context.WithoutCancel(ctx), ref)) }()
	return token.Wrap(ctx, kek, ref)
}
