//go:build !linux

package p11

import (
	"errors"
	"io"
)

// memoryCopy exists on Linux only.
func memoryCopy(string) (string, io.Closer, error) {
	return "", nil, errors.ErrUnsupported
}
