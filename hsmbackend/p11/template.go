package p11

import (
	"encoding/binary"
	"io"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// flag pairs a usage with its attribute.
type flag struct {
	use hsmbackend.Usage
	cka uint
}

func secretFlags() []flag {
	return []flag{
		{hsmbackend.UsageEncrypt, pkcs11.CKA_ENCRYPT},
		{hsmbackend.UsageDecrypt, pkcs11.CKA_DECRYPT},
		{hsmbackend.UsageSign, pkcs11.CKA_SIGN},
		{hsmbackend.UsageVerify, pkcs11.CKA_VERIFY},
		{hsmbackend.UsageDerive, pkcs11.CKA_DERIVE},
		{hsmbackend.UsageWrap, pkcs11.CKA_WRAP},
		{hsmbackend.UsageUnwrap, pkcs11.CKA_UNWRAP},
	}
}

// privateFlags are those that the standard knows for private keys.
func privateFlags() []flag {
	return []flag{
		{hsmbackend.UsageDecrypt, pkcs11.CKA_DECRYPT},
		{hsmbackend.UsageSign, pkcs11.CKA_SIGN},
		{hsmbackend.UsageDerive, pkcs11.CKA_DERIVE},
		{hsmbackend.UsageUnwrap, pkcs11.CKA_UNWRAP},
	}
}

// ulong is a CK_ULONG as the module sees it in memory.
func ulong(v uint) []byte { return pkcs11.NewAttribute(0, v).Value }

// toUlong reads a CK_ULONG of 8 bytes (or 4, where C's long is that).
func toUlong(b []byte) (uint, bool) {
	switch len(b) {
	case 8:
		return uint(binary.NativeEndian.Uint64(b)), true
	case 4:
		return uint(binary.NativeEndian.Uint32(b)), true
	}
	return 0, false
}

// plan is a new key's attributes after they were checked.
type plan struct {
	ref   hsmbackend.KeyRef
	kt    hsmbackend.KeyType
	attr  hsmbackend.Attributes
	owner *owner
	kind  kind
	mechs []uint
	// unwrapped keys may have lost their CKA_VALUE_LEN.
	unwrapped bool
}

// plan checks the attributes of a new key, and chooses its CKA_ID. Nothing has been done on the token when it fails.
func (t *Token) plan(op string, kt hsmbackend.KeyType, attr hsmbackend.Attributes) (*plan, error) {
	kd, known := kindOf(kt)
	if !known {
		return nil, invalid(op, "unknown key type")
	}
	p := &plan{kt: kt, kind: kd, attr: attr, ref: hsmbackend.KeyRef{ID: attr.ID, Class: kd.class}}
	flags := secretFlags()
	if kd.class == hsmbackend.ClassPrivate {
		flags = privateFlags()
	}
	var possible hsmbackend.Usage
	for _, f := range flags {
		possible |= f.use
	}
	switch {
	case attr.Usage&^possible != 0:
		return nil, invalid(op, "usage that this key type can't have")
	case len(attr.Mechanisms) == 0:
		return nil, invalid(op, "no mechanisms")
	case attr.Token && attr.Scope != 0:
		return nil, invalid(op, "a token object in a scope")
	case attr.Token && attr.Extractable:
		return nil, invalid(op, "only session objects may be extractable")
	}
	for _, m := range attr.Mechanisms {
		ckm, ok := t.cfg.Profile.mechanism(m)
		if !ok {
			return nil, invalid(op, "unknown mechanism")
		}
		p.mechs = append(p.mechs, ckm)
	}
	var err error
	if p.owner, err = t.owner(op, attr.Scope); err != nil {
		return nil, err
	}
	if p.ref.ID == (hsmbackend.ID{}) {
		if _, err := io.ReadFull(t.cfg.Rand, p.ref.ID[:]); err != nil {
			return nil, &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrInternal, Info: "no randomness"}
		}
	}
	if t.object(p.ref) != nil {
		return nil, invalid(op, "an object with this id exists")
	}
	return p, nil
}

// template is what every new secret or private key is given, with more (CKA_VALUE_LEN, CKA_UNWRAP_TEMPLATE) in it.
func (p *plan) template(prof *Profile, more ...*pkcs11.Attribute) []*pkcs11.Attribute {
	class, flags := uint(pkcs11.CKO_SECRET_KEY), secretFlags()
	if p.ref.Class == hsmbackend.ClassPrivate {
		class, flags = pkcs11.CKO_PRIVATE_KEY, privateFlags()
	}
	list := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, class),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, p.kind.ckk),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, p.attr.Token),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, p.attr.Extractable),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, p.attr.Label),
		pkcs11.NewAttribute(pkcs11.CKA_ID, p.ref.ID[:]),
	}
	if prof.Copyable {
		list = append(list, pkcs11.NewAttribute(pkcs11.CKA_COPYABLE, false))
	}
	for _, f := range flags {
		list = append(list, pkcs11.NewAttribute(f.cka, p.attr.Usage.Has(f.use)))
	}
	if prof.AllowedMechanisms {
		var value []byte
		for _, m := range p.mechs {
			value = append(value, ulong(m)...)
		}
		list = append(list, &pkcs11.Attribute{Type: pkcs11.CKA_ALLOWED_MECHANISMS, Value: value})
	}
	list = append(list, more...)
	// SoftHSM applies the template of an unwrap or a derivation in order and refuses (CKR_ATTRIBUTE_READ_ONLY) whatever
	// follows MODIFIABLE=false.
	return append(list, pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, false))
}

// publicTemplate is the public half's, in a key pair; kind says which curve or modulus it is to have.
func (p *plan) publicTemplate(kind ...*pkcs11.Attribute) []*pkcs11.Attribute {
	return append([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, p.kind.ckk),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, p.attr.Token),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
		pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, p.attr.Label),
		pkcs11.NewAttribute(pkcs11.CKA_ID, p.ref.ID[:]),
		pkcs11.NewAttribute(pkcs11.CKA_VERIFY, p.attr.Usage.Has(hsmbackend.UsageSign)),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, false),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, false),
	}, kind...)
}
