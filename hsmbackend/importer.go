package hsmbackend

import "context"

// Importer takes key material that is in host memory into the token. It is for material that somebody has wrapped for the
// token in a way that the token can't unwrap by itself; what it can unwrap never comes this way.
type Importer interface {
	// ImportKey makes a session object from value: of a symmetric [KeyType] as many bytes as the type says, by
	// C_CreateObject; of a private key its PKCS #8, by way of a transient key under which it is wrapped in host memory. value stays the caller's, who overwrites it; the call leaves no copy of it in host memory, as far as
	// this process can see into it: what the module does with it is the module's. It returns [ErrInvalidInput] for another
	// length, a token object, or UnwrapSensitive, [ErrIntegrity] for what is no private key of the type, and [ErrNotPermitted] where [Capabilities].ImportsKeys
	// says that the token does not do it.
	ImportKey(ctx context.Context, kt KeyType, value []byte, attr Attributes) (KeyRef, error)

	// RecoverPublic returns the public half of a private key that was unwrapped or imported, as DER SubjectPublicKeyInfo.
	// Of an RSA key the object tells it; that of a key on a curve, which must be able to sign by ECDSA, is computed from
	// two signatures of random digests (SEC 1, section 4.1.6). It returns [ErrUnsupported] for other types.
	RecoverPublic(ctx context.Context, key KeyRef) ([]byte, error)
}
