package identity

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrInvalid is wrapped by every error about a name, an ARN, a tag or a policy document that is not well-formed.
var ErrInvalid = errors.New("invalid identity")

const (
	userIDPrefix = "AIDA"
	roleIDPrefix = "AROA"
	uniqueLength = 21
	uniqueChars  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
)

// newUniqueID makes the unique id of a user or role: the prefix and 17 random letters and digits, as IAM's are.
func newUniqueID(random io.Reader, prefix string) (string, error) {
	id := append(make([]byte, 0, uniqueLength), prefix...)
	var b [1]byte
	for len(id) < uniqueLength {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return "", fmt.Errorf("make unique id: %w", err)
		}
		if int(b[0]) < 256-256%len(uniqueChars) { // so that each character is as likely as every other
			id = append(id, uniqueChars[int(b[0])%len(uniqueChars)])
		}
	}
	return string(id), nil
}

func validUniqueID(id, prefix string) bool {
	return len(id) == uniqueLength && strings.HasPrefix(id, prefix) && strings.Trim(id, uniqueChars) == ""
}

// ValidateAccount returns nil for 12 digits and an error that wraps [ErrInvalid] for all else.
func ValidateAccount(account string) error {
	if len(account) != 12 || strings.Trim(account, "0123456789") != "" {
		return fmt.Errorf("%w: an account id is 12 digits", ErrInvalid)
	}
	return nil
}

// ValidateUserName returns nil for 1 to 64 ASCII letters, digits and +=,.@_- and an error that wraps [ErrInvalid] for
// all else. The names of roles have the same form.
func ValidateUserName(name string) error { return validateName(name, "user or role", 64) }

func validateName(name, what string, limit int) error {
	if name == "" || len(name) > limit {
		return fmt.Errorf("%w: the name of a %s has 1 to %d characters", ErrInvalid, what, limit)
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("+=,.@_-", c) < 0 {
			return fmt.Errorf("%w: the name of a %s has only letters, digits and +=,.@_-", ErrInvalid, what)
		}
	}
	return nil
}

func validatePath(path string) error {
	if len(path) == 0 || len(path) > 512 || path[0] != '/' || path[len(path)-1] != '/' {
		return fmt.Errorf("%w: a path begins and ends with a slash and has at most 512 characters", ErrInvalid)
	}
	for i := range len(path) {
		if path[i] < '!' || path[i] > '~' {
			return fmt.Errorf("%w: a path has only printable ASCII characters without blanks", ErrInvalid)
		}
	}
	return nil
}

// ParseUserARN splits arn:aws:iam::ACCOUNT:user/PATH/NAME; whatever it accepts, [User.ARN] of its parts is the same
// text. Errors wrap [ErrInvalid].
func ParseUserARN(arn string) (account, path, name string, err error) { return parseARN(arn, "user") }

// ParseRoleARN splits arn:aws:iam::ACCOUNT:role/PATH/NAME, as [ParseUserARN] does.
func ParseRoleARN(arn string) (account, path, name string, err error) { return parseARN(arn, "role") }

func parseARN(arn, kind string) (account, path, name string, err error) {
	rest, ok := strings.CutPrefix(arn, "arn:aws:iam::")
	account, resource, colon := strings.Cut(rest, ":")
	pathAndName, isKind := strings.CutPrefix(resource, kind+"/")
	if !ok || !colon || !isKind {
		return "", "", "", fmt.Errorf("%w: a %s's ARN is arn:aws:iam::ACCOUNT:%s/NAME", ErrInvalid, kind, kind)
	}
	cut := strings.LastIndexByte(pathAndName, '/') + 1
	path, name = "/"+pathAndName[:cut], pathAndName[cut:]
	if err := ValidateAccount(account); err != nil {
		return "", "", "", err
	}
	if err := validatePath(path); err != nil {
		return "", "", "", err
	}
	if err := ValidateUserName(name); err != nil {
		return "", "", "", err
	}
	return account, path, name, nil
}
