package p11

import (
	"bytes"
	"context"
	"crypto"
	"encoding/asn1"
	"errors"
	"math/big"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

const p384Bytes = 48

// SignECDSA implements [hsmbackend.Signer]. A P-384 key pair of the token signs through crypto11, others through a session
// of the pool.
func (t *Token) SignECDSA(ctx context.Context, key hsmbackend.KeyRef, digest []byte) ([]byte, error) {
	const op = "sign"
	if key.Class != hsmbackend.ClassPrivate {
		return nil, invalid(op, "not a private key")
	}
	var sig []byte
	err := t.run(ctx, op, nil, true, func(k *call) error {
		o, err := k.use(key)
		if err != nil {
			return err
		}
		kd := mustKind(o.kt)
		switch {
		case kd.ckk != pkcs11.CKK_EC:
			return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrNotPermitted, Info: "not a key for ECDSA"}
		case len(digest) != kd.digest:
			return invalid(op, "the digest is not of the hash that goes with the curve")
		}
		if o.token && o.kt == hsmbackend.ECP384 {
			sig, err = k.signToken(key.ID, digest)
			return err
		}
		sig, err = k.one(opSign(), o, pkcs11.CKM_ECDSA, digest, 2*kd.field)
		return err
	})
	if err != nil {
		return nil, err
	}
	return sig, nil
}

// MAC implements [hsmbackend.MACer].
func (t *Token) MAC(ctx context.Context, key hsmbackend.KeyRef, data []byte) ([]byte, error) {
	const op = "mac"
	if len(data) == 0 || len(data) > maxPlaintext {
		return nil, invalid(op, "data must be 1 to 65536 bytes")
	}
	var mac []byte
	err := t.run(ctx, op, nil, true, func(k *call) error {
		o, err := k.use(key)
		if err != nil {
			return err
		}
		if mustKind(o.kt).hmac == 0 {
			return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrNotPermitted, Info: "not an HMAC key"}
		}
		mac, err = k.hmac(o, data)
		return err
	})
	if err != nil {
		return nil, err
	}
	return mac, nil
}

func (k *call) hmac(o *object, data []byte) ([]byte, error) {
	kd := mustKind(o.kt)
	return k.one(opSign(), o, kd.hmac, data, kd.hash.Size())
}

// signToken signs through crypto11.
func (k *call) signToken(id hsmbackend.ID, digest []byte) ([]byte, error) {
	der, err := k.c.signDER(id, digest)
	if rv, ok := rvOf(err); ok {
		if ft, _ := classify(rv); ft == fateSession {
			// crypto11 has put the dead session back into its pool. Its context can be replaced only while the login lives,
			// since a new one logs in: with a login that is gone the connection is re-opened, which tries a PIN once.
			switch k.c.probe(k.s) {
			case fateFine:
			case fateModule:
				return nil, ck("C_Sign", pkcs11.Error(pkcs11.CKR_USER_NOT_LOGGED_IN))
			case fateSession, fateProbe:
				return nil, ck("C_Sign", err)
			}
			k.t.cfg.Log.Warn().Str("op", "sign").Uint("rv", rv).Msg("crypto11 session lost")
			if err := k.c.renewSigners(); err != nil {
				return nil, k.t.refusedPIN(k.c, ck("renew crypto11", err))
			}
			der, err = k.c.signDER(id, digest)
		}
	}
	if err != nil {
		return nil, ck("C_Sign", err)
	}
	return rawSignature(der)
}

// refusedPIN makes a PIN that was refused outside of reopen final too.
func (t *Token) refusedPIN(c *conn, err error) error {
	_, known := judge(&t.cfg.Profile, err, func() fate { return fateFine })
	if errors.Is(known, hsmbackend.ErrPIN) {
		t.mu.Lock()
		t.refused = known
		t.mu.Unlock()
		c.breakUp()
	}
	return err
}

func (c *conn) signDER(id hsmbackend.ID, digest []byte) ([]byte, error) {
	s, err := c.signer(id)
	if err != nil {
		return nil, err
	}
	// PKCS#11 tokens bring their own randomness; crypto11 ignores the reader.
	return s.Sign(nil, digest, crypto.SHA384)
}

// signer returns crypto11's signer for a key pair of the token, which it searches for once.
func (c *conn) signer(id hsmbackend.ID) (crypto11.Signer, error) {
	c.mu.Lock()
	s, ctx := c.signers[id], c.c11
	c.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := ctx.FindKeyPair(id[:], nil)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if c.c11 == ctx {
		c.signers[id] = s
	}
	c.mu.Unlock()
	return s, nil
}

func (c *conn) forgetSigner(id hsmbackend.ID) {
	c.mu.Lock()
	delete(c.signers, id)
	c.mu.Unlock()
}

// rawSignature turns crypto11's DER into r||s.
func rawSignature(der []byte) ([]byte, error) {
	var rs struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &rs)
	if err != nil || len(rest) != 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 ||
		rs.R.BitLen() > 8*p384Bytes || rs.S.BitLen() > 8*p384Bytes {
		return nil, &hsmbackend.Error{Op: "C_Sign", Kind: hsmbackend.ErrInternal, Info: "not a P-384 signature"}
	}
	// encoding/asn1 is lenient about what follows inside the sequence.
	if again, err := asn1.Marshal(rs); err != nil || !bytes.Equal(again, der) {
		return nil, &hsmbackend.Error{Op: "C_Sign", Kind: hsmbackend.ErrInternal, Info: "signature is not DER"}
	}
	sig := make([]byte, 2*p384Bytes)
	rs.R.FillBytes(sig[:p384Bytes])
	rs.S.FillBytes(sig[p384Bytes:])
	return sig, nil
}
