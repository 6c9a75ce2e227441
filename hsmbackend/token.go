// Package hsmbackend is the contract between Antipode and one token: what an HSM is asked to do, in which shapes, and
// which errors it may answer. Implementations are hsmbackend/p11 (a PKCS#11 module in this process) and later a plugin
// process; every one of them passes the suite of hsmbackend/hsmtest.
//
// Invariants:
//   - No method returns the value of a secret or private key. Keys are named by [KeyRef]; bytes that leave the token are
//     random numbers, public keys, signatures, MACs, ciphertexts, wrapped keys, the key tag of [Tagger], and what a key
//     pair is asked for by who may use it: the plaintext of [RSADecrypter] and the shared secret of [Agreer].
//   - Every key is SENSITIVE, PRIVATE and not MODIFIABLE, has the attributes asked for and no wider ones, and is checked
//     by reading them back (and by failing to read CKA_VALUE) before its reference is returned. A token that answers
//     otherwise is refused with [ErrTokenLies], and the object is destroyed.
//   - Mechanisms are named by algorithm; which CKM_ constant that is on a token is the implementation's matter.
//   - Every method honours ctx while it waits for a session (a PKCS#11 call that has started can't be cancelled) and is
//     safe for concurrent use.
package hsmbackend

import (
	"context"
	"crypto"
)

// Token is one logged-in token. Consumers declare the smaller interfaces below that they need.
type Token interface {
	Describer
	Random
	Generator
	Finder
	Scoper
	Wrapper
	OAEPWrapper
	Importer
	Deriver
	Tagger
	GCM
	Signer
	RSADecrypter
	Agreer
	MACer

	// Close logs out and frees the module; session objects are gone after it. It is idempotent.
	Close() error
}

// Describer says what the token is and can do. Both answers are fixed for the life of the connection.
type Describer interface {
	Info() Info
	Capabilities() Capabilities
}

// Random makes random bytes.
type Random interface {
	// Random returns n bytes (1 to 65536) of the token's random number generator, C_GenerateRandom.
	Random(ctx context.Context, n int) ([]byte, error)
}

// Generator makes keys on the token.
type Generator interface {
	// GenerateKey makes a secret key of a symmetric [KeyType].
	GenerateKey(ctx context.Context, kt KeyType, attr Attributes) (KeyRef, error)

	// GenerateKeyPair makes a key pair of an asymmetric [KeyType] and returns the private key's reference with the
	// public key as DER SubjectPublicKeyInfo. Of a session pair no public object remains on the token.
	GenerateKeyPair(ctx context.Context, kt KeyType, attr Attributes) (KeyRef, []byte, error)
}

// Finder works on objects that exist.
type Finder interface {
	// FindToken returns the token object of this class with this CKA_ID, or [ErrObjectNotFound], or [ErrAmbiguous] if
	// there are several. It may take time proportional to the number of objects and is for start-up and recovery only.
	FindToken(ctx context.Context, class Class, id ID) (KeyRef, error)

	// ListToken returns the token objects of this class whose CKA_LABEL is label. For start-up and recovery only.
	ListToken(ctx context.Context, class Class, label string) ([]KeyRef, error)

	// PublicKey returns the public half of a token key pair as DER SubjectPublicKeyInfo.
	PublicKey(ctx context.Context, key KeyRef) ([]byte, error)

	// Destroy destroys the object, and of a token key pair both objects. An object that is gone already is no error.
	Destroy(ctx context.Context, key KeyRef) error
}

// Scoper makes sessions that own the session objects of one piece of work, so that ending it leaves nothing behind.
type Scoper interface {
	// OpenScope opens a session for one piece of work, a replication for instance. Objects made with the Scope in their
	// [Attributes] live until they are destroyed, the scope is closed, or its session is lost.
	OpenScope(ctx context.Context) (Scope, error)

	// CloseScope destroys every object of the scope and closes its session. It is idempotent.
	CloseScope(scope Scope) error
}

