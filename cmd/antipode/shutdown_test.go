package main_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"antipode/regions/identity"
)

// halfSent opens a connection and sends a signed GenerateRandom but for the last part of its body. finish sends that
// and returns the status and the length of the answer.
func halfSent(t *testing.T, p *program) (finish func() (status, length int, err error)) {
	t.Helper()
	profiles, err := identity.ReadCredentials(filepath.Join(p.data, "credentials"))
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"NumberOfBytes":24}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.origin+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "TrentService.GenerateRandom")
	sum := sha256.Sum256([]byte(body))
	creds := aws.Credentials{AccessKeyID: profiles[0].AccessKeyID, SecretAccessKey: string(profiles[0].Secret.Reveal())}
	if err := v4.NewSigner().SignHTTP(t.Context(), creds, req, hex.EncodeToString(sum[:]), "kms", east, time.Now()); err != nil {
		t.Fatal(err)
	}
	var head strings.Builder
	if err := req.Header.Write(&head); err != nil {
		t.Fatal(err)
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", req.URL.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the other side may have closed it
	if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n%s\r\n%s", req.URL.Host, len(body), head.String(), body[:9]); err != nil {
		t.Fatal(err)
	}
	return func() (int, int, error) {
		if _, err := io.WriteString(conn, body[9:]); err != nil {
			return 0, 0, err
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), req)
		if err != nil {
			return 0, 0, err
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		return resp.StatusCode, len(raw), err
	}
}

// Calls whose request had begun to arrive when SIGTERM came are answered, then the process ends.
func TestShutdownAnswersCallsInFlight(t *testing.T) {
	t.Parallel()
	p := dev(t, folder(t), "--regions", east)
	var calls []func() (int, int, error)
	for range 20 {
		calls = append(calls, halfSent(t, p))
	}
	time.Sleep(200 * time.Millisecond) // the server has read what was sent
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	for _, finish := range calls {
		if status, length, err := finish(); status != http.StatusOK || length != len(`{"Plaintext":""}`)+32 || err != nil {
			t.Errorf("a call in flight was answered %d, %d bytes, %v", status, length, err)
		}
	}
	begin := time.Now()
	if status, rest := p.wait(t); status != 0 || rest != "" || time.Since(begin) > 5*time.Second {
		t.Errorf("exit status %d after %v, stdout %q", status, time.Since(begin), rest)
	}
}

// A client that never finishes its request can delay the end, not spoil it.
func TestShutdownWithStalledClient(t *testing.T) {
	t.Parallel()
	p := dev(t, folder(t), "--regions", east)
	halfSent(t, p)
	time.Sleep(200 * time.Millisecond)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if status, _ := p.wait(t); status != 0 || time.Since(begin) > 25*time.Second {
		t.Errorf("exit status %d after %v", status, time.Since(begin))
	}
}

// SIGTERM, and SIGINT, before all Regions serve ends a start early and cleanly, and the next start completes it.
func TestStopDuringStart(t *testing.T) {
	t.Parallel()
	random := newRandom(t)
	data := folder(t)
	for i, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGTERM} {
		p := launch(t, "dev", "--listen", "127.0.0.1:0", "--data", data)
		// Before it has taken the folder it has made nothing, and a signal may end it as the kernel does.
		waitFor(t, "the folder to be locked", func() bool {
			_, err := os.Stat(filepath.Join(data, "lock"))
			return err == nil
		})
		time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
		if err := p.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if status, _ := p.wait(t); status != 0 {
			t.Errorf("stop %d: exit status %d\n%s", i, status, p.stderr(t))
		}
		if err := os.Remove(filepath.Join(data, "lock")); err != nil {
			t.Fatal(err)
		}
	}
	p := dev(t, data)
	makeKey(t, p.client(t, west), false)
	p.stop(t)
}

// waitFor polls until done, or fails the test.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(readyWithin); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A folder serves one process at a time; the first is not disturbed.
func TestSecondProcess(t *testing.T) {
	t.Parallel()
	data := folder(t)
	p := dev(t, data, "--regions", east)
	fails(t, []string{"dev", "--listen", "127.0.0.1:0", "--data", data, "--regions", east}, data, "in use by another antipode process")
	fails(t, []string{"dev", "--listen", "127.0.0.1:0", "--data", data, "--regions", west}, data, "in use by another antipode process")
	makeKey(t, p.client(t, east), true)
	p.stop(t)
}

// A port that is taken is an error at the end of a start, after which everything is closed: the next start works.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	data := folder(t)
	fails(t, []string{"dev", "--listen", l.Addr().String(), "--data", data, "--regions", east}, l.Addr().String(), "address already in use")
	dev(t, data, "--regions", east).stop(t)
}
