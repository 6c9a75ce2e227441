package arn

import (
	"errors"
	"strings"
)

// What a name is refused for. Each comment names the AWS error that carries it to a client.
var (
	ErrInvalidKeyID    = errors.New("invalid key identifier")         // NotFoundException
	ErrOtherRegion     = errors.New("ARN of another Region")          // NotFoundException
	ErrAliasLength     = errors.New("alias name too long or empty")   // ValidationException
	ErrAliasCharacters = errors.New("alias name has bad characters")  // ValidationException
	ErrAliasPrefix     = errors.New("alias name lacks its prefix")    // ValidationException
	ErrAliasReserved   = errors.New("alias name is reserved for AWS") // NotAuthorizedException
)

// Error is a refused name. Its text is the message that AWS KMS sends, and quotes what the client sent.
type Error struct {
	Kind  error  // one of the sentinels of this package
	Value string // the name, or the Region for ErrOtherRegion
}

// Error returns AWS's text.
func (e *Error) Error() string {
	const constraint = "' at 'aliasName' failed to satisfy constraint: Member must "
	switch {
	case errors.Is(e.Kind, ErrOtherRegion):
		return "Invalid arn " + e.Value
	case errors.Is(e.Kind, ErrAliasLength) && e.Value == "":
		return "1 validation error detected: Value '" + constraint + "have length greater than or equal to 1"
	case errors.Is(e.Kind, ErrAliasLength):
		return "1 validation error detected: Value '" + e.Value + constraint + "have length less than or equal to 256"
	case errors.Is(e.Kind, ErrAliasCharacters) && strings.IndexByte(e.Value, ':') >= 0 && isAliasText(e.Value):
		return e.Value + " contains invalid characters for an alias"
	case errors.Is(e.Kind, ErrAliasCharacters):
		return "1 validation error detected: Value '" + e.Value + constraint +
			"satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"
	case errors.Is(e.Kind, ErrAliasPrefix):
		return `Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`
	case errors.Is(e.Kind, ErrAliasReserved):
		return "" // AWS sends no text with it
	default:
		return "Invalid keyId '" + e.Value + "'"
	}
}

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }
