package p11

import (
	"context"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// maxWrapped is longer than any wrapped key in use; a PKCS#8 RSA-4096 private key makes 2,384 bytes.
const maxWrapped = 8192

func (t *Token) kwp() []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(t.cfg.Profile.KWP, nil)}
}

// Wrap implements [hsmbackend.Wrapper].
func (t *Token) Wrap(ctx context.Context, kek, material hsmbackend.KeyRef) ([]byte, error) {
	var blob []byte
	err := t.run(ctx, "wrap", nil, true, func(k *call) error {
		okek, omat, err := k.useTwo(kek, material)
		if err != nil {
			return err
		}
		blob, err = k.c.mod.raw.WrapKey(k.s, t.kwp(), okek.h, omat.h)
		if err != nil {
			return ck("C_WrapKey", err)
		}
		// A mechanism that is not RFC 5649 shows in the length: PKCS#7 padding adds a block. A key that is shorter than
		// its type came out of an unwrapping, of a token that does not tell lengths.
		if kd := mustKind(omat.kt); kd.class == hsmbackend.ClassSecret && len(blob) < kd.wrapped() {
			return invalid("wrap", "a key that is shorter than its type")
		}
		if kd := mustKind(omat.kt); kd.class == hsmbackend.ClassSecret && len(blob) != kd.wrapped() {
			return &hsmbackend.Error{Op: "C_WrapKey", Kind: hsmbackend.ErrInternal, Info: "not RFC 5649"}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return blob, nil
}

// Unwrap implements [hsmbackend.Wrapper].
func (t *Token) Unwrap(
	ctx context.Context, kek hsmbackend.KeyRef, blob []byte, kt hsmbackend.KeyType, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	const op = "unwrap"
	p, err := t.plan(op, kt, attr)
	if err != nil {
		return hsmbackend.KeyRef{}, err
	}
	p.unwrapped = true
	symmetric := p.ref.Class == hsmbackend.ClassSecret
	switch n := len(blob); {
	case n == 0 || n > maxWrapped:
		return hsmbackend.KeyRef{}, invalid(op, "length of the wrapped key")
	case n%8 != 0 || n < 16 || symmetric && n != p.kind.wrapped():
		return hsmbackend.KeyRef{}, &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrIntegrity}
	case !symmetric && attr.Token:
		return hsmbackend.KeyRef{}, invalid(op, "a key pair can't be unwrapped to a token object: its public half is missing")
	}
	var more []*pkcs11.Attribute
	if symmetric && t.cfg.Profile.ValueLenInUnwrap {
		more = p.kind.valueLen()
	}
	ref, _, err := t.create(ctx, op, p, more, func(k *call, tmpl []*pkcs11.Attribute) (pkcs11.ObjectHandle, []byte, error) {
		o, err := k.use(kek)
		if err != nil {
			return 0, nil, err
		}
		h, err := k.c.mod.raw.UnwrapKey(k.s, t.kwp(), o.h, blob, tmpl)
		return h, nil, ckBlob("C_UnwrapKey", err)
	})
	return ref, err
}
