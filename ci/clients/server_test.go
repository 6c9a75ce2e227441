package clients

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	primaryRegion = "us-east-2"
	replicaRegion = "us-west-1"

	readyWithin = 2 * time.Minute
	endsWithin  = 30 * time.Second
)

// users are those beside the administrator, each with a profile of his name.
var users = []struct{ name, account, policy string }{
	{"alice", "111122223333", allow(`["kms:Encrypt","kms:DescribeKey"]`)},
	{"bob", "111122223333", allow(`"kms:ListKeys"`)},
	{"carol", "999988887777", allow(`"kms:*"`)},
}

func allow(actions string) string {
	return `{"Version":"2012-10-17","Statement":[{"Sid":"Own","Effect":"Allow","Action":` + actions + `,"Resource":"*"}]}`
}

// dev is the running server that all tests of the package share; TestMain sets it before the first of them.
var dev server

// server is one 'antipode dev' process over real tokens.
type server struct {
	endpoint    string // http://127.0.0.1:PORT
	credentials string // path
	log         string // path of what it wrote to stderr
	cmd         *exec.Cmd
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	ctx := context.Background()
	dir, err := os.MkdirTemp(scratchRoot(), "antipode-clients-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	if dev, err = start(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code = m.Run()
	if err := dev.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if code != 0 {
		fmt.Fprintf(os.Stderr, "the end of the server's log:\n%s\n", tail(dev.log, 30))
	}
	return code
}

// scratchRoot is /dev/shm, where a token's fsync is free, or the ordinary temporary folder.
func scratchRoot() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}

// start builds bin/antipode from this tree, with the race detector in it, and waits until it serves.
func start(ctx context.Context, dir string) (server, error) {
	binary := filepath.Join(dir, "antipode")
	build := exec.CommandContext(ctx, "go", "build", "-race", "-buildvcs=false", "-o", binary, "antipode/cmd/antipode")
	if out, err := build.CombinedOutput(); err != nil {
		return server{}, fmt.Errorf("build antipode: %w\n%s", err, out)
	}
	s := server{credentials: filepath.Join(dir, "data", "credentials"), log: filepath.Join(dir, "server.log")}
	log, err := os.Create(s.log)
	if err != nil {
		return server{}, err
	}
	defer log.Close() //nolint:errcheck // the child has its own descriptor
	// Port 0 is a free port; the ready line tells which.
	args := []string{
		"dev", "--regions", primaryRegion + "," + replicaRegion, "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data"),
	}
	for _, u := range users {
		path := filepath.Join(dir, u.name+".json")
		if err := os.WriteFile(path, []byte(u.policy), 0o600); err != nil {
			return server{}, err
		}
		args = append(args, "--identity", u.name+"="+u.account+":"+path)
	}
	s.cmd = exec.CommandContext(ctx, binary, args...)
	s.cmd.Stderr = log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return server{}, err
	}
	if err := s.cmd.Start(); err != nil {
		return server{}, err
	}
	watchdog := time.AfterFunc(readyWithin, func() { _ = s.cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	watchdog.Stop()
	endpoint, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if !ok {
		return server{}, errors.Join(fmt.Errorf("antipode dev said %q, not ready (%w)\n%s", line, err, tail(s.log, 30)), s.stop())
	}
	s.endpoint = endpoint
	return s, nil
}

// stop ends the server as an operator would, and fails unless it exits 0: a data race that was found is exit 66.
func (s server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("antipode dev was gone before it was told to end: %w", errors.Join(err, s.cmd.Wait()))
	}
	watchdog := time.AfterFunc(endsWithin, func() { _ = s.cmd.Process.Kill() })
	defer watchdog.Stop()
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("antipode dev after SIGTERM: %w", err)
	}
	return nil
}

// environment is what a client's process gets: nothing of this machine's AWS configuration.
func (s server) environment(t *testing.T, more ...string) []string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "config")
	// The setting is version 2's; version 1 of the CLI ignores it and takes raw text anyway.
	if err := os.WriteFile(config, []byte("[default]\ncli_binary_format = raw-in-base64-out\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(), "AWS_PAGER=",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=" + config, "AWS_SHARED_CREDENTIALS_FILE=" + s.credentials,
		"ANTIPODE_ENDPOINT=" + s.endpoint,
	}
	return append(env, more...)
}

// tail returns the last n lines of a file.
func tail(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
