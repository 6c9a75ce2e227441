package crash

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// userOf is the user id that a Region runs as: one of its own where root runs the tests, this process's otherwise.
func userOf(name string) int {
	if os.Getuid() != 0 {
		return os.Getuid()
	}
	if name == home {
		return 61001
	}
	return 61002
}

// as makes a process another user's, with no group but the user's own.
func as(uid int) *syscall.SysProcAttr {
	if uid == os.Getuid() {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
}

// own gives all of a Region's folder to its user, and closes it to others.
func (p *pair) own(t testing.TB, name string) {
	t.Helper()
	dir, uid := filepath.Join(p.dir, name), userOf(name)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if uid == os.Getuid() {
		return
	}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, uid, uid) //nolint:gosec // G122: the folder is the test's own
		}
		if errors.Is(err, os.ErrNotExist) { // the other Region runs, or this one, and its temporary files come and go
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// passable lets the Regions' users through the folder of a pair to their own folders in it.
func passable(t testing.TB, dir string) {
	t.Helper()
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	for at := dir; userOf(home) != os.Getuid() && at != filepath.Dir(at); at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o001 == 0 {
			t.Fatalf("the Regions run as users %d and %d, who can't pass through %s: chmod o+x it, or set TMPDIR",
				userOf(home), userOf(away), at)
		}
	}
}

// asUser runs fn in a thread that has another user's rights, and only those.
func asUser(t *testing.T, uid int, fn func() error) error {
	t.Helper()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks it: the thread ends with this goroutine
		for _, call := range []struct {
			trap  uintptr
			a1    uintptr
			a2    uintptr
			a3    uintptr
			label string
		}{
			{trap: unix.SYS_SETGROUPS, label: "setgroups"},
			{trap: unix.SYS_SETRESGID, a1: uintptr(uid), a2: uintptr(uid), a3: uintptr(uid), label: "setresgid"},
			{trap: unix.SYS_SETRESUID, a1: uintptr(uid), a2: uintptr(uid), a3: uintptr(uid), label: "setresuid"},
		} {
			if _, _, errno := unix.RawSyscall(call.trap, call.a1, call.a2, call.a3); errno != 0 {
				result <- os.NewSyscallError(call.label, errno)
				return
			}
		}
		result <- fn()
	}()
	return <-result
}

// TestSeparateUsers runs each Region as a user of its own, and tries what is one's with the other's rights: each path is
// refused by the kernel, and the admin socket refuses whoever gets past its path.
//
// It needs root. Elsewhere it fails if ANTIPODE_SEPARATE_USERS is "required", as it is in continuous integration.
func TestSeparateUsers(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		if os.Getenv("ANTIPODE_SEPARATE_USERS") == "required" {
			t.Fatal("only root can run the Regions as users of their own: run it as root (sudo make test)")
		}
		t.Skip("needs root: sudo make test")
	}
	p := newPair(t)
	servers := []*server{p.start(t, home, ""), p.start(t, away, "")}
	if _, err := replicateOne(t.Context(), p.client(t, home)); err != nil {
		t.Errorf("between two users' processes: %v", err)
	}
	for _, s := range servers {
		if uid := processUser(t, s); uid != userOf(s.name) {
			t.Errorf("%s runs as user %d", s.name, uid)
		}
	}
	for _, side := range [][2]string{{home, away}, {away, home}} {
		owner, other := side[0], side[1]
		for _, path := range privatePaths(t, p, owner) {
			if err := asUser(t, userOf(owner), func() error { return touch(path) }); err != nil {
				t.Errorf("%s: its own user can't use it: %v", path, err)
			}
			if err := asUser(t, userOf(other), func() error { return touch(path) }); !errors.Is(err, unix.EACCES) {
				t.Errorf("%s: the user of %s: %v, want EACCES", path, other, err)
			}
		}
		foreignOperator(t, p, owner, other)
	}
	for _, s := range servers {
		s.stop(t)
	}
}

// privatePaths are what nobody but a Region's user may use. Those that must be there are named; all others in its
// folder are found.
func privatePaths(t *testing.T, p *pair, name string) []string {
	t.Helper()
	dir := filepath.Join(p.dir, name)
	var out []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		out = append(out, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, must := range []string{
		"token", "token/tokens", "token/pin", "token/so-pin", "token/token.json", "data", "data/store.db", "data/store.db-wal",
		"data/peer.pem", "data/audit", "data/admin.sock", "config.yaml", "credentials",
	} {
		found := false
		for _, path := range out {
			found = found || path == filepath.Join(dir, must)
		}
		if !found {
			t.Errorf("%s of %s is not where it was: the table of paths is wrong", must, name)
		}
	}
	return out
}

// touch opens a file, lists a folder, or connects to a socket.
func touch(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return f.Close()
	}
	c, err := (&net.Dialer{Timeout: time.Second}).Dial("unix", path)
	if err != nil {
		return err
	}
	return c.Close()
}

// foreignOperator asks a Region's admin socket as the other Region's user: by its path he does not reach it, and with
// the path opened by a careless hand the Region itself refuses him.
func foreignOperator(t *testing.T, p *pair, owner, other string) {
	t.Helper()
	show := func() (string, error) {
		cmd := p.command(t, other, "", "region", "show", "--socket", p.socket(owner))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := show(); err == nil || !strings.Contains(out, "permission denied") {
		t.Errorf("the user of %s asks %s: %v\n%s", other, owner, err, out)
	}
	for path, mode := range map[string]os.FileMode{
		filepath.Join(p.dir, owner): 0o711, filepath.Join(p.dir, owner, "data"): 0o711, p.socket(owner): 0o666,
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if err := os.Chmod(filepath.Join(p.dir, owner), 0o700); err != nil {
			t.Error(err)
		}
	}()
	if err := asUser(t, userOf(other), func() error { return touch(p.socket(owner)) }); err != nil {
		t.Errorf("the socket is still out of reach, so that nothing is shown: %v", err)
	}
	if out, err := show(); err == nil || strings.Contains(out, "fingerprint") {
		t.Errorf("%s answered the user of %s: %v\n%s", owner, other, err, out)
	}
}

// processUser is whose rights a process has. The owner of its /proc folder would be root: it can't be looked into.
func processUser(t *testing.T, s *server) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(raw), "\nUid:")
	uids := strings.Fields(after)
	if len(uids) < 4 || uids[0] != uids[1] || uids[0] != uids[2] || uids[0] != uids[3] {
		t.Fatalf("users %v", uids[:min(4, len(uids))])
	}
	uid, err := strconv.Atoi(uids[0])
	if err != nil {
		t.Fatal(err)
	}
	return uid
}
