package peer_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"antipode/replication/peer"
)

// A client that is slow in any phase is dropped, and meanwhile others are served.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	r := newRig(t, peer.Limits{Handshake: 2 * time.Second, Transfer: time.Second}, echo)
	silent, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(r.endpoint, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	noHeader, err := dial(t, r, func(*tls.Config) {})
	if err != nil {
		t.Fatal(err)
	}
	noBody, err := dial(t, r, func(*tls.Config) {})
	if err != nil {
		t.Fatal(err)
	}
	write(t, noHeader, "POST /antipode")
	write(t, noBody, "POST /antipode/v1/message HTTP/1.1\r\nHost: x\r\nContent-Type: application/cose\r\nContent-Length: 9\r\n\r\nx")
	if _, err := r.client.Call(t.Context(), west, []byte("x")); err != nil {
		t.Errorf("another client meanwhile: %v", err)
	}
	for name, conn := range map[string]net.Conn{"no handshake": silent, "no header": noHeader, "no body": noBody} {
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		if nerr := net.Error(nil); errors.As(err, &nerr) && nerr.Timeout() {
			t.Errorf("%s: still connected", name)
		}
		if strings.HasPrefix(string(got), "HTTP/1.1 2") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if n := r.calls.Load(); n != 1 {
		t.Errorf("%d messages arrived", n)
	}
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// The time to send a message is not the time to work on it.
func TestSlowHandler(t *testing.T) {
	t.Parallel()
	limits := peer.Limits{Transfer: 200 * time.Millisecond, Handle: 3 * time.Second}
	r := newRig(t, limits, func(ctx context.Context, _ string, msg []byte) ([]byte, error) {
		wait := 600 * time.Millisecond
		if string(msg) == "for ever" {
			wait = time.Hour
		}
		select {
		case <-time.After(wait):
			return msg, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	if _, err := r.client.Call(t.Context(), west, []byte("a while")); err != nil {
		t.Errorf("within its time: %v", err)
	}
	if _, err := r.client.Call(t.Context(), west, []byte("for ever")); !errors.Is(err, peer.ErrUnreachable) {
		t.Errorf("beyond its time: %v", err)
	}
	for range 20 { // often enough to see the server's answer to the hang-up win its race against the deadline
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := r.client.Call(ctx, west, []byte("a while"))
		cancel()
		if !errors.Is(err, peer.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("caller's deadline: %v", err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	r := newRig(t, peer.Limits{Connect: 300 * time.Millisecond, Handshake: 300 * time.Millisecond}, echo)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// Something that accepts and says nothing; then nothing at all.
	r.set(func() { r.addr.Endpoint = "https://" + listener.Addr().String() })
	if _, err := r.client.Call(t.Context(), west, []byte("x")); !errors.Is(err, peer.ErrUnreachable) {
		t.Errorf("silent server: %v", err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.Call(t.Context(), west, []byte("x")); !errors.Is(err, peer.ErrUnreachable) {
		t.Errorf("nobody listens: %v", err)
	}
	r.client.Close()
	r.client.Close()
	if _, err := r.client.Call(t.Context(), west, []byte("x")); !errors.Is(err, peer.ErrUnreachable) {
		t.Errorf("closed client: %v", err)
	}
}

// Both sides bound the calls per peer: the client waits, the server says "try again".
func TestPerPeer(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}, 8), make(chan struct{})
	handle := func(ctx context.Context, _ string, msg []byte) ([]byte, error) {
		entered <- struct{}{}
		select {
		case <-release:
			return msg, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r := newRig(t, peer.Limits{PerPeer: 2}, handle)
	wide := r.newClient(t, r.east, peer.Limits{PerPeer: 8})
	done := make(chan error, 8)
	call := func(c *peer.Client) {
		_, err := c.Call(t.Context(), west, []byte("x"))
		done <- err
	}
	go call(r.client)
	go call(r.client)
	<-entered
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.client.Call(ctx, west, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("third call: %v", err)
	}
	if _, err := wide.Call(t.Context(), west, []byte("x")); !errors.Is(err, peer.ErrUnreachable) || !strings.Contains(err.Error(), "429") {
		t.Errorf("third call of a client that does not wait: %v", err)
	}
	close(release)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if _, err := wide.Call(t.Context(), west, []byte("x")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if n := r.calls.Load(); n != 3 {
		t.Errorf("%d messages arrived", n)
	}
}

// Strangers who hold connections open are bounded too, and make room when their handshake's time is over.
func TestConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t, peer.Limits{Connections: 2, Handshake: 1500 * time.Millisecond}, echo)
	for range 2 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(r.endpoint, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	patient := r.newClient(t, r.east, peer.Limits{})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := patient.Call(ctx, west, []byte("x")); !errors.Is(err, peer.ErrUnreachable) {
		t.Errorf("a third connection: %v", err)
	}
	if _, err := patient.Call(t.Context(), west, []byte("x")); err != nil {
		t.Errorf("a peer after the strangers' time: %v", err)
	}
}

// When a server ends, what is in flight ends well within the grace, and is cancelled after it.
func TestShutdown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		grace time.Duration
		want  error
	}{
		"in time":  {10 * time.Second, nil},
		"too late": {50 * time.Millisecond, peer.ErrUnreachable},
	} {
		entered, release := make(chan struct{}), make(chan struct{})
		r := newRig(t, peer.Limits{Grace: c.grace}, func(ctx context.Context, _ string, msg []byte) ([]byte, error) {
			close(entered)
			select {
			case <-release:
				return msg, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		done := make(chan error, 1)
		go func() {
			_, err := r.client.Call(t.Context(), west, []byte("x"))
			done <- err
		}()
		<-entered
		r.stop()
		if c.want == nil {
			close(release)
		}
		if err := <-done; !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err := <-r.served; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		r.served <- nil
		if _, err := r.client.Call(t.Context(), west, []byte("x")); !errors.Is(err, peer.ErrUnreachable) {
			t.Errorf("%s: after the end: %v", name, err)
		}
	}
}
