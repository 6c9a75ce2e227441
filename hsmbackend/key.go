package hsmbackend

import "encoding/hex"

// ID is an object's CKA_ID: 16 random bytes, unique on a token.
type ID [16]byte

// String returns 32 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Class is the kind of an object.
type Class uint8

// The classes that references name. Public keys travel as DER and have none.
const (
	ClassSecret  Class = 1 // CKO_SECRET_KEY
	ClassPrivate Class = 2 // CKO_PRIVATE_KEY
)

// KeyRef names one key of one open [Token]. It is a plain value: comparable, and fit to cross a process boundary. For a
// token object it is valid across reconnections; for a session object until it is destroyed or its session is lost,
// after which every use answers [ErrObjectNotFound].
type KeyRef struct {
	ID    ID
	Class Class
}

// IsZero reports whether the reference names nothing.
func (r KeyRef) IsZero() bool { return r == KeyRef{} }

// String names the object for logs.
func (r KeyRef) String() string { return r.ID.String() }

// Scope names a session that owns session objects; see [Scoper]. The zero Scope is the token's long-lived one: its
// objects live until they are destroyed or the connection to the token is lost.
type Scope uint64

// KeyType is a kind of key.
type KeyType string

// The key types in use.
const (
	AES256     KeyType = "AES-256"      // 32 bytes, CKK_AES
	HMACSHA224 KeyType = "HMAC-SHA-224" // 28 bytes, CKK_GENERIC_SECRET, used with CKM_SHA224_HMAC
	HMACSHA256 KeyType = "HMAC-SHA-256" // 32 bytes, CKK_GENERIC_SECRET, used with CKM_SHA256_HMAC
	HMACSHA384 KeyType = "HMAC-SHA-384" // 48 bytes, CKK_GENERIC_SECRET, used with CKM_SHA384_HMAC
	HMACSHA512 KeyType = "HMAC-SHA-512" // 64 bytes, CKK_GENERIC_SECRET, used with CKM_SHA512_HMAC

	ECP256      KeyType = "EC-P-256"     // CKK_EC on secp256r1
	ECP384      KeyType = "EC-P-384"     // CKK_EC on secp384r1
	ECP521      KeyType = "EC-P-521"     // CKK_EC on secp521r1
	ECSecp256k1 KeyType = "EC-secp256k1" // CKK_EC on secp256k1
	Ed25519     KeyType = "Ed25519"      // CKK_EC_EDWARDS

	RSA2048 KeyType = "RSA-2048" // CKK_RSA, e = 65537
	RSA3072 KeyType = "RSA-3072" // CKK_RSA, e = 65537
	RSA4096 KeyType = "RSA-4096" // CKK_RSA, e = 65537; for [OAEPWrapper] too
)

// Usage is a set of things a key may be used for, the CKA_ flags of the same names.
type Usage uint8

// The usages. A flag that is not set is set to false on the token.
const (
	UsageEncrypt Usage = 1 << iota
	UsageDecrypt
	UsageSign
	UsageVerify
	UsageDerive
	UsageWrap
	UsageUnwrap
)

// Has reports whether all of want are in u.
func (u Usage) Has(want Usage) bool { return u&want == want }

// Attributes are what a new key is given beyond SENSITIVE, PRIVATE and not MODIFIABLE, which every key has. All of
// them are written to the token explicitly, and read back.
type Attributes struct {
	// Label is CKA_LABEL, for the eyes of an operator who lists the token; never used to choose a key on a data path.
	Label string
	// Token makes a token object (CKA_TOKEN), which outlives the process; otherwise it is a session object of Scope.
	Token bool
	// ID is the CKA_ID; the zero value asks for a random one. Fixed ones let recovery find what a crash left.
	ID ID
	// Scope owns the session object; it must be zero for token objects.
	Scope Scope
	// Extractable is CKA_EXTRACTABLE. Only transient copies have it.
	Extractable bool
	// Usage is all that the key may do.
	Usage Usage
	// Mechanisms is CKA_ALLOWED_MECHANISMS, where the token honours it; it must not be empty.
	Mechanisms []Mechanism
	// UnwrapSensitive asks for CKA_UNWRAP_TEMPLATE {CKA_SENSITIVE: true} where the token has it: what this key unwraps
	// can't be made readable, whatever template the caller gives.
	UnwrapSensitive bool
}

// Mechanism is an algorithm that a key may be limited to.
type Mechanism string

// The mechanisms in use.
const (
	MechAESKWP     Mechanism = "AES-KWP"            // RFC 5649
	MechAESECB     Mechanism = "AES-ECB"            // one-block encryptions inside the XAES KDF and key tags
	MechDeriveECB  Mechanism = "AES-ECB-DERIVE"     // CKM_AES_ECB_ENCRYPT_DATA
	MechDeriveXAES Mechanism = "AES-CMAC-SP800-108" // CKM_SP800_108_COUNTER_KDF with AES-CMAC
	MechAESGCM     Mechanism = "AES-GCM"
	MechECDH       Mechanism = "ECDH" // CKM_ECDH1_DERIVE
	MechECDSA      Mechanism = "ECDSA"
	MechHMACSHA224 Mechanism = "HMAC-SHA-224"
	MechHMACSHA256 Mechanism = "HMAC-SHA-256"
	MechHMACSHA384 Mechanism = "HMAC-SHA-384"
	MechHMACSHA512 Mechanism = "HMAC-SHA-512"
	MechEdDSA      Mechanism = "Ed25519"   // pure Ed25519, CKM_EDDSA
	MechEdDSAPH    Mechanism = "Ed25519ph" // of a SHA-512 digest; on the token one mechanism with MechEdDSA
	MechRSAPKCS1   Mechanism = "RSA-PKCS1" // RSASSA-PKCS1-v1_5, CKM_RSA_PKCS
	MechRSAPSS     Mechanism = "RSA-PSS"   // RSASSA-PSS, MGF1 of the same hash, salt as long as the digest
	MechRSARaw     Mechanism = "RSA-RAW"   // CKM_RSA_X_509; see [RSADecrypter]
	// RSAES-OAEP with an empty label and MGF1 of the same hash, CKM_RSA_PKCS_OAEP. On the token both are one mechanism.
	MechOAEPSHA256 Mechanism = "RSA-OAEP-SHA-256"
	MechOAEPSHA1   Mechanism = "RSA-OAEP-SHA-1"
	// Key encapsulation of FIPS 203 and signatures of FIPS 204 (PKCS #11 3.2), each with the generation of its key pairs. No
	// interface of this package uses them yet: they say what a token lacks.
	MechMLKEM Mechanism = "ML-KEM" // CKM_ML_KEM
	MechMLDSA Mechanism = "ML-DSA" // CKM_ML_DSA
)

// KDF is the key derivation inside CKM_ECDH1_DERIVE.
type KDF string

// The KDFs in use.
const (
	KDFNull       KDF = "NULL"        // CKD_NULL
	KDFX963SHA384 KDF = "X963-SHA384" // CKD_SHA384_KDF
)
