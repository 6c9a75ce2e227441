package main_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"antipode/regions/audit"
	"antipode/softhsm"
)

// site is one Region as an operator sets it up: a token that was made before, a PIN file, a configuration file.
type site struct {
	dir, data, config, pinFile string
	token                      softhsm.Token
	pin                        string
}

// newSite makes the token of us-east-2 and writes its configuration.
func newSite(t *testing.T) *site {
	t.Helper()
	dir := folder(t)
	s := &site{
		dir: dir, data: filepath.Join(dir, "data"), config: filepath.Join(dir, "config.yaml"), pinFile: filepath.Join(dir, "operator-pin"),
	}
	var err error
	if s.token, err = softhsm.Create(t.Context(), filepath.Join(dir, "token"), "hsm-"+east); err != nil {
		t.Fatal(err)
	}
	pin, err := os.ReadFile(filepath.Join(s.token.Dir, "pin"))
	if err != nil {
		t.Fatal(err)
	}
	s.pin = string(pin)
	// The PIN is where the operator has put it and nowhere else.
	if err := os.Remove(filepath.Join(s.token.Dir, "pin")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.pinFile, append(pin, '\n'), 0o400); err != nil {
		t.Fatal(err)
	}
	s.write(t, east, nil)
	return s
}

// write writes the configuration of a Region on the site's token, as change edits it.
func (s *site) write(t *testing.T, region string, change func(string) string) {
	t.Helper()
	text := fmt.Sprintf(`region: %s
data: %s
listen: 127.0.0.1:0
peer_listen: 127.0.0.1:0
peer_endpoint: https://127.0.0.1:4570
token:
  module: %s
  label: %s
  serial: %s
  pin_file: %s
  profile: softhsm
  env: [SOFTHSM2_CONF=%s]
`, region, s.data, s.token.Module, s.token.Label, s.token.Serial, s.pinFile, filepath.Join(s.token.Dir, "softhsm2.conf"))
	if change != nil {
		text = change(text)
	}
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *site) init(t *testing.T, args ...string) {
	t.Helper()
	p := launch(t, append([]string{"init", "--config", s.config}, args...)...)
	status, out := p.wait(t)
	log := p.stderr(t)
	if status != 0 || out != "" || !strings.Contains(log, "is ready in "+s.data) || !strings.Contains(log, "WARNING: only this token holds") {
		t.Fatalf("init: exit status %d, stdout %q\n%s", status, out, log)
	}
	if strings.Contains(log, s.pin) {
		t.Error("init logs the PIN")
	}
}

