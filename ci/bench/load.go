package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ticks per second of /proc/PID/stat; Linux fixes it at 100 for user space.
const ticks = 100

// cpuOf returns the CPU time that a process has used so far, from /proc/PID/stat.
func cpuOf(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The command's name, in parentheses, may hold spaces.
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, err
	}
	return time.Duration(user+system) * time.Second / ticks, nil
}

// load calls fn from so many goroutines for a time, or for exactly limit calls if that is not 0, and measures. pid is
// the process whose CPU counts.
func load(name string, callers int, each time.Duration, limit, pid int, fn func() error) (result, error) {
	for range 3 { // connections and caches
		if err := fn(); err != nil {
			return result{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	var (
		mu    sync.Mutex
		all   []time.Duration
		fault error
		wait  sync.WaitGroup
	)
	before, err := cpuOf(pid)
	if err != nil {
		return result{}, err
	}
	start := time.Now()
	for i := range callers {
		wait.Go(func() {
			var took []time.Duration
			for n := 0; (limit == 0 && time.Since(start) < each) || n < share(limit, callers, i); n++ {
				t := time.Now()
				if err := fn(); err != nil {
					mu.Lock()
					fault = err
					mu.Unlock()
					return
				}
				took = append(took, time.Since(t))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
	}
	wait.Wait()
	wall := time.Since(start)
	after, err := cpuOf(pid)
	if err != nil {
		return result{}, err
	}
	if fault != nil {
		return result{}, fmt.Errorf("%s: %w", name, fault)
	}
	slices.Sort(all)
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	return result{
		Name: name, Concurrency: callers, Calls: len(all), PerSecond: float64(len(all)) / wall.Seconds(),
		MedianUS: us(all[len(all)/2]), P99US: us(all[len(all)*99/100]), CPUUS: us(after-before) / float64(len(all)),
	}, nil
}

// share is how many of limit calls the i-th of n callers makes.
func share(limit, n, i int) int {
	s := limit / n
	if i < limit%n {
		s++
	}
	return s
}
