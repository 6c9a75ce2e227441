package audit

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// killChildEnv makes the test binary write records to the log that it names, until it is killed.
const killChildEnv = "ANTIPODE_AUDIT_KILL_CHILD"

// killChild prints a line for each record that it was acknowledged, from several goroutines.
func killChild(dir string) {
	ctx := context.Background()
	cfg := config(dir)
	cfg.MaxFileBytes, cfg.FlushEvery = 40_000, time.Hour // a data record is the kernel's alone
	l, err := Open(ctx, cfg)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var group sync.WaitGroup
	check := func(err error, line string) {
		if err != nil {
			line = err.Error()
		}
		fmt.Println(line)
	}
	for _, o := range l.OpenIntents() {
		check(l.Outcome(ctx, o.Ticket, Event{EventName: o.Event.EventName}), "outcome "+o.Event.EventName)
	}
	for w := range 3 {
		group.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
				check(l.Data(ctx, sample("Data-"+name)), "data Data-"+name)
				ticket, err := l.Intent(ctx, sample("Mgmt-"+name))
				check(err, "intent Mgmt-"+name)
				if i%5 != 4 { // and some stay open
					check(l.Outcome(ctx, ticket, sample("Mgmt-"+name)), "outcome Mgmt-"+name)
				}
			}
		})
	}
	group.Wait()
}

// TestKill kills a process that writes, at random moments, and expects every acknowledged record in a whole chain.
func TestKill(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := fastDir(t)
	acknowledged := map[string]bool{}
	const rounds = 10
	for round := range rounds {
		killRound(t, dir, rng, acknowledged)
		head, err := Verify(t.Context(), dir)
		if err != nil && !isTorn(err) {
			t.Fatalf("round %d: %v", round, err)
		}
		l := openLog(t, config(dir))
		if l.Head() != head {
			t.Fatalf("round %d: open came to %v, verify to %v", round, l.Head(), head)
		}
		open := map[string]bool{}
		for _, o := range l.OpenIntents() {
			open[o.Event.EventName] = true
		}
		must(t, l.Close())
		there := map[string]bool{}
		for _, r := range verified(t, dir) {
			if r.Kind == KindFile {
				continue
			}
			e, err := DecodeEvent(r.Event)
			must(t, err)
			there[string(r.Kind)+" "+e.EventName] = true
		}
		for line := range acknowledged {
			if !there[line] {
				t.Errorf("round %d: acknowledged, and not in the log: %s", round, line)
			}
		}
		for line := range there {
			if name, ok := strings.CutPrefix(line, "intent "); ok && open[name] == there["outcome "+name] {
				t.Errorf("round %d: intent %s: open %v, outcome %v", round, name, open[name], there["outcome "+name])
			}
		}
	}
	t.Logf("%d records acknowledged in %d rounds", len(acknowledged), rounds)
	if len(acknowledged) < 20*rounds {
		t.Error("too few: the test shows too little")
	}
}

func killRound(t *testing.T, dir string, rng *rand.Rand, acknowledged map[string]bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this test's own binary
	cmd.Env = append(os.Environ(), killChildEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewReader(out)
	next := func() bool {
		line, err := lines.ReadString('\n')
		if err != nil {
			return false // what has no newline was not acknowledged
		}
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "data ") && !strings.HasPrefix(line, "intent ") && !strings.HasPrefix(line, "outcome ") {
			t.Errorf("the child says %q", line)
		}
		acknowledged[line] = true
		return true
	}
	for range rng.IntN(150) {
		if !next() {
			break
		}
	}
	time.Sleep(time.Duration(rng.IntN(500)) * time.Microsecond)
	must(t, cmd.Process.Kill())
	for next() {
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the child was not killed but ended: %v", err)
	}
}
