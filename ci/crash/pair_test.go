package crash

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"antipode/softhsm"
	"antipode/softhsm/softhsmtest"
)

const (
	home = "us-east-2" // where keys are made
	away = "us-west-1" // where they are replicated to

	account = "111122223333" // of the administrator
	nobody  = "999999999999" // an account that has no keys
)

// binary is the server with crash points, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "antipode-crash-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "antipode")
	build := exec.CommandContext(context.Background(), "go", "build", "-tags", "faults", "-o", binary, "antipode/cmd/antipode")
	build.Stderr = os.Stderr
	code := 1
	err = build.Run()
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o711), os.Chmod(binary, 0o755)) // for the Regions' users
	}
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// pair is the folder of two Regions: HOME and AWAY, each with a folder of its own for token, data, configuration and
// credentials. Where root runs the tests each Region has a user of its own (users_test.go).
type pair struct {
	dir     string
	ports   map[string]int // API
	peers   map[string]int
	timed   bool                         // no steps are written down
	entries map[string]map[string]string // what `region show` said of each
	ledger  *ledger                      // of the crash points tried, if they are counted
}

// newPair makes two Regions that trust each other, and stops them again.
func newPair(t testing.TB) *pair {
	t.Helper()
	return newPairIn(t, softhsmtest.Dir(t))
}

func newPairIn(t testing.TB, dir string) *pair {
	t.Helper()
	p := &pair{dir: dir, entries: map[string]map[string]string{}}
	passable(t, dir)
	p.choosePorts(t)
	for _, name := range []string{home, away} {
		if _, err := softhsm.Create(t.Context(), filepath.Join(p.dir, name, "token"), "antipode-"+name); err != nil {
			t.Fatal(err)
		}
		p.configure(t, name)
		if name == away { // it gets the first one's administrator
			run(t, "cp", p.credentials(home), p.credentials(away))
		}
		p.run(t, name, "init", "--config", p.config(name), "--credentials", p.credentials(name))
	}
	servers := []*server{p.start(t, home, ""), p.start(t, away, "")}
	for _, name := range []string{home, away} {
		p.learn(t, name)
	}
	p.trust(t, home, away, account)
	p.trust(t, away, home, account)
	for _, s := range servers {
		s.stop(t)
	}
	return p
}

