package hsmbackend

import "context"

// Importer takes key material that is in host memory into the token. It is for material that somebody has wrapped for the
// token in a way that the token can't unwrap by itself; what it can unwrap never comes this way.
type Importer interface {
	// ImportKey makes a session object of a symmetric [KeyType] from value, which is as long as the type says, by
	// C_CreateObject. value stays the caller's, who overwrites it; the call leaves no copy of it in host memory, as far as
	// this process can see into it: what the module does with it is the module's. It returns [ErrInvalidInput] for another
	// length, a key pair's type, a token object, or UnwrapSensitive, and [ErrNotPermitted] where [Capabilities].ImportsKeys
	// says that the token does not do it.
	ImportKey(ctx context.Context, kt KeyType, value []byte, attr Attributes) (KeyRef, error)
}
