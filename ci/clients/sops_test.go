package clients

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sops encrypts a file for a multi-Region key: by both ARNs, so that it opens in either Region while the other's key is
// disabled, and by one, whose data key the other Region opens as well.
func TestSops(t *testing.T) {
	t.Parallel()
	path, err := exec.CommandContext(t.Context(), "bash", "../../ci/tools.sh", "sops", "--path").Output()
	if err != nil {
		t.Fatal(err)
	}
	program := installed(t, strings.TrimSpace(string(path)))
	j := journey{t, newGoSDK(t)}
	made := j.makes(use{spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT"})
	key, here := made.text("KeyId"), made.text("Arn")
	there := inRegion(here, replicaRegion)

	dir := t.TempDir()
	env := dev.environment(t, "AWS_ENDPOINT_URL_KMS="+dev.endpoint, "SOPS_DISABLE_VERSION_CHECK=true")
	sops := func(args ...string) ([]byte, error) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir, cmd.Env = dir, env
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("sops %s: %w\n%s", strings.Join(args, " "), err, &stderr)
		}
		return out, nil
	}
	put := func(name string, text []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	encrypt := func(name string, args ...string) []byte {
		t.Helper()
		out, err := sops(append([]string{"encrypt"}, append(args, "plain.yaml")...)...)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(out, []byte("correct horse")) || !bytes.Contains(out, []byte(here)) {
			t.Errorf("encrypted: %s", out)
		}
		put(name, out)
		return out
	}
	plain := []byte("database:\n    user: app\n    password: correct horse battery staple\n    ports: [5432, 5433]\n")
	put("plain.yaml", plain)
	opens := func(name string) {
		t.Helper()
		out, err := sops("decrypt", name)
		if err != nil {
			t.Error(err)
			return
		}
		again, err := sops("decrypt", "--extract", `["database"]["password"]`, name)
		if err != nil || string(again) != "correct horse battery staple" || !bytes.Contains(out, []byte("ports:")) {
			t.Errorf("%v: %s\n%s", err, out, again)
		}
	}

	encrypt("both.yaml", "--kms", here+","+there, "--encryption-context", "app:billing,stage:production")
	opens("both.yaml")
	j.must(primaryRegion, "DisableKey", members{"KeyId": key})
	opens("both.yaml")
	j.must(primaryRegion, "EnableKey", members{"KeyId": key})
	j.must(replicaRegion, "DisableKey", members{"KeyId": key})
	opens("both.yaml")
	if _, err := sops("rotate", "--in-place", "both.yaml"); err == nil || !strings.Contains(err.Error(), "DisabledException") {
		t.Errorf("a new data key for a disabled key: %v", err)
	}
	j.must(replicaRegion, "EnableKey", members{"KeyId": key})
	if _, err := sops("rotate", "--in-place", "both.yaml"); err != nil {
		t.Error(err)
	}
	opens("both.yaml")

	// The file names the key's Region; the encrypted data key does not.
	one := encrypt("one.yaml", "--kms", here, "--encryption-context", "app:billing")
	put("moved.yaml", bytes.ReplaceAll(one, []byte(here), []byte(there)))
	opens("moved.yaml")
	put("context.yaml", bytes.ReplaceAll(one, []byte("app: billing"), []byte("app: payroll")))
	if _, err := sops("decrypt", "context.yaml"); err == nil || !strings.Contains(err.Error(), "InvalidCiphertextException") {
		t.Errorf("with another encryption context: %v", err)
	}
	j.must(replicaRegion, "DisableKey", members{"KeyId": key})
	if _, err := sops("decrypt", "moved.yaml"); err == nil || !strings.Contains(err.Error(), "DisabledException") {
		t.Errorf("with a disabled key: %v", err)
	}
	opens("one.yaml")
}
