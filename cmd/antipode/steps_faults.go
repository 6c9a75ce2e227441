//go:build faults

package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"antipode/hsmbackend"
	"antipode/regions"
)

// steps numbers the durable steps of this process, from 1, after the ready line. ANTIPODE_STEPS names a file to which
// each is written as "number function"; ANTIPODE_CRASH ("before:7", "after:7") ends the process at one of them as
// kill -9 does.
type steps struct {
	mu     sync.Mutex
	number int
	log    string
	when   string
	at     int
}

var theSteps = sync.OnceValue(func() *steps {
	s := &steps{log: os.Getenv("ANTIPODE_STEPS")}
	when, at, _ := strings.Cut(os.Getenv("ANTIPODE_CRASH"), ":")
	s.when = when
	s.at, _ = strconv.Atoi(at)
	return s
})

// step does one durable step.
func (s *steps) step(do func() error) error {
	s.mu.Lock()
	s.number++
	n := s.number
	if s.log != "" {
		f, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = fmt.Fprintf(f, "%d %s\n", n, caller())
		}
		if err != nil {
			panic(err)
		}
		if err := f.Close(); err != nil {
			panic(err)
		}
	}
	s.mu.Unlock()
	if n == s.at && s.when == "before" {
		die()
	}
	err := do()
	if n == s.at && s.when == "after" {
		die()
	}
	return err
}

func die() {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {}
}

// caller names the function that the step belongs to: the first one that is not one of the wrappers on the way.
func caller() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		name := f.Function[strings.LastIndexByte(f.Function, '/')+1:]
		switch {
		case strings.HasSuffix(f.File, "steps_faults.go"), name == "regions.(*Region).Update", name == "replication.(*Node).save",
			strings.HasPrefix(name, "regions.(*Region).updateHierarchy"):
		default:
			name, _, _ = strings.Cut(name, ".func") // a closure is its function's
			return name
		}
		if !more {
			return "unknown"
		}
	}
}

func withSteps(s regions.Store, t hsmbackend.Token) (regions.Store, hsmbackend.Token) {
	return stepStore{s}, stepToken{t}
}

type stepStore struct{ regions.Store }

func (s stepStore) Update(ctx context.Context, fn func(regions.Tx) error) error {
	return theSteps().step(func() error { return s.Store.Update(ctx, fn) })
}

// stepToken has a step where a token object is made or destroyed; session objects die with the process anyway.
type stepToken struct{ hsmbackend.Token }

func (t stepToken) GenerateKey(ctx context.Context, kt hsmbackend.KeyType, attr hsmbackend.Attributes) (ref hsmbackend.KeyRef, err error) {
	if !attr.Token {
		return t.Token.GenerateKey(ctx, kt, attr)
	}
	err = theSteps().step(func() error {
		ref, err = t.Token.GenerateKey(ctx, kt, attr)
		return err
	})
	return ref, err
}

func (t stepToken) GenerateKeyPair(ctx context.Context, kt hsmbackend.KeyType, attr hsmbackend.Attributes) (ref hsmbackend.KeyRef, spki []byte, err error) {
	if !attr.Token {
		return t.Token.GenerateKeyPair(ctx, kt, attr)
	}
	err = theSteps().step(func() error {
		ref, spki, err = t.Token.GenerateKeyPair(ctx, kt, attr)
		return err
	})
	return ref, spki, err
}
