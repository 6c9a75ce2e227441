package main_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

const (
	east = "us-east-2"
	west = "us-west-1"

	readyWithin = 90 * time.Second
	endsWithin  = 60 * time.Second
)

// binary is the program under test, built once, with the race detector in it: a race that it finds is exit status 66.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp(scratchRoot(), "antipode-cmd-")
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
	if err := os.Chmod(dir, 0o711); err != nil { // another user runs the program in one of the tests
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "antipode")
	build := exec.CommandContext(context.Background(), "go", "build", "-race", "-buildvcs=false", "-o", binary, "antipode/cmd/antipode")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build antipode: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// scratchRoot is in memory where there is a /dev/shm: SoftHSM writes a token object fifty times faster there.
func scratchRoot() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}

// folder returns an empty folder in memory, gone when the test ends.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratchRoot(), "antipode-cmd-test-") //nolint:usetesting // t.TempDir is on disk
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// program is one process of the binary.
type program struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	log    string // path of what it wrote to stderr
	ended  bool
	rest   string // what was on stdout when it had ended
	data   string
	origin string // http://127.0.0.1:PORT
	quiet  bool   // what it wrote was looked at already
}

// launch starts the binary. It is killed when the test ends, if it has not ended before.
func launch(t testing.TB, args ...string) *program {
	t.Helper()
	return launchAs(t, nil, args...)
}

func launchAs(t testing.TB, change func(*exec.Cmd), args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.CommandContext(t.Context(), binary, args...)}
	log, err := os.CreateTemp(t.TempDir(), "stderr-*")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // the child has its own descriptor
	p.log, p.cmd.Stderr = log.Name(), log
	if change != nil {
		change(p.cmd)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.ended {
			p.kill(t)
		}
		if t.Failed() && !p.quiet {
			t.Logf("antipode %s wrote:\n%s", strings.Join(args, " "), p.stderr(t))
		}
	})
	return p
}

// dev starts `antipode dev` on data and waits until it serves.
func dev(t testing.TB, data string, args ...string) *program {
	t.Helper()
	return devAs(t, nil, data, args...)
}

func devAs(t testing.TB, change func(*exec.Cmd), data string, args ...string) *program {
	t.Helper()
	p := launchAs(t, change, append([]string{"dev", "--listen", "127.0.0.1:0", "--data", data}, args...)...)
	p.data = data
	if err := p.waitReady(); err != nil {
		t.Fatalf("%v\n%s", err, p.stderr(t))
	}
	return p
}

func (p *program) waitReady() error {
	watchdog := time.AfterFunc(readyWithin, func() { _ = p.cmd.Process.Kill() })
	line, err := p.out.ReadString('\n')
	watchdog.Stop()
	origin, ready := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "ready ")
	if !ready {
		return fmt.Errorf("antipode dev said %q, not ready: %w", line, err)
	}
	p.origin = origin
	return nil
}

// stderr returns what the program has logged so far.
func (p *program) stderr(t testing.TB) string {
	t.Helper()
	raw, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// wait returns the exit status and what was left on stdout.
func (p *program) wait(t testing.TB) (status int, rest string) {
	t.Helper()
	watchdog := time.AfterFunc(endsWithin, func() { _ = p.cmd.Process.Kill() })
	defer watchdog.Stop()
	raw, readErr := io.ReadAll(p.out)
	err := p.cmd.Wait()
	p.ended, p.rest = true, string(raw)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || readErr != nil {
		t.Fatalf("wait: %v", errors.Join(err, readErr))
	}
	return p.cmd.ProcessState.ExitCode(), string(raw)
}

// stop ends the program as an operator would; it must exit 0 and have nothing more to say on stdout.
func (p *program) stop(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status, rest := p.wait(t); status != 0 || rest != "" {
		t.Fatalf("SIGTERM: exit status %d, stdout %q\n%s", status, rest, p.stderr(t))
	}
}

// ready reports whether the program, which has ended, said that it serves.
func (p *program) ready() bool { return strings.HasPrefix(p.rest, "ready ") }

// kill is kill -9.
func (p *program) kill(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	p.wait(t)
}

// fails runs the binary to its end, which must be exit status 1, one message with all of these texts at the end of
// stderr, and nothing on stdout.
func fails(t testing.TB, args []string, texts ...string) {
	t.Helper()
	failsAs(t, nil, args, texts...)
}

func failsAs(t testing.TB, change func(*exec.Cmd), args []string, texts ...string) {
	t.Helper()
	p := launchAs(t, change, args...)
	p.quiet = true
	status, out := p.wait(t)
	log := p.stderr(t)
	at := strings.LastIndex("\n"+log, "\nantipode: ")
	if status != 1 || out != "" || at < 0 {
		t.Errorf("antipode %s: exit status %d, stdout %q, stderr %s", strings.Join(args, " "), status, out, log)
		return
	}
	for _, text := range texts {
		if !strings.Contains(log[at:], text) {
			t.Errorf("antipode %s: no %q in %s", strings.Join(args, " "), text, log[at:])
		}
	}
	for _, never := range []string{"panic", "goroutine ", "DATA RACE"} {
		if strings.Contains(log, never) {
			t.Errorf("antipode %s: %s in %s", strings.Join(args, " "), never, log)
		}
	}
}

// client is the official client with the default profile of the credentials file.
func (p *program) client(t testing.TB, region string) *kms.Client {
	t.Helper()
	return clientOf(t, p.origin, filepath.Join(p.data, "credentials"), region)
}

func clientOf(t testing.TB, origin, file, region string) *kms.Client {
	t.Helper()
	profile, err := config.LoadSharedConfigProfile(t.Context(), "default", func(o *config.LoadSharedConfigOptions) {
		o.CredentialsFiles, o.ConfigFiles = []string{file}, []string{}
	})
	if err != nil {
		t.Fatalf("the AWS SDK does not read the credentials file: %v", err)
	}
	c := profile.Credentials
	return kms.New(kms.Options{
		Region: region, BaseEndpoint: aws.String(origin), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""),
	})
}

// makeKey makes a key, and encrypts under it.
func makeKey(t testing.TB, c *kms.Client, multiRegion bool) (id string, sealed []byte) {
	t.Helper()
	made, err := c.CreateKey(t.Context(), &kms.CreateKeyInput{MultiRegion: &multiRegion})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: made.KeyMetadata.KeyId, Plaintext: []byte("plaintext")})
	if err != nil {
		t.Fatal(err)
	}
	return *made.KeyMetadata.KeyId, out.CiphertextBlob
}

func replicate(t testing.TB, c *kms.Client, id, region string) {
	t.Helper()
	if _, err := c.ReplicateKey(t.Context(), &kms.ReplicateKeyInput{KeyId: &id, ReplicaRegion: &region}); err != nil {
		t.Fatal(err)
	}
}

func opens(t testing.TB, c *kms.Client, sealed []byte) {
	t.Helper()
	out, err := c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed})
	if err != nil || !bytes.Equal(out.Plaintext, []byte("plaintext")) {
		t.Errorf("decrypt: %v", err)
	}
}
