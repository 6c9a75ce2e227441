package openapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"antipode/regions"
	"antipode/regions/regionstest"
	"antipode/regions/rest"
)

// A client that oapi-codegen makes from the document as it is served makes a key, encrypts and decrypts with it, in JSON and
// in bytes, and understands a refusal. client/ is a module of its own, so that the generator is no dependency of ours; both
// come from the module proxy, at the versions of its go.sum.
func TestGeneratedClient(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	h, err := rest.NewHandler(rest.Config{Served: []*regions.Region{f.Region}, Now: time.Now, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)

	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("client")); err != nil {
		t.Fatal(err)
	}
	download(t, s.URL+"/v1/openapi.json", filepath.Join(dir, "openapi.json"))
	run(t, dir, nil, "go", "tool", "oapi-codegen", "-generate", "types,client", "-package", "main", "-o", "generated.go", "openapi.json")
	run(t, dir, []string{
		"ANTIPODE_URL=" + s.URL, "AWS_ACCESS_KEY_ID=" + regionstest.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + regionstest.Secret,
	}, "go", "run", ".")
	keys := regionstest.Must[regions.ListKeysOutput](t, f, "ListKeys", nil).Keys
	if len(keys) != 1 {
		t.Errorf("the client has made %d keys", len(keys))
	}
}

func download(t *testing.T, url, path string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v", url, resp.StatusCode, err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, dir string, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
