package regions

import (
	"errors"
	"fmt"
	"strings"
)

// Error is a failure that an API client may see: an AWS error code and AWS's text. Whatever else goes wrong inside is
// answered as KMSInternalException without detail.
type Error struct {
	Code    string
	Message string
}

// Error returns code and message.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// Is reports whether target is an *Error with the same code, so that errors.Is(err, &Error{Code: ...}) works.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// The error codes in use, with AWS's names.
const (
	CodeAccessDenied           = "AccessDeniedException"
	CodeAlreadyExists          = "AlreadyExistsException"
	CodeConflict               = "ConflictException"
	CodeCustomKeyStoreNotFound = "CustomKeyStoreNotFoundException"
	CodeDependencyTimeout      = "DependencyTimeoutException"
	CodeDisabled               = "DisabledException"
	CodeDryRun                 = "DryRunOperationException"
	CodeExpiredImportToken     = "ExpiredImportTokenException"
	CodeIncorrectKeyMaterial   = "IncorrectKeyMaterialException"
	CodeInvalidImportToken     = "InvalidImportTokenException"
	CodeIncorrectKey           = "IncorrectKeyException"
	CodeInternal               = "KMSInternalException"
	CodeInvalidAliasName       = "InvalidAliasNameException"
	CodeInvalidArn             = "InvalidArnException"
	CodeInvalidCiphertext      = "InvalidCiphertextException"
	CodeInvalidGrantID         = "InvalidGrantIdException"
	CodeInvalidGrantToken      = "InvalidGrantTokenException"
	CodeInvalidKeyUsage        = "InvalidKeyUsageException"
	CodeInvalidMac             = "KMSInvalidMacException"
	CodeInvalidMarker          = "InvalidMarkerException"
	CodeInvalidSignature       = "KMSInvalidSignatureException"
	CodeInvalidState           = "KMSInvalidStateException"
	CodeKeyUnavailable         = "KeyUnavailableException"
	CodeLimitExceeded          = "LimitExceededException"
	CodeMalformedPolicy        = "MalformedPolicyDocumentException"
	CodeNotAuthorized          = "NotAuthorizedException"
	CodeNotFound               = "NotFoundException"
	CodeSerialization          = "SerializationException"
	CodeTag                    = "TagException"
	CodeUnknownOperation       = "UnknownOperationException"
	CodeUnsupportedOperation   = "UnsupportedOperationException"
	CodeValidation             = "ValidationException"
)

// Errorf makes an [*Error].
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// AsError returns the error that a client sees for err: err's own *Error if it has one, else KMSInternalException.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeInternal}
}

// invalid makes AWS's ValidationException for one member of a request. field is in camelCase.
func invalid(value any, field, constraint string) *Error {
	return Errorf(CodeValidation, "1 validation error detected: Value '%v' at '%s' failed to satisfy constraint: %s",
		value, field, constraint)
}

func invalidEnum(value, field string, allowed ...string) *Error {
	return invalid(value, field, "Member must satisfy enum value set: ["+strings.Join(allowed, ", ")+"]")
}

func missing(field string) *Error {
	return Errorf(CodeValidation,
		"1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", field)
}

// checkLength checks a member's length in bytes or characters. value is shown in the error; secrets are given as "".
func checkLength(value any, field string, length, least, most int) error {
	switch {
	case length < least:
		return invalid(value, field, fmt.Sprintf("Member must have length greater than or equal to %d", least))
	case length > most:
		return invalid(value, field, fmt.Sprintf("Member must have length less than or equal to %d", most))
	}
	return nil
}

func checkRange(value int, field string, least, most int) error {
	switch {
	case value < least:
		return invalid(value, field, fmt.Sprintf("Member must have value greater than or equal to %d", least))
	case value > most:
		return invalid(value, field, fmt.Sprintf("Member must have value less than or equal to %d", most))
	}
	return nil
}
