package p11

import (
	"context"
	"crypto"
	"slices"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// rsaHash is how RSA signatures name a hash: CKM_ and CKG_MGF1_ number, and what RSASSA-PKCS1-v1_5 puts before a digest
// (RFC 8017, 9.2, note 1).
type rsaHash struct {
	ckm, mgf uint
	prefix   []byte
}

func rsaHashOf(h crypto.Hash) (rsaHash, bool) {
	prefix := func(total, oid, length byte) []byte {
		return []byte{0x30, total, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, oid, 0x05, 0x00, 0x04, length}
	}
	switch h {
	case crypto.SHA256:
		return rsaHash{pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, prefix(0x31, 1, 32)}, true
	case crypto.SHA384:
		return rsaHash{pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384, prefix(0x41, 2, 48)}, true
	case crypto.SHA512:
		return rsaHash{pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512, prefix(0x51, 3, 64)}, true
	default:
		return rsaHash{}, false
	}
}

// SignRSA implements [hsmbackend.Signer].
func (t *Token) SignRSA(
	ctx context.Context, key hsmbackend.KeyRef, scheme hsmbackend.Mechanism, hash crypto.Hash, digest []byte,
) ([]byte, error) {
	const op = "sign"
	h, known := rsaHashOf(hash)
	if !known || len(digest) != hash.Size() {
		return nil, invalid(op, "not a digest of SHA-256, SHA-384 or SHA-512")
	}
	var ckm uint
	var params []byte
	in := digest
	switch scheme {
	case hsmbackend.MechRSAPSS:
		ckm = pkcs11.CKM_RSA_PKCS_PSS
		params = slices.Concat(ulong(h.ckm), ulong(h.mgf), ulong(uint(len(digest)))) // CK_RSA_PKCS_PSS_PARAMS
	case hsmbackend.MechRSAPKCS1:
		ckm, in = pkcs11.CKM_RSA_PKCS, slices.Concat(h.prefix, digest)
	default:
		return nil, invalid(op, "not an RSA signature scheme")
	}
	if err := t.has(op, ckm); err != nil {
		return nil, err
	}
	var sig []byte
	err := t.run(ctx, op, nil, true, func(k *call) error {
		o, err := k.useRSA(op, key)
		if err != nil {
			return err
		}
		sig, err = k.exactly(opSign(), o, ckm, params, in, mustKind(o.kt).bits/8)
		return err
	})
	if err != nil {
		return nil, err
	}
	return sig, nil
}

// useRSA is use, of an RSA private key.
func (k *call) useRSA(op string, key hsmbackend.KeyRef) (*object, error) {
	o, err := k.use(key)
	if err == nil && mustKind(o.kt).ckk != pkcs11.CKK_RSA {
		return nil, &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrNotPermitted, Info: "not an RSA key"}
	}
	return o, err
}
