package replication_test

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"antipode/hsmbackend"
	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/simtest"
)

// everyFault makes TestFaults try all faults in place of a part of them.
const everyFault = "ANTIPODE_EVERY_FAULT"

// injector makes the n-th call fail, of those that count.
type injector struct {
	mu    sync.Mutex
	count func(op string) bool
	n     int // counts down
	apply bool
	err   error
	seen  []string
	op    string // that failed
}

func (f *injector) hook(op string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.count(op) {
		return false, nil
	}
	f.seen = append(f.seen, op)
	if f.n--; f.n == 0 {
		f.op = op
		return f.apply, f.err
	}
	return false, nil
}

// place is where faults strike.
type place struct {
	side, on string // "source" or "destination"; "token", "mac" or "store"
}

func (p place) arm(a, b *simtest.Region, f *injector) {
	r := a
	if p.side == "destination" {
		r = b
	}
	switch p.on {
	case "store":
		f.err = errors.New("disk error")
		f.count = func(string) bool { return true }
		r.StoreFault = f.hook
	case "mac":
		f.err = &hsmbackend.Error{Op: "fault", Kind: hsmbackend.ErrSessionLost}
		f.count = func(op string) bool { return op == "MAC" }
		r.Tokens.Fail(f.hook)
	default:
		f.err = &hsmbackend.Error{Op: "fault", Kind: hsmbackend.ErrSessionLost}
		f.count = func(op string) bool { return op != "MAC" }
		r.Tokens.Fail(f.hook)
	}
}

// Each call to a token or store in an exchange fails once, before and after it took effect. Whatever happens, the replica
// is there wholly or not at all once the background work has ended, and what the caller was told is true; so it is after
// both Regions' processes have ended.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"source", "destination"} {
		for _, on := range []string{"token", "store", "mac"} {
			t.Run(side+" "+on, func(t *testing.T) {
				t.Parallel()
				w, a, b := twoRegions(t)
				p := place{side, on}
				total := calls(t, a, b, p)
				// MACs authenticate records; every few of them is a fault like any other.
				stride := 1
				if on == "mac" && os.Getenv(everyFault) == "" {
					stride = 4
				}
				tried := 0
				for n := 1; n <= total; n += stride {
					for _, apply := range []bool{false, true} {
						tryFault(t, w, a, b, p, n, apply)
						tried++
					}
				}
				t.Logf("%s, %s: %d calls in an exchange, %d faults tried", side, on, total, tried)
				if tried == 0 {
					t.Error("no faults")
				}
				for _, r := range []*simtest.Region{a, b} {
					if _, err := audit(t, r); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

// calls counts the calls of an exchange that goes well.
func calls(t *testing.T, a, b *simtest.Region, p place) int {
	t.Helper()
	key := a.CreateKey(t.Context())
	f := &injector{}
	p.arm(a, b, f)
	if err := a.Replicate(t.Context(), key, ireland); err != nil {
		t.Fatal(err)
	}
	a.Restart(t)
	b.Restart(t)
	return len(f.seen)
}

func tryFault(t *testing.T, w *simtest.World, a, b *simtest.Region, p place, n int, apply bool) {
	t.Helper()
	ctx := t.Context()
	key := a.CreateKey(ctx)
	f := &injector{n: n, apply: apply}
	p.arm(a, b, f)
	err := a.Replicate(ctx, key, ireland)
	disarm(a, b)
	name := fmt.Sprintf("%s %s, call %d (%s), applied %v, answered %v", p.side, p.on, n, f.op, apply, err)
	failed := t.Failed()
	if f.op == "" {
		t.Errorf("call %d was never made", n)
	}
	w.Settle(ctx)
	w.Advance(time.Minute)
	w.Settle(ctx)
	replicated := checkOutcome(t, a, b, key, err)
	checkLeft(t, a, b, f.op, apply)
	if !failed && t.Failed() {
		t.Fatalf("with fault: %s; replicated: %v", name, replicated)
	}
	// Every few the processes end too: what the disks hold is the whole truth.
	if n%4 == 0 || t.Failed() {
		a.Restart(t)
		b.Restart(t)
		w.Settle(ctx)
		if again := checkOutcome(t, a, b, key, err); again != replicated {
			t.Errorf("replicated: %v, after restarts %v", replicated, again)
		}
		checkClean(t, a, b)
	}
	if !replicated {
		if err := a.Replicate(ctx, key, ireland); err != nil {
			t.Errorf("again: %v", err)
		}
		checkReplicated(t, a, b, key)
	}
	if n%4 == 0 {
		w.Both(ctx, key, ohio, ireland)
	}
	if a.Extra() != 0 || b.Extra() != 0 { // derived keys, and what the fault has left
		a.Restart(t)
		b.Restart(t)
	}
	if !failed && t.Failed() {
		t.Fatalf("with fault: %s; replicated: %v", name, replicated)
	}
}

func disarm(rs ...*simtest.Region) {
	for _, r := range rs {
		r.StoreFault = nil
		r.Tokens.Fail(nil)
	}
}

// checkOutcome checks that the key is replicated wholly or not at all, and as the caller was told.
func checkOutcome(t *testing.T, a, b *simtest.Region, key string, err error) (replicated bool) {
	t.Helper()
	m, listed := a.Holds(t.Context(), key).Key.MultiRegion.State.Member(ireland)
	if listed {
		if m.Status != keyset.Active {
			t.Errorf("the member is %s after all work has ended", m.Status)
		}
		checkReplicated(t, a, b, key)
	} else {
		checkAbsent(t, a, b, key)
	}
	var api *regions.Error
	switch {
	case err == nil && !listed:
		t.Error("the caller was told of a replica that is not there")
	case errors.As(err, &api) && api.Code != regions.CodeInternal && listed:
		t.Errorf("the caller was told that nothing was made: %v", err)
	}
	return listed
}

// checkLeft checks what the exchange has left on the tokens. One thing may be left: what the call that failed made without
// anybody learning of it, or was to destroy. It is gone with its session.
func checkLeft(t *testing.T, a, b *simtest.Region, op string, apply bool) {
	t.Helper()
	allowed := 0
	switch op {
	case "Unwrap": // of a working copy
		if apply {
			allowed = 1
		}
	case "CloseScope": // what the scope still held
		if !apply {
			allowed = 3
		}
	}
	if n := a.Extra() + b.Extra(); n > allowed || n < 0 {
		t.Errorf("%d session objects are left, allowed %d", n, allowed)
	}
}
