package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/regionstest"
	"antipode/replication/peer"
	"antipode/softhsm/softhsmtest"
)

// What the configuration of serve may say of addresses: plain HTTP on loopback, anything else with TLS.
func TestServeAddresses(t *testing.T) {
	t.Parallel()
	good := config{
		Region: "us-east-2", Data: "/d", Listen: "127.0.0.1:1", PeerListen: "0.0.0.0:2", PeerEndpoint: "https://a:2",
		Token: tokenConfig{Module: "/m", Label: "l", PINFile: "/p", Profile: "softhsm"},
	}
	for name, c := range map[string]struct {
		change func(*config)
		want   string // "" if it is good
	}{
		"loopback":               {func(*config) {}, ""},
		"IPv6 loopback":          {func(c *config) { c.Listen = "[::1]:1" }, ""},
		"any address":            {func(c *config) { c.Listen = "0.0.0.0:1" }, "so tls is needed"},
		"no host":                {func(c *config) { c.Listen = ":1" }, "so tls is needed"},
		"another host":           {func(c *config) { c.Listen = "kms.example.com:1" }, "so tls is needed"},
		"any address with TLS":   {func(c *config) { c.Listen, c.TLS.Certificate, c.TLS.Key = ":1", "/c", "/k" }, ""},
		"certificate alone":      {func(c *config) { c.TLS.Certificate = "/c" }, "needed together"},
		"no port":                {func(c *config) { c.Listen = "127.0.0.1" }, "listen:"},
		"peer without port":      {func(c *config) { c.PeerListen = "127.0.0.1" }, "peer_listen:"},
		"peer over plain HTTP":   {func(c *config) { c.PeerEndpoint = "http://a:2" }, "peer_endpoint:"},
		"negative quota":         {func(c *config) { c.MaxGrantsPerKey = -1 }, "max_grants_per_key:"},
		"unknown storage":        {func(c *config) { c.Storage = "disk" }, "storage:"},
		"relative audit folder":  {func(c *config) { c.AuditDir = "audit" }, "audit_dir:"},
		"neither label nor more": {func(c *config) { c.Token.Label = "" }, "label or serial"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			c.change(&cfg)
			err := cfg.validate()
			if err == nil {
				err = cfg.validateServe()
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// /readyz says which Region is not ready and what keeps it, and nothing that only its operator may know.
func TestReadiness(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	f := regionstest.Open(t, "us-east-2", regionstest.WithToken(func(token hsmbackend.Token) hsmbackend.Token {
		return hsmtest.Faulty(token, func(op string) (bool, error) {
			if op == "Random" && broken.Load() {
				return false, &hsmbackend.Error{Op: "C_GenerateRandom", RV: 0x30, Kind: hsmbackend.ErrUnavailable, Info: "internal"}
			}
			return false, nil
		})
	}))
	handler, err := routes([]*node{{name: "us-east-2", region: f.Region, log: zerolog.Nop()}}, nil, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	want := func(path string, code int, body string) {
		t.Helper()
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if got := strings.TrimSpace(rec.Body.String()); rec.Code != code || got != body {
			t.Errorf("%s: %d %q, want %d %q", path, rec.Code, got, code, body)
		}
	}
	want("/readyz", http.StatusOK, "ok")
	broken.Store(true)
	want("/readyz", http.StatusServiceUnavailable, "us-east-2 is not ready: its token does not answer")
	want("/livez", http.StatusOK, "ok")
	broken.Store(false)
	want("/readyz", http.StatusOK, "ok")
	if got := reason(errors.Join(regions.ErrAuditLog, errors.New("disk full"))); got != "its audit log can't be written" {
		t.Errorf("a failed audit log reads %q", got)
	}
}

// The admin socket answers its own user, and closes on any other, whatever the mode of the socket has become. Without
// root there is no other user to try, and only the first half is shown.
func TestAdminSocketIsItsOwners(t *testing.T) {
	t.Parallel()
	dir := softhsmtest.Dir(t)
	socket := startAdminIn(t, dir)
	if os.Getuid() != 0 {
		return
	}
	for _, path := range []string{socket, dir} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	answer := make(chan string)
	go func() {
		// The thread becomes another user's, and ends with the goroutine, which does not unlock it.
		runtime.LockOSThread()
		answer <- askAs(65534, socket)
	}()
	if got := <-answer; got != "connected, no answer" {
		t.Errorf("another user: %s", got)
	}
}

// askAs asks the socket as another user, who is so on this thread only.
func askAs(uid uintptr, socket string) string {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return "setresuid: " + errno.Error()
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "socket: " + err.Error()
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return "connect: " + err.Error()
	}
	// The server may have closed already, so that the request can't be sent: then there is no answer either.
	_ = unix.Send(fd, []byte("GET /v1/region HTTP/1.1\r\nHost: admin\r\n\r\n"), unix.MSG_NOSIGNAL)
	var buf [512]byte
	n, err := unix.Read(fd, buf[:])
	if closeErr := unix.Close(fd); closeErr != nil {
		return "close: " + closeErr.Error()
	}
	if n > 0 {
		return "answered " + string(buf[:n])
	}
	if err == nil || errors.Is(err, unix.ECONNRESET) {
		return "connected, no answer"
	}
	return "read: " + err.Error()
}

// A socket in a folder whose path is longer than a socket's address may be.
func TestAdminSocketDeep(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(softhsmtest.Dir(t), strings.Repeat("deep", 40))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	startAdminIn(t, dir)
}

// startAdminIn serves an admin socket in a folder and asks it something.
func startAdminIn(t *testing.T, dir string) string {
	t.Helper()
	f := regionstest.Open(t, "us-east-2")
	identity, err := peer.NewIdentity("us-east-2")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{name: "us-east-2", region: f.Region, peer: identity, log: zerolog.Nop()}
	if err := f.Region.Enrol(t.Context(), selfEntry(n, "https://a:1")); err != nil {
		t.Fatal(err)
	}
	m := newMesh(t.Context())
	t.Cleanup(func() {
		if err := m.close(); err != nil {
			t.Error(err)
		}
	})
	if err := m.startAdmin(n, nil, dir); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, adminSocket)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v %v", info, err)
	}
	var a regionAnswer
	if err := adminCall(t.Context(), socket, http.MethodGet, "/v1/region", nil, &a); err != nil || a.Region != "us-east-2" {
		t.Errorf("its own user: %+v %v", a, err)
	}
	return socket
}
