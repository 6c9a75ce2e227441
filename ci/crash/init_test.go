package crash

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"antipode/softhsm"
	"antipode/softhsm/softhsmtest"
)

// crashInit ends `antipode init` before and after each of its durable steps, repeats it, and serves: the token then
// holds what one undisturbed init makes. It returns the steps.
func crashInit(t *testing.T) map[string]bool {
	t.Helper()
	seen := map[string]bool{}
	steps := initOnce(t, "")
	for _, s := range steps {
		seen[s] = true
	}
	if len(steps) < 5 {
		t.Fatalf("init made only %d durable steps: %v", len(steps), steps)
	}
	for n := 1; n <= len(steps); n++ {
		for _, when := range []string{"before", "after"} {
			initOnce(t, fmt.Sprintf("%s:%d", when, n))
		}
	}
	t.Logf("%d crash points tried in init", 2*len(steps))
	return seen
}

// initOnce makes a Region, ended at a point if crash is not empty and then repeated, and checks it. It returns the
// steps of the last init.
func initOnce(t *testing.T, crash string) []string {
	t.Helper()
	p := &pair{dir: softhsmtest.Dir(t)}
	p.choosePorts(t)
	if _, err := softhsm.Create(t.Context(), filepath.Join(p.dir, home, "token"), "antipode-"+home); err != nil {
		t.Fatal(err)
	}
	p.configure(t, home)
	init := func(crash string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), binary, "init", "--config", p.config(home),
			"--credentials", filepath.Join(p.dir, "credentials"))
		cmd.Env = append(os.Environ(), "ANTIPODE_CRASH="+crash, "ANTIPODE_STEPS="+p.steps(home))
		return cmd.CombinedOutput()
	}
	if crash != "" {
		var ended *exec.ExitError
		if out, err := init(crash); !errors.As(err, &ended) {
			t.Fatalf("init %s did not end: %v\n%s", crash, err, out)
		}
		p.forgetSteps(t, home)
	}
	if out, err := init(""); err != nil {
		t.Fatalf("init after %q: %v\n%s", crash, err, out)
	}
	steps := p.readSteps(t, home)
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
