// Package simtest runs Regions on real SoftHSM2 tokens whose replication messages are carried by the test's hand.
//
// Invariants:
//   - Nothing is replaced by a stand-in but the network and the clocks: tokens, stores, audit logs and the code between
//     them are those of production, and a Region that restarts is read from its disk by another process's eyes: its
//     token session, its memory and its open exchanges are gone.
//   - What travels is recorded in the order in which it travels, whether it arrives or not.
//   - Time stands still unless the test advances it.
package simtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/identity"
	"antipode/regions/regionstest"
	"antipode/regions/roster"
)

// Account is the account of every World's administrator.
const Account = "111122223333"

// World is some Regions of one partition that know each other. Its methods that take no testing.TB fail the test it was
// made for.
type World struct {
	Net *Network

	t     testing.TB
	order []*Region
	by    map[string]*Region
	clock clock
	admin identity.User
}

// New makes a World of Regions with these names, each with a fresh token and store, all enrolled with each other with no
// limits but 64 open exchanges, and with one administrator whom all know. It ends with the test.
func New(t testing.TB, names ...string) *World {
	t.Helper()
	w := &World{t: t, by: map[string]*Region{}, clock: clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	w.Net = &Network{world: w}
	admin, err := identity.NewUser(rand.Reader, Account, "administrator", w.clock.Now().UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	w.admin = admin.WithPolicy(identity.AdministratorPolicyName, []byte(identity.AdministratorPolicy))
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, r := range w.order {
			t.Logf("log of %s:\n%s", r.Name, r.Logs())
		}
	})
	for _, name := range names {
		r := newRegion(t, w, name)
		w.order = append(w.order, r)
		w.by[name] = r
	}
	for _, r := range w.order {
		for _, other := range w.order {
			r.enrol(t, other)
		}
		r.AddUser(t, w.admin)
	}
	return w
}

// Region returns one Region.
func (w *World) Region(name string) *Region {
	w.t.Helper()
	r, ok := w.by[name]
	if !ok {
		w.t.Fatalf("there is no Region %s in this world", name)
	}
	return r
}

// Administrator returns the ARN of the user who may do everything in every Region.
func (w *World) Administrator() string { return w.admin.ARN() }

// Now is the time of all Regions.
func (w *World) Now() time.Time { return w.clock.Now() }

// Advance moves the time of all Regions, also that which bounds RAKBs.
func (w *World) Advance(d time.Duration) { w.clock.advance(d) }

// Settle lets the background work of all Regions run until none of it is left: each round advances the time by 31 s, the
// longest that an exchange waits for its next attempt, deletes and rotates what is due, and makes one tick in each Region. It fails
// the test if there is work left, a recovery included, after 20 rounds. Errors of ticks count only if they are those of the
// last round.
func (w *World) Settle(ctx context.Context) {
	w.t.Helper()
	var errs error
	for range 20 {
		w.Advance(31 * time.Second)
		errs = nil
		for _, r := range w.order {
			errs = errors.Join(errs, r.Region.DeleteDue(ctx), r.Node.Tick(ctx), r.Region.RotateDue(ctx))
		}
		if errs == nil && !w.working(ctx) {
			return
		}
	}
	w.t.Fatalf("background work does not end: %v%s", errs, w.left(ctx))
}

// left says what work is left.
func (w *World) left(ctx context.Context) (text string) {
	for _, r := range w.order {
		text += fmt.Sprintf("; in %s: %d exchanges, %d tombstones, recovering %v", r.Name, r.OpenExchanges(ctx), len(r.Unsaid(ctx)),
			r.Region.Recovering())
		for _, s := range r.Unsent(ctx) {
			text += fmt.Sprintf(", %s to %s (%s)", s.KeyID, s.Region, s.Error)
		}
	}
	return text
}

func (w *World) working(ctx context.Context) bool {
	for _, r := range w.order {
		if r.OpenExchanges(ctx) > 0 || len(r.Unsaid(ctx)) > 0 || len(r.Unsent(ctx)) > 0 || len(r.HandOvers(ctx)) > 0 || r.Region.Recovering() {
			return true
		}
		if list, err := r.Region.PendingRotations(ctx); err != nil || len(list) > 0 {
			return true
		}
	}
	return false
}

// Limit changes what a Region lets the other one exchange with it, as its operator would.
func (w *World) Limit(in, other string, change func(*roster.Limits)) {
	w.t.Helper()
	w.reenrol(in, other, func(e *roster.Entry) { change(&e.Limits) })
}

// Remove takes a Region out of another one's roster.
func (w *World) Remove(in, other string) {
	w.t.Helper()
	w.reenrol(in, other, func(e *roster.Entry) { e.Removed = true })
}

func (w *World) reenrol(in, other string, change func(*roster.Entry)) {
	w.t.Helper()
	r := w.Region(in).Region
	e, err := r.Roster().Entry(other)
	if err != nil {
		w.t.Fatal(err)
	}
	e.Version++
	change(&e)
	if err := r.Enrol(w.t.Context(), e); err != nil {
		w.t.Fatal(err)
	}
}

func (r *Region) enrol(t testing.TB, other *Region) {
	t.Helper()
	err := r.Region.Enrol(t.Context(), roster.Entry{
		Region: other.Name, Version: 1, TLSKey: sha256.Sum256([]byte(other.Name)), Limits: roster.Limits{Accounts: []string{"*"}, MaxOpenExchanges: 64},
		RSKs: []roster.RSK{{SPKI: other.Region.Ring().RSK().SPKI(), State: roster.Active, Since: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// clock stands still until it is advanced. It goes back only if a test says so, so one clock tells the date and bounds
// durations.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Caller is the administrator as a front would have authenticated him.
func (w *World) Caller() regions.Caller {
	c := regionstest.Caller(w.admin.Account, w.admin.Name, "AKIAAAAAAAAAAAAAAAAA", identity.AdministratorPolicy)
	c.RequestID = "simtest"
	return c
}
