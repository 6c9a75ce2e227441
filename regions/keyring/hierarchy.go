package keyring

import (
	"context"
	"errors"
	"fmt"

	"antipode/hsmbackend"
)

// Hierarchy is what the store keeps of a Region's own keys: the names of the token objects and the wrapped keys. It is
// useless without the token and its PIN. CBOR.
type Hierarchy struct {
	KEK        hsmbackend.ID `cbor:"1,keyasint"`
	RSK        hsmbackend.ID `cbor:"2,keyasint"`
	AuditKey   hsmbackend.ID `cbor:"3,keyasint"`
	DomainKeys []DomainKey   `cbor:"4,keyasint"` // oldest first; the last one wraps
	RecordKey  []byte        `cbor:"5,keyasint"` // wrapped under KEK, 40 bytes
	SealingKey []byte        `cbor:"6,keyasint"` // wrapped under KEK, 40 bytes
}

// DomainKey is one version of the domain key, wrapped under the KEK (40 bytes).
type DomainKey struct {
	Version uint32 `cbor:"1,keyasint"`
	Wrapped []byte `cbor:"2,keyasint"`
}

// Plan chooses the names of the token objects before any is made. The caller stores it first, so that a Create that
// was cut off is repeated with the same names and leaves no object behind that nobody knows.
func Plan(ctx context.Context, token hsmbackend.Random) (Hierarchy, error) {
	raw, err := token.Random(ctx, 48)
	if err != nil {
		return Hierarchy{}, fmt.Errorf("plan region keys: %w", err)
	}
	var h Hierarchy
	copy(h.KEK[:], raw[:16])
	copy(h.RSK[:], raw[16:32])
	copy(h.AuditKey[:], raw[32:])
	return h, nil
}

// Create makes what plan names and is not on the token yet, then the wrapped keys, and returns the whole hierarchy. It
// may be repeated with the same plan until its answer is stored; label is the Region's name, for CKA_LABEL.
func Create(ctx context.Context, token hsmbackend.Token, plan Hierarchy, label string) (Hierarchy, error) {
	kek, err := ensureKEK(ctx, token, plan.KEK, label)
	if err != nil {
		return Hierarchy{}, err
	}
	for _, pair := range []struct {
		id   hsmbackend.ID
		name string
	}{{plan.RSK, "rsk"}, {plan.AuditKey, "audit"}} {
		if err := ensureSigner(ctx, token, pair.id, "antipode/"+label+"/"+pair.name); err != nil {
			return Hierarchy{}, err
		}
	}
	domain, err := makeWrapped(ctx, token, kek, hsmbackend.AES256, hsmbackend.MechAESKWP)
	if err != nil {
		return Hierarchy{}, fmt.Errorf("make domain key: %w", err)
	}
	plan.DomainKeys = []DomainKey{{Version: 1, Wrapped: domain}}
	if plan.RecordKey, err = makeWrapped(ctx, token, kek, hsmbackend.HMACSHA256, hsmbackend.MechHMACSHA256); err != nil {
		return Hierarchy{}, fmt.Errorf("make record key: %w", err)
	}
	if plan.SealingKey, err = makeWrapped(ctx, token, kek, hsmbackend.AES256, hsmbackend.MechAESECB); err != nil {
		return Hierarchy{}, fmt.Errorf("make sealing key: %w", err)
	}
	return plan, nil
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
func makeWrapped(ctx context.Context, token hsmbackend.Token, kek hsmbackend.KeyRef, kt hsmbackend.KeyType,
	mech hsmbackend.Mechanism,
) (wrapped []byte, err error) {
	ref, err := token.GenerateKey(ctx, kt, hsmbackend.Attributes{
		Extractable: true, Mechanisms: []hsmbackend.Mechanism{mech},
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, token.Destroy(context.WithoutCancel(ctx), ref)) }()
	return token.Wrap(ctx, kek, ref)
}