func (p *pair) choosePorts(t testing.TB) {
	t.Helper()
	p.ports, p.peers = map[string]int{}, map[string]int{}
	for _, name := range []string{home, away} {
		p.ports[name], p.peers[name] = freePort(t), freePort(t)
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	addr, isTCP := l.Addr().(*net.TCPAddr)
	if !isTCP {
		t.Fatalf("address %v", l.Addr())
	}
	return addr.Port
}

func (p *pair) credentials(name string) string { return filepath.Join(p.dir, name, "credentials") }

func (p *pair) config(name string) string { return filepath.Join(p.dir, name, "config.yaml") }

// configure writes a Region's configuration for where its folder is now.
func (p *pair) configure(t testing.TB, name string) {
	t.Helper()
	dir := filepath.Join(p.dir, name)
	made, err := softhsm.Open(filepath.Join(dir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("region: %s\ndata: %s/data\nlisten: 127.0.0.1:%d\npeer_listen: 127.0.0.1:%d\n"+
		"peer_endpoint: https://127.0.0.1:%d\nstorage: token\ntoken:\n  module: %s\n  label: %s\n  pin_file: %s\n"+
		"  profile: softhsm\n  env: [SOFTHSM2_CONF=%s]\n",
		name, dir, p.ports[name], p.peers[name], p.peers[name], made.Module, made.Label,
		filepath.Join(dir, "token", "pin"), filepath.Join(dir, "token", "softhsm2.conf"))
	if err := os.WriteFile(p.config(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// copy returns a copy of the pair's folder, which can be crashed without touching the original. It has the original's
// addresses, which the two Regions know of each other, so only one of all copies can run at a time.
func (p *pair) copy(t testing.TB) *pair {
	t.Helper()
	c := &pair{dir: softhsmtest.Dir(t), ports: p.ports, peers: p.peers, entries: p.entries, ledger: p.ledger}
	passable(t, c.dir)
	run(t, "cp", "-a", p.dir+"/.", c.dir)
	for _, name := range []string{home, away} {
		c.configure(t, name)
	}
	return c
}

// learn keeps what a Region says of itself, for the others to trust.
func (p *pair) learn(t testing.TB, name string) {
	t.Helper()
	p.entries[name] = map[string]string{}
	for line := range strings.Lines(p.run(t, name, "region", "show", "--socket", p.socket(name))) {
		field, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		p.entries[name][field] = value
	}
}

// trust enrols other at into, for the keys of one account.
func (p *pair) trust(t testing.TB, into, other, account string) {
	t.Helper()
	p.run(t, into, p.trustArgs(into, other, account)...)
}

func (p *pair) trustArgs(into, other, account string) []string {
	return []string{
		"region", "trust", "--socket", p.socket(into), "--entry", p.entries[other]["entry"],
		"--fingerprint", p.entries[other]["fingerprint"], "--accounts", account,
	}
}

func (p *pair) socket(name string) string { return filepath.Join(p.dir, name, "data", "admin.sock") }

// server is one running Region.
type server struct {
	cmd    *exec.Cmd
	name   string
	log    string
	exited chan struct{}
	err    error
}

// start runs a Region; crash is where it ends itself, or "". It returns when the Region serves or has ended.
func (p *pair) start(t testing.TB, name, crash string, env ...string) *server {
	t.Helper()
	s := &server{name: name, log: filepath.Join(p.dir, name, "server.log"), exited: make(chan struct{})}
	s.cmd = p.command(t, name, crash, "serve", "--config", p.config(name), "--log-level", "info")
	s.cmd.Env = append(s.cmd.Env, env...)
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		s.err = s.cmd.Wait()
		close(s.exited)
	}()
	if crash == "" && !strings.HasPrefix(line, "ready ") {
		t.Fatalf("%s did not start: %q %v\n%s", name, line, readErr, s.tail())
	}
	return s
}

func (p *pair) steps(name string) string { return filepath.Join(p.dir, name, "steps") }

func (s *server) tail() string {
	raw, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-4000):])
}

// stop ends the Region in good order.
func (s *server) stop(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	s.wait(t)
	if s.err != nil {
		t.Fatalf("%s ended with %v\n%s", s.name, s.err, s.tail())
	}
}

func (s *server) wait(t testing.TB) {
	t.Helper()
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s does not end\n%s", s.name, s.tail())
	}
}

// client returns an ordinary AWS client of a Region that does not retry.
func (p *pair) client(t testing.TB, name string) *kms.Client {
	t.Helper()
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion(name), config.WithSharedCredentialsFiles(
		[]string{p.credentials(name)}), config.WithSharedConfigFiles([]string{}))
	if err != nil {
		t.Fatal(err)
	}
	return kms.NewFromConfig(cfg, func(o *kms.Options) {
		o.BaseEndpoint = aws.String(fmt.Sprintf("http://127.0.0.1:%d", p.ports[name]))
		o.RetryMaxAttempts = 1
	})
}

// command is one of the program, as the Region's user and with its crash point.
func (p *pair) command(t testing.TB, name, crash string, args ...string) *exec.Cmd {
	t.Helper()
	p.own(t, name)
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), "ANTIPODE_CRASH="+crash)
	if !p.timed {
		cmd.Env = append(cmd.Env, "ANTIPODE_STEPS="+p.steps(name))
	}
	cmd.SysProcAttr = as(userOf(name))
	return cmd
}

// run runs the program as the Region's user; it must succeed.
func (p *pair) run(t testing.TB, name string, args ...string) string {
	t.Helper()
	var stderr strings.Builder
	cmd := p.command(t, name, "", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("antipode %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
}
