package clients

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The aws CLI says who it is, assumes a role by command and by a profile with role_arn and source_profile, and uses the
// session in every Region.
func TestAssumeRoleByCLI(t *testing.T) {
	t.Parallel()
	const (
		account = "111122223333"
		role    = "arn:aws:iam::" + account + ":role/cli"
		session = "arn:aws:sts::" + account + ":assumed-role/cli/"
	)
	data := filepath.Dir(dev.credentials)
	dir := t.TempDir()
	put := func(path, text string) string {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	operator := func(args ...string) {
		t.Helper()
		args = append([]string{"identity"}, append(args, "--socket", filepath.Join(data, primaryRegion, "admin.sock"))...)
		if out, err := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(data), "antipode"), args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	operator("role", "create", "--account", account, "--name", "cli", "--trust",
		put("trust.json", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+account+`"},"Action":"sts:AssumeRole"}]}`))
	operator("policy", "put", "--account", account, "--role", "cli", "--policy", "all", "--document",
		put("all.json", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`))

	run := func(env []string, args ...string) (map[string]any, error) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), awsCLI(t), append([]string{"--endpoint-url", dev.endpoint, "--output", "json"}, args...)...)
		cmd.Env = env
		out, err := cmd.Output()
		if err != nil {
			var exit *exec.ExitError // absent if the program could not be run
			if errors.As(err, &exit) {
				err = fmt.Errorf("%w\n%s", err, exit.Stderr)
			}
			return nil, fmt.Errorf("aws %s: %w", strings.Join(args, " "), err)
		}
		answer := map[string]any{}
		return answer, json.Unmarshal(out, &answer)
	}
	must := func(env []string, args ...string) map[string]any {
		t.Helper()
		answer, err := run(env, args...)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	env := dev.environment(t)
	if me := must(env, "--region", primaryRegion, "sts", "get-caller-identity"); me["Arn"] != "arn:aws:iam::"+account+":user/administrator" {
		t.Errorf("%v", me)
	}
	made := must(env, "--region", primaryRegion, "sts", "assume-role", "--role-arn", role, "--role-session-name", "by-command")
	c, ok := made["Credentials"].(map[string]any)
	if !ok {
		t.Fatalf("%v", made)
	}
	temporary := append(dev.environment(t), fmt.Sprint("AWS_ACCESS_KEY_ID=", c["AccessKeyId"]),
		fmt.Sprint("AWS_SECRET_ACCESS_KEY=", c["SecretAccessKey"]), fmt.Sprint("AWS_SESSION_TOKEN=", c["SessionToken"]))
	for _, region := range []string{primaryRegion, replicaRegion} {
		if me := must(temporary, "--region", region, "sts", "get-caller-identity"); me["Arn"] != session+"by-command" {
			t.Errorf("in %s: %v", region, me)
		}
		must(temporary, "--region", region, "kms", "list-keys")
	}

	// The CLI's own call of AssumeRole knows no --endpoint-url; a rule set of its endpoints says where STS is.
	put("models/sts/2011-06-15/endpoint-rule-set-1.json", `{"version":"1.0","parameters":{
		"Region":{"builtIn":"AWS::Region","required":false,"type":"String"},
		"UseDualStack":{"builtIn":"AWS::UseDualStack","required":true,"default":false,"type":"Boolean"},
		"UseFIPS":{"builtIn":"AWS::UseFIPS","required":true,"default":false,"type":"Boolean"},
		"Endpoint":{"builtIn":"SDK::Endpoint","required":false,"type":"String"},
		"UseGlobalEndpoint":{"builtIn":"AWS::STS::UseGlobalEndpoint","required":true,"default":false,"type":"Boolean"}},
		"rules":[{"conditions":[],"type":"endpoint","endpoint":{"url":"`+dev.endpoint+`","headers":{},"properties":{"authSchemes":[
		{"name":"sigv4","signingName":"sts","signingRegion":"`+primaryRegion+`"}]}}}]}`)
	profile := append(dev.environment(t), "AWS_DATA_PATH="+filepath.Join(dir, "models"), "AWS_CONFIG_FILE="+put("config",
		"[profile assumed]\nrole_arn = "+role+"\nsource_profile = default\nrole_session_name = by-profile\n"))
	for _, region := range []string{primaryRegion, replicaRegion} {
		if me := must(profile, "--profile", "assumed", "--region", region, "sts", "get-caller-identity"); me["Arn"] != session+"by-profile" {
			t.Errorf("in %s: %v", region, me)
		}
	}
	operator("role", "disable", "--account", account, "--name", "cli")
	if _, err := run(temporary, "--region", primaryRegion, "kms", "list-keys"); err == nil || !strings.Contains(err.Error(), "UnrecognizedClientException") {
		t.Errorf("a disabled role's session: %v", err)
	}
}
