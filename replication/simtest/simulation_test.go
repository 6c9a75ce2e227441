package simtest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/replication/simtest"
)

// The simulation: Regions on real tokens, operations, faults of the network and ends of processes in random order, and
// after every step what must always hold (check_test.go). The environment says how many steps, and from which seed.
const (
	stepsVariable = "ANTIPODE_SIMULATION_STEPS"
	seedVariable  = "ANTIPODE_SEED"
)

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

var names = []string{"us-east-2", "eu-west-1", "ap-south-1", "sa-east-1", "ca-central-1"}

// TestSimulation runs 4,000 steps unless told otherwise, half of them with three Regions and half with five. Without a seed
// it begins with the same one each time, so that a run tells of the change that it is made for; make soak takes a new one.
func TestSimulation(t *testing.T) {
	t.Parallel()
	steps := number(t, stepsVariable, 4_000)
	seed := number(t, seedVariable, 1)
	for _, regions := range []int{3, 5} {
		t.Run(fmt.Sprintf("%d Regions", regions), func(t *testing.T) {
			t.Parallel()
			did := map[string]int{}
			for done, run := uint64(0), seed; done < steps/2; done, run = done+runSteps, run+1 {
				s := simulate(t, regions, run, min(runSteps, steps/2-done), nil)
				if len(s.broken) > 0 {
					t.Fatalf("%s\n%s=%d", s.story(), seedVariable, run)
				}
				for name, n := range s.done {
					did[name] += n
				}
			}
			t.Logf("what succeeded, from %s=%d on: %v", seedVariable, seed, did)
		})
	}
}

// runSteps is how many steps a world lives: after them every fault ends and all must come together.
const runSteps = 500

// simulate makes a world, lets it live until a check finds something, and checks that it heals.
func simulate(t *testing.T, regions int, seed, steps uint64, sabotage func(*sim)) *sim {
	t.Helper()
	s := newSim(t, regions, seed)
	s.sabotage = sabotage
	healed := false
	defer func() {
		if !healed && len(s.broken) == 0 { // the world itself has failed the test
			t.Logf("%s\n%s=%d", s.story(), seedVariable, seed)
		}
	}()
	for range steps {
		if s.step(); len(s.broken) > 0 {
			return s
		}
	}
	s.heal()
	healed = true
	return s
}

// sim is one world and what the test knows of it.
type sim struct {
	t     *testing.T
	ctx   context.Context //nolint:containedctx // the test's own
	w     *simtest.World
	rng   *rand.Rand
	net   *network
	names []string
	steps []string // what was done, for people

	keys     map[string]*known
	backups  map[string]string // by Region, the last one
	procs    map[string]*process
	restored bool // some store was
	// sabotage, if a test sets it, breaks a rule; it runs after each step and before the check.
	sabotage func(*sim)
	broken   []string // what the checks have found
	doing    string
	done     map[string]int // steps that succeeded, by name
}

// known is what the test knows of a key.
type known struct {
	id       string
	made     int // the how manieth key it is
	blobs    []blob
	contents map[stamp]string               // what each number names, by all Regions
	highest  map[string]stamp               // by Region
	used     map[string]map[string][16]byte // material -> Region -> incarnation: members when something was encrypted with it
	lost     map[string]bool                // materials that no Region holds since a store was restored
	copies   map[string]copyOf              // by Region, as last read
	past     map[string]regions.MultiRegion // by Region, what it once had; for a sabotage
}

type blob struct {
	region     string
	ciphertext []byte
	plaintext  string
	material   string
}

func newSim(t *testing.T, regions int, seed uint64) *sim {
	t.Helper()
	s := &sim{
		t: t, ctx: t.Context(), rng: rand.New(rand.NewPCG(seed, 1)), names: names[:regions],
		keys: map[string]*known{}, backups: map[string]string{}, procs: map[string]*process{}, done: map[string]int{},
	}
	s.w = simtest.New(t, s.names...)
	for _, name := range s.names {
		s.procs[name] = newProcess(s.w.Region(name))
	}
	s.net = newNetwork(s.w, seed, s.names)
	s.w.Net.Carry(s.net.carry)
	return s
}

func (s *sim) note(format string, args ...any) {
	s.steps = append(s.steps, fmt.Sprintf("%4d ", len(s.steps))+fmt.Sprintf(format, args...))
}

// story is the last steps and what was found.
func (s *sim) story() string {
	return strings.Join(append(s.steps[max(0, len(s.steps)-60):], s.broken...), "\n")
}

// breaks notes that a rule is broken.
func (s *sim) breaks(format string, args ...any) {
	s.broken = append(s.broken, "BROKEN: "+fmt.Sprintf(format, args...))
}

// action is one kind of step.
type action struct {
	name   string
	weight int
	do     func(*sim)
}

func actions() []action {
	return []action{
		{"create", 2, (*sim).create},
		{"replicate", 8, (*sim).replicate},
		{"encrypt", 14, (*sim).encrypt},
		{"decrypt", 10, (*sim).decrypt},
		{"rotate", 6, (*sim).rotate},
		{"update primary", 5, (*sim).updatePrimary},
		{"disable or enable", 4, (*sim).disable},
		{"schedule deletion", 1, (*sim).schedule},
		{"cancel deletion", 3, (*sim).cancel},
		{"time", 6, (*sim).time},
		{"tick", 24, (*sim).tick},
		{"link", 6, (*sim).link},
		{"late message", 4, (*sim).late},
		{"crash", 5, (*sim).crash},
		{"restart", 6, (*sim).restart},
		{"backup", 2, (*sim).backup},
		{"restore", 1, (*sim).restore},
	}
}

// step does one thing and checks everything.
func (s *sim) step() {
	s.t.Helper()
	all := actions()
	total := 0
	for _, a := range all {
		total += a.weight
	}
	n := s.rng.IntN(total)
	for _, a := range all {
		if n -= a.weight; n < 0 {
			s.note("%s", a.name)
			s.doing = a.name
			a.do(s)
			break
		}
	}
	if s.sabotage != nil {
		s.sabotage(s)
	}
	s.check()
}

// pick returns one of a list, in an order that the seed alone makes.
func pick[T any](s *sim, list []T) (one T, there bool) {
	if len(list) == 0 {
		return one, false
	}
	return list[s.rng.IntN(len(list))], true
}

// key picks a key that some Region has.
func (s *sim) key() (*known, bool) {
	var list []*known
	for _, k := range s.keys {
		if len(s.holders(k)) > 0 {
			list = append(list, k)
		}
	}
	// Ids are random; in which order the keys were made is not.
	slices.SortFunc(list, func(a, b *known) int { return a.made - b.made })
	return pick(s, list)
}

// region picks a Region whose process runs.
func (s *sim) region() (*simtest.Region, bool) {
	var up []string
	for _, name := range s.names {
		if !s.procs[name].dead() {
			up = append(up, name)
		}
	}
	name, there := pick(s, up)
	if !there {
		return nil, false
	}
	return s.w.Region(name), true
}

// ended notes how a call ended. What a call answers is checked by what is true afterwards.
func (s *sim) ended(err error) {
	switch {
	case err == nil:
		s.steps[len(s.steps)-1] += ": done"
		s.done[s.doing]++
	case errors.Is(err, errDead):
		s.steps[len(s.steps)-1] += ": its process ended"
	default:
		s.steps[len(s.steps)-1] += ": " + err.Error()
	}
}
