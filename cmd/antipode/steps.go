//go:build !faults

package main

import (
	"antipode/hsmbackend"
	"antipode/regions"
)

// withSteps returns the store and the token as they are. A build with the tag faults puts crash points around what they
// make durable, for the test that ends the process at each of them.
func withSteps(s regions.Store, t hsmbackend.Token) (regions.Store, hsmbackend.Token) { return s, t }
