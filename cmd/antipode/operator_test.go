package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// says runs the binary, which must end well, and returns what it says.
func says(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("antipode %s: %v: %s", strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}

// word returns what follows a word in a text, up to the end of its line.
func word(t testing.TB, text, after string) string {
	t.Helper()
	_, rest, found := strings.Cut("\n"+text, "\n"+after+" ")
	if !found {
		t.Fatalf("no %q in %s", after, text)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return line
}

// Operators are enrolled in each Region by their fingerprint, and change only by approvals of those that there are.
func TestOperators(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	p := dev(t, filepath.Join(dir, "data"))
	at := func(name string) string { return filepath.Join(dir, name) }
	socket := func(region string) string { return filepath.Join(p.data, region, "admin.sock") }
	if err := os.WriteFile(at("phrase"), []byte("a long passphrase\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	public := map[string]string{}
	for name, with := range map[string][]string{
		"alice": {"--passphrase-file", at("phrase")}, "bob": {"--no-passphrase"}, "carol": {"--no-passphrase"},
	} {
		out := says(t, "", append([]string{"operator", "keygen", "--out", at(name), "--name", name}, with...)...)
		public[name] = word(t, out, "operator")
		info, err := os.Stat(at(name))
		raw, readErr := os.ReadFile(at(name))
		if err != nil || readErr != nil || info.Mode().Perm() != 0o600 || strings.Contains(string(raw), "ENCRYPTED") != (name == "alice") {
			t.Errorf("%s: %v %v %v", name, info, err, readErr)
		}
	}
	fails(t, []string{"operator", "keygen", "--out", at("x"), "--name", "x"}, "--passphrase-file")
	fails(t, []string{"operator", "keygen", "--out", at("alice"), "--name", "x", "--no-passphrase"}, "is there already")

	first := word(t, says(t, "", "operator", "propose", "--out", at("first"), "--quorum", "2",
		"--operator", public["alice"], "--operator", public["bob"]), "fingerprint")
	fails(t, []string{"operator", "propose", "--out", at("half"), "--quorum", "1", "--operator", public["alice"], "--operator", public["bob"]},
		"not a majority")
	enrol := func(region string, more ...string) []string {
		return append([]string{"operator", "enrol", "--socket", socket(region)}, more...)
	}
	fails(t, enrol(east, "--in", at("first")), "--fingerprint is needed")
	fails(t, enrol(east, "--in", at("first"), "--fingerprint", strings.Repeat("AAAA-", 13)), "Nothing was changed")
	if got := says(t, "", "operator", "show", "--socket", socket(east)); !strings.Contains(got, "no operators") {
		t.Errorf("refused, and now there are: %s", got)
	}
	says(t, "", enrol(east, "--in", at("first"), "--fingerprint", first)...)
	says(t, "", enrol(east, "--in", at("first"), "--fingerprint", strings.ToLower(first))...) // again

	second := word(t, says(t, "", "operator", "propose", "--socket", socket(east), "--out", at("second"), "--quorum", "2",
		"--operator", public["alice"], "--operator", public["bob"], "--operator", public["carol"]), "fingerprint")
	approve := func(name string, more ...string) []string {
		return append([]string{
			"operator", "approve", at("second"), "--key", at(name), "--passphrase-file", at("phrase"), "--out", at("by " + name),
		}, more...)
	}
	refused := exec.CommandContext(t.Context(), binary, approve("alice")...)
	refused.Stdin = strings.NewReader("no\n")
	if out, err := refused.CombinedOutput(); err == nil || !strings.Contains(string(out), "not approved") {
		t.Errorf("the operator said no: %v %s", err, out)
	}
	if _, err := os.Stat(at("by alice")); err == nil {
		t.Error("and yet it was approved")
	}
	shown := says(t, "yes\n", approve("alice")...)
	for _, text := range []string{"scope operators/", "version 2, 2 of 3", `"carol"`, second} {
		if !strings.Contains(shown, text) {
			t.Errorf("the operator was not shown %s: %s", text, shown)
		}
	}
	says(t, "", approve("bob", "--yes")...)
	says(t, "", approve("carol", "--yes")...)
	approved := func(names ...string) []string {
		args := []string{"--in", at("second")}
		for _, n := range names {
			args = append(args, "--approval", at("by "+n))
		}
		return enrol(east, args...)
	}
	fails(t, approved(), "not approved")
	fails(t, approved("alice"), "1 of 2")
	fails(t, append(approved("alice"), "--fingerprint", second), "1 of 2") // no fingerprint replaces a quorum
	fails(t, approved("alice", "alice"), "1 of 2")
	fails(t, approved("alice", "carol"), "by nobody")
	if got := word(t, says(t, "", approved("alice", "bob")...), "fingerprint"); got != second {
		t.Errorf("the operators' fingerprint is %s, want %s", got, second)
	}
	fails(t, enrol(east, "--in", at("first"), "--fingerprint", first), "steps back")

	// The other Region takes both sets at once, by the fingerprint of the second.
	says(t, "", "operator", "show", "--socket", socket(east), "--out", at("all"))
	fails(t, enrol(west, "--in", at("all"), "--fingerprint", first), "Nothing was changed")
	says(t, "", enrol(west, "--in", at("all"), "--fingerprint", second)...)
	p.stop(t)
	p = dev(t, p.data)
	for _, region := range []string{east, west} {
		if got := word(t, says(t, "", "operator", "show", "--socket", socket(region)), "fingerprint"); got != second {
			t.Errorf("%s: after a restart the fingerprint is %s", region, got)
		}
	}
	p.stop(t)
}
