// Package secret carries plaintext and other secret bytes through a program that logs, formats and encodes.
//
// Invariants:
//   - Only [Bytes.Reveal] gives the bytes. Formatting, logging or encoding a Bytes shows its length, or fails.
//   - That holds for a Bytes in an unexported field too, where package fmt can't call its methods: the bytes lie in a
//     closure, of which fmt prints the address under every verb. (A pointer to them is not enough: with a verb that does
//     not suit it, as %s, fmt prints what it points to.)
package secret

import (
	"crypto/subtle"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
)

// ErrMarshal is what every encoder is told.
var ErrMarshal = errors.New("secret bytes are not marshalled")

// Bytes holds secret bytes. Copies of a Bytes share them. The zero value holds none. It is safe for concurrent use, but
// for [Bytes.Zero].
type Bytes struct {
	held func() []byte
}

// Of takes ownership of b, without a copy: the caller must not use b afterwards.
func Of(b []byte) Bytes { return Bytes{held: func() []byte { return b }} }

// Reveal returns the bytes themselves, not a copy; they are cleared by [Bytes.Zero]. Nothing may be kept of them
// beyond the call that needs them.
func (b Bytes) Reveal() []byte {
	if b.held == nil {
		return nil
	}
	return b.held()
}

// Len returns the number of bytes.
func (b Bytes) Len() int { return len(b.Reveal()) }

// Equal compares in time that depends on the two lengths only.
func (b Bytes) Equal(other Bytes) bool {
	return subtle.ConstantTimeCompare(b.Reveal(), other.Reveal()) == 1
}

// Zero overwrites the bytes, in every copy of b, up to the capacity of the slice that [Of] was given. Copies that
// others made of what Reveal returned are theirs to clear.
func (b Bytes) Zero() {
	revealed := b.Reveal()
	clear(revealed[:cap(revealed)])
}

// String says how many bytes there are.
func (b Bytes) String() string { return "secret(" + strconv.Itoa(b.Len()) + " bytes)" }

// GoString says how many bytes there are.
func (b Bytes) GoString() string { return b.String() }

// Format says how many bytes there are, whatever the verb.
func (b Bytes) Format(f fmt.State, _ rune) {
	// A State reports its own write errors to whoever prints.
	_, _ = io.WriteString(f, b.String())
}

// LogValue says how many bytes there are.
func (b Bytes) LogValue() slog.Value { return slog.StringValue(b.String()) }

// MarshalJSON fails. Without it zerolog's Any and encoding/json would write base64.
func (b Bytes) MarshalJSON() ([]byte, error) { return nil, ErrMarshal }

// MarshalText fails; encoding/xml, YAML encoders and map keys use it.
func (b Bytes) MarshalText() ([]byte, error) { return nil, ErrMarshal }

// MarshalBinary fails.
func (b Bytes) MarshalBinary() ([]byte, error) { return nil, ErrMarshal }

// MarshalCBOR fails.
func (b Bytes) MarshalCBOR() ([]byte, error) { return nil, ErrMarshal }

// GobEncode fails.
func (b Bytes) GobEncode() ([]byte, error) { return nil, ErrMarshal }

// Value fails: secret bytes are no column of a database.
func (b Bytes) Value() (driver.Value, error) { return nil, ErrMarshal }
