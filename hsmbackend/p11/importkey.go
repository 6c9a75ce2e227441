package p11

// #include "native.h"
import "C"

import (
	"context"
	"errors"
	"unsafe"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// ImportKey implements [hsmbackend.Importer].
func (t *Token) ImportKey(
	ctx context.Context, kt hsmbackend.KeyType, value []byte, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	const op = "import key"
	p, err := t.plan(op, kt, attr)
	if err != nil {
		return hsmbackend.KeyRef{}, err
	}
	switch {
	case attr.Token || attr.UnwrapSensitive:
		return hsmbackend.KeyRef{}, invalid(op, "more than a session object")
	case p.kind.class == hsmbackend.ClassPrivate:
		return t.importPrivate(ctx, kt, value, attr)
	case len(value) != p.kind.length:
		return hsmbackend.KeyRef{}, invalid(op, "length of the key")
	}
	ref, _, err := t.create(ctx, op, p, nil, func(k *call, tmpl []*pkcs11.Attribute) (pkcs11.ObjectHandle, []byte, error) {
		h, err := k.createObject(tmpl, value)
		return h, nil, err
	})
	return ref, err
}

// importPrivate wraps a PKCS #8 private key under an AES key that is imported for it, and has the token unwrap it.
func (t *Token) importPrivate(
	ctx context.Context, kt hsmbackend.KeyType, value []byte, attr hsmbackend.Attributes,
) (ref hsmbackend.KeyRef, err error) {
	if len(value) < 16 || len(value) > maxWrapped-16 {
		return ref, &hsmbackend.Error{Op: "import key", Kind: hsmbackend.ErrIntegrity}
	}
	over, err := t.Random(ctx, 32)
	if err != nil {
		return ref, err
	}
	defer clear(over)
	kek, err := t.ImportKey(ctx, hsmbackend.AES256, over, hsmbackend.Attributes{
		Label: attr.Label, Scope: attr.Scope, Usage: hsmbackend.UsageUnwrap, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP},
	})
	if err != nil {
		return ref, err
	}
	blob, err := wrapKWP(over, value)
	if err == nil {
		ref, err = t.Unwrap(ctx, kek, blob, kt, attr)
	}
	return ref, errors.Join(err, t.Destroy(context.WithoutCancel(ctx), kek))
}

// tryImport finds out whether the token takes a secret key in the clear.
func (t *Token) tryImport(ctx context.Context) error {
	value, err := t.Random(ctx, 32)
	if err != nil {
		return err
	}
	key, err := t.ImportKey(ctx, hsmbackend.AES256, value, hsmbackend.Attributes{
		Label: "antipode known answer", Usage: hsmbackend.UsageUnwrap, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP},
	})
	if err != nil {
		if away(err) {
			return err
		}
		t.cfg.Log.Info().Str("op", "known answer").Err(err).Msg("the token takes no key in the clear")
		return nil
	}
	t.caps.ImportsKeys = true
	return t.Destroy(ctx, key)
}

// createObject is C_CreateObject with CKA_VALUE. miekg/pkcs11 would leave a copy of the value behind in C's memory; here
// the module reads it where this function overwrites it afterwards.
func (k *call) createObject(template []*pkcs11.Attribute, value []byte) (pkcs11.ObjectHandle, error) {
	// SoftHSM takes MODIFIABLE=false in the middle of a creation's template, not of an unwrapping's.
	list := append([]*pkcs11.Attribute{{Type: pkcs11.CKA_VALUE, Value: value}}, template...)
	size := 0
	for _, a := range list {
		size += len(a.Value)
	}
	cells := make([]byte, 0, size+1) // of its full length from the start, so that no append copies it
	types, lengths := make([]C.ulong_t, len(list)), make([]C.ulong_t, len(list))
	for i, a := range list {
		types[i], lengths[i] = C.ulong_t(a.Type), C.ulong_t(len(a.Value))
		cells = append(cells, a.Value...)
	}
	defer clear(cells[:cap(cells)])
	var h C.ulong_t
	rv := C.native_create(k.c.mod.native.list, C.ulong_t(k.s), unsafe.SliceData(types), unsafe.SliceData(lengths),
		C.ulong_t(len(list)), unsafe.Pointer(unsafe.SliceData(cells)), &h)
	if rv != 0 {
		return 0, ck("C_CreateObject", pkcs11.Error(rv))
	}
	return pkcs11.ObjectHandle(h), nil
}
