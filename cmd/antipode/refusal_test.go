package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Flags that can't be meant are named, all at once, and nothing is made.
func TestFlags(t *testing.T) {
	t.Parallel()
	parent := folder(t)
	data := filepath.Join(parent, "data")
	cases := map[string]struct{ args, texts []string }{
		"no folder":         {[]string{"dev"}, []string{"--data is required"}},
		"unknown flag":      {[]string{"dev", "--data", data, "--region", "x"}, []string{"unknown flag: --region"}},
		"argument":          {[]string{"dev", "--data", data, "us-east-2"}, []string{"us-east-2"}},
		"unknown command":   {[]string{"develop"}, []string{`unknown command "develop"`}},
		"Region's name":     {[]string{"dev", "--data", data, "--regions", "us-east-2,Ohio"}, []string{"--regions", `"Ohio"`}},
		"Region with slash": {[]string{"dev", "--data", data, "--regions", "../us-east-2"}, []string{"--regions", `"../us-east-2"`}},
		"empty Region":      {[]string{"dev", "--data", data, "--regions", "us-east-2,"}, []string{"--regions", `""`}},
		"no Region":         {[]string{"dev", "--data", data, "--regions", ""}, []string{"--regions names no Region"}},
		"Region twice":      {[]string{"dev", "--data", data, "--regions", east + "," + east}, []string{"--regions", "twice"}},
		"account":           {[]string{"dev", "--data", data, "--account", "1111-2222-3333"}, []string{"--account", "12 digits"}},
		"any address":       {[]string{"dev", "--data", data, "--listen", "0.0.0.0:4566"}, []string{"--listen", "0.0.0.0 is not a loopback address"}},
		"no host":           {[]string{"dev", "--data", data, "--listen", ":4566"}, []string{"--listen", "not a loopback address"}},
		"any IPv6 address":  {[]string{"dev", "--data", data, "--listen", "[::]:4566"}, []string{"--listen", "not a loopback address"}},
		"a host's name":     {[]string{"dev", "--data", data, "--listen", "example.com:80"}, []string{"--listen", "not a loopback address"}},
		"no port":           {[]string{"dev", "--data", data, "--listen", "127.0.0.1"}, []string{"--listen", "missing port"}},
		"port too large":    {[]string{"dev", "--data", data, "--listen", "127.0.0.1:65536"}, []string{"--listen", "65536"}},
		"port in words":     {[]string{"dev", "--data", data, "--listen", "127.0.0.1:kms-port"}, []string{"--listen", "kms-port"}},
		"storage":           {[]string{"dev", "--data", data, "--storage", "cloud"}, []string{"--storage", `"cloud"`}},
		"backend":           {[]string{"dev", "--data", data, "--backend", "magic"}, []string{"--backend", `"magic"`}},
		"rotation tick":     {[]string{"dev", "--data", data, "--rotation-tick", "0s"}, []string{"--rotation-tick"}},
		"clock offset":      {[]string{"dev", "--data", data, "--clock-offset", "tomorrow"}, []string{"clock-offset"}},
		"log level":         {[]string{"dev", "--data", data, "--log-level", "loud"}, []string{"--log-level", "loud"}},
		"several": {
			[]string{"dev", "--data", data, "--account", "1", "--storage", "x", "--regions", "Ohio"},
			[]string{"--account", "--storage", "--regions"},
		},
		"init without file": {[]string{"init"}, []string{"--config"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fails(t, c.args, c.texts...)
		})
	}
	t.Cleanup(func() {
		if names, err := os.ReadDir(parent); err != nil || len(names) != 0 {
			t.Errorf("something was made: %v, %v", names, err)
		}
	})
}

