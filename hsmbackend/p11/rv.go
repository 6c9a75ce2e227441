package p11

import (
	"errors"
	"slices"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// fate says what an answer of the module means for the session that got it.
type fate int

const (
	fateFine    fate = iota // the session is good
	fateProbe               // the answer could mean anything: ask the session
	fateSession             // the session is dead, a new one may work
	fateModule              // the module must be finalised and opened again
)

// classify maps a CK_RV to what a caller branches on, and to what happens to the session.
func classify(rv uint) (fate, error) {
	switch rv {
	case pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_OPERATION_ACTIVE,
		pkcs11.CKR_OPERATION_NOT_INITIALIZED:
		return fateSession, hsmbackend.ErrSessionLost
	case pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_REMOVED,
		pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_USER_NOT_LOGGED_IN,
		pkcs11.CKR_SLOT_ID_INVALID:
		return fateModule, hsmbackend.ErrUnavailable
	case pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED:
		return fateProbe, hsmbackend.ErrInternal
	// After a lost login private objects look as if they did not exist.
	case pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID,
		pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID:
		return fateProbe, hsmbackend.ErrObjectNotFound
	case pkcs11.CKR_KEY_UNEXTRACTABLE, pkcs11.CKR_KEY_NOT_WRAPPABLE:
		return fateFine, hsmbackend.ErrNotExtractable
	case pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, pkcs11.CKR_KEY_TYPE_INCONSISTENT, pkcs11.CKR_KEY_SIZE_RANGE,
		pkcs11.CKR_WRAPPING_KEY_TYPE_INCONSISTENT, pkcs11.CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
		pkcs11.CKR_ATTRIBUTE_READ_ONLY, pkcs11.CKR_ACTION_PROHIBITED, pkcs11.CKR_TEMPLATE_INCONSISTENT,
		// The mechanism is one that the token has (that is checked beforehand), so this key does not allow it.
		pkcs11.CKR_MECHANISM_INVALID:
		return fateFine, hsmbackend.ErrNotPermitted
	case pkcs11.CKR_ENCRYPTED_DATA_INVALID, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, pkcs11.CKR_WRAPPED_KEY_INVALID,
		pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, ckrAEADFailed:
		return fateFine, hsmbackend.ErrIntegrity
	case pkcs11.CKR_FUNCTION_NOT_SUPPORTED, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_CURVE_NOT_SUPPORTED:
		return fateFine, hsmbackend.ErrUnsupported
	case pkcs11.CKR_SESSION_COUNT, pkcs11.CKR_DEVICE_MEMORY, pkcs11.CKR_HOST_MEMORY:
		return fateFine, hsmbackend.ErrFull
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_EXPIRED,
		pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_USER_PIN_NOT_INITIALIZED:
		return fateFine, hsmbackend.ErrPIN
	case pkcs11.CKR_DATA_LEN_RANGE, pkcs11.CKR_DATA_INVALID:
		return fateFine, hsmbackend.ErrInvalidInput
	}
	return fateFine, hsmbackend.ErrInternal
}

// rvOf returns the CK_RV inside err, also when crypto11 has wrapped it.
func rvOf(err error) (uint, bool) {
	var e pkcs11.Error
	if errors.As(err, &e) {
		return uint(e), true
	}
	return 0, false
}

// failed is an answer of the module that is still to be classed.
type failed struct {
	op   string // the C_ function
	blob bool   // it worked on a ciphertext that may be bad
	err  error
}

func (e *failed) Error() string { return e.op }

// ck names the C_ function that answered err.
func ck(op string, err error) error {
	if err == nil {
		return nil
	}
	return &failed{op: op, err: err}
}

// ckBlob is ck for functions that are given a ciphertext.
func ckBlob(op string, err error) error {
	if err == nil {
		return nil
	}
	return &failed{op: op, blob: true, err: err}
}

// judge turns err into the contract's error. probe asks the session that got it whether it lives.
func judge(p *Profile, err error, probe func() fate) (fate, error) {
	if err == nil {
		return fateFine, nil
	}
	var known *hsmbackend.Error
	var f *failed
	if errors.As(err, &known) || !errors.As(err, &f) {
		return fateFine, err
	}
	rv, ok := rvOf(f.err)
	if !ok {
		return fateFine, &hsmbackend.Error{Op: f.op, Kind: hsmbackend.ErrInternal, Info: f.err.Error()}
	}
	ft, kind := classify(rv)
	badBlob := f.blob && slices.Contains(p.BadBlob, rv)
	if ft == fateProbe || badBlob {
		switch ft = probe(); ft {
		case fateSession:
			kind = hsmbackend.ErrSessionLost
		case fateModule:
			kind = hsmbackend.ErrUnavailable
		case fateFine, fateProbe:
			if badBlob {
				kind = hsmbackend.ErrIntegrity
			}
		}
	}
	return ft, &hsmbackend.Error{Op: f.op, RV: rv, Kind: kind}
}

// invalid is an argument that the contract does not allow.
func invalid(op, why string) error {
	return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrInvalidInput, Info: why}
}
