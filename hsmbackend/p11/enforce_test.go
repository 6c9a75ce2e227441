package p11_test

import (
	"errors"
	"testing"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/softhsm/softhsmtest"
)

func rv(err error) pkcs11.Error {
	var e pkcs11.Error
	_ = errors.As(err, &e)
	return e
}

// Somebody who has the PIN and the module tries to widen what a key may do.
func TestKeysCannotBeWidened(t *testing.T) {
	t.Parallel()
	tok := softhsmtest.Connect(t, softhsmtest.New(t))
	raw, slot := tok.Raw()
	s, err := raw.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []bool{false, true} {
		kek := hsmbackend.Attributes{
			Label: "kek", Token: token, Usage: hsmbackend.UsageWrap | hsmbackend.UsageUnwrap,
			Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP}, UnwrapSensitive: true,
		}
		ref, err := tok.GenerateKey(t.Context(), hsmbackend.AES256, kek)
		if err != nil {
			t.Fatal(err)
		}
		h := tok.Handle(ref)
		for name, a := range map[string]*pkcs11.Attribute{
			"DECRYPT":            pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true),
			"EXTRACTABLE":        pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
			"SENSITIVE":          pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false),
			"MODIFIABLE":         pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, true),
			"ALLOWED_MECHANISMS": {Type: pkcs11.CKA_ALLOWED_MECHANISMS, Value: pkcs11.NewAttribute(0, uint(pkcs11.CKM_AES_ECB)).Value},
		} {
			if err := raw.SetAttributeValue(s, h, []*pkcs11.Attribute{a}); err == nil {
				t.Errorf("token %v: %s was changed", token, name)
			}
		}
		if _, err := raw.CopyObject(s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true)}); err == nil {
			t.Errorf("token %v: a copy that decrypts was made", token)
		}
		if _, err := raw.CopyObject(s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, "copy")}); err == nil {
			t.Errorf("token %v: a copy was made", token)
		}
		ecb := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_ECB, nil)}
		if err := raw.DecryptInit(s, ecb, h); err == nil {
			t.Errorf("token %v: the KEK decrypts", token)
		}
		if _, err := raw.WrapKey(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_WRAP_PAD, nil)}, h, h); rv(err) != pkcs11.CKR_KEY_UNEXTRACTABLE {
			t.Errorf("token %v: wrapping the KEK: %v", token, err)
		}
	}
}

// What a KEK with the unwrap template unwraps can't be made readable.
func TestUnwrapTemplate(t *testing.T) {
	t.Parallel()
	tok := softhsmtest.Connect(t, softhsmtest.New(t))
	raw, slot := tok.Raw()
	s, err := raw.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	k := gcmKey()
	k.Extractable = true
	material, err := tok.GenerateKey(t.Context(), hsmbackend.AES256, k)
	if err != nil {
		t.Fatal(err)
	}
	for _, sensitive := range []bool{false, true} {
		kek, err := tok.GenerateKey(t.Context(), hsmbackend.AES256, hsmbackend.Attributes{
			Label: "kek", Usage: hsmbackend.UsageWrap | hsmbackend.UsageUnwrap,
			Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP}, UnwrapSensitive: sensitive,
		})
		if err != nil {
			t.Fatal(err)
		}
		blob, err := tok.Wrap(t.Context(), kek, material)
		if err != nil {
			t.Fatal(err)
		}
		h, err := raw.UnwrapKey(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_WRAP_PAD, nil)}, tok.Handle(kek), blob,
			[]*pkcs11.Attribute{
				pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
				pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
			})
		if err != nil {
			if !sensitive {
				t.Errorf("without the template: %v", err)
			}
			continue
		}
		_, err = raw.GetAttributeValue(s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)})
		if readable := err == nil; readable == sensitive {
			t.Errorf("UnwrapSensitive %v: readable %v", sensitive, readable)
		}
	}
}

