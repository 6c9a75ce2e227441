package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// forbidDumps keeps the process's memory, which holds PINs, access-key secrets and plaintexts, out of core dumps and
// away from other processes of its user, debuggers included (prctl(2), PR_SET_DUMPABLE).
func forbidDumps() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}
