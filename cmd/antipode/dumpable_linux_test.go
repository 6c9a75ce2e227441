package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody is a user without rights.
const nobody = 65534

// A process that may not be dumped has files in /proc that belong to root, whoever runs it (proc(5)). As root the test
// runs it as another user, to see the difference; a child that may be dumped is there to show that there is one.
func TestNotDumpable(t *testing.T) {
	t.Parallel()
	data := folder(t)
	uid := os.Getuid()
	as := func(*exec.Cmd) {}
	if uid == 0 {
		uid = nobody
		if err := os.Chown(data, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		as = func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
	}
	owner := func(pid int) int {
		var st unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d/environ", pid), &st); err != nil {
			t.Fatal(err)
		}
		return int(st.Uid)
	}
	child := exec.CommandContext(t.Context(), "/bin/sleep", "60")
	as(child)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	waitFor(t, "the other child to run", func() bool { return owner(child.Process.Pid) == uid })

	p := devAs(t, as, data, "--regions", east)
	if got := owner(p.cmd.Process.Pid); got != 0 {
		t.Errorf("/proc/PID/environ belongs to user %d: the process can be dumped", got)
	}
	makeKey(t, p.client(t, east), true) // and it works like this, as a user without rights
	p.stop(t)
}
