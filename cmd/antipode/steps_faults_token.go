//go:build faults

package main

import (
	"context"
	"errors"

	"antipode/hsmbackend"
	"antipode/regions"
)

func withSteps(s regions.Store, t hsmbackend.Token) (regions.Store, hsmbackend.Token) {
	return stepStore{s}, stepToken{t}
}

type stepStore struct{ regions.Store }

func (s stepStore) Update(ctx context.Context, fn func(regions.Tx) error) error {
	return theSteps().step(caller(), func() error { return s.Store.Update(ctx, fn) })
}

// stepToken has a step where a token object is made or destroyed; session objects die with the process anyway.
type stepToken struct{ hsmbackend.Token }

func (t stepToken) GenerateKey(ctx context.Context, kt hsmbackend.KeyType, attr hsmbackend.Attributes) (ref hsmbackend.KeyRef, err error) {
	if !attr.Token {
		return t.Token.GenerateKey(ctx, kt, attr)
	}
	err = theSteps().step(caller(), func() error {
		ref, err = t.Token.GenerateKey(ctx, kt, attr)
		return err
	})
	return ref, err
}

func (t stepToken) GenerateKeyPair(ctx context.Context, kt hsmbackend.KeyType, attr hsmbackend.Attributes) (ref hsmbackend.KeyRef, spki []byte, err error) {
	if !attr.Token {
		return t.Token.GenerateKeyPair(ctx, kt, attr)
	}
	err = theSteps().step(caller(), func() error {
		ref, spki, err = t.Token.GenerateKeyPair(ctx, kt, attr)
		return err
	})
	return ref, spki, err
}

// Destroy has a step if the reference is to a token object, which the token is asked for: references don't say.
func (t stepToken) Destroy(ctx context.Context, key hsmbackend.KeyRef) error {
	if _, err := t.FindToken(ctx, key.Class, key.ID); errors.Is(err, hsmbackend.ErrObjectNotFound) {
		return t.Token.Destroy(ctx, key)
	}
	return theSteps().step(caller(), func() error { return t.Token.Destroy(ctx, key) })
}
