package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The README's REST commands do what they say, as they are printed there, but for the address.
func TestREST(t *testing.T) {
	t.Parallel()
	installed(t, "jq")
	installed(t, "curl")
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(readme), "\n## REST\n")
	_, block, begins := strings.Cut(section, "\n```\n")
	commands, _, ends := strings.Cut(block, "\n```\n")
	if !found || !begins || !ends {
		t.Fatal("the README has no block of commands under REST")
	}
	dir := t.TempDir()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "scripts"), filepath.Join(dir, "scripts")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(commands, "http://127.0.0.1:4566", dev.endpoint))
	cmd.Dir, cmd.Env = dir, append(dev.environment(t), "ANTIPODE_ENDPOINT="+dev.endpoint)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"/v1/regions/{region}/keys/{KeyId}:encrypt\n", `"Enabled"`, "[200,404]", `"MultiRegionKeyType":"REPLICA"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("nowhere in the output: %s", want)
		}
	}
	t.Logf("%s", out)
}
