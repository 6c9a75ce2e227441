package p11

import (
	"context"
	"crypto"
	_ "crypto/sha1" //nolint:gosec // RSAES-OAEP does not need its hash to resist collisions
	_ "crypto/sha256"
	"crypto/subtle"
	"slices"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// DecryptOAEP implements [hsmbackend.RSADecrypter].
func (t *Token) DecryptOAEP(
	ctx context.Context, key hsmbackend.KeyRef, hash hsmbackend.Mechanism, blob []byte,
) ([]byte, error) {
	const op = "decrypt by OAEP"
	var params []byte
	var h crypto.Hash
	switch hash { // CK_RSA_PKCS_OAEP_PARAMS: hashAlg, mgf, source, pSourceData, ulSourceDataLen
	case hsmbackend.MechOAEPSHA256:
		h, params = crypto.SHA256, slices.Concat(ulong(pkcs11.CKM_SHA256), ulong(pkcs11.CKG_MGF1_SHA256))
	case hsmbackend.MechOAEPSHA1:
		h, params = crypto.SHA1, slices.Concat(ulong(pkcs11.CKM_SHA_1), ulong(pkcs11.CKG_MGF1_SHA1))
	default:
		return nil, invalid(op, "not an OAEP mechanism")
	}
	params = append(params, slices.Concat(ulong(pkcs11.CKZ_DATA_SPECIFIED), ulong(0), ulong(0))...)
	if !t.caps.DecryptsOAEP(hash) {
		return nil, &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrUnsupported, Info: string(hash)}
	}
	var plaintext []byte
	err := t.run(ctx, op, nil, true, func(k *call) error {
		o, err := k.useRSA(op, key)
		if err != nil {
			return err
		}
		size := mustKind(o.kt).bits / 8
		if len(blob) != size {
			return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrIntegrity}
		}
		if !t.caps.OAEPOnHost(hash) {
			plaintext, err = k.upTo(opDecrypt(), o, pkcs11.CKM_RSA_PKCS_OAEP, params, blob, size)
			return err
		}
		padded, err := k.upTo(opDecrypt(), o, pkcs11.CKM_RSA_X_509, nil, blob, size)
		if err != nil {
			return err
		}
		full := make([]byte, size) // some tokens leave out what begins with zeros
		copy(full[size-len(padded):], padded)
		defer clear(full)
		clear(padded)
		var good bool
		if plaintext, good = unpadOAEP(h, full); !good {
			return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrIntegrity}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return plaintext, nil
}

// unpadOAEP removes the padding of RSAES-OAEP with an empty label (RFC 8017, 7.1.2, step 3) from an encoded message as
// long as the modulus, which it overwrites. Nothing that it does before it knows the answer depends on the message: which
// part of it is wrong, or how long the plaintext is, would be an oracle (Manger, CRYPTO 2001).
func unpadOAEP(hash crypto.Hash, em []byte) ([]byte, bool) {
	size := hash.Size()
	if len(em) < 2*size+2 {
		return nil, false
	}
	good := subtle.ConstantTimeByteEq(em[0], 0)
	seed, db := em[1:1+size], em[1+size:]
	mgf1XOR(seed, hash, db)
	mgf1XOR(db, hash, seed)
	label := hash.New().Sum(nil)
	good &= subtle.ConstantTimeCompare(db[:size], label)
	rest := db[size:]
	// rest is zeros, a one, the plaintext.
	looking, at := 1, 0
	for i, b := range rest {
		zero, one := subtle.ConstantTimeByteEq(b, 0), subtle.ConstantTimeByteEq(b, 1)
		at = subtle.ConstantTimeSelect(looking&one, i, at)
		looking = subtle.ConstantTimeSelect(one, 0, looking)
		good = subtle.ConstantTimeSelect(looking&^zero, 0, good)
	}
	if good&^looking != 1 {
		return nil, false
	}
	return slices.Clone(rest[at+1:]), true
}

// mgf1XOR xors out with MGF1(seed), RFC 8017, B.2.1.
func mgf1XOR(out []byte, hash crypto.Hash, seed []byte) {
	var counter [4]byte
	for done := 0; done < len(out); {
		h := hash.New()
		h.Write(seed)
		h.Write(counter[:])
		done += subtle.XORBytes(out[done:], out[done:], h.Sum(nil))
		counter[3]++ // a modulus takes fewer than 256 rounds
	}
}
