package identity_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"

	"antipode/regions/identity"
)

func profiles(t *testing.T, names ...string) []identity.Profile {
	t.Helper()
	sealer := ring(t)
	var out []identity.Profile
	for _, name := range names {
		k, s := newKey(t, sealer, user(t, account, name))
		out = append(out, identity.Profile{Name: name, AccessKeyID: k.ID, Secret: s})
	}
	return out
}

func same(a, b []identity.Profile) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name || a[i].AccessKeyID != b[i].AccessKeyID || !bytes.Equal(a[i].Secret.Reveal(), b[i].Secret.Reveal()) {
			return false
		}
	}
	return true
}

func TestCredentialsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "credentials")
	if got, err := identity.ReadCredentials(path); err != nil || got != nil {
		t.Fatalf("no file: %+v, %v", got, err)
	}
	want := profiles(t, "default", "alice", "A.b-c_d@e=f,g+h")
	// An existing file that is too open is replaced, not written into.
	if err := os.WriteFile(path, []byte("[old]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := identity.WriteCredentials(path, want); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	got, err := identity.ReadCredentials(path)
	if err != nil || !same(got, want) {
		t.Errorf("read back %d profiles, %v", len(got), err)
	}
	// The official SDK reads it too.
	for _, p := range want {
		c, err := config.LoadSharedConfigProfile(t.Context(), p.Name, func(o *config.LoadSharedConfigOptions) {
			o.CredentialsFiles, o.ConfigFiles = []string{path}, []string{}
		})
		if err != nil || c.Credentials.AccessKeyID != p.AccessKeyID || c.Credentials.SecretAccessKey != string(p.Secret.Reveal()) {
			t.Errorf("SDK, profile %s: %v", p.Name, err)
		}
	}
	if err := identity.WriteCredentials(path, want[:1]); err != nil {
		t.Fatal(err)
	}
	if got, err := identity.ReadCredentials(path); err != nil || !same(got, want[:1]) {
		t.Errorf("second write: %d profiles, %v", len(got), err)
	}
}

func TestWriteCredentialsRefuses(t *testing.T) {
	t.Parallel()
	good := profiles(t, "default")[0]
	path := filepath.Join(t.TempDir(), "credentials")
	for name, bad := range map[string][]identity.Profile{
		"twice":     {good, good},
		"bad name":  {{Name: "a]\n[b", AccessKeyID: good.AccessKeyID, Secret: good.Secret}},
		"no name":   {{AccessKeyID: good.AccessKeyID, Secret: good.Secret}},
		"bad id":    {{Name: "a", AccessKeyID: "AKIA", Secret: good.Secret}},
		"no secret": {{Name: "a", AccessKeyID: good.AccessKeyID}},
	} {
		if err := identity.WriteCredentials(path, bad); !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a file is there: %v", name, err)
		}
	}
	if err := identity.WriteCredentials(filepath.Join(path, "nowhere", "c"), []identity.Profile{good}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

// credentialsText has %-signs for an id and a secret that are right.
func credentialsText(s string) []byte {
	return []byte(strings.NewReplacer("%id", "AKIA7777777777777777", "%secret", strings.Repeat("s+/", 13)+"s").Replace(s))
}

func TestReadCredentials(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "credentials")
	read := func(text string) ([]identity.Profile, error) {
		t.Helper()
		if err := os.WriteFile(path, credentialsText(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return identity.ReadCredentials(path)
	}
	for _, text := range []string{
		"[default]\naws_access_key_id=%id\naws_secret_access_key=%secret",
		"# note\r\n\r\n[ default ]\r\n  aws_secret_access_key =%secret \r\n; more\r\nregion = us-east-2\r\naws_access_key_id\t= %id\r\n",
	} {
		p, err := read(text)
		if err != nil || len(p) != 1 || p[0].Name != "default" || p[0].AccessKeyID != "AKIA7777777777777777" || len(p[0].Secret.Reveal()) != 40 {
			t.Errorf("%q: %+v, %v", text, p, err)
		}
	}
	for name, text := range map[string]string{
		"half a key":          "[a]\naws_access_key_id=%id\n",
		"the other half":      "[a]\naws_secret_access_key=%secret\n",
		"no key":              "[a]\n",
		"outside a profile":   "aws_access_key_id=%id\n",
		"profile twice":       "[a]\naws_access_key_id=%id\naws_secret_access_key=%secret\n[a]\n",
		"id twice":            "[a]\naws_access_key_id=%id\naws_access_key_id=%id\naws_secret_access_key=%secret\n",
		"secret twice":        "[a]\naws_access_key_id=%id\naws_secret_access_key=%secret\naws_secret_access_key=%secret\n",
		"bad id":              "[a]\naws_access_key_id=%idX\naws_secret_access_key=%secret\n",
		"bad secret":          "[a]\naws_access_key_id=%id\naws_secret_access_key=%secretX\n",
		"no bracket":          "[a\naws_access_key_id=%id\naws_secret_access_key=%secret\n",
		"no equals sign":      "[a]\naws_access_key_id %id\n",
		"no name":             "[]\n",
		"larger than allowed": strings.Repeat("#", 1<<20+1),
	} {
		p, err := read(text)
		if !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		if err != nil && strings.Contains(err.Error(), "s+/s+/") {
			t.Errorf("%s: the error holds the secret", name)
		}
	}
}

// FuzzReadCredentials: what is read is written, and then read and written to the same bytes.
func FuzzReadCredentials(f *testing.F) {
	for _, s := range []string{
		"[default]\naws_access_key_id = %id\naws_secret_access_key = %secret\n", "[a]\n[b]", "\n#\n;\n", "[a]\r\nx=y\r\n",
		"[a]\naws_access_key_id=%id\naws_secret_access_key=%secret\n[b]\naws_secret_access_key=%secret\naws_access_key_id=%id\nregion=x",
	} {
		f.Add(credentialsText(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := identity.ReadCredentials(path)
		if err != nil {
			if !errors.Is(err, identity.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		var written [2][]byte
		for i := range written {
			if err := identity.WriteCredentials(path, p); err != nil {
				t.Fatal(err)
			}
			if written[i], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
			if p, err = identity.ReadCredentials(path); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(written[0], written[1]) {
			t.Errorf("%q became %q", written[0], written[1])
		}
	})
}