// Wrapper moves key material in and out of the token under a key-encryption key, by AES-KWP (RFC 5649, NIST SP
// 800-38F KWP): 8 bytes longer than the material, rounded up to a multiple of 8. An AES-256 key makes 40 bytes. The
// material of a private key is its PKCS #8 PrivateKeyInfo.
type Wrapper interface {
	// Wrap returns material encrypted under kek. It returns [ErrNotExtractable] if material may not leave the token.
	Wrap(ctx context.Context, kek, material KeyRef) ([]byte, error)

	// Unwrap makes a key of type kt from blob. It returns [ErrIntegrity] if blob was not made by Wrap under kek, or holds
	// a private key of another curve or modulus length. A private key unwraps to a session object only, and nothing tells
	// its public half: whoever has it must prove that it belongs to the key.
	Unwrap(ctx context.Context, kek KeyRef, blob []byte, kt KeyType, attr Attributes) (KeyRef, error)
}

// OAEPWrapper moves a key, an AES-256 key to another token under an [RSA4096] key pair of that one, by RSAES-OAEP (RFC 8017,
// section 7.1) with an empty label, 512 bytes. Its methods return [ErrUnsupported] for a hash, [MechOAEPSHA256] or
// [MechOAEPSHA1], that the token's capabilities do not name.
type OAEPWrapper interface {
	// WrapOAEP returns material, an AES-256 key, encrypted to public: DER SubjectPublicKeyInfo of an RSA key of 4096
	// bits with e = 65537, which the caller has checked. The public key is on the token for the time of the call only.
	// It returns [ErrNotExtractable] if material may not leave the token, [ErrInvalidInput] for another kind of key.
	WrapOAEP(ctx context.Context, public []byte, hash Mechanism, material KeyRef) ([]byte, error)

	// UnwrapOAEP makes a key of type kt from blob, a private key from its PKCS #8 and as a session object only, with the
	// private key of an RSA pair of any length that may unwrap. It returns [ErrIntegrity] if blob is not as long as the
	// modulus, was not made under its public key with the same hash, or holds no private key of kt. Some tokens also take
	// a secret key of another length: then [Wrapper].Wrap answers [ErrInvalidInput] for one whose wrapping is shorter or
	// longer than kt's, and of AES-256 every use of one of 25 to 31 bytes fails. Nothing but the answer tells the two
	// causes apart, and a pair that answers often is an oracle: it is for one blob.
	UnwrapOAEP(ctx context.Context, private KeyRef, hash Mechanism, blob []byte, kt KeyType, attr Attributes) (KeyRef, error)
}

// Deriver makes keys from keys, without either becoming readable.
type Deriver interface {
	// DeriveECDH agrees on a secret with peer, an uncompressed point (97 bytes on P-384) that the caller has checked to
	// be on the curve, by CKM_ECDH1_DERIVE, and makes an AES-256 key of it. With [KDFNull] the key is the *last* 32
	// bytes of the shared x-coordinate and info must be empty; with [KDFX963SHA384] info is CKM_ECDH1_DERIVE's
	// shared data. It returns [ErrUnsupported] for a KDF that the token has not, [ErrInvalidInput] for a bad point.
	DeriveECDH(ctx context.Context, private KeyRef, peer []byte, kdf KDF, info []byte, attr Attributes) (KeyRef, error)

	// DeriveECB makes an AES-256 key whose value is AES-ECB(key, data), CKM_AES_ECB_ENCRYPT_DATA.
	DeriveECB(ctx context.Context, key KeyRef, data [32]byte, attr Attributes) (KeyRef, error)

	// DeriveXAES makes the AES-256-GCM key of XAES-256-GCM (C2SP) for the first 12 bytes of a 24-byte nonce. It is
	// SP 800-108 counter mode with AES-CMAC; [Capabilities].XAES says how it is computed. A token with [XAESOnHost] may
	// answer [ErrNotPermitted] for key only when the derived key is used. attr must allow [MechAESGCM] there, and can't
	// have Token or Extractable.
	DeriveXAES(ctx context.Context, key KeyRef, prefix [12]byte, attr Attributes) (KeyRef, error)
}

