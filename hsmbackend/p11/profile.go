package p11

import (
	"errors"
	"time"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// Profile holds what differs between vendors' modules and can't be read from the module itself.
type Profile struct {
	// Name for logs.
	Name string
	// KWP is the CKM_ number that is RFC 5649 on this token. CKM_AES_KEY_WRAP_PAD (0x210A) is RFC 5649 on some modules
	// and PKCS#7 padding on others, so it is never assumed.
	KWP uint
	// MaxCalls is how many calls may be inside the module at once, at least 1.
	MaxCalls int
	// MaxSessions is how many sessions this process may have open, at least 2*MaxCalls+3: those of the calls, crypto11's,
	// and the holder of long-lived session objects. What is left over limits the number of open scopes.
	MaxSessions int
	// Wait is how long a call waits for its place before it answers hsmbackend.ErrBusy; a nearer deadline of the
	// caller's counts instead.
	Wait time.Duration
	// Backoff is the pause after a failed attempt to re-open the module; it doubles up to MaxBackoff.
	Backoff, MaxBackoff time.Duration
	// AllowedMechanisms: the token keeps and obeys CKA_ALLOWED_MECHANISMS.
	AllowedMechanisms bool
	// UnwrapTemplate: the token keeps and obeys CKA_UNWRAP_TEMPLATE.
	UnwrapTemplate bool
	// Copyable: the token knows CKA_COPYABLE.
	Copyable bool
	// ValueLenInUnwrap: templates of C_UnwrapKey hold CKA_VALUE_LEN. SoftHSM refuses it there.
	ValueLenInUnwrap bool
	// ValueLenLost: CKA_VALUE_LEN of an unwrapped key reads 0.
	//
	// BUG: on such a token a wrapping of 25 to 31 bytes (made by somebody else who may use the KEK; it is as long as one
	// of 32) is not refused, nor one by OAEP of any other AES key. The key then has another material id, which the caller
	// compares, or is a wrapping key of an exchange, whose sender knows the material anyway.
	ValueLenLost bool
	// GCMIVFromToken: the token makes the IV of an AES-GCM encryption, into a buffer of zeros.
	GCMIVFromToken bool
	// GCMShortParams: CK_GCM_PARAMS has no ulIvBits, as in the first header of PKCS#11 2.40.
	GCMShortParams bool
	// ECDHKDFs are the key derivations of CKM_ECDH1_DERIVE; no module can be asked for them.
	ECDHKDFs []hsmbackend.KDF
	// OAEPHashes are the hashes that CKM_RSA_PKCS_OAEP takes when it wraps and unwraps; no module can be asked for them.
	OAEPHashes []hsmbackend.Mechanism
	// NoKeyTypes are key types that the token can't make although it has the mechanism, such as keys on some curves; no
	// module can be asked for them.
	NoKeyTypes []hsmbackend.KeyType
	// NotWrapped are key types that the token makes, but neither wraps nor unwraps.
	NotWrapped []hsmbackend.KeyType
	// BadBlob are the answers of C_Decrypt and C_UnwrapKey, beyond those the standard has for it, that mean a
	// ciphertext which the key did not make, provided that the session still answers.
	BadBlob []uint
}

// SoftHSM is the profile of SoftHSM 2.6 and 2.7.
func SoftHSM() Profile {
	return Profile{
		Name: "softhsm2",
		KWP:  pkcs11.CKM_AES_KEY_WRAP_PAD,
		// A lock of the library makes more callers slower, not faster.
		MaxCalls:          2,
		MaxSessions:       256,
		Wait:              5 * time.Second,
		Backoff:           100 * time.Millisecond,
		MaxBackoff:        10 * time.Second,
		AllowedMechanisms: true,
		UnwrapTemplate:    true,
		Copyable:          true,
		ValueLenLost:      true,
		ECDHKDFs:          []hsmbackend.KDF{hsmbackend.KDFNull},
		OAEPHashes:        []hsmbackend.Mechanism{hsmbackend.MechOAEPSHA1}, // SHA-256 answers CKR_ARGUMENTS_BAD
		NotWrapped:        []hsmbackend.KeyType{hsmbackend.Ed25519},        // CKR_KEY_NOT_WRAPPABLE
		// The first is what SoftHSM answers to a wrong tag or integrity check value, the second to a wrapped private key that
		// is not of the type asked for.
		BadBlob: []uint{pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED},
	}
}

func (p *Profile) validate() error {
	switch {
	case p.KWP == 0:
		return errors.New("profile: no mechanism for RFC 5649")
	case p.MaxCalls < 1:
		return errors.New("profile: MaxCalls must be at least 1")
	case p.MaxSessions < 2*p.MaxCalls+3:
		return errors.New("profile: MaxSessions must be at least 2*MaxCalls+3")
	case p.Wait <= 0:
		return errors.New("profile: Wait must be positive")
	case p.Backoff <= 0 || p.MaxBackoff < p.Backoff:
		return errors.New("profile: Backoff must be positive and MaxBackoff not below it")
	}
	return nil
}

// maxScopes is how many scopes may be open at once.
func (p *Profile) maxScopes() int { return p.MaxSessions - 2*p.MaxCalls - 2 }

// Numbers that miekg/pkcs11 lacks.
const (
	ckmSP800108Counter = 0x3AC // CKM_SP800_108_COUNTER_KDF
	ckrAEADFailed      = 0x42  // CKR_AEAD_DECRYPT_FAILED, PKCS#11 3.0
	ckaUnwrapTemplate  = pkcs11.CKA_UNWRAP_TEMPLATE
)

// mechanism returns the CKM_ number of m on this token.
func (p *Profile) mechanism(m hsmbackend.Mechanism) (uint, bool) {
	switch m {
	case hsmbackend.MechAESKWP:
		return p.KWP, true
	case hsmbackend.MechAESECB:
		return pkcs11.CKM_AES_ECB, true
	case hsmbackend.MechDeriveECB:
		return pkcs11.CKM_AES_ECB_ENCRYPT_DATA, true
	case hsmbackend.MechDeriveXAES:
		return ckmSP800108Counter, true
	case hsmbackend.MechAESGCM:
		return pkcs11.CKM_AES_GCM, true
	case hsmbackend.MechECDH:
		return pkcs11.CKM_ECDH1_DERIVE, true
	case hsmbackend.MechECDSA:
		return pkcs11.CKM_ECDSA, true
	case hsmbackend.MechHMACSHA224:
		return pkcs11.CKM_SHA224_HMAC, true
	case hsmbackend.MechHMACSHA256:
		return pkcs11.CKM_SHA256_HMAC, true
	case hsmbackend.MechHMACSHA384:
		return pkcs11.CKM_SHA384_HMAC, true
	case hsmbackend.MechHMACSHA512:
		return pkcs11.CKM_SHA512_HMAC, true
	case hsmbackend.MechRSAPKCS1:
		return pkcs11.CKM_RSA_PKCS, true
	case hsmbackend.MechRSAPSS:
		return pkcs11.CKM_RSA_PKCS_PSS, true
	case hsmbackend.MechRSARaw:
		return pkcs11.CKM_RSA_X_509, true
	case hsmbackend.MechEdDSA, hsmbackend.MechEdDSAPH:
		return ckmEdDSA, true
	case hsmbackend.MechOAEPSHA256, hsmbackend.MechOAEPSHA1:
		return pkcs11.CKM_RSA_PKCS_OAEP, true
	case hsmbackend.MechMLKEM:
		return ckmMLKEM, true
	case hsmbackend.MechMLDSA:
		return ckmMLDSA, true
	}
	return 0, false
}
