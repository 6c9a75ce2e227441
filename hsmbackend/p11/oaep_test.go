package p11_test

import (
	"errors"
	"testing"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
	"antipode/softhsm/softhsmtest"
)

// An RSA private key is refused if any part of it can be read, and if it may do more than it was made for.
func TestRSAPairThatLies(t *testing.T) {
	t.Parallel()
	tok := softhsmtest.Connect(t, softhsmtest.New(t))
	raw, slot := tok.Raw()
	s, err := raw.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	want := hsmbackend.Attributes{
		Label: "pair", Usage: hsmbackend.UsageUnwrap, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechOAEPSHA1},
	}
	for _, c := range []struct {
		name                                string
		sensitive, extractable, decrypt, ok bool
	}{
		{"as asked for", true, false, false, true},
		{"readable", false, true, false, false},
		{"extractable", true, true, false, false},
		{"decrypts too", true, false, true, false},
	} {
		_, h, err := raw.GenerateKeyPair(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, nil)},
			[]*pkcs11.Attribute{
				pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false), pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, 1024),
				pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}),
			},
			[]*pkcs11.Attribute{
				pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
				pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, c.sensitive), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, c.extractable),
				pkcs11.NewAttribute(pkcs11.CKA_COPYABLE, false), pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, true),
				pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, c.decrypt), pkcs11.NewAttribute(pkcs11.CKA_SIGN, false),
				pkcs11.NewAttribute(pkcs11.CKA_DERIVE, false),
				{Type: pkcs11.CKA_ALLOWED_MECHANISMS, Value: pkcs11.NewAttribute(0, uint(pkcs11.CKM_RSA_PKCS_OAEP)).Value},
				pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, false),
			})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := tok.Verify(t.Context(), h, hsmbackend.RSA4096, want); c.ok && err != nil || !c.ok && !errors.Is(err, hsmbackend.ErrTokenLies) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
