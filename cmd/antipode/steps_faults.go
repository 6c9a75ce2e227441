//go:build faults

package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"antipode/regions/audit"
)

// steps numbers the durable steps of this process, from 1. ANTIPODE_STEPS names a file to which each is written as
// "number name", and, before the process ends itself, "when name". ANTIPODE_CRASH ends it at one of them as kill -9
// does: "before:7" or "after:7" at the seventh, "before:NAME" at the first of that name, "before:NAME#2" at the second.
type steps struct {
	mu     sync.Mutex
	number int
	named  map[string]int
	log    string
	when   string
	at     int    // by number, or
	name   string // by name,
	nth    int    // the nth
}

var theSteps = sync.OnceValue(func() *steps {
	s := &steps{log: os.Getenv("ANTIPODE_STEPS"), named: map[string]int{}, nth: 1}
	when, at, _ := strings.Cut(os.Getenv("ANTIPODE_CRASH"), ":")
	s.when = when
	var err error
	if s.at, err = strconv.Atoi(at); err != nil {
		name, nth, counted := strings.Cut(at, "#")
		s.name = name
		if counted {
			if s.nth, err = strconv.Atoi(nth); err != nil {
				panic(err)
			}
		}
	}
	return s
})

// step does one durable step.
func (s *steps) step(name string, do func() error) error {
	s.mu.Lock()
	s.number++
	s.named[name]++
	here := s.number == s.at || s.name == name && s.named[name] == s.nth
	s.note(fmt.Sprintf("%d %s\n", s.number, name))
	if here && s.when == "before" {
		s.die(name)
	}
	s.mu.Unlock()
	err := do()
	if here && s.when == "after" {
		s.mu.Lock() // for good
		s.die(name)
	}
	return err
}

func (s *steps) note(line string) {
	if s.log == "" {
		return
	}
	f, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(line)
	}
	if err != nil {
		panic(err)
	}
	if err := f.Close(); err != nil {
		panic(err)
	}
}

func (s *steps) die(name string) {
	s.note(s.when + " " + name + "\n")
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
		case strings.Contains(f.File, "/cmd/antipode/steps_"), name == "regions.(*Region).Update", name == "replication.(*Node).save",
			strings.HasPrefix(name, "regions.(*Region).updateHierarchy"), strings.HasPrefix(name, "regions.(*Region).updateRoster"):
		default:
			name, _, _ = strings.Cut(name, ".func") // a closure is its function's
			return name
		}
		if !more {
			return "unknown"
		}
	}
}

func durably(name string, do func() error) error { return theSteps().step(name, do) }

func auditStep() func(audit.Kind, func() error) error {
	return func(kind audit.Kind, write func() error) error {
		return theSteps().step("audit "+string(kind), write)
	}
}

// calendar is ahead by ANTIPODE_AHEAD, a duration, so that a test need not wait for what takes days.
func calendar() func() time.Time {
	ahead, err := time.ParseDuration(os.Getenv("ANTIPODE_AHEAD"))
	if err != nil {
		return time.Now
	}
	return func() time.Time { return time.Now().Add(ahead) }
}

// steady runs as many times faster as ANTIPODE_HASTE says, so that a test need not wait for what lives a minute.
func steady() func() time.Time {
	haste, err := strconv.Atoi(os.Getenv("ANTIPODE_HASTE"))
	if err != nil {
		return time.Now
	}
	start := time.Now()
	return func() time.Time { return start.Add(time.Since(start) * time.Duration(haste)) }
}