// Tagger computes what identifies key material without revealing it.
type Tagger interface {
	// Tag returns T, 32 bytes from which the material id is hashed. It is secret: never stored, sent or logged.
	// For AES-256: the KDF of DeriveXAES with label 'I' instead of 'X' and an all-zero context.
	// For HMAC keys: HMAC(key, "antipode/kmid/1") with the key's own hash.
	Tag(ctx context.Context, key KeyRef) ([]byte, error)
}

// GCM seals and opens with AES-256-GCM and a 16-byte tag. aad must not be empty (a SoftHSM build aborts on that). Where
// the token has no AES-GCM ([XAESOnHost]), key must come from DeriveXAES; for others it returns [ErrUnsupported].
type GCM interface {
	// SealGCM returns ciphertext and tag for plaintext of 0 to 65536 bytes, and the IV that was used: iv, or, where
	// [Capabilities].GCMIVFromToken says so, the token's own. It returns [ErrTokenLies] for an own IV that can't be
	// random: zero, or the one before.
	SealGCM(ctx context.Context, key KeyRef, iv [12]byte, plaintext, aad []byte) ([]byte, [12]byte, error)

	// OpenGCM returns the plaintext, or [ErrIntegrity] for whatever is wrong with sealed, iv or aad.
	OpenGCM(ctx context.Context, key KeyRef, iv [12]byte, sealed, aad []byte) ([]byte, error)
}

// Signer signs with private keys.
type Signer interface {
	// SignECDSA signs a digest with a key on a NIST curve or secp256k1 and returns r||s, each as long as the curve's
	// order (32, 48 or 66 bytes). The digest is as long as that of the hash that goes with the curve: 48 bytes on P-384, 64
	// on P-521, 32 on the others.
	SignECDSA(ctx context.Context, key KeyRef, digest []byte) ([]byte, error)

	// SignRSA signs a digest of SHA-256, SHA-384 or SHA-512 by scheme, [MechRSAPSS] or [MechRSAPKCS1] (RFC 8017, 8.1 and
	// 8.2), and returns a signature as long as the modulus.
	SignRSA(ctx context.Context, key KeyRef, scheme Mechanism, hash crypto.Hash, digest []byte) ([]byte, error)

	// SignEd25519 signs a message of 1 to 65536 bytes by Ed25519 (RFC 8032) or, with prehashed, a SHA-512 digest by
	// Ed25519ph without a context, and returns 64 bytes. It returns [ErrUnsupported] for a variant that the token's
	// capabilities ([MechEdDSA], [MechEdDSAPH]) do not name.
	SignEd25519(ctx context.Context, key KeyRef, message []byte, prehashed bool) ([]byte, error)
}

// RSADecrypter opens what was encrypted to an RSA key pair.
type RSADecrypter interface {
	// DecryptOAEP opens blob, as long as the modulus, by RSAES-OAEP with an empty label and MGF1 of the same hash,
	// [MechOAEPSHA256] or [MechOAEPSHA1]. Where the token has no such OAEP, but [MechRSARaw], the token does the private
	// key's operation and the padding is removed in host memory, in constant time; [Capabilities.OAEPOnHost] says so. It
	// returns [ErrIntegrity] for whatever is wrong with blob, and [ErrUnsupported] if the token has neither.
	DecryptOAEP(ctx context.Context, key KeyRef, hash Mechanism, blob []byte) ([]byte, error)
}

// Agreer agrees on secrets that are the caller's.
type Agreer interface {
	// AgreeECDH returns the shared secret of a key on a NIST curve with peer, an uncompressed point on the same curve: the
	// x-coordinate, 32, 48 or 66 bytes, CKM_ECDH1_DERIVE with [KDFNull]. On the token it is a session object that can be
	// read and do nothing else, for the time of the call. It returns [ErrInvalidInput] for a point that is not on the
	// curve, and [ErrUnsupported] if the token's ECDH has no [KDFNull].
	AgreeECDH(ctx context.Context, key KeyRef, peer []byte) ([]byte, error)
}

// MACer computes message authentication codes.
type MACer interface {
	// MAC returns the HMAC of data, 1 to 65536 bytes, under a key of an HMAC [KeyType] with the key's own hash, full
	// length (32 bytes for HMAC-SHA-256). Compare it in constant time.
	MAC(ctx context.Context, key KeyRef, data []byte) ([]byte, error)
}
