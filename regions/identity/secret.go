package identity

import (
	"errors"
	"fmt"
	"io"
)

// ErrMarshal is what every encoder is told that meets a [Secret].
var ErrMarshal = errors.New("secret access keys are not marshalled")

// Secret is a secret access key. Copies share the bytes. It lies in a closure because package fmt prints what a pointer
// in an unexported field of some other struct points to.
type Secret struct {
	held func() []byte
}

func secretOf(b []byte) Secret { return Secret{func() []byte { return b }} }

// Reveal returns the bytes themselves, not a copy; nil for the zero Secret. They must not be changed.
func (s Secret) Reveal() []byte {
	if s.held == nil {
		return nil
	}
	return s.held()
}

// String says only that there is a secret.
func (s Secret) String() string { return "secret" }

// GoString says only that there is a secret.
func (s Secret) GoString() string { return s.String() }

// Format says only that there is a secret, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) {
	// A State reports its own write errors to whoever prints.
	_, _ = io.WriteString(f, s.String())
}

// MarshalJSON fails.
func (s Secret) MarshalJSON() ([]byte, error) { return nil, ErrMarshal }

// MarshalText fails.
func (s Secret) MarshalText() ([]byte, error) { return nil, ErrMarshal }

// MarshalBinary fails.
func (s Secret) MarshalBinary() ([]byte, error) { return nil, ErrMarshal }

// MarshalCBOR fails.
func (s Secret) MarshalCBOR() ([]byte, error) { return nil, ErrMarshal }
