package peer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"antipode/replication/peer"
)

const (
	east = "us-east-2"
	west = "us-west-1"
)

var errStranger = errors.New("not in the roster")

// rig is a server of the west on loopback and a client of the east, over real TLS.
type rig struct {
	east, west *peer.Identity
	endpoint   string
	client     *peer.Client
	calls      atomic.Int64

	mu   sync.Mutex
	pins map[[32]byte]string
	addr peer.Address

	stop   context.CancelFunc
	served chan error
}

func identity(t testing.TB, region string) *peer.Identity {
	t.Helper()
	i, err := peer.NewIdentity(region)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func newRig(t *testing.T, limits peer.Limits, handle peer.Handler) *rig {
	t.Helper()
	r := &rig{east: identity(t, east), west: identity(t, west), served: make(chan error, 1)}
	r.pins = map[[32]byte]string{r.east.Pin(): east}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.endpoint = "https://" + listener.Addr().String()
	r.addr = peer.Address{Endpoint: r.endpoint, Pin: r.west.Pin()}
	server := peer.NewServer(r.west, r.regionOf, func(ctx context.Context, from string, msg []byte) ([]byte, error) {
		r.calls.Add(1)
		return handle(ctx, from, msg)
	}, limits, zerolog.Nop())
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() { r.served <- server.Serve(ctx, listener) }()
	r.client = r.newClient(t, r.east, limits)
	t.Cleanup(func() {
		stop()
		if err := <-r.served; err != nil {
			t.Errorf("serve: %v", err)
		}
		r.served <- nil
	})
	return r
}

func (r *rig) regionOf(pin [32]byte) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if region, ok := r.pins[pin]; ok {
		return region, nil
	}
	return "", errStranger
}

func (r *rig) newClient(t *testing.T, id *peer.Identity, limits peer.Limits) *peer.Client {
	t.Helper()
	c := peer.NewClient(id, func(region string) (peer.Address, error) {
		if region != west {
			return peer.Address{}, errStranger
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.addr, nil
	}, limits)
	t.Cleanup(c.Close)
	return c
}

func (r *rig) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func echo(_ context.Context, from string, msg []byte) ([]byte, error) {
	return append([]byte(from+" "), msg...), nil
}

func TestCall(t *testing.T) {
	t.Parallel()
	r := newRig(t, peer.Limits{}, echo)
	for _, msg := range [][]byte{[]byte("x"), bytes.Repeat([]byte{0xff}, peer.MaxMessage-len(east)-1)} {
		got, err := r.client.Call(t.Context(), west, msg)
		if err != nil || !bytes.Equal(got, append([]byte(east+" "), msg...)) {
			t.Fatalf("%d bytes: %d bytes, %v", len(msg), len(got), err)
		}
	}
	if _, err := r.client.Call(t.Context(), "eu-west-1", []byte("x")); !errors.Is(err, peer.ErrRefused) || !errors.Is(err, errStranger) {
		t.Errorf("unknown Region: %v", err)
	}
}

func TestWrongPin(t *testing.T) {
	t.Parallel()
	r := newRig(t, peer.Limits{}, echo)
	r.set(func() { r.addr.Pin[0] ^= 1 })
	if _, err := r.client.Call(t.Context(), west, []byte("x")); !errors.Is(err, peer.ErrWrongPeer) {
		t.Errorf("%v", err)
	}
	// The roster's word counts at once, although a connection made under the old word is open.
	r.set(func() { r.addr.Pin[0] ^= 1 })
	if _, err := r.client.Call(t.Context(), west, []byte("x")); err != nil {
		t.Errorf("right again: %v", err)
	}
	r.set(func() { r.addr.Pin[0] ^= 1 })
	if _, err := r.client.Call(t.Context(), west, []byte("x")); !errors.Is(err, peer.ErrWrongPeer) {
		t.Errorf("wrong again: %v", err)
	}
	if n := r.calls.Load(); n != 1 {
		t.Errorf("%d messages arrived", n)
	}
}

func TestUnknownClient(t *testing.T) {
	t.Parallel()
	r := newRig(t, peer.Limits{}, echo)
	stranger := r.newClient(t, identity(t, "us-east-2"), peer.Limits{}) // the right name in the certificate helps nobody
	if _, err := stranger.Call(t.Context(), west, []byte("x")); err == nil {
		t.Error("a stranger was answered")
	}
	// Removed while its connection is open.
	if _, err := r.client.Call(t.Context(), west, []byte("x")); err != nil {
		t.Fatal(err)
	}
	r.set(func() { delete(r.pins, r.east.Pin()) })
	if _, err := r.client.Call(t.Context(), west, []byte("x")); !errors.Is(err, peer.ErrRefused) {
		t.Errorf("removed: %v", err)
	}
	if n := r.calls.Load(); n != 1 {
		t.Errorf("%d messages arrived", n)
	}
}

// dial returns a TLS connection to the server with these settings; the server's key is not what these tests are about.
func dial(t *testing.T, r *rig, change func(*tls.Config)) (*tls.Conn, error) {
	t.Helper()
	text, err := r.east.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // a test's client
	change(config)
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", strings.TrimPrefix(r.endpoint, "https://"))
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	tlsConn, ok := conn.(*tls.Conn)
	if !ok {
		t.Fatal("not TLS")
	}
	return tlsConn, nil
}

// raw sends bytes and returns all that comes back.
func raw(t *testing.T, conn net.Conn, text string) string {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, text) // the server may hang up while we write
	got, _ := io.ReadAll(conn)
	return string(got)
}

func TestServerRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t, peer.Limits{}, echo)
	head := func(method, path, typ, more string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nConnection: close\r\n%s\r\n", method, path, typ, more)
	}
	const path, typ = "/antipode/v1/message", "application/cose"
	chunked := "Transfer-Encoding: chunked\r\n"
	for name, c := range map[string]struct{ request, want string }{
		"another path":         {head("POST", "/", typ, "Content-Length: 1\r\n") + "x", "HTTP/1.1 404"},
		"another method":       {head("GET", path, typ, ""), "HTTP/1.1 405"},
		"another content type": {head("POST", path, "text/plain", "Content-Length: 1\r\n") + "x", "HTTP/1.1 415"},
		"empty":                {head("POST", path, typ, "Content-Length: 0\r\n"), "HTTP/1.1 400"},
		"broken chunks":        {head("POST", path, typ, chunked) + "zzz\r\n", "HTTP/1.1 400"},
		"oversize, announced": {head("POST", path, typ, fmt.Sprintf("Content-Length: %d\r\n", peer.MaxMessage+1)) +
			strings.Repeat("x", peer.MaxMessage+1), "HTTP/1.1 413"},
		"oversize, in chunks": {head("POST", path, typ, chunked) +
			fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", peer.MaxMessage+1, strings.Repeat("x", peer.MaxMessage+1)), "HTTP/1.1 413"},
		"huge header": {head("POST", path, typ, "X: "+strings.Repeat("x", 1<<20)+"\r\n"), "HTTP/1.1 431"},
		"no HTTP":     {"hello\r\n\r\n", "HTTP/1.1 400"},
	} {
		conn, err := dial(t, r, func(*tls.Config) {})
		if err != nil {
			t.Fatal(err)
		}
		if got := raw(t, conn, c.request); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %.60q", name, got)
		}
	}
	if _, err := dial(t, r, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
	if conn, err := dial(t, r, func(c *tls.Config) { c.Certificates = nil }); err == nil {
		if got := raw(t, conn, head("POST", path, typ, "Content-Length: 1\r\n")+"x"); got != "" {
			t.Errorf("without a certificate: %q", got)
		}
	}
	plain, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(r.endpoint, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	got := raw(t, plain, head("POST", path, typ, "Content-Length: 1\r\n")+"x")
	if strings.Contains(got, east) || strings.HasPrefix(got, "HTTP/1.1 2") {
		t.Errorf("plain HTTP: %q", got)
	}
	if n := r.calls.Load(); n != 0 {
		t.Errorf("%d messages arrived", n)
	}
}

func TestClientRefusesToSend(t *testing.T) {
	t.Parallel()
	r := newRig(t, peer.Limits{}, echo)
	for name, msg := range map[string][]byte{"empty": nil, "oversize": make([]byte, peer.MaxMessage+1)} {
		if _, err := r.client.Call(t.Context(), west, msg); !errors.Is(err, peer.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, endpoint := range []string{
		strings.Replace(r.endpoint, "https", "http", 1), "", "https://127.0.0.1", r.endpoint + "/x", "unix:///x", ":",
	} {
		r.set(func() { r.addr.Endpoint = endpoint })
		if _, err := r.client.Call(t.Context(), west, []byte("x")); !errors.Is(err, peer.ErrRefused) {
			t.Errorf("endpoint %q: %v", endpoint, err)
		}
	}
	if n := r.calls.Load(); n != 0 {
		t.Errorf("%d messages arrived", n)
	}
}

func TestHandlerErrors(t *testing.T) {
	t.Parallel()
	secret := errors.New("what the handler says stays here")
	r := newRig(t, peer.Limits{}, func(_ context.Context, _ string, msg []byte) ([]byte, error) {
		switch string(msg) {
		case "refuse":
			return nil, fmt.Errorf("%w: %w", peer.ErrRefused, secret)
		case "fail":
			return nil, secret
		case "empty":
			return nil, nil
		case "large":
			return make([]byte, peer.MaxMessage+1), nil
		default:
			panic(http.ErrAbortHandler)
		}
	})
	for msg, want := range map[string]error{
		"refuse": peer.ErrRefused, "fail": peer.ErrUnreachable, "empty": peer.ErrUnreachable, "large": peer.ErrUnreachable,
		"panic": peer.ErrUnreachable,
	} {
		_, err := r.client.Call(t.Context(), west, []byte(msg))
		if !errors.Is(err, want) || strings.Contains(err.Error(), secret.Error()) {
			t.Errorf("%s: %v", msg, err)
		}
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	id := identity(t, east)
	text, err := id.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	back, err := peer.ParsePEM(text)
	if err != nil || back.Pin() != id.Pin() {
		t.Fatalf("%v", err)
	}
	other, err := identity(t, west).MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	cut := bytes.Index(text, []byte("-----BEGIN PRIVATE"))
	cutOther := bytes.Index(other, []byte("-----BEGIN PRIVATE"))
	for name, bad := range map[string][]byte{
		"nothing": nil, "no key": text[:cut], "no certificate": text[cut:], "twice": append(bytes.Clone(text), text...),
		"key of another": append(bytes.Clone(text[:cut]), other[cutOther:]...),
	} {
		if _, err := peer.ParsePEM(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	key := string(text[cut+28 : cut+60])
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, id); strings.Contains(got, key) || !strings.HasPrefix(got, "TLS identity ") {
			t.Errorf("%s prints %q", format, got)
		}
	}
}
