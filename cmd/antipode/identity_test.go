package main_test

import (
	stdjson "encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// ask makes a command of `antipode identity` and returns its answer.
func (p *program) ask(t *testing.T, region string, args ...string) (out struct {
	ARN        string
	Policies   map[string]string
	AccessKeys []struct {
		ID, Secret string
		Active     bool
	}
},
) {
	t.Helper()
	args = append([]string{"identity"}, append(args, "--socket", filepath.Join(p.data, region, "admin.sock"))...)
	c := launch(t, args...)
	status, text := c.wait(t)
	if status != 0 {
		t.Fatalf("%v: %s", args, c.stderr(t))
	}
	text = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "["), "]")
	if err := stdjson.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v: %s: %v", args, text, err)
	}
	return out
}

func stsOf(origin, region, id, secret, token string) *sts.Client {
	return sts.New(sts.Options{
		Region: region, BaseEndpoint: aws.String(origin), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(id, secret, token),
	})
}

func (p *program) profile(t *testing.T, name string) aws.Credentials {
	t.Helper()
	profile, err := config.LoadSharedConfigProfile(t.Context(), name, func(o *config.LoadSharedConfigOptions) {
		o.CredentialsFiles, o.ConfigFiles = []string{filepath.Join(p.data, "credentials")}, []string{}
	})
	if err != nil {
		t.Fatal(err)
	}
	return profile.Credentials
}

// whoAmI is the caller's ARN, or the code of the refusal.
func whoAmI(t *testing.T, c *sts.Client) string {
	t.Helper()
	out, err := c.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	var api smithy.APIError
	switch {
	case errors.As(err, &api):
		return api.ErrorCode()
	case err != nil:
		t.Fatal(err)
	}
	return *out.Arn
}

