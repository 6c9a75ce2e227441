package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/rs/zerolog"

	"antipode/hsmbackend"
	"antipode/hsmbackend/p11"
	"antipode/softhsm"
)

// plaintext is what is encrypted: as long as a data key.
var plaintext = make([]byte, 32)

// benchToken measures AES-GCM and random numbers on a token of its own in this process, without the service.
func benchToken(ctx context.Context, each time.Duration) (out []result, err error) {
	dir, err := os.MkdirTemp("/dev/shm", "antipode-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	made, err := softhsm.Create(ctx, dir+"/token", "bench")
	if err != nil {
		return nil, err
	}
	token, err := p11.Open(ctx, made.Config(zerolog.Nop()))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, token.Close()) }()
	key, err := token.GenerateKey(ctx, hsmbackend.AES256, hsmbackend.Attributes{
		Usage: hsmbackend.UsageEncrypt | hsmbackend.UsageDecrypt, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESGCM},
	})
	if err != nil {
		return nil, err
	}
	aad := []byte("bench")
	sealed, iv, err := token.SealGCM(ctx, key, [12]byte{1}, plaintext, aad)
	if err != nil {
		return nil, err
	}
	for _, op := range []struct {
		name string
		fn   func() error
	}{
		{"token: GCM seal 32 B", func() error {
			_, _, err := token.SealGCM(ctx, key, [12]byte{1}, plaintext, aad)
			return err
		}},
		{"token: GCM open 32 B", func() error {
			_, err := token.OpenGCM(ctx, key, iv, sealed, aad)
			return err
		}},
	} {
		for _, callers := range concurrencies {
			r, err := load(op.name, callers, each, 0, os.Getpid(), op.fn)
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
	}
	return out, nil
}

var concurrencies = []int{1, 8, 64}
