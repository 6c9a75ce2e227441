package p11

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// verify tries to read a new object's value and reads its attributes back.
func (k *call) verify(p *plan, h pkcs11.ObjectHandle) error {
	if err := k.unreadable(h, secretParts(p.kt)...); err != nil {
		return err
	}
	var want []*pkcs11.Attribute
	for _, a := range p.template(&k.t.cfg.Profile) {
		switch {
		case a.Type == pkcs11.CKA_LABEL, a.Type == pkcs11.CKA_CLASS: // nothing rests on them
		case a.Type == pkcs11.CKA_ID && !p.attr.Token: // a session object is found by its handle only
		default:
			want = append(want, a)
		}
	}
	switch p.ckk {
	case pkcs11.CKK_EC:
		want = append(want, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, p384Params()))
	case pkcs11.CKK_RSA: // its modulus was read from the public half
	default:
		want = append(want, pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32))
	}
	types := make([]uint, len(want))
	for i, w := range want {
		types[i] = w.Type
	}
	got, err := k.read(h, types)
	if err != nil {
		return ck("C_GetAttributeValue", err)
	}
	for i, w := range want {
		same := bytes.Equal(got[i], w.Value)
		if w.Type == pkcs11.CKA_ALLOWED_MECHANISMS {
			same = sameSet(got[i], p.mechs)
		}
		if n, ok := toUlong(got[i]); w.Type == pkcs11.CKA_VALUE_LEN && ok && n == 0 {
			same = p.unwrapped && k.t.cfg.Profile.ValueLenLost
		}
		if !same {
			return lies(fmt.Sprintf("attribute 0x%x reads %x, asked for %x", w.Type, got[i], w.Value))
		}
	}
	return nil
}

// secretParts are the attributes that hold a key's secret.
func secretParts(kt hsmbackend.KeyType) []uint {
	if kt == hsmbackend.RSA4096 {
		return []uint{
			pkcs11.CKA_PRIVATE_EXPONENT, pkcs11.CKA_PRIME_1, pkcs11.CKA_PRIME_2, pkcs11.CKA_EXPONENT_1,
			pkcs11.CKA_EXPONENT_2, pkcs11.CKA_COEFFICIENT,
		}
	}
	return []uint{pkcs11.CKA_VALUE}
}

// unreadable makes sure that none of these attributes of a key can be read, each by itself: asked for several at once a
// token answers CKR_ATTRIBUTE_SENSITIVE if one of them is.
func (k *call) unreadable(h pkcs11.ObjectHandle, secrets ...uint) error {
	for _, secret := range secrets {
		got, err := k.read(h, []uint{secret})
		switch {
		case errors.Is(err, pkcs11.Error(pkcs11.CKR_ATTRIBUTE_SENSITIVE)):
		case errors.Is(err, pkcs11.Error(pkcs11.CKR_BUFFER_TOO_SMALL)):
			return lies("CKA_VALUE can be read")
		case err != nil:
			return ck("C_GetAttributeValue", err)
		default:
			clear(got[0])
			return lies("CKA_VALUE can be read")
		}
	}
	return nil
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
	types := []uint{
		pkcs11.CKA_PRIVATE, pkcs11.CKA_SENSITIVE, pkcs11.CKA_MODIFIABLE, pkcs11.CKA_EXTRACTABLE,
		pkcs11.CKA_KEY_TYPE, pkcs11.CKA_VALUE_LEN,
	}
	if class == hsmbackend.ClassPrivate {
		types[5] = pkcs11.CKA_EC_PARAMS
	}
	got, err := k.read(h, types)
	if err != nil {
		return "", ck("C_GetAttributeValue", err)
	}
	if !bytes.Equal(slices.Concat(got[:4]...), []byte{1, 1, 0, 0}) {
		return "", lies(fmt.Sprintf("PRIVATE, SENSITIVE, MODIFIABLE, EXTRACTABLE of an object that was found read %x", got[:4]))
	}
	if err := k.unreadable(h, pkcs11.CKA_VALUE); err != nil {
		return "", err
	}
	ckk, _ := toUlong(got[4])
	length, ok := toUlong(got[5])
	if ok && length == 0 && k.t.cfg.Profile.ValueLenLost {
		length = 32
	}
	switch {
	case class == hsmbackend.ClassPrivate && ckk == pkcs11.CKK_EC && bytes.Equal(got[5], p384Params()):
		return hsmbackend.ECP384, nil
	case class == hsmbackend.ClassSecret && ckk == pkcs11.CKK_AES && length == 32:
		return hsmbackend.AES256, nil
	case class == hsmbackend.ClassSecret && ckk == pkcs11.CKK_GENERIC_SECRET && length == 32:
		return hsmbackend.HMACSHA256, nil
	}
	return "", &hsmbackend.Error{Op: "find object", Kind: hsmbackend.ErrUnsupported, Info: "key type"}
}
