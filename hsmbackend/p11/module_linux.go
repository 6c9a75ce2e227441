package p11

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// memoryCopy puts the library into an anonymous file in memory. The dynamic loader tells libraries apart by device and
// inode, so each copy is a library of its own; and nothing is left on disk whenever the process dies, nor does it
// matter whether /tmp may hold executables. The file must stay open as long as the library is loaded: the loader also
// recognises libraries by name, and the number of a closed file is given out again.
func memoryCopy(src string) (string, io.Closer, error) {
	in, err := os.Open(src) //nolint:gosec // the operator names the module
	if err != nil {
		return "", nil, err
	}
	fd, err := unix.MemfdCreate("pkcs11-module", unix.MFD_CLOEXEC)
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("memfd_create: %w", err), in.Close())
	}
	out := os.NewFile(uintptr(fd), "pkcs11-module")
	_, err = io.Copy(out, in)
	if err = errors.Join(err, in.Close()); err != nil {
		return "", nil, errors.Join(err, out.Close())
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), out, nil
}
