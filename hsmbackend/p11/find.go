package p11

import (
	"context"
	"errors"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

func ckClass(c hsmbackend.Class) (uint, bool) {
	switch c {
	case hsmbackend.ClassSecret:
		return pkcs11.CKO_SECRET_KEY, true
	case hsmbackend.ClassPrivate:
		return pkcs11.CKO_PRIVATE_KEY, true
	}
	return 0, false
}

// search returns the handles of the token objects that match.
func (k *call) search(class uint, more ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	return k.find(append([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, class),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
	}, more...))
}

func (k *call) find(template []*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	raw := k.c.mod.raw
	if err := raw.FindObjectsInit(k.s, template); err != nil {
		return nil, ck("C_FindObjectsInit", err)
	}
	var all []pkcs11.ObjectHandle
	for {
		some, _, err := raw.FindObjects(k.s, 64)
		if err != nil {
			return nil, ck("C_FindObjects", errors.Join(err, raw.FindObjectsFinal(k.s)))
		}
		if len(some) == 0 {
			return all, ck("C_FindObjectsFinal", raw.FindObjectsFinal(k.s))
		}
		all = append(all, some...)
	}
}

// searchID returns the one token object with this class and id.
func (k *call) searchID(class uint, id hsmbackend.ID) (pkcs11.ObjectHandle, error) {
	hs, err := k.search(class, pkcs11.NewAttribute(pkcs11.CKA_ID, id[:]))
	switch {
	case err != nil:
		return 0, err
	case len(hs) == 0:
		return 0, &hsmbackend.Error{Op: "find object", Kind: hsmbackend.ErrObjectNotFound}
	case len(hs) > 1:
		return 0, &hsmbackend.Error{Op: "find object", Kind: hsmbackend.ErrAmbiguous, Info: id.String()}
	}
	return hs[0], nil
}

// resolve gives a token object its handle on the call's connection.
func (k *call) resolve(o *object, ref hsmbackend.KeyRef) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dead || o.c == k.c {
		return nil
	}
	class, ok := ckClass(ref.Class)
	if !ok {
		return invalid("find object", "unknown class")
	}
	h, err := k.searchID(class, ref.ID)
	if err != nil {
		if errors.Is(err, hsmbackend.ErrObjectNotFound) {
			k.t.strike(o)
		}
		return err
	}
	kt, err := k.inspect(ref.Class, h)
	if err != nil {
		return err
	}
	o.c, o.h, o.kt = k.c, h, kt
	return nil
}

// adopt makes a token object known that was found.
func (k *call) adopt(ref hsmbackend.KeyRef, h pkcs11.ObjectHandle) error {
	if k.t.object(ref) != nil {
		return nil
	}
	kt, err := k.inspect(ref.Class, h)
	if err != nil {
		return err
	}
	k.t.enlist(&object{ref: ref, token: true, c: k.c, h: h, kt: kt}) // false if another call was quicker, with the same
	return nil
}

// FindToken implements [hsmbackend.Finder]. The object must be SENSITIVE, PRIVATE, not MODIFIABLE and of a known
// key type: otherwise it returns [hsmbackend.ErrTokenLies] or [hsmbackend.ErrUnsupported].
func (t *Token) FindToken(ctx context.Context, class hsmbackend.Class, id hsmbackend.ID) (hsmbackend.KeyRef, error) {
	ref := hsmbackend.KeyRef{ID: id, Class: class}
	cls, ok := ckClass(class)
	if !ok {
		return hsmbackend.KeyRef{}, invalid("find object", "unknown class")
	}
	err := t.run(ctx, "find object", nil, true, func(k *call) error {
		h, err := k.searchID(cls, id)
		if err != nil {
			return err
		}
		return k.adopt(ref, h)
	})
	if err != nil {
		return hsmbackend.KeyRef{}, err
	}
	return ref, nil
}