// Objects that are not kept as every key must be are refused, whoever made them.
func TestATokenThatLies(t *testing.T) {
	t.Parallel()
	tok := softhsmtest.Connect(t, softhsmtest.New(t))
	raw, slot := tok.Raw()
	s, err := raw.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	make1 := func(t *testing.T, id hsmbackend.ID, token, sensitive, extractable, modifiable bool) pkcs11.ObjectHandle {
		t.Helper()
		h, err := raw.GenerateKey(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32), pkcs11.NewAttribute(pkcs11.CKA_ID, id[:]),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, token), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
			pkcs11.NewAttribute(pkcs11.CKA_LABEL, "planted"),
			pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, sensitive), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, extractable),
			pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true), pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true),
			pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, modifiable),
		})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	for i, c := range []struct{ sensitive, extractable, modifiable bool }{
		{false, true, false}, {true, true, false}, {false, false, false}, {true, false, true}, {false, true, true},
	} {
		id := hsmbackend.ID{byte(i + 1)}
		make1(t, id, true, c.sensitive, c.extractable, c.modifiable)
		if _, err := tok.FindToken(t.Context(), hsmbackend.ClassSecret, id); !errors.Is(err, hsmbackend.ErrTokenLies) {
			t.Errorf("found an object that is %+v: %v", c, err)
		}
		h := make1(t, hsmbackend.ID{}, false, c.sensitive, c.extractable, c.modifiable)
		err := tok.Verify(t.Context(), h, hsmbackend.AES256, gcmKey())
		var e *hsmbackend.Error
		if !errors.Is(err, hsmbackend.ErrTokenLies) || !errors.As(err, &e) {
			t.Errorf("accepted an object that is %+v: %v", c, err)
		} else if readable := !c.sensitive && c.extractable; readable != (e.Info == "CKA_VALUE can be read") {
			t.Errorf("an object that is %+v: %v", c, err)
		}
	}
	if _, err := tok.ListToken(t.Context(), hsmbackend.ClassSecret, "planted"); !errors.Is(err, hsmbackend.ErrTokenLies) {
		t.Errorf("listed planted objects: %v", err)
	}
	// Each attribute that the suite can't see through the contract: a key made for one purpose is not what was asked for
	// another.
	good, err := tok.GenerateKey(t.Context(), hsmbackend.AES256, gcmKey())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*hsmbackend.Attributes){
		"usage wider":      func(a *hsmbackend.Attributes) { a.Usage = hsmbackend.UsageEncrypt },
		"usage narrower":   func(a *hsmbackend.Attributes) { a.Usage |= hsmbackend.UsageSign },
		"extractable":      func(a *hsmbackend.Attributes) { a.Extractable = true },
		"token":            func(a *hsmbackend.Attributes) { a.Token = true },
		"mechanism":        func(a *hsmbackend.Attributes) { a.Mechanisms = []hsmbackend.Mechanism{hsmbackend.MechAESECB} },
		"one mechanism of": func(a *hsmbackend.Attributes) { a.Mechanisms = append(a.Mechanisms, hsmbackend.MechAESECB) },
	} {
		a := gcmKey()
		change(&a)
		if err := tok.Verify(t.Context(), tok.Handle(good), hsmbackend.AES256, a); !errors.Is(err, hsmbackend.ErrTokenLies) {
			t.Errorf("%s: %v", name, err)
		}
	}
	dup := hsmbackend.ID{0xd0}
	make1(t, dup, true, true, false, false)
	make1(t, dup, true, true, false, false)
	if _, err := tok.FindToken(t.Context(), hsmbackend.ClassSecret, dup); !errors.Is(err, hsmbackend.ErrAmbiguous) {
		t.Errorf("two objects with one id: %v", err)
	}
	if err := tok.Destroy(t.Context(), hsmbackend.KeyRef{ID: dup, Class: hsmbackend.ClassSecret}); !errors.Is(err, hsmbackend.ErrAmbiguous) {
		t.Errorf("destroy one of two: %v", err)
	}
}

// The public half of a session pair is destroyed at once, that of a token pair is kept and goes with it.
func TestPublicHalves(t *testing.T) {
	t.Parallel()
	tok := softhsmtest.Connect(t, softhsmtest.New(t))
	a := signPair()
	for _, c := range []struct {
		token          bool
		session, onTok int
	}{{false, 1, 0}, {true, 0, 2}} {
		a.Token = c.token
		ref, _, err := tok.GenerateKeyPair(t.Context(), hsmbackend.ECP384, a)
		if err != nil {
			t.Fatal(err)
		}
		if s, n := hsmtest.Objects(t, tok); s != c.session || n != c.onTok {
			t.Errorf("token %v: %d session and %d token objects", c.token, s, n)
		}
		if err := tok.Destroy(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		if s, n := hsmtest.Objects(t, tok); s != 0 || n != 0 {
			t.Errorf("token %v: %d session and %d token objects left", c.token, s, n)
		}
	}
}
