//go:build !linux

package main

// forbidDumps does nothing: this system has no such switch for a process. Forbid core dumps by its limits.
func forbidDumps() error { return nil }