// ListToken implements [hsmbackend.Finder]. Objects whose CKA_ID is not 16 bytes long are not ours and are left out.
func (t *Token) ListToken(ctx context.Context, class hsmbackend.Class, label string) ([]hsmbackend.KeyRef, error) {
	cls, ok := ckClass(class)
	if !ok {
		return nil, invalid("list objects", "unknown class")
	}
	var refs []hsmbackend.KeyRef
	err := t.run(ctx, "list objects", nil, true, func(k *call) error {
		refs = nil
		seen := map[hsmbackend.KeyRef]bool{}
		hs, err := k.search(cls, pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
		if err != nil {
			return err
		}
		for _, h := range hs {
			got, err := k.c.mod.raw.GetAttributeValue(k.s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, nil)})
			if err != nil {
				return ck("C_GetAttributeValue", err)
			}
			ref := hsmbackend.KeyRef{Class: class}
			if len(got[0].Value) != len(ref.ID) {
				continue
			}
			copy(ref.ID[:], got[0].Value)
			if seen[ref] {
				return &hsmbackend.Error{Op: "list objects", Kind: hsmbackend.ErrAmbiguous, Info: ref.String()}
			}
			seen[ref] = true
			if err := k.adopt(ref, h); err != nil {
				return err
			}
			refs = append(refs, ref)
		}
		return nil
	})
	return refs, err
}

// PublicKey implements [hsmbackend.Finder]. It also knows the public half of session key pairs made here.
func (t *Token) PublicKey(ctx context.Context, key hsmbackend.KeyRef) ([]byte, error) {
	if key.Class != hsmbackend.ClassPrivate {
		return nil, invalid("read public key", "not a private key")
	}
	var der []byte
	err := t.run(ctx, "read public key", nil, true, func(k *call) error {
		o, err := k.use(key)
		if err != nil {
			return err
		}
		if o.pub != nil {
			der = o.pub
			return nil
		}
		h, err := k.searchID(pkcs11.CKO_PUBLIC_KEY, key.ID)
		if err != nil {
			return err
		}
		der, err = k.readPublic(o.kt, h)
		return err
	})
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), der...), nil
}

// Destroy implements [hsmbackend.Finder]. It waits for calls that are using the key.
func (t *Token) Destroy(ctx context.Context, key hsmbackend.KeyRef) error {
	class, ok := ckClass(key.Class)
	if !ok {
		return invalid("destroy object", "unknown class")
	}
	return t.run(ctx, "destroy object", nil, true, func(k *call) error {
		o := t.object(key)
		if o == nil || o.token {
			return k.destroyToken(class, key, o)
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.dead || o.c != k.c {
			return nil
		}
		if o.host == nil {
			if err := k.destroy(o.h); err != nil {
				return err
			}
		}
		t.strike(o)
		return nil
	})
}

// destroyToken destroys a token object, and the public half of a key pair after it. o is nil if this Token has not met
// the object.
func (k *call) destroyToken(class uint, key hsmbackend.KeyRef, o *object) error {
	if o != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
	}
	h, err := k.searchID(class, key.ID)
	if err == nil {
		err = k.destroy(h)
	}
	if err != nil && !errors.Is(err, hsmbackend.ErrObjectNotFound) {
		return err
	}
	if key.Class == hsmbackend.ClassPrivate {
		k.c.forgetSigner(key.ID)
		hs, err := k.search(pkcs11.CKO_PUBLIC_KEY, pkcs11.NewAttribute(pkcs11.CKA_ID, key.ID[:]))
		if err != nil {
			return err
		}
		for _, h := range hs {
			if err := k.destroy(h); err != nil {
				return err
			}
		}
	}
	if o != nil {
		k.t.strike(o)
	}
	return nil
}

// destroy destroys one object; one that is gone is fine.
func (k *call) destroy(h pkcs11.ObjectHandle) error {
	err := k.c.mod.raw.DestroyObject(k.s, h)
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_OBJECT_HANDLE_INVALID)) && k.c.probe(k.s) == fateFine {
		return nil
	}
	return ck("C_DestroyObject", err)
}