// A folder that is not what the program left is refused with a message that says what is wrong and where.
func TestTampered(t *testing.T) {
	t.Parallel()
	data := folder(t)
	p := dev(t, data, "--regions", east)
	_, sealed := makeKey(t, p.client(t, east), true)
	p.stop(t)
	in := func(names ...string) string { return filepath.Join(append([]string{data, east}, names...)...) }
	args := []string{"dev", "--listen", "127.0.0.1:0", "--data", data, "--regions", east}
	cases := []struct {
		name  string
		path  string
		to    func(old []byte) []byte // nil removes the file
		texts []string
	}{
		{"credentials garbage", filepath.Join(data, "credentials"), func([]byte) []byte { return []byte("what?") }, []string{"credentials", "line 1"}},
		{"credentials half a key", filepath.Join(data, "credentials"), func(old []byte) []byte {
			return old[:bytes.LastIndex(old, []byte("aws_secret"))]
		}, []string{"credentials", "default"}},
		{"no store", in("store.db"), nil, []string{east, "store.db"}},
		{"store is no database", in("store.db"), func([]byte) []byte { return []byte(strings.Repeat("x", 8192)) }, []string{east, "store"}},
		{"store empty", in("store.db"), func([]byte) []byte { return nil }, []string{east, "store"}},
		{"no token", in("token", "token.json"), nil, []string{east, "token.json"}},
		{"another serial", in("token", "token.json"), func([]byte) []byte {
			return []byte(`{"label":"antipode-us-east-2","serial":"0000000000000000"}`)
		}, []string{east, "0000000000000000"}},
		{"wrong PIN", in("token", "pin"), func(old []byte) []byte {
			return append([]byte("WRONG"), old[5:]...)
		}, []string{east, "PIN"}},
		{"no PIN", in("token", "pin"), nil, []string{east, "pin"}},
		{"no identity", in("peer.pem"), nil, []string{east, "peer.pem"}},
		{"identity garbage", in("peer.pem"), func([]byte) []byte { return []byte("garbage") }, []string{east, "TLS identity"}},
	}
	for _, c := range cases {
		old, err := os.ReadFile(c.path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(c.path); err != nil {
			t.Fatal(err)
		}
		if c.to != nil {
			if err := os.WriteFile(c.path, c.to(old), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		t.Run(c.name, func(t *testing.T) { // one after the other: they share a folder
			fails(t, args, c.texts...)
		})
		if err := os.WriteFile(c.path, old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// With everything back in its place nothing was lost.
	p = dev(t, data, "--regions", east)
	opens(t, p.client(t, east), sealed)
	p.stop(t)
}

// A credentials file that is gone is made again, for a new access key; the old one ends.
func TestCredentialsRemoved(t *testing.T) {
	t.Parallel()
	data := folder(t)
	p := dev(t, data, "--regions", east)
	_, sealed := makeKey(t, p.client(t, east), false)
	old := filepath.Join(data, "old")
	if err := os.Rename(filepath.Join(data, "credentials"), old); err != nil {
		t.Fatal(err)
	}
	p.stop(t)
	p = dev(t, data, "--regions", east)
	opens(t, p.client(t, east), sealed)
	if _, err := clientOf(t, p.origin, old, east).ListKeys(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "UnrecognizedClientException") {
		t.Errorf("the old access key: %v", err)
	}
	p.stop(t)
}

// Where SoftHSM2 is missing the message says so, and how to get it, and nothing stays behind.
func TestNoSoftHSM(t *testing.T) {
	t.Parallel()
	data := folder(t)
	args := []string{"dev", "--listen", "127.0.0.1:0", "--data", data}
	failsAs(t, func(cmd *exec.Cmd) {
		cmd.Env = append(os.Environ(), "SOFTHSM2_MODULE=/nonexistent/libsofthsm2.so")
	}, args, "SOFTHSM2_MODULE", "/nonexistent/libsofthsm2.so")
	if names, err := filepath.Glob(filepath.Join(data, "*us-*")); err != nil || len(names) != 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	// With the folders hidden where it is usually installed.
	hide := func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"sh", "-c", `for d in /usr/lib/softhsm /usr/lib/*/softhsm /usr/lib64/pkcs11 /usr/lib64/softhsm /usr/local/lib/softhsm; do
			[ ! -d "$d" ] || mount -t tmpfs none "$d" || exit 99
		done
		exec "$0" "$@"`, binary}, args...)
		cmd.Path = "/bin/sh"
		cmd.Env = append(os.Environ(), "SOFTHSM2_MODULE=")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	}
	probe := exec.CommandContext(t.Context(), "/bin/sh", "-c", "mount -t tmpfs none /usr/lib/softhsm")
	probe.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if out, err := probe.CombinedOutput(); err != nil {
		t.Logf("this kernel lets no one hide folders (%v: %s); the message itself is tested in package softhsm", err, out)
		return
	}
	failsAs(t, hide, args, "SoftHSM2 is not installed", "apt-get install softhsm2")
	if names, err := filepath.Glob(filepath.Join(data, "*us-*")); err != nil || len(names) != 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}
