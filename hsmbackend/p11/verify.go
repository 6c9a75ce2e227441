package p11

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
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
	switch p.kind.ckk {
	case pkcs11.CKK_EC, ckkECEdwards:
		want = append(want, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, p.kind.params))
	case pkcs11.CKK_RSA:
		if p.unwrapped { // of a new pair, the modulus was read from the public half
			if err := k.unwrappedRSA(p.kind.bits, h); err != nil {
				return err
			}
		}
	default:
		want = append(want, p.kind.valueLen()...)
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
		if w.Type == pkcs11.CKA_EC_PARAMS {
			same = p.kind.onCurve(got[i])
		}
		if w.Type == pkcs11.CKA_ALLOWED_MECHANISMS {
			same = sameSet(got[i], p.mechs)
		}
		if n, ok := toUlong(got[i]); w.Type == pkcs11.CKA_VALUE_LEN && ok && n == 0 {
			same = p.unwrapped && k.t.cfg.Profile.ValueLenLost
		}
		if !same && p.unwrapped && w.Type == pkcs11.CKA_EC_PARAMS {
			return &hsmbackend.Error{Op: "unwrap", Kind: hsmbackend.ErrIntegrity, Info: "a key of another curve"}
		}
		if !same {
			return lies(fmt.Sprintf("attribute 0x%x reads %x, asked for %x", w.Type, got[i], w.Value))
		}
	}
	return nil
}

// unwrappedRSA returns ErrIntegrity unless an unwrapped key's modulus has so many bits: who wrapped it chose that.
func (k *call) unwrappedRSA(bits int, h pkcs11.ObjectHandle) error {
	_, err := k.readRSA(bits, h)
	if errors.Is(err, hsmbackend.ErrTokenLies) {
		return &hsmbackend.Error{Op: "unwrap", Kind: hsmbackend.ErrIntegrity, Info: "another RSA key"}
	}
	return err
}

// secretParts are the attributes that hold a key's secret.
func secretParts(kt hsmbackend.KeyType) []uint {
	if mustKind(kt).ckk == pkcs11.CKK_RSA {
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
	got, err := k.read(h, []uint{
		pkcs11.CKA_PRIVATE, pkcs11.CKA_SENSITIVE, pkcs11.CKA_MODIFIABLE, pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_KEY_TYPE,
	})
	if err != nil {
		return "", ck("C_GetAttributeValue", err)
	}
	if !bytes.Equal(slices.Concat(got[:4]...), []byte{1, 1, 0, 0}) {
		return "", lies(fmt.Sprintf("PRIVATE, SENSITIVE, MODIFIABLE, EXTRACTABLE of an object that was found read %x", got[:4]))
	}
	ckk, _ := toUlong(got[4])
	kt, err := k.typeOf(class, ckk, h)
	if err != nil {
		return "", err
	}
	return kt, k.unreadable(h, secretParts(kt)...)
}

// typeOf returns the key type of an object of this class and CKK_ number.
func (k *call) typeOf(class hsmbackend.Class, ckk uint, h pkcs11.ObjectHandle) (hsmbackend.KeyType, error) {
	unknown := &hsmbackend.Error{Op: "find object", Kind: hsmbackend.ErrUnsupported, Info: "key type"}
	attribute := uint(pkcs11.CKA_VALUE_LEN)
	switch {
	case class == hsmbackend.ClassPrivate && ckk == pkcs11.CKK_RSA:
		attribute = pkcs11.CKA_MODULUS
	case class == hsmbackend.ClassPrivate && (ckk == pkcs11.CKK_EC || ckk == ckkECEdwards):
		attribute = pkcs11.CKA_EC_PARAMS
	case class != hsmbackend.ClassSecret || ckk != pkcs11.CKK_AES && ckk != pkcs11.CKK_GENERIC_SECRET:
		return "", unknown
	}
	got, err := k.c.mod.raw.GetAttributeValue(k.s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
	if err != nil {
		return "", ck("C_GetAttributeValue", err)
	}
	value := got[0].Value
	length, _ := toUlong(value)
	if length == 0 && k.t.cfg.Profile.ValueLenLost {
		length = 32
	}
	for _, kt := range keyTypes() {
		kd := mustKind(kt)
		if kd.class != class || kd.ckk != ckk {
			continue
		}
		switch attribute {
		case pkcs11.CKA_MODULUS:
			if new(big.Int).SetBytes(value).BitLen() == kd.bits {
				return kt, nil
			}
		case pkcs11.CKA_EC_PARAMS:
			if kd.onCurve(value) {
				return kt, nil
			}
		default:
			if length == uint(kd.length) {
				return kt, nil
			}
		}
	}
	return "", unknown
}
