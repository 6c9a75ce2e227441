package sigv4

import "errors"

// The kinds of refusal, matched with errors.Is.
var (
	// ErrMissing: there is no Authorization header.
	ErrMissing = errors.New("no signature")
	// ErrIncomplete: the Authorization header, or a header it depends on, is malformed or not there.
	ErrIncomplete = errors.New("malformed signature")
	// ErrPresigned: the signature is in the query, which KMS clients never do.
	ErrPresigned = errors.New("presigned request")
	// ErrMismatch: the signature is not the one that this key makes for this request.
	ErrMismatch = errors.New("signature mismatch")
	// ErrUnsignedHeader: an X-Amz-* header or the host is not covered by the signature.
	ErrUnsignedHeader = errors.New("header not signed")
	// ErrExpired: the request was signed more than [MaxSkew] ago.
	ErrExpired = errors.New("signature expired")
	// ErrNotYetCurrent: the request was signed more than [MaxSkew] in the future.
	ErrNotYetCurrent = errors.New("signature not yet current")
	// ErrScopeDate: the day in the credential scope is not the day of the request.
	ErrScopeDate = errors.New("credential scope of another day")
	// ErrRegion: the credential scope names a Region that is not served here.
	ErrRegion = errors.New("credential scope of another region")
	// ErrService: the credential scope names another service.
	ErrService = errors.New("credential scope of another service")
	// ErrUnknownKey: the access key id is unknown or inactive, or the session token is not its own.
	ErrUnknownKey = errors.New("unknown access key")
	// ErrTokenExpired: the session token was valid once.
	ErrTokenExpired = errors.New("session token expired")
)

// The error codes of the AWS protocols.
const (
	CodeMissing      = "MissingAuthenticationTokenException"
	CodeIncomplete   = "IncompleteSignatureException"
	CodeInvalid      = "InvalidSignatureException"
	CodeUnknownKey   = "UnrecognizedClientException"
	CodeTokenExpired = "ExpiredTokenException"
)

// Error is a refusal: the code and the text that AWS sends, with HTTP status 400. Nothing in it is secret.
type Error struct {
	Code    string // one of the Code constants
	Message string
	kind    error
}

// Error returns the code and the text.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Unwrap returns one of the kinds above.
func (e *Error) Unwrap() error { return e.kind }

// Refusal returns AWS's code and text for a kind whose text does not depend on the request. It is for what a server
// finds out itself between [Parse] and [Verifier.Verify]: [ErrRegion], [ErrUnknownKey] and [ErrTokenExpired]. A kind that
// has no fixed text, or any other error, gives the refusal of [ErrMismatch].
func Refusal(kind error) *Error {
	switch {
	case errors.Is(kind, ErrMissing):
		return &Error{CodeMissing, "Missing Authentication Token", ErrMissing}
	case errors.Is(kind, ErrPresigned):
		return &Error{CodeIncomplete, "Presigned requests are not supported: sign with the Authorization header.", ErrPresigned}
	case errors.Is(kind, ErrRegion):
		return &Error{CodeInvalid, "Credential should be scoped to a valid region.", ErrRegion}
	case errors.Is(kind, ErrUnknownKey):
		return &Error{CodeUnknownKey, "The security token included in the request is invalid.", ErrUnknownKey}
	case errors.Is(kind, ErrTokenExpired):
		return &Error{CodeTokenExpired, "The security token included in the request is expired", ErrTokenExpired}
	default:
		return &Error{
			CodeInvalid, "The request signature we calculated does not match the signature you provided. " +
				"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
			ErrMismatch,
		}
	}
}

func incomplete(message string) *Error { return &Error{CodeIncomplete, message, ErrIncomplete} }

func unsigned(message string) *Error { return &Error{CodeInvalid, message, ErrUnsignedHeader} }
