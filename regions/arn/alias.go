package arn

import "strings"

const (
	aliasPrefix    = "alias/"
	reservedPrefix = "alias/aws/"

	// MaxAliasLength is the length in bytes of the longest alias name, its "alias/" included.
	MaxAliasLength = 256
)

// IsAliasName reports whether s can be the name of an alias that exists: 7 to 256 bytes, "alias/" and then A-Z, a-z,
// 0-9, '/', '_' and '-'. Names of AWS's own aliases (alias/aws/...) have this form too.
func IsAliasName(s string) bool {
	return len(s) > len(aliasPrefix) && len(s) <= MaxAliasLength && strings.HasPrefix(s, aliasPrefix) &&
		isAliasText(s) && strings.IndexByte(s, ':') < 0
}

// CheckNewAlias reports, in AWS's words and its order of checks, why s can't be the name of a new alias. The error is an
// [*Error] of kind [ErrAliasLength], [ErrAliasCharacters], [ErrAliasPrefix] or [ErrAliasReserved].
func CheckNewAlias(s string) error {
	switch {
	case s == "" || len(s) > MaxAliasLength:
		return &Error{Kind: ErrAliasLength, Value: s}
	case !isAliasText(s):
		return &Error{Kind: ErrAliasCharacters, Value: s}
	case !strings.HasPrefix(s, aliasPrefix) || len(s) == len(aliasPrefix):
		return &Error{Kind: ErrAliasPrefix, Value: s}
	case strings.IndexByte(s, ':') >= 0:
		// AWS's published pattern has the colon, because ARNs share it; the service then refuses it in a name.
		return &Error{Kind: ErrAliasCharacters, Value: s}
	case strings.HasPrefix(s, reservedPrefix):
		return &Error{Kind: ErrAliasReserved, Value: s}
	}
	return nil
}

// isAliasText reports whether s matches AWS's pattern for AliasName, [a-zA-Z0-9:/_-]+.
func isAliasText(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > ':') && c != '/' && c != '_' && c != '-' {
			return false
		}
	}
	return s != ""
}
