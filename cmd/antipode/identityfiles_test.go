package main_test

import (
	stdjson "encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// pairOfSites are two Regions in processes of their own that trust each other, with an administrator each.
type pairOfSites struct {
	sites  map[string]*site
	serves map[string]*program
	files  string
	n      int
}

func newPairOfSites(t *testing.T) *pairOfSites {
	t.Helper()
	p := &pairOfSites{sites: map[string]*site{}, serves: map[string]*program{}, files: folder(t)}
	for _, region := range []string{east, west} {
		s := newSite(t)
		s.write(t, region, nil)
		s.init(t, "--credentials", filepath.Join(s.dir, "credentials"))
		p.sites[region] = s
		p.start(t, region)
	}
	for into, other := range map[string]string{east: west, west: east} {
		shown := map[string]string{}
		for line := range strings.Lines(p.run(t, other, "region", "show")) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			shown[name] = value
		}
		p.run(t, into, "region", "trust", "--entry", shown["entry"], "--fingerprint", shown["fingerprint"], "--accounts", "111122223333")
	}
	return p
}

func (p *pairOfSites) start(t *testing.T, region string) {
	t.Helper()
	s := launch(t, "serve", "--config", p.sites[region].config)
	if err := s.waitReady(); err != nil {
		t.Fatalf("%v\n%s", err, s.stderr(t))
	}
	p.serves[region] = s
}

func (p *pairOfSites) socket(region string) []string {
	return []string{"--socket", filepath.Join(p.sites[region].data, "admin.sock")}
}

func (p *pairOfSites) run(t *testing.T, region string, args ...string) string {
	t.Helper()
	c := launch(t, append(args, p.socket(region)...)...)
	status, out := c.wait(t)
	if status != 0 {
		t.Fatalf("%v: %s", args, c.stderr(t))
	}
	return out
}

// file is a path that nothing has been written to.
func (p *pairOfSites) file() string {
	p.n++
	return filepath.Join(p.files, fmt.Sprint(p.n))
}

// export makes a request in west and answers it in east.
func (p *pairOfSites) export(t *testing.T) string {
	t.Helper()
	request, out := p.file(), p.file()
	p.run(t, west, "identity", "request", "--from", east, "--out", request)
	text := p.run(t, east, "identity", "export", "--to", west, "--request", request, "--out", out)
	if !strings.Contains(text, "account 111122223333") {
		t.Errorf("export says %q", text)
	}
	return out
}

func (p *pairOfSites) whoAmI(t *testing.T, region, id, secret string) string {
	t.Helper()
	return whoAmI(t, stsOf(p.serves[region].origin, region, id, secret, ""))
}

// Two Regions in processes of their own: the same access key works in both after it was carried over, and what is disabled
// in one is refused in the other after the next time. A process that is killed in between loses nothing.
func TestIdentitiesBetweenProcesses(t *testing.T) {
	t.Parallel()
	p := newPairOfSites(t)
	const account, alice, administrator = "111122223333", "arn:aws:iam::111122223333:user/alice", "arn:aws:iam::111122223333:user/administrator"
	policy := p.file()
	if err := os.WriteFile(policy, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run(t, east, "identity", "user", "create", "--account", account, "--name", "alice")
	p.run(t, east, "identity", "policy", "put", "--account", account, "--user", "alice", "--policy", "all", "--document", policy)
	var made struct{ AccessKeys []struct{ ID, Secret string } }
	if err := stdjson.Unmarshal([]byte(p.run(t, east, "identity", "access-key", "create", "--account", account, "--user", "alice")), &made); err != nil {
		t.Fatal(err)
	}
	id, secret := made.AccessKeys[0].ID, made.AccessKeys[0].Secret
	if got := p.whoAmI(t, west, id, secret); got != "InvalidClientTokenId" {
		t.Errorf("before: %s", got)
	}

	file := p.export(t)
	fails(t, append([]string{"identity", "import", "--in", file}, p.socket(west)...), administrator, "is another one here", "keep")
	if got := p.whoAmI(t, west, id, secret); got != "InvalidClientTokenId" {
		t.Errorf("a refused import has brought %s", got)
	}
	fails(t, append([]string{"identity", "export", "--to", west, "--request", file, "--out", p.file()}, p.socket(east)...), "malformed")
	p.run(t, west, "identity", "import", "--in", file, "--keep", administrator)
	for _, region := range []string{east, west} {
		if got := p.whoAmI(t, region, id, secret); got != alice {
			t.Errorf("in %s alice is %s", region, got)
		}
		c := kms.New(kms.Options{
			Region: region, BaseEndpoint: aws.String(p.serves[region].origin), RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(id, secret, ""),
		})
		_, sealed := makeKey(t, c, false)
		opens(t, c, sealed)
	}
	fails(t, append([]string{"identity", "import", "--in", file, "--keep", administrator}, p.socket(west)...), "no request of this Region is open")

	p.run(t, east, "identity", "user", "disable", "--account", account, "--name", "alice")
	if got := p.whoAmI(t, west, id, secret); got != alice {
		t.Errorf("disabled in the other Region, and not carried over: %s", got)
	}
	// The process that has made the request is killed: its file opens nothing any more, and says so.
	file = p.export(t)
	p.serves[west].kill(t)
	p.start(t, west)
	fails(t, append([]string{"identity", "import", "--in", file, "--keep", administrator}, p.socket(west)...), "make a new one")
	// It is killed somewhere in the import.
	random := newRandom(t)
	for range 2 {
		file = p.export(t)
		c := launch(t, append([]string{"identity", "import", "--in", file, "--keep", administrator}, p.socket(west)...)...)
		c.quiet = true
		time.Sleep(time.Duration(random.IntN(80)) * time.Millisecond)
		p.serves[west].kill(t)
		c.wait(t)
		p.start(t, west)
		if got := p.whoAmI(t, west, id, secret); got != alice && got != "InvalidClientTokenId" {
			t.Errorf("after a kill: %s", got)
		}
	}
	p.run(t, west, "identity", "import", "--in", p.export(t), "--keep", administrator)
	if got := p.whoAmI(t, west, id, secret); got != "InvalidClientTokenId" {
		t.Errorf("disabled: %s", got)
	}

	files, err := os.ReadDir(p.files)
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, dir := range []string{p.files, p.sites[east].data, p.sites[west].data} {
		checkNoSecret(t, dir, secret)
	}
	for _, s := range p.serves {
		s.stop(t)
		if strings.Contains(s.stderr(t), secret) {
			t.Error("the secret is in a log")
		}
	}
}

func checkNoSecret(t *testing.T, dir, secret string) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path) //nolint:gosec // the test's own folder
		seen++
		if strings.Contains(string(raw), secret) {
			t.Errorf("%s holds the secret", path)
		}
		info, statErr := d.Info()
		if statErr != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others, %v", path, statErr)
		}
		return err
	})
	if err != nil || seen == 0 {
		t.Errorf("%s: %d files, %v", dir, seen, err)
	}
}
