package crash

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestCrashPoints ends one of two Regions, or a command, before and after each of its durable steps, starts it again, and
// checks that nothing answered is lost, nothing half-done is visible or left, and what was cut off has finished,
// finishes by itself, or can be repeated. The steps are found in the code (steps_test.go): one that was not crashed on
// both sides fails the test. To add one, give it a scenario here; a journey without faults is crashed at all of its
// steps anyhow.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	l := newLedger()
	t.Run("lanes", func(t *testing.T) {
		for _, name := range []string{home, away} {
			t.Run("journey of "+name, func(t *testing.T) {
				t.Parallel()
				crashJourney(t, l, name)
			})
		}
		for name, lane := range map[string]func(*testing.T, *ledger){
			"exchange": crashExchanges, "commands": crashCommands, "hand-overs": crashHandOvers, "recovery": crashRecovery, "keys": crashKeys,
			"roster":   crashRoster,
			"rotation": crashRotation,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				lane(t, l)
			})
		}
	})
	t.Logf("%d crash points tried, %d different ones", l.total, len(l.tried))
	l.check(t)
}

// newCountedPair makes a pair whose crashes are counted.
func newCountedPair(t *testing.T, l *ledger) *pair {
	t.Helper()
	p := newPair(t)
	p.ledger = l
	return p
}

// bothSides runs a scenario with a crash before and one after a step, each in a copy of the pair, and looks at what is
// left. The scenario gets the crash point to start its victim with, and leaves two Regions running, which it returns.
func bothSides(t *testing.T, original *pair, step string, scenario func(t *testing.T, p *pair, crash string) []*server) {
	t.Helper()
	for _, when := range []string{"before", "after"} {
		t.Run(when+" "+step, func(t *testing.T) {
			p := original.copy(t)
			defer removeAll(t, p.dir)
			p.forgetSteps(t, home)
			p.forgetSteps(t, away)
			servers := scenario(t, p, when+":"+step)
			settle(t, p, servers)
			checkFolders(t, p, when+" "+step)
		})
	}
}

func removeAll(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// died waits until a Region has ended itself at its crash point, and counts that.
func (p *pair) died(t *testing.T, s *server) {
	t.Helper()
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: the crash point was not reached\n%s", s.name, s.tail())
	}
	p.count(t, s.name)
}

// crashCommands ends what operators begin. The commit that a Region makes once a minute comes meanwhile.
func crashCommands(t *testing.T, l *ledger) {
	t.Helper()
	head := beginKeepingHead(t, l)
	crashInit(t, l)
	crashDev(t, l)
	crashOperator(t, l)
	crashRestore(t, l)
	head.end(t)
}

// crashJourney makes a journey, with one Region ended at each of its steps in turn. Of the audit records, which each call
// makes, it takes the first two of a kind, and all if ANTIPODE_EVERY_CRASH is set (make crash).
func crashJourney(t *testing.T, l *ledger, name string) {
	t.Helper()
	original := newCountedPair(t, l)
	steps := journeySteps(t, original, name)
	if len(steps) < 10 {
		t.Fatalf("the journey made only %d durable steps of %s: %v", len(steps), name, steps)
	}
	numbers := withoutRecords(steps)
	for _, n := range numbers {
		for _, when := range []string{"before", "after"} {
			crashOnce(t, original, name, fmt.Sprintf("%s:%d", when, n))
		}
	}
	t.Logf("%s: %d durable steps, of which %d audit records were passed over", name, len(steps), len(steps)-len(numbers))
}

// lastRound is the commit of keys' last uses, once a minute, which keepingHead tries, and when a Region closes.
const lastRound = "regions.(*Region).saveUses"

// withoutRecords are the numbers of the steps that are tried: all but lastRound and the third and later audit records of a kind, unless
// ANTIPODE_EVERY_CRASH is set.
func withoutRecords(steps []string) (numbers []int) {
	records := map[string]int{}
	for i, step := range steps {
		if step == lastRound { // as the process ends, after the journey
			continue
		}
		records[step]++
		if !strings.HasPrefix(step, "audit ") || records[step] <= 2 || os.Getenv("ANTIPODE_EVERY_CRASH") != "" {
			numbers = append(numbers, i+1)
		}
	}
	return numbers
}

// journeySteps makes the journey without a crash and returns the durable steps that one Region made.
func journeySteps(t *testing.T, original *pair, name string) []string {
	t.Helper()
	p := original.copy(t)
	defer removeAll(t, p.dir)
	p.forgetSteps(t, name)
	servers := []*server{p.start(t, home, ""), p.start(t, away, "")}
	j := &journey{}
	if err := j.run(t, p); err != nil {
		t.Fatalf("without a crash: %v", err)
	}
	for _, s := range servers {
		s.stop(t)
	}
	return p.readSteps(t, name)
}

// crashOnce makes the journey with one Region ended at a point, starts it again, and checks.
func crashOnce(t *testing.T, original *pair, name, crash string) {
	t.Helper()
	p := original.copy(t)
	defer removeAll(t, p.dir)
	p.forgetSteps(t, name)
	other := home
	if name == home {
		other = away
	}
	standing, falling := p.start(t, other, ""), p.start(t, name, crash)
	j := &journey{}
	if err := j.run(t, p); err == nil {
		t.Errorf("%s %s: the journey ended well", name, crash)
	}
	p.died(t, falling)
	risen := p.start(t, name, "")
	j.verify(t, p, name+" "+crash)
	settle(t, p, []*server{risen, standing})
	checkFolders(t, p, name+" "+crash)
}