// Users of --identity, and what `antipode identity` makes, work in every Region of the process and outlive kill -9; the
// secrets are nowhere in clear but in the credentials file and in the one answer that shows them.
func TestIdentities(t *testing.T) {
	t.Parallel()
	data := folder(t)
	file, trust := filepath.Join(t.TempDir(), "policy.json"), filepath.Join(t.TempDir(), "trust.json")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const (
		account = "111122223333"
		first   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:Encrypt","Resource":"*"}]}`
		alice   = "arn:aws:iam::222233334444:user/alice"
		bob     = "arn:aws:iam::111122223333:user/bob"
	)
	write(file, first)
	write(trust, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+account+`"},"Action":"sts:AssumeRole"}]}`)
	args := []string{"--regions", east + "," + west, "--log-level", "debug", "--identity", "alice=222233334444:" + file}
	p := dev(t, data, args...)
	before := p.profile(t, "alice")
	for _, region := range []string{east, west} {
		if got := whoAmI(t, stsOf(p.origin, region, before.AccessKeyID, before.SecretAccessKey, "")); got != alice {
			t.Errorf("in %s the profile is %s", region, got)
		}
		if got := p.ask(t, region, "user", "list", "--account", "222233334444").Policies["dev-identity"]; got != first {
			t.Errorf("in %s the policy is %s", region, got)
		}
	}

	// A user with a key, rotated.
	p.ask(t, west, "user", "create", "--account", account, "--name", "bob", "--tag", "team=red")
	old := p.ask(t, west, "access-key", "create", "--account", account, "--user", "bob").AccessKeys[0]
	both := p.ask(t, east, "access-key", "create", "--account", account, "--user", "bob").AccessKeys
	fresh := both[0]
	if fresh.Secret == "" {
		fresh = both[1]
	}
	secrets := []string{before.SecretAccessKey, old.Secret, fresh.Secret, p.profile(t, "default").SecretAccessKey}
	who := func(id, secret string) []string {
		return []string{
			whoAmI(t, stsOf(p.origin, east, id, secret, "")),
			whoAmI(t, stsOf(p.origin, west, id, secret, "")),
		}
	}
	expect := func(what string, got []string, want string) {
		t.Helper()
		if got[0] != want || got[1] != want {
			t.Errorf("%s: %v, want %s", what, got, want)
		}
	}
	expect("old key", who(old.ID, old.Secret), bob)
	expect("fresh key", who(fresh.ID, fresh.Secret), bob)
	socket := filepath.Join(data, east, "admin.sock")
	fails(t, []string{"identity", "access-key", "create", "--account", account, "--user", "bob", "--socket", socket}, "2 access keys already")
	fails(t, []string{"identity", "user", "create", "--account", account, "--name", "BOB", "--socket", socket}, "case alone")
	p.ask(t, east, "access-key", "disable", "--account", account, "--user", "bob", "--key", old.ID)
	expect("disabled key", who(old.ID, old.Secret), "InvalidClientTokenId")
	for _, k := range p.ask(t, east, "access-key", "delete", "--account", account, "--user", "bob", "--key", old.ID).AccessKeys {
		if k.Secret != "" || k.ID == old.ID {
			t.Errorf("after the deletion: %+v", k)
		}
	}

	// A role, assumed in one Region and used in both.
	p.ask(t, east, "role", "create", "--account", account, "--name", "deployer", "--trust", trust)
	admin := p.profile(t, "default")
	made, err := stsOf(p.origin, east, admin.AccessKeyID, admin.SecretAccessKey, "").AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:aws:iam::" + account + ":role/deployer"), RoleSessionName: aws.String("ci"),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := made.Credentials
	secrets = append(secrets, *c.SecretAccessKey, *c.SessionToken)
	session := func(region string) string {
		return whoAmI(t, stsOf(p.origin, region, *c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken))
	}
	const sessionARN = "arn:aws:sts::" + account + ":assumed-role/deployer/ci"
	expect("session", []string{session(east), session(west)}, sessionARN)

	p.kill(t)
	const second = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:*","Resource":"*"}]}`
	write(file, second)
	p = dev(t, data, args...)
	if after := p.profile(t, "alice"); after.AccessKeyID != before.AccessKeyID || after.SecretAccessKey != before.SecretAccessKey {
		t.Error("alice has another key")
	}
	expect("alice after kill -9", who(before.AccessKeyID, before.SecretAccessKey), alice)
	expect("bob after kill -9", who(fresh.ID, fresh.Secret), bob)
	expect("the deleted key after kill -9", who(old.ID, old.Secret), "InvalidClientTokenId")
	expect("session after kill -9", []string{session(east), session(west)}, sessionARN)
	for _, region := range []string{east, west} {
		if got := p.ask(t, region, "user", "list", "--account", "222233334444").Policies["dev-identity"]; got != second {
			t.Errorf("in %s the policy is still %s", region, got)
		}
	}
	p.ask(t, west, "role", "revoke-sessions", "--account", account, "--name", "deployer")
	expect("revoked session", []string{session(east), session(west)}, "InvalidClientTokenId")
	p.stop(t)
	checkLog(t, p)
	inNoFile(t, data, secrets)
	if strings.Contains(p.stderr(t), *c.SessionToken) {
		t.Error("a session token is in the log")
	}
}

// inNoFile looks for secrets in everything below a folder but the credentials file.
func inNoFile(t *testing.T, dir string, secrets []string) {
	t.Helper()
	seen, named := 0, false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path == filepath.Join(dir, "credentials") {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // the test's own folder
		if err != nil {
			return err
		}
		seen++
		named = named || strings.Contains(string(text), "CreateAccessKey")
		for _, s := range secrets {
			if strings.Contains(string(text), s) {
				t.Errorf("%s holds a secret", path)
			}
		}
		return nil
	})
	if err != nil || seen < 4 || !named {
		t.Errorf("%d files, the audit log among them: %v, %v", seen, named, err)
	}
}

// What --identity can't mean ends the start.
func TestIdentityFlag(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.json")
	if err := os.WriteFile(file, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for flag, text := range map[string]string{
		"alice":                             "is not NAME=ACCOUNT:POLICYFILE",
		"alice=1:" + file:                   "12 digits",
		"a/b=111122223333:" + file:          "letters, digits",
		"default=111122223333:" + file:      "the administrator's",
		"alice=111122223333:" + file + "x":  "no such file",
		"alice=111122223333:" + file:        "policy document",
		"alice=111122223333:" + t.TempDir(): "is a directory",
		"alice=111122223333:" + "/dev/null": "policy document",
	} {
		fails(t, []string{"dev", "--data", filepath.Join(t.TempDir(), "d"), "--identity", flag}, text)
	}
}
