package p11

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	prof := SoftHSM()
	for _, c := range []struct {
		rv    uint
		blob  bool
		probe fate
		kind  error
		fate  fate
	}{
		{rv: pkcs11.CKR_SESSION_HANDLE_INVALID, kind: hsmbackend.ErrSessionLost, fate: fateSession},
		{rv: pkcs11.CKR_SESSION_CLOSED, kind: hsmbackend.ErrSessionLost, fate: fateSession},
		{rv: pkcs11.CKR_OPERATION_ACTIVE, kind: hsmbackend.ErrSessionLost, fate: fateSession},
		{rv: pkcs11.CKR_DEVICE_ERROR, kind: hsmbackend.ErrUnavailable, fate: fateModule},
		{rv: pkcs11.CKR_DEVICE_REMOVED, blob: true, kind: hsmbackend.ErrUnavailable, fate: fateModule},
		{rv: pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, kind: hsmbackend.ErrUnavailable, fate: fateModule},
		{rv: pkcs11.CKR_USER_NOT_LOGGED_IN, kind: hsmbackend.ErrUnavailable, fate: fateModule},
		// A general error is about the ciphertext only if there was one and the session lives.
		{rv: pkcs11.CKR_GENERAL_ERROR, blob: true, kind: hsmbackend.ErrIntegrity, fate: fateFine},
		{rv: pkcs11.CKR_GENERAL_ERROR, kind: hsmbackend.ErrInternal, fate: fateFine},
		{rv: pkcs11.CKR_GENERAL_ERROR, blob: true, probe: fateSession, kind: hsmbackend.ErrSessionLost, fate: fateSession},
		{rv: pkcs11.CKR_GENERAL_ERROR, blob: true, probe: fateModule, kind: hsmbackend.ErrUnavailable, fate: fateModule},
		{rv: pkcs11.CKR_FUNCTION_FAILED, blob: true, kind: hsmbackend.ErrIntegrity, fate: fateFine},
		{rv: pkcs11.CKR_FUNCTION_FAILED, kind: hsmbackend.ErrInternal, fate: fateFine},
		{rv: pkcs11.CKR_ENCRYPTED_DATA_INVALID, blob: true, kind: hsmbackend.ErrIntegrity, fate: fateFine},
		{rv: pkcs11.CKR_WRAPPED_KEY_INVALID, blob: true, kind: hsmbackend.ErrIntegrity, fate: fateFine},
		{rv: ckrAEADFailed, blob: true, kind: hsmbackend.ErrIntegrity, fate: fateFine},
		// A handle is wrong only while somebody is logged in.
		{rv: pkcs11.CKR_KEY_HANDLE_INVALID, kind: hsmbackend.ErrObjectNotFound, fate: fateFine},
		{rv: pkcs11.CKR_KEY_HANDLE_INVALID, probe: fateModule, kind: hsmbackend.ErrUnavailable, fate: fateModule},
		{rv: pkcs11.CKR_KEY_UNEXTRACTABLE, kind: hsmbackend.ErrNotExtractable, fate: fateFine},
		{rv: pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, kind: hsmbackend.ErrNotPermitted, fate: fateFine},
		{rv: pkcs11.CKR_KEY_SIZE_RANGE, kind: hsmbackend.ErrNotPermitted, fate: fateFine},
		{rv: pkcs11.CKR_DEVICE_MEMORY, kind: hsmbackend.ErrFull, fate: fateFine},
		{rv: pkcs11.CKR_SESSION_COUNT, kind: hsmbackend.ErrFull, fate: fateFine},
		{rv: pkcs11.CKR_PIN_LOCKED, kind: hsmbackend.ErrPIN, fate: fateFine},
		{rv: pkcs11.CKR_FUNCTION_NOT_SUPPORTED, kind: hsmbackend.ErrUnsupported, fate: fateFine},
		{rv: 0x80001234, kind: hsmbackend.ErrInternal, fate: fateFine},
	} {
		err := fmt.Errorf("crypto11 wraps: %w", pkcs11.Error(c.rv))
		in := ck("C_Test", err)
		if c.blob {
			in = ckBlob("C_Test", err)
		}
		ft, got := judge(&prof, in, func() fate { return c.probe })
		var e *hsmbackend.Error
		if !errors.Is(got, c.kind) || ft != c.fate || !errors.As(got, &e) || e.RV != c.rv || e.Op != "C_Test" {
			t.Errorf("0x%x blob %v probe %d: %v, fate %d", c.rv, c.blob, c.probe, got, ft)
		}
	}
	// What is known already is not overruled by a failure to clean up after it.
	both := errors.Join(lies("x"), ck("C_DestroyObject", pkcs11.Error(pkcs11.CKR_GENERAL_ERROR)))
	if _, got := judge(&prof, both, func() fate { return fateFine }); !errors.Is(got, hsmbackend.ErrTokenLies) {
		t.Errorf("%v", got)
	}
}

// NIST SP 800-38B, D.3 (AES-256): the subkeys of AES-CMAC.
func TestDouble(t *testing.T) {
	t.Parallel()
	l := [16]byte{0xe5, 0x68, 0xf6, 0x81, 0x94, 0xcf, 0x76, 0xd6, 0x17, 0x4d, 0x4c, 0xc0, 0x43, 0x10, 0xa8, 0x54}
	k1 := [16]byte{0xca, 0xd1, 0xed, 0x03, 0x29, 0x9e, 0xed, 0xac, 0x2e, 0x9a, 0x99, 0x80, 0x86, 0x21, 0x50, 0x2f}
	k2 := [16]byte{0x95, 0xa3, 0xda, 0x06, 0x53, 0x3d, 0xdb, 0x58, 0x5d, 0x35, 0x33, 0x01, 0x0c, 0x42, 0xa0, 0xd9}
	if got := double(l); got != k1 {
		t.Errorf("K1 = %x", got)
	}
	if got := double(k1); got != k2 {
		t.Errorf("K2 = %x", got)
	}
}

// What is taken for a signature is exactly one encoding of one pair of numbers.
func FuzzRawSignature(f *testing.F) {
	for _, rs := range [][2]int64{{1, 1}, {127, 128}, {1 << 40, 255}, {0, 1}, {-1, 1}} {
		der, err := asn1.Marshal(struct{ R, S *big.Int }{big.NewInt(rs[0]), big.NewInt(rs[1])})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
		f.Add(append(der, 0))
	}
	f.Add([]byte{0x30, 0x07, 0x02, 0x02, 0x00, 0x01, 0x02, 0x01, 0x01}) // a leading zero
	f.Fuzz(func(t *testing.T, der []byte) {
		sig, err := rawSignature(der)
		if err != nil {
			return
		}
		if len(sig) != 96 {
			t.Fatalf("%d bytes", len(sig))
		}
		again, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:48]), new(big.Int).SetBytes(sig[48:])})
		if err != nil || !bytes.Equal(again, der) {
			t.Errorf("%x is re-encoded as %x, %v", der, again, err)
		}
	})
}
