package crash

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"antipode/softhsm"
	"antipode/softhsm/softhsmtest"
)

// crashInit ends `antipode init` before and after each of its durable steps, repeats it, and serves, which is ended at
// its first step too: the token then holds what one undisturbed init makes.
func crashInit(t *testing.T, l *ledger) {
	t.Helper()
	steps := initOnce(t, l, "")
	if steps < 10 {
		t.Fatalf("init made only %d durable steps", steps)
	}
	for n := 1; n <= steps; n++ {
		for _, when := range []string{"before", "after"} {
			initOnce(t, l, fmt.Sprintf("%s:%d", when, n))
		}
	}
}

// initOnce makes a Region, ended at a point if crash is not empty and then repeated, and checks it. It returns how many
// steps the last init made.
func initOnce(t *testing.T, l *ledger, crash string) int {
	t.Helper()
	p := &pair{dir: softhsmtest.Dir(t), ledger: l}
	defer removeAll(t, p.dir)
	passable(t, p.dir)
	p.choosePorts(t)
	if _, err := softhsm.Create(t.Context(), filepath.Join(p.dir, home, "token"), "antipode-"+home); err != nil {
		t.Fatal(err)
	}
	p.configure(t, home)
	args := []string{"init", "--config", p.config(home), "--credentials", p.credentials(home)}
	if crash != "" {
		p.crashes(t, home, crash, args...)
	}
	p.run(t, home, args...)
	steps := len(p.readSteps(t, home))
	p.forgetSteps(t, home)
	if crash != "" { // the Region's entry of itself is made at its first start
		when, _, _ := strings.Cut(crash, ":")
		p.died(t, p.start(t, home, when+":regions.(*Region).Enrol"))
	}
	s := p.start(t, home, "")
	j := &journey{}
	// The peer is unknown here, so the journey ends at ReplicateKey; the key before it shows that the Region works.
	if err := j.run(t, p); err == nil || j.blob == nil {
		t.Errorf("init after %q: %v", crash, err)
	}
	s.stop(t)
	checkFolder(t, p, home, "init "+crash)
	return steps
}

// crashes runs a command that ends itself at its crash point.
func (p *pair) crashes(t *testing.T, name, crash string, args ...string) {
	t.Helper()
	p.forgetSteps(t, name)
	out, err := p.command(t, name, crash, args...).CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.Exited() {
		t.Fatalf("%v did not end at %s: %v\n%s", args[0], crash, err, out)
	}
	p.count(t, name)
}

// crashDev ends the first starts of `antipode dev` where it puts a Region in place and where it removes one that was cut
// off before that. The next start serves what is asked for, and leaves nothing unfinished.
func crashDev(t *testing.T, l *ledger) {
	t.Helper()
	for _, crashes := range [][]string{
		{"before:put a new region in place", "before:remove an unfinished region"},
		{"after:put a new region in place"},
		{"before:put a new region in place#2", "after:remove an unfinished region"},
	} {
		p := &pair{dir: softhsmtest.Dir(t), ledger: l}
		if err := os.MkdirAll(filepath.Join(p.dir, home), 0o700); err != nil { // for the steps
			t.Fatal(err)
		}
		data := filepath.Join(p.dir, "data")
		for _, crash := range crashes {
			cmd := devCommand(t, p, data, crash)
			if out, err := cmd.CombinedOutput(); err == nil {
				t.Fatalf("dev did not end at %s\n%s", crash, out)
			}
			p.count(t, home)
		}
		cmd := devCommand(t, p, data, "")
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if !strings.HasPrefix(line, "ready ") {
			t.Errorf("dev after %v: %q, %v", crashes, line, err)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("dev after %v: %v", crashes, err)
		}
		left, err := filepath.Glob(filepath.Join(data, ".antipode-new-*"))
		if err != nil || len(left) > 0 {
			t.Errorf("dev after %v leaves %v, %v", crashes, left, err)
		}
		removeAll(t, p.dir)
	}
}

func devCommand(t *testing.T, p *pair, data, crash string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "dev", "--data", data, "--listen", "127.0.0.1:0", "--regions", home+","+away)
	cmd.Env = append(os.Environ(), "ANTIPODE_CRASH="+crash, "ANTIPODE_STEPS="+p.steps(home))
	cmd.WaitDelay = 5 * time.Second
	return cmd
}
