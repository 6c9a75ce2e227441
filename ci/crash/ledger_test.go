package crash

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
)

// ledger counts the crashes, by what the crashed processes themselves wrote down before they ended.
type ledger struct {
	mu    sync.Mutex
	tried map[string]int // "before NAME", "after NAME"
	total int
}

func newLedger() *ledger { return &ledger{tried: map[string]int{}} }

// count adds the crash that the last process of a Region has noted, and forgets its steps.
func (p *pair) count(t *testing.T, name string) {
	t.Helper()
	lines := p.noted(t, name)
	p.forgetSteps(t, name)
	if len(lines) == 0 {
		t.Fatalf("%s ended without a step", name)
	}
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "before ") && !strings.HasPrefix(last, "after ") {
		t.Fatalf("%s ended after step %s, and not at its crash point", name, last)
	}
	if p.ledger == nil {
		return
	}
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	p.ledger.tried[last]++
	p.ledger.total++
}

// check compares what was crashed with the durable steps in the code.
func (l *ledger) check(t *testing.T) {
	t.Helper()
	found := durableSteps(t)
	for _, step := range found {
		_, excused := elsewhere[step]
		for _, when := range []string{"before ", "after "} {
			switch tried := l.tried[when+step]; {
			case tried == 0 && !excused:
				t.Errorf("no crash %s the durable step %s", when, step)
			case tried > 0 && excused:
				t.Errorf("%s is crashed: it needs no excuse", step)
			}
		}
	}
	known := map[string]bool{}
	for _, step := range found {
		known[step] = true
	}
	for tried := range l.tried {
		if _, step, _ := strings.Cut(tried, " "); !known[step] {
			t.Errorf("crashed at %s, which was not found in the code: the search is broken", step)
		}
	}
}

func (p *pair) forgetSteps(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(p.steps(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

// noted are the lines that a Region's processes have written of their steps.
func (p *pair) noted(t *testing.T, name string) (out []string) {
	t.Helper()
	raw, err := os.ReadFile(p.steps(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		out = append(out, strings.TrimSpace(line))
	}
	return out
}

// readSteps are the names of the steps, in order.
func (p *pair) readSteps(t *testing.T, name string) (out []string) {
	t.Helper()
	for _, line := range p.noted(t, name) {
		_, step, _ := strings.Cut(line, " ")
		out = append(out, step)
	}
	return out
}
