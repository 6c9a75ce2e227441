//go:build !faults

package main

import (
	"time"

	"antipode/hsmbackend"
	"antipode/regions"
	"antipode/regions/audit"
)

// What follows names the durable steps of this program for the test that ends it before and after each of them
// (ci/crash). That test finds the steps in the code and fails if one was never crashed. Here the names do nothing; a
// build with the tag faults gives them their crash points.

// withSteps returns the store and the token as they are: a commit, and an object made or destroyed on the token, are
// steps without further ado.
func withSteps(s regions.Store, t hsmbackend.Token) (regions.Store, hsmbackend.Token) { return s, t }

// auditStep is for [audit.Config]: each audit record that waits for the disk is a step.
func auditStep() func(audit.Kind, func() error) error { return nil }

// durably does one durable step that is neither: a file made, renamed or removed. Its name is a constant, and what
// makes, renames or removes a file in this package is called inside of one.
func durably(_ string, do func() error) error { return do() }

// calendar is the clock of dates and waiting periods; signatures are checked by the machine's own.
func calendar() func() time.Time { return time.Now }

// steady is the monotonic clock of the nonces' and the RAKBs' lives.
func steady() func() time.Time { return time.Now }