// objects are the names of the token's objects.
func (s *site) objects(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.token.Dir, "tokens", "*", "*.object"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A Region that init made serves, and init repeated changes nothing of it.
func TestInit(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	credentials := filepath.Join(s.dir, "credentials")
	s.init(t)
	made := s.objects(t)
	identity, err := os.ReadFile(filepath.Join(s.data, "peer.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s.init(t, "--credentials", credentials)
	s.init(t, "--credentials", credentials)
	if again := s.objects(t); strings.Join(again, " ") != strings.Join(made, " ") {
		t.Errorf("the token's objects were %v, now %v", made, again)
	}
	if again, err := os.ReadFile(filepath.Join(s.data, "peer.pem")); err != nil || !bytes.Equal(again, identity) {
		t.Errorf("the identity has changed, %v", err)
	}
	checkPrivate(t, s.data)

	p := launch(t, "serve", "--config", s.config)
	if err := p.waitReady(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"environ", "cmdline"} {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name))
		if os.IsPermission(err) {
			continue // the process is not dumpable, so only root can look
		}
		if err != nil || bytes.Contains(raw, []byte(s.pin)) {
			t.Errorf("/proc/PID/%s holds the PIN, or %v", name, err)
		}
	}
	_, sealed := makeKey(t, clientOf(t, p.origin, credentials, east), true)
	fails(t, []string{"init", "--config", s.config}, s.data, "in use by another antipode process")
	p.stop(t)
	if strings.Contains(p.stderr(t), s.pin) {
		t.Error("serve logs the PIN")
	}
	s.init(t)
	p = launch(t, "serve", "--config", s.config)
	if err := p.waitReady(); err != nil {
		t.Fatal(err)
	}
	opens(t, clientOf(t, p.origin, credentials, east), sealed)
	p.stop(t)
	if _, err := audit.Verify(t.Context(), filepath.Join(s.data, "audit")); err != nil {
		t.Error(err)
	}
}

// An init that is killed at any moment can be repeated, and ends with a Region that serves and a token that holds what
// one holds that was made undisturbed, and at most one piece of waste for each kill.
func TestInitKilled(t *testing.T) {
	t.Parallel()
	random := newRandom(t)
	undisturbed := newSite(t)
	undisturbed.init(t)
	want := len(undisturbed.objects(t))
	for round := range 4 {
		s := newSite(t)
		early := 0
		for range 5 {
			p := launch(t, "init", "--config", s.config)
			// Before it has taken the folder it has made nothing.
			lock := filepath.Join(s.data, "lock")
			waitFor(t, "the folder to be locked", func() bool {
				_, err := os.Stat(lock)
				return err == nil
			})
			time.Sleep(time.Duration(random.IntN(120)) * time.Millisecond)
			p.kill(t)
			if err := os.Remove(lock); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(p.stderr(t), "is ready in") {
				break
			}
			early++
		}
		credentials := filepath.Join(s.dir, "credentials")
		s.init(t, "--credentials", credentials)
		// SoftHSM writes a new object in several steps, so a kill inside C_GenerateKey can leave a file that is no
		// object yet and that no id names. That there are no two objects of one id, serving will show.
		if got := len(s.objects(t)); got < want || got > want+early {
			t.Errorf("round %d: %d objects on the token after %d kills, want %d", round, got, early, want)
		}
		p := launch(t, "serve", "--config", s.config)
		if err := p.waitReady(); err != nil {
			t.Fatal(err)
		}
		makeKey(t, clientOf(t, p.origin, credentials, east), true)
		p.stop(t)
		left, err := filepath.Glob(filepath.Join(s.data, ".*"))
		if err != nil || len(left) != 0 {
			t.Errorf("round %d: left over: %v, %v", round, left, err)
		}
		t.Logf("round %d: killed %d times before it was done", round, early)
	}
}

// A configuration that can't be meant is refused, with all its faults, before anything is made.
func TestInitRefusals(t *testing.T) {
	t.Parallel()
	replace := func(old, with string) func(string) string {
		return func(text string) string {
			if !strings.Contains(text, old) {
				panic("no " + old)
			}
			return strings.Replace(text, old, with, 1)
		}
	}
	s := newSite(t)
	run := func(name string, change func(string) string, texts ...string) {
		t.Helper()
		s.write(t, east, change)
		fails(t, []string{"init", "--config", s.config}, texts...)
		if _, err := os.Stat(s.data); err == nil {
			t.Errorf("%s: the data folder was made", name)
		}
	}
	run("unknown field", func(text string) string { return text + "regoin: x\n" }, "regoin", s.config)
	run("unknown field of the token", replace("  label:", "  lable:"), "lable")
	run("PIN in the file", replace("  profile:", "  pin: 1234\n  profile:"), "pin not found")
	run("empty", func(string) string { return "" }, s.config, "empty")
	run("two documents", func(text string) string { return text + "---\nregion: us-west-1\n" }, s.config, "more than one document")
	run("no YAML", func(string) string { return "{{{" }, s.config)
	run("field twice", func(text string) string { return text + "region: us-west-1\n" }, "region")
	run("Region", replace("region: "+east, "region: Ohio"), "region", `"Ohio"`)
	run("relative data", replace("data: "+s.data, "data: data"), "data:", "not an absolute path")
	run("relative module", replace("module: "+s.token.Module, "module: libsofthsm2.so"), "token.module:", "not an absolute path")
	run("relative PIN file", replace("pin_file: "+s.pinFile, "pin_file: pin"), "token.pin_file:", "not an absolute path")
	run("relative audit folder", func(text string) string { return text + "audit_dir: audit\n" }, "audit_dir:", "not an absolute path")
	run("profile", replace("profile: softhsm", "profile: yubihsm"), "token.profile", "yubihsm")
	run("no token", func(text string) string {
		return replace("  serial: "+s.token.Serial+"\n", "")(replace("  label: "+s.token.Label+"\n", "")(text))
	}, "label or serial")
	run("several", replace("data: "+s.data, "data: x\nstorage: paper"), "data:", "storage:")
	fails(t, []string{"init", "--config", filepath.Join(s.dir, "none.yaml")}, "none.yaml")
	s.write(t, east, nil)
	fails(t, []string{"init", "--config", s.config, "--credentials", filepath.Join(s.dir, "c"), "--account", "1"}, "--account")
	if _, err := os.Stat(s.data); err == nil {
		t.Error("the data folder was made for an account that is none")
	}

	// What only the token can tell, or the file system.
	for _, c := range []struct {
		name   string
		change func(string) string
		texts  []string
	}{
		{"another label", replace("label: "+s.token.Label, "label: other"), []string{"open token"}},
		{"another serial", replace("serial: "+s.token.Serial, "serial: '0000000000000000'"), []string{"open token"}},
		{"no module", replace("module: "+s.token.Module, "module: /nonexistent/lib.so"), []string{"/nonexistent/lib.so"}},
		{"not a module", replace("module: "+s.token.Module, "module: /etc/passwd"), []string{"open token"}},
		{"no PIN file", replace("pin_file: "+s.pinFile, "pin_file: /nonexistent/pin"), []string{"/nonexistent/pin"}},
	} {
		s.write(t, east, c.change)
		fails(t, []string{"init", "--config", s.config}, c.texts...)
	}
	s.write(t, east, nil)
	for mode, text := range map[os.FileMode]string{0o440: "mode 0440", 0o404: "mode 0404", 0o644: "mode 0644", 0o660: "mode 0660"} {
		if err := os.Chmod(s.pinFile, mode); err != nil {
			t.Fatal(err)
		}
		fails(t, []string{"init", "--config", s.config}, s.pinFile, text, "chmod 0400")
	}
	if err := os.Chmod(s.pinFile, 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"": "is empty", "\n": "is empty", "wrong-pin-1234\n": "PIN"} {
		if err := os.WriteFile(s.pinFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		fails(t, []string{"init", "--config", s.config}, want)
	}
	if err := os.WriteFile(s.pinFile, []byte(s.pin+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.init(t)

	// A folder belongs to one Region.
	objects := len(s.objects(t))
	s.write(t, west, nil)
	fails(t, []string{"init", "--config", s.config}, east, west)
	if now := len(s.objects(t)); now != objects {
		t.Errorf("%d objects on the token, then %d", objects, now)
	}
}
