package storetest

import (
	"context"

	"antipode/regions"
)

// Faulty wraps s so that a test decides which calls fail. hook is called once for each call, with op "view" or "update";
// if it answers an error the call fails with that error. apply says in which of its two forms: false is "lost", nothing
// of an Update is kept; true is "applied but reported as failed", the Update is committed first. In both forms the
// function is run, as it would be when a commit fails, so code that believes what it did inside is found out. An error
// of the function itself, or of s, takes precedence. Hook is called from whatever goroutine makes the call.
func Faulty(s regions.Store, hook func(op string) (apply bool, err error)) regions.Store {
	return &faulty{s: s, hook: hook}
}

type faulty struct {
	s    regions.Store
	hook func(op string) (apply bool, err error)
}

// View implements [regions.Store].
func (f *faulty) View(ctx context.Context, fn func(regions.Reader) error) error {
	_, fault := f.hook("view")
	if err := f.s.View(ctx, fn); err != nil {
		return err
	}
	return fault
}

// Update implements [regions.Store].
func (f *faulty) Update(ctx context.Context, fn func(regions.Tx) error) error {
	apply, fault := f.hook("update")
	err := f.s.Update(ctx, func(tx regions.Tx) error {
		if err := fn(tx); err != nil || apply {
			return err
		}
		return fault // rolls back
	})
	if err != nil {
		return err
	}
	return fault
}

// Close implements [regions.Store].
func (f *faulty) Close() error { return f.s.Close() }
