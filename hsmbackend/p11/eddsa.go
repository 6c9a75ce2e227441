package p11

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"slices"

	"antipode/hsmbackend"
)

// SignEd25519 implements [hsmbackend.Signer].
func (t *Token) SignEd25519(ctx context.Context, key hsmbackend.KeyRef, message []byte, prehashed bool) ([]byte, error) {
	const op = "sign"
	need := hsmbackend.MechEdDSA
	switch {
	case prehashed && len(message) != sha512.Size:
		return nil, invalid(op, "not a SHA-512 digest")
	case prehashed:
		need = hsmbackend.MechEdDSAPH
	case len(message) == 0 || len(message) > maxPlaintext:
		return nil, invalid(op, "the message must be 1 to 65536 bytes")
	}
	if !t.caps.HasMechanism(need) {
		return nil, &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrUnsupported, Info: string(need)}
	}
	return t.signEd25519(ctx, key, message, prehashed)
}

func (t *Token) signEd25519(ctx context.Context, key hsmbackend.KeyRef, message []byte, prehashed bool) ([]byte, error) {
	var params []byte
	if prehashed {
		// CK_EDDSA_PARAMS {CK_BBOOL phFlag, CK_ULONG ulContextDataLen, CK_BYTE_PTR pContextData}
		params = make([]byte, 3*len(ulong(0)))
		params[0] = 1
	}
	var sig []byte
	err := t.run(ctx, "sign", nil, true, func(k *call) error {
		o, err := k.use(key)
		if err != nil {
			return err
		}
		if o.kt != hsmbackend.Ed25519 {
			return &hsmbackend.Error{Op: "sign", Kind: hsmbackend.ErrNotPermitted, Info: "not an Ed25519 key"}
		}
		sig, err = k.exactly(opSign(), o, ckmEdDSA, params, message, ed25519.SignatureSize)
		return err
	})
	return sig, err
}

// chooseEdDSA tries which variants of Ed25519 the token signs. A module can't be asked, and SoftHSM 2.6.1 answers a
// request for Ed25519ph with a pure signature.
func (t *Token) chooseEdDSA(ctx context.Context) error {
	if _, listed := t.mechs[ckmEdDSA]; !listed || !t.caps.HasKeyType(hsmbackend.Ed25519) {
		return nil
	}
	key, der, err := t.GenerateKeyPair(ctx, hsmbackend.Ed25519, hsmbackend.Attributes{
		Label: "antipode known answer", Usage: hsmbackend.UsageSign, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechEdDSA},
	})
	if err != nil {
		return t.withoutEdDSA(err)
	}
	err = t.proveEdDSA(ctx, key, der)
	return errors.Join(err, t.Destroy(ctx, key))
}

func (t *Token) proveEdDSA(ctx context.Context, key hsmbackend.KeyRef, der []byte) error {
	parsed, err := x509.ParsePKIXPublicKey(der)
	pub, is := parsed.(ed25519.PublicKey)
	if err != nil || !is {
		return t.withoutEdDSA(errors.New("public key is not Ed25519's"))
	}
	digest := sha512.Sum512([]byte("antipode known answer"))
	sig, err := t.signEd25519(ctx, key, digest[:], false)
	if err != nil || !ed25519.Verify(pub, digest[:], sig) {
		return t.withoutEdDSA(err)
	}
	t.caps.Mechanisms = append(t.caps.Mechanisms, hsmbackend.MechEdDSA)
	sig, err = t.signEd25519(ctx, key, digest[:], true)
	if err != nil && away(err) {
		return err
	}
	if err == nil && ed25519.VerifyWithOptions(pub, digest[:], sig, &ed25519.Options{Hash: crypto.SHA512}) == nil {
		t.caps.Mechanisms = append(t.caps.Mechanisms, hsmbackend.MechEdDSAPH)
	}
	return nil
}

// withoutEdDSA takes Ed25519 from what the token can do, unless err says that it did not answer.
func (t *Token) withoutEdDSA(why error) error {
	if why != nil && away(why) {
		return why
	}
	t.cfg.Log.Warn().Str("op", "known answer").Err(why).Msg("ed25519 is not used")
	is := func(kt hsmbackend.KeyType) bool { return kt == hsmbackend.Ed25519 }
	t.caps.KeyTypes, t.caps.NotWrapped = slices.DeleteFunc(t.caps.KeyTypes, is), slices.DeleteFunc(t.caps.NotWrapped, is)
	return nil
}
