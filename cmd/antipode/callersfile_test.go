package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Faults of the file are named.
func TestCallersFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	hash := strings.Repeat("0", 64)
	const user = "arn:aws:iam::111122223333:user/u"
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"unknown field":       {"tokns: []", 0o600, "field tokns not found"},
		"unknown inner field": {"tokens: [{sha256: " + hash + ", principal: " + user + ", role: x}]", 0o600, "field role not found"},
		"no hash":             {"tokens: [{sha256: x, principal: " + user + "}]", 0o600, "tokens[0].sha256"},
		"no issuer":           {"oidc: [{audience: a, jwks: /k, roles: [{claim: c, value: v, role: " + user + "}]}]", 0o600, "oidc[0]"},
		"http":                {"oidc: [{issuer: i, audience: a, jwks: 'http://x/k'}]", 0o600, "oidc[0].jwks"},
		"no CA":               {"certificates: [{name: 'dns:a', principal: " + user + "}]", 0o600, "no CA certificate"},
		"CA is not there":     {"client_ca: /nonexistent", 0o600, "client_ca"},
		"another can write":   {"tokens: []", 0o622, "chmod go-w"},
		"two documents":       {"tokens: []\n---\ntokens: []", 0o600, "more than one document"},
	} {
		path := file(strings.ReplaceAll(name, " ", "-"), c.text, c.mode)
		if _, err := readCallers(path, true); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	plain := file("plain", "certificates: [{name: 'dns:a', principal: "+user+"}]", 0o600)
	if _, err := readCallers(plain, false); err == nil || !strings.Contains(err.Error(), "not served by TLS") {
		t.Errorf("certificates without TLS: %v", err)
	}
	if _, err := readCallers(filepath.Join(dir, "nothing"), true); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
	if _, err := readCallers(file("empty", "", 0o600), false); err != nil {
		t.Errorf("an empty file: %v", err)
	}
	cmd := callersCommand()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs([]string{"token", "--principal", "arn:aws:iam::111122223333:role/r"})
	if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "session name") {
		t.Errorf("a token of a role without a session's name: %v", err)
	}
}
