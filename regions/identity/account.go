package identity

import (
	"fmt"
	"unicode/utf8"
)

// Account is an account: what owns keys, users and roles. CBOR.
type Account struct {
	ID      string `cbor:"1,keyasint"` // 12 digits
	Name    string `cbor:"2,keyasint"` // for people, at most 128 characters; may be empty
	Created int64  `cbor:"3,keyasint"` // Unix time in milliseconds
	Version int64  `cbor:"4,keyasint"` // see [NextVersion]
	Deleted bool   `cbor:"5,keyasint"`
}

// Validate returns nil or an error that wraps [ErrInvalid].
func (a Account) Validate() error {
	if !utf8.ValidString(a.Name) || utf8.RuneCountInString(a.Name) > 128 {
		return fmt.Errorf("%w: an account's name has at most 128 characters", ErrInvalid)
	}
	return ValidateAccount(a.ID)
}
