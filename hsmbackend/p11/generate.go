package p11

import (
	"context"
	"errors"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// create runs f, which makes one object with the handle it returns, in the session that will own it; then checks the
// object and makes it known, or destroys it.
func (t *Token) create(
	ctx context.Context, op string, p *plan, more []*pkcs11.Attribute,
	f func(k *call, template []*pkcs11.Attribute) (pkcs11.ObjectHandle, []byte, error),
) (hsmbackend.KeyRef, []byte, error) {
	var pub []byte
	more, free := t.withUnwrapTemplate(p.attr, more)
	defer free()
	template := p.template(&t.cfg.Profile, more...)
	// A token object may exist after a lost session, so making it again could leave two.
	err := t.run(ctx, op, p.owner, !p.attr.Token, func(k *call) error {
		if p.attr.Token {
			class, _ := ckClass(p.ref.Class)
			hs, err := k.search(class, pkcs11.NewAttribute(pkcs11.CKA_ID, p.ref.ID[:]))
			if err != nil {
				return err
			}
			if len(hs) != 0 {
				return invalid(op, "an object with this id exists")
			}
		}
		h, der, err := f(k, template)
		if err != nil {
			return err
		}
		o := &object{ref: p.ref, token: p.attr.Token, c: k.c, h: h, kt: p.kt, pub: der}
		if !p.attr.Token {
			o.owner = p.owner
		}
		if err := k.verify(p, h); err != nil {
			return errors.Join(err, k.undo(p, h))
		}
		if !t.enlist(o) {
			return errors.Join(invalid(op, "an object with this id exists"), k.undo(p, h))
		}
		pub = der
		return nil
	})
	if err != nil {
		return hsmbackend.KeyRef{}, nil, err
	}
	return p.ref, pub, nil
}

// undo destroys what may not stay.
func (k *call) undo(p *plan, h pkcs11.ObjectHandle) error {
	err := k.destroy(h)
	if p.ref.Class == hsmbackend.ClassPrivate && p.attr.Token {
		hs, err2 := k.search(pkcs11.CKO_PUBLIC_KEY, pkcs11.NewAttribute(pkcs11.CKA_ID, p.ref.ID[:]))
		err = errors.Join(err, err2)
		for _, h := range hs {
			err = errors.Join(err, k.destroy(h))
		}
	}
	return err
}

// GenerateKey implements [hsmbackend.Generator].
func (t *Token) GenerateKey(ctx context.Context, kt hsmbackend.KeyType, attr hsmbackend.Attributes) (hsmbackend.KeyRef, error) {
	const op = "generate key"
	p, err := t.plan(op, kt, attr)
	if err != nil {
		return hsmbackend.KeyRef{}, err
	}
	if p.ref.Class != hsmbackend.ClassSecret {
		return hsmbackend.KeyRef{}, invalid(op, "not a symmetric key type")
	}
	if err := t.has(op, p.kind.gen); err != nil {
		return hsmbackend.KeyRef{}, err
	}
	ref, _, err := t.create(ctx, op, p, p.kind.valueLen(), func(k *call, tmpl []*pkcs11.Attribute) (pkcs11.ObjectHandle, []byte, error) {
		h, err := k.c.mod.raw.GenerateKey(k.s, []*pkcs11.Mechanism{pkcs11.NewMechanism(p.kind.gen, nil)}, tmpl)
		return h, nil, ck("C_GenerateKey", err)
	})
	return ref, err
}

// GenerateKeyPair implements [hsmbackend.Generator]. The public object of a token pair is kept beside the private one,
// with the same CKA_ID.
func (t *Token) GenerateKeyPair(
	ctx context.Context, kt hsmbackend.KeyType, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, []byte, error) {
	const op = "generate key pair"
	p, err := t.plan(op, kt, attr)
	if err != nil {
		return hsmbackend.KeyRef{}, nil, err
	}
	if p.ref.Class != hsmbackend.ClassPrivate {
		return hsmbackend.KeyRef{}, nil, invalid(op, "not an asymmetric key type")
	}
	if err := t.has(op, p.kind.gen); err != nil {
		return hsmbackend.KeyRef{}, nil, err
	}
	return t.create(ctx, op, p, nil, func(k *call, tmpl []*pkcs11.Attribute) (pkcs11.ObjectHandle, []byte, error) {
		m := []*pkcs11.Mechanism{pkcs11.NewMechanism(p.kind.gen, nil)}
		hpub, h, err := k.c.mod.raw.GenerateKeyPair(k.s, m, p.publicTemplate(p.kind.pairKind()...), tmpl)
		if err != nil {
			return 0, nil, ck("C_GenerateKeyPair", err)
		}
		der, err := k.readPublic(kt, hpub)
		if !attr.Token || err != nil {
			err = errors.Join(err, k.destroy(hpub))
		}
		if err != nil {
			return 0, nil, errors.Join(err, k.undo(p, h))
		}
		return h, der, nil
	})
}
