package p11

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// verify reads a new object's attributes back and tries to read its value.
func (k *call) verify(p *plan, h pkcs11.ObjectHandle) error {
	var want []*pkcs11.Attribute
	for _, a := range p.template(&k.t.cfg.Profile) {
		if a.Type != pkcs11.CKA_LABEL {
			want = append(want, a)
		}
	}
	if p.ref.Class == hsmbackend.ClassSecret {
		want = append(want, pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32))
	} else {
		want = append(want, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, p384Params()))
	}
	got, err := k.c.mod.raw.GetAttributeValue(k.s, h, want)
	if err != nil {
		return ck("C_GetAttributeValue", err)
	}
	for i, w := range want {
		same := got[i].Type == w.Type && bytes.Equal(got[i].Value, w.Value)
		if w.Type == pkcs11.CKA_ALLOWED_MECHANISMS {
			same = sameSet(got[i].Value, p.mechs)
		}
		if n, ok := toUlong(got[i].Value); w.Type == pkcs11.CKA_VALUE_LEN && ok && n == 0 {
			same = p.unwrapped && k.t.cfg.Profile.ValueLenLost
		}
		if !same {
			return lies(fmt.Sprintf("attribute 0x%x reads %x, asked for %x", w.Type, got[i].Value, w.Value))
		}
	}
	return k.unreadable(h)
}

// unreadable makes sure that the value of a key can't be read.
func (k *call) unreadable(h pkcs11.ObjectHandle) error {
	got, err := k.c.mod.raw.GetAttributeValue(k.s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)})
	switch {
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_ATTRIBUTE_SENSITIVE)):
		return nil
	case err != nil:
		return ck("C_GetAttributeValue", err)
	}
	for _, a := range got {
		clear(a.Value)
	}
	return lies("CKA_VALUE can be read")
}

func lies(what string) error {
	return &hsmbackend.Error{Op: "read back attributes", Kind: hsmbackend.ErrTokenLies, Info: what}
}

// sameSet compares an array of CK_MECHANISM_TYPE, in whichever order the token keeps it.
func sameSet(got []byte, want []uint) bool {
	size := len(ulong(0))
	if len(got)%size != 0 {
		return false
	}
	var have []uint
	for g := range slices.Chunk(got, size) {
		v, _ := toUlong(g)
		have = append(have, v)
	}
	want = slices.Clone(want)
	slices.Sort(have)
	slices.Sort(want)
	return slices.Equal(slices.Compact(have), slices.Compact(want))
}

// inspect tells the type of a key that was found, and refuses one that is not kept as every key must be.
func (k *call) inspect(class hsmbackend.Class, h pkcs11.ObjectHandle) (hsmbackend.KeyType, error) {
	want := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, nil),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, nil),
	}
	if class == hsmbackend.ClassPrivate {
		want[5] = pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, nil)
	}
	got, err := k.c.mod.raw.GetAttributeValue(k.s, h, want)
	if err != nil {
		return "", ck("C_GetAttributeValue", err)
	}
	for i, w := range want[:4] {
		if !bytes.Equal(got[i].Value, w.Value) {
			return "", lies(fmt.Sprintf("attribute 0x%x of an object that was found reads %x", w.Type, got[i].Value))
		}
	}
	if err := k.unreadable(h); err != nil {
		return "", err
	}
	ckk, _ := toUlong(got[4].Value)
	length, ok := toUlong(got[5].Value)
	if ok && length == 0 && k.t.cfg.Profile.ValueLenLost {
		length = 32
	}
	switch {
	case class == hsmbackend.ClassPrivate && ckk == pkcs11.CKK_EC && bytes.Equal(got[5].Value, p384Params()):
		return hsmbackend.ECP384, nil
	case class == hsmbackend.ClassSecret && ckk == pkcs11.CKK_AES && length == 32:
		return hsmbackend.AES256, nil
	case class == hsmbackend.ClassSecret && ckk == pkcs11.CKK_GENERIC_SECRET && length == 32:
		return hsmbackend.HMACSHA256, nil
	}
	return "", &hsmbackend.Error{Op: "find object", Kind: hsmbackend.ErrUnsupported, Info: "key type"}
}
