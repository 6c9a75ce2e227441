package p11

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"errors"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// The message of the known answers: https://c2sp.org/XAES-256-GCM.
const (
	answerNonce     = "ABCDEFGHIJKLMNOPQRSTUVWX"
	answerPlaintext = "XAES-256-GCM"
	answerAAD       = "c2sp.org/XAES-256-GCM"
)

// answer is a base key of 32 equal bytes, and the message key that XAES derives from it for answerNonce. Of the two
// published keys one has L with the top bit, the other without.
type answer struct {
	key     byte
	derived string
}

func publishedAnswers() []answer {
	return []answer{
		{1, "c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b"},
		{3, "e9c621d4cdd9b11b00a6427ad7e559aeedd66b3857646677748f8ca796cb3fd8"},
	}
}

// chooseXAES takes the best way to derive message keys that the token has mechanisms for and that gives the known
// answers. A token whose SP 800-108 derivation is missing AES-CMAC, or is something else, is used by AES-ECB steps, which
// give the right keys just as well; Config.ApprovedOnly refuses that. AES-GCM moves to the host only where the token
// has not the mechanisms for it, never because something failed.
func (t *Token) chooseXAES(ctx context.Context) error {
	if err := t.has("open token", pkcs11.CKM_AES_ECB); err != nil {
		return err
	}
	var ways []hsmbackend.XAESWay
	if t.caps.HasMechanism(hsmbackend.MechAESGCM) {
		if t.caps.HasMechanism(hsmbackend.MechDeriveXAES) {
			ways = append(ways, hsmbackend.XAESBySP800108)
		}
		if t.caps.HasMechanism(hsmbackend.MechDeriveECB) {
			ways = append(ways, hsmbackend.XAESByECB)
		}
	}
	if len(ways) == 0 {
		ways = append(ways, hsmbackend.XAESOnHost)
	}
	var err error
	for _, way := range ways {
		t.caps.XAES = way
		if err = t.prove(ctx); err == nil {
			return nil
		}
		t.cfg.Log.Warn().Str("op", "known answer").Str("xaes", string(way)).Err(err).Msg("a way to derive message keys is not used")
		if away(err) {
			return err
		}
	}
	return err
}

// prove derives and encrypts with keys of known values or, where the token lets none in, with keys of its own whose
// derived keys AES-ECB tells.
func (t *Token) prove(ctx context.Context) error {
	for _, a := range publishedAnswers() {
		want, err := hex.DecodeString(a.derived)
		if err != nil {
			return err
		}
		base, err := t.plant(ctx, bytes.Repeat([]byte{a.key}, 32))
		if refused(err) {
			return t.proveOwn(ctx)
		}
		if err != nil {
			return err
		}
		if err := errors.Join(t.proveKey(ctx, base, want), t.Destroy(ctx, base)); err != nil {
			return err
		}
	}
	return nil
}

// refused reports whether the token let no key of a known value in. It still answers, so it is asked in another way.
func refused(err error) bool {
	var e *hsmbackend.Error
	return errors.As(err, &e) && e.Op == "C_CreateObject" && !away(err)
}

// away reports whether an answer says nothing of what was asked.
func away(err error) bool {
	return errors.Is(err, hsmbackend.ErrUnavailable) || errors.Is(err, hsmbackend.ErrBusy) || errors.Is(err, hsmbackend.ErrSessionLost)
}

// proveOwn compares with what AES-ECB encryptions give. Eight keys leave the bit of L that the subkey depends on untried
// in one of its values once in 128 times.
func (t *Token) proveOwn(ctx context.Context) error {
	for range 8 {
		base, err := t.GenerateKey(ctx, hsmbackend.AES256, t.answerBase())
		if err != nil {
			return err
		}
		var want []byte
		err = t.run(ctx, "known answer", nil, true, func(k *call) error {
			o, err := k.use(base)
			if err != nil {
				return err
			}
			msg, err := k.xaesInput(o, 'X', [12]byte([]byte(answerNonce)))
			if err != nil {
				return err
			}
			want, err = k.encryptECB(o, msg[:])
			return err
		})
		if err == nil {
			err = t.proveKey(ctx, base, want)
		}
		if err := errors.Join(err, t.Destroy(ctx, base)); err != nil {
			return err
		}
	}
	return nil
}

func (t *Token) answerBase() hsmbackend.Attributes {
	a := hsmbackend.Attributes{Label: "antipode known answer", Usage: hsmbackend.UsageEncrypt | hsmbackend.UsageDerive}
	for _, m := range []hsmbackend.Mechanism{hsmbackend.MechAESECB, hsmbackend.MechDeriveECB, hsmbackend.MechDeriveXAES} {
		if t.caps.HasMechanism(m) {
			a.Mechanisms = append(a.Mechanisms, m)
		}
	}
	return a
}

// plant makes a session key of a known value.
func (t *Token) plant(ctx context.Context, value []byte) (hsmbackend.KeyRef, error) {
	const op = "known answer"
	p, err := t.plan(op, hsmbackend.AES256, t.answerBase())
	if err != nil {
		return hsmbackend.KeyRef{}, err
	}
	more := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, value)}
	ref, _, err := t.create(ctx, op, p, more, func(k *call, tmpl []*pkcs11.Attribute) (pkcs11.ObjectHandle, []byte, error) {
		h, err := k.c.mod.raw.CreateObject(k.s, tmpl)
		return h, nil, ck("C_CreateObject", err)
	})
	return ref, err
}

// proveKey derives a message key from base, encrypts and decrypts with it, and compares with AES-GCM under want.
func (t *Token) proveKey(ctx context.Context, base hsmbackend.KeyRef, want []byte) error {
	derived, err := t.DeriveXAES(ctx, base, [12]byte([]byte(answerNonce)), hsmbackend.Attributes{
		Label: "antipode known answer", Usage: hsmbackend.UsageEncrypt | hsmbackend.UsageDecrypt,
		Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESGCM},
	})
	if err != nil {
		return err
	}
	return errors.Join(t.proveGCM(ctx, derived, want), t.Destroy(ctx, derived))
}

func (t *Token) proveGCM(ctx context.Context, key hsmbackend.KeyRef, want []byte) error {
	block, err := aes.NewCipher(want)
	if err != nil {
		return err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	for range 2 { // an IV of the token's must differ from the one before
		sealed, iv, err := t.SealGCM(ctx, key, [12]byte([]byte(answerNonce[12:])), []byte(answerPlaintext), []byte(answerAAD))
		if err != nil {
			return err
		}
		if !bytes.Equal(sealed, aead.Seal(nil, iv[:], []byte(answerPlaintext), []byte(answerAAD))) {
			return &hsmbackend.Error{Op: "known answer", Kind: hsmbackend.ErrTokenLies, Info: "another ciphertext than XAES-256-GCM's"}
		}
		plaintext, err := t.OpenGCM(ctx, key, iv, sealed, []byte(answerAAD))
		if err != nil {
			return err
		}
		if string(plaintext) != answerPlaintext {
			return &hsmbackend.Error{Op: "known answer", Kind: hsmbackend.ErrTokenLies, Info: "another plaintext than was sealed"}
		}
	}
	return nil
}
