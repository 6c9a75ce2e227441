package clients

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Three users with different rights, a session of a role, a grant with a context, and a user of another account: each
// is allowed what he was given, and refused the rest by AWS's name, with the aws CLI and with boto3.
func TestRights(t *testing.T) {
	t.Parallel()
	temporary := workerSession(t)
	for name, as := range map[string]func(t *testing.T, env []string) client{
		"aws CLI": func(t *testing.T, env []string) client {
			return &cli{program: awsCLI(t), endpoint: dev.endpoint, env: env, scratch: t.TempDir()}
		},
		"boto3": func(t *testing.T, env []string) client {
			return newDriverIn(t, env, installed(t, "/usr/bin/python3"), "boto3_driver.py")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rights(t, func(profile string) client { return as(t, dev.environment(t, "AWS_PROFILE="+profile)) },
				as(t, append(dev.environment(t), temporary...)))
		})
	}
}

func rights(t *testing.T, profile func(string) client, worker client) {
	t.Helper()
	admin, alice, bob, carol := profile("default"), profile("alice"), profile("bob"), profile("carol")
	do := func(c client, operation string, in members) (members, error) {
		return c.call(t.Context(), primaryRegion, operation, in)
	}
	must := func(c client, operation string, in members) members {
		t.Helper()
		out, err := do(c, operation, in)
		if err != nil {
			t.Fatalf("%s: %v", operation, err)
		}
		return out
	}
	denied := func(who string, c client, operation string, in members) {
		t.Helper()
		_, err := do(c, operation, in)
		var refused *refusal
		if !errors.As(err, &refused) || !strings.Contains(refused.Message, "is not authorized to perform: kms:"+operation) {
			t.Errorf("%s by %s: %v", operation, who, err)
		}
	}
	made, ok := must(admin, "CreateKey", members{})["KeyMetadata"].(map[string]any)
	if !ok {
		t.Fatal("CreateKey has no KeyMetadata")
	}
	id, arn := fmt.Sprint(made["KeyId"]), fmt.Sprint(made["Arn"])
	dept := func(name string) map[string]string { return map[string]string{"dept": name} }
	encrypt := func(context string) members {
		in := members{"KeyId": arn, "Plaintext": []byte("x")}
		if context != "" {
			in["EncryptionContext"] = dept(context)
		}
		return in
	}

	// Identity policies.
	blob, err := base64.StdEncoding.DecodeString(fmt.Sprint(must(alice, "Encrypt", encrypt(""))["CiphertextBlob"]))
	if err != nil {
		t.Fatal(err)
	}
	must(alice, "DescribeKey", members{"KeyId": id})
	denied("alice", alice, "Decrypt", members{"KeyId": id, "CiphertextBlob": blob})
	denied("alice", alice, "DisableKey", members{"KeyId": id})
	denied("bob", bob, "Encrypt", encrypt(""))
	must(bob, "ListKeys", members{})
	// A session of a role that may decrypt.
	must(worker, "Decrypt", members{"KeyId": id, "CiphertextBlob": blob})
	denied("the role", worker, "Encrypt", encrypt(""))

	// A grant for one department.
	grant := must(admin, "CreateGrant", members{
		"KeyId": id, "GranteePrincipal": "arn:aws:iam::111122223333:user/bob", "Operations": []string{"Encrypt", "Decrypt"},
		"Constraints": map[string]any{"EncryptionContextSubset": dept("a")},
	})
	sealed, err := base64.StdEncoding.DecodeString(fmt.Sprint(must(bob, "Encrypt", encrypt("a"))["CiphertextBlob"]))
	if err != nil {
		t.Fatal(err)
	}
	must(bob, "Decrypt", members{"KeyId": id, "CiphertextBlob": sealed, "EncryptionContext": dept("a")})
	denied("bob", bob, "Encrypt", encrypt("b"))
	denied("bob", bob, "Encrypt", encrypt(""))
	must(admin, "RevokeGrant", members{"KeyId": id, "GrantId": grant["GrantId"]})
	denied("bob", bob, "Encrypt", encrypt("a"))

	// Another account: both sides have to allow it.
	denied("carol", carol, "Encrypt", encrypt(""))
	must(admin, "PutKeyPolicy", members{"KeyId": id, "PolicyName": "default", "Policy": `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::999988887777:root"},"Action":"kms:Encrypt","Resource":"*"}]}`})
	must(carol, "Encrypt", encrypt(""))
	denied("carol", carol, "Decrypt", members{"KeyId": arn, "CiphertextBlob": blob})

	// An administrator can ask why.
	for action, want := range map[string]string{"kms:Encrypt": "allowed: ", "kms:Decrypt": "denied: "} {
		out := operate(t, "policy", "explain", "--data", filepath.Dir(dev.credentials), "--region", primaryRegion,
			"--principal", "arn:aws:iam::111122223333:user/alice", "--action", action, "--key", id)
		if !strings.HasPrefix(out, want) || action == "kms:Encrypt" && !strings.Contains(out, `("Own")`) {
			t.Errorf("policy explain says %s", out)
		}
	}
}

// operate runs an operator's command and returns what it prints.
func operate(t *testing.T, args ...string) string {
	t.Helper()
	binary := filepath.Join(filepath.Dir(filepath.Dir(dev.credentials)), "antipode")
	out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// workerSession makes a role that may decrypt, assumes it with the aws CLI, and returns its environment.
func workerSession(t *testing.T) []string {
	t.Helper()
	const account = "111122223333"
	dir := t.TempDir()
	put := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	socket := filepath.Join(filepath.Dir(dev.credentials), primaryRegion, "admin.sock")
	operate(t, "identity", "role", "create", "--account", account, "--name", "worker", "--socket", socket, "--trust",
		put("trust.json", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+account+`"},"Action":"sts:AssumeRole"}]}`))
	operate(t, "identity", "policy", "put", "--account", account, "--role", "worker", "--policy", "p", "--socket", socket,
		"--document", put("p.json", allow(`"kms:Decrypt"`)))
	cmd := exec.CommandContext(t.Context(), awsCLI(t), "--endpoint-url", dev.endpoint, "--region", primaryRegion, "--output", "json",
		"sts", "assume-role", "--role-arn", "arn:aws:iam::"+account+":role/worker", "--role-session-name", "rights")
	cmd.Env = dev.environment(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("assume-role: %v", err)
	}
	var answer struct {
		Credentials struct{ AccessKeyID, SecretAccessKey, SessionToken string }
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatal(err)
	}
	c := answer.Credentials
	return []string{"AWS_ACCESS_KEY_ID=" + c.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + c.SecretAccessKey, "AWS_SESSION_TOKEN=" + c.SessionToken}
}
