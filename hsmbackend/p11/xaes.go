package p11

import (
	"context"
	"crypto/subtle"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// tagMessage is what an HMAC key signs to be identified.
const tagMessage = "antipode/kmid/1"

// xaesInput returns the two blocks whose AES-ECB encryption under the key is the KDF of XAES-256-GCM (C2SP): M1 xor K1
// and M2 xor K1, M_i = 0x00 i label 0x00 | context. K1 is AES-CMAC's subkey, 2*L in GF(2^128), L = AES(key, 0^128).
// L reveals K1 and with it what AES-CMAC would hide, so it is overwritten as soon as K1 is made.
func (k *call) xaesInput(o *object, label byte, context [12]byte) (msg [32]byte, err error) {
	var zero [16]byte
	l, err := k.encryptECB(o, zero[:])
	if err != nil {
		return msg, err
	}
	k1 := double([16]byte(l))
	clear(l)
	defer clear(k1[:])
	for i := range 2 {
		block := msg[16*i : 16*i+16]
		block[1], block[2] = byte(i+1), label
		copy(block[4:], context[:])
		subtle.XORBytes(block, block, k1[:])
	}
	return msg, nil
}

// double multiplies by x in GF(2^128) as AES-CMAC does (NIST SP 800-38B, 6.1), in constant time.
func double(l [16]byte) (k [16]byte) {
	carry := l[0] >> 7
	for i := range 15 {
		k[i] = l[i]<<1 | l[i+1]>>7
	}
	k[15] = l[15]<<1 ^ carry*0x87
	return k
}

// encryptECB encrypts whole blocks.
func (k *call) encryptECB(o *object, blocks []byte) ([]byte, error) {
	return k.one(opEncrypt(), o, pkcs11.CKM_AES_ECB, blocks, len(blocks))
}

// Tag implements [hsmbackend.Tagger].
func (t *Token) Tag(ctx context.Context, key hsmbackend.KeyRef) ([]byte, error) {
	const op = "tag"
	var tag []byte
	err := t.run(ctx, op, nil, true, func(k *call) error {
		o, err := k.use(key)
		if err != nil {
			return err
		}
		switch o.kt {
		case hsmbackend.AES256:
			msg, err := k.xaesInput(o, 'I', [12]byte{})
			if err != nil {
				return err
			}
			defer clear(msg[:])
			tag, err = k.encryptECB(o, msg[:])
			return err
		case hsmbackend.HMACSHA256:
			tag, err = k.hmac(o, []byte(tagMessage))
			return err
		case hsmbackend.ECP384, hsmbackend.RSA4096:
		}
		return invalid(op, "a key pair is identified by its public key")
	})
	if err != nil {
		return nil, err
	}
	return tag, nil
}
