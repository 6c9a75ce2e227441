package hsmbackend

import (
	"errors"
	"fmt"
)

// What a caller branches on. Each is matched with errors.Is; the value in hand is usually an [*Error].
var (
	// ErrObjectNotFound: the reference names nothing on the token (any more). A session object can be made again.
	ErrObjectNotFound = errors.New("object not found on the token")
	// ErrAmbiguous: several objects answer to one CKA_ID. The token needs an operator.
	ErrAmbiguous = errors.New("several objects have this id")
	// ErrNotExtractable: the key may not leave the token, even wrapped.
	ErrNotExtractable = errors.New("key is not extractable")
	// ErrIntegrity: a ciphertext, a tag or a wrapped key is not what this key made. Deliberately says no more.
	ErrIntegrity = errors.New("integrity check failed")
	// ErrInvalidInput: the caller's argument is at fault; nothing was done.
	ErrInvalidInput = errors.New("invalid input")
	// ErrUnsupported: the token has no such mechanism, KDF or key type.
	ErrUnsupported = errors.New("not supported by the token")
	// ErrNotPermitted: the key's attributes forbid this use.
	ErrNotPermitted = errors.New("key does not permit this use")
	// ErrTokenLies: a new object's attributes differ from those asked for, or its value can be read.
	ErrTokenLies = errors.New("token does not keep the attributes it was given")
	// ErrSessionLost: the session ended while the call ran; the call may or may not have taken effect. Try again.
	ErrSessionLost = errors.New("session lost")
	// ErrUnavailable: the module or the token does not answer (removed, device error, closed). It is being re-opened.
	ErrUnavailable = errors.New("token unavailable")
	// ErrBusy: no session became free before the deadline.
	ErrBusy = errors.New("token busy")
	// ErrFull: the token has no room for another object or session.
	ErrFull = errors.New("token full")
	// ErrPIN: the PIN is wrong, locked or expired. Never tried again; an operator must act.
	ErrPIN = errors.New("PIN refused")
	// ErrInternal: anything else that the token answered.
	ErrInternal = errors.New("token error")
)

// Error is a failed call to a token. Kind is one of the sentinels above, RV the CK_RV (0 if the module was not asked or
// did not answer). It holds nothing secret and is for logs, never for API clients.
type Error struct {
	Op   string // the operation, "C_UnwrapKey" or "open scope"
	RV   uint   // CK_RV
	Kind error
	Info string // more, for the log
}

// Error names the operation, the kind and the CK_RV.
func (e *Error) Error() string {
	s := e.Op + ": " + e.Kind.Error()
	if e.Info != "" {
		s += ": " + e.Info
	}
	if e.RV != 0 {
		s += fmt.Sprintf(" (CKR 0x%x)", e.RV)
	}
	return s
}

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }
