package main_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"antipode/regions"
)

// asked runs `antipode key` with a profile of the credentials file and returns what it prints.
func asked(t *testing.T, data, profile string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"key"}, args...)...)
	cmd.Env = append(os.Environ(), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(data, "credentials"), "AWS_PROFILE="+profile,
		"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_SESSION_TOKEN=")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	return string(out) + stderr.String(), err
}

// `antipode key replicas` shows the replication of a key to who may describe it, in both forms, by whatever name.
func TestKeyReplicas(t *testing.T) {
	t.Parallel()
	data := folder(t)
	nobody := filepath.Join(t.TempDir(), "nothing.json")
	if err := os.WriteFile(nobody, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:ListKeys","Resource":"*"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := dev(t, data, "--regions", east+","+west, "--identity", "stranger=111122223333:"+nobody)
	e := p.client(t, east)
	id, _ := makeKey(t, e, true)
	replicate(t, e, id, west)
	var got regions.DescribeKeyReplicasOutput
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out, err := asked(t, data, "default", "replicas", id, "--endpoint", p.origin, "--region", east, "--json")
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		got = regions.DescribeKeyReplicasOutput{}
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if len(got.Replicas) == 2 && got.Replicas[1].State == regions.ReplicaSynchronized {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the replica does not become synchronized: %s", out)
		}
	}
	if r := got.Replicas[1]; r.Region != west || r.Sequence != got.Sequence || r.LastReceiptSHA256 == "" || r.LastReceipt.Millis() == 0 {
		t.Errorf("%+v", r)
	}
	table, err := asked(t, data, "default", "replicas", got.Replicas[0].Arn, "--endpoint", p.origin, "--region", east)
	for _, want := range []string{"REGION", east, west, "PRIMARY", "REPLICA", "SYNCHRONIZED", "0s"} {
		if err != nil || !strings.Contains(table, want) {
			t.Errorf("no %s in, %v\n%s", want, err, table)
		}
	}
	if out, err := asked(t, data, "default", "replicas", id, "--endpoint", p.origin, "--region", west); err != nil || !strings.Contains(out, east+", which has the primary") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, c := range []struct {
		profile string
		args    []string
		want    string
	}{
		{"stranger", []string{"replicas", id, "--endpoint", p.origin, "--region", east}, "AccessDeniedException"},
		{"absent", []string{"replicas", id, "--endpoint", p.origin, "--region", east}, "no credentials"},
		{"default", []string{"replicas", id, "--endpoint", p.origin, "--region", "eu-west-1"}, "NotFoundException"},
		{"default", []string{"replicas", "mrk-00000000000000000000000000000000", "--endpoint", p.origin, "--region", east}, "NotFoundException"},
		{"default", []string{"replicas", id, "--endpoint", "127.0.0.1:1", "--region", east}, "--endpoint"},
		{"default", []string{"replicas", id, "--region", east}, "required"},
	} {
		if out, err := asked(t, data, c.profile, c.args...); err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%v as %s: %v: %s", c.args, c.profile, err, out)
		}
	}
	p.stop(t)
}

// `antipode key drift` finds what each Region has for itself, and shows nobody more than he may read.
func TestKeyDrift(t *testing.T) {
	t.Parallel()
	ctx, data := t.Context(), folder(t)
	partly := filepath.Join(t.TempDir(), "partly.json")
	if err := os.WriteFile(partly, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:DescribeKey","kms:ListResourceTags"],"Resource":"*"},
		{"Effect":"Allow","Action":"kms:GetKeyPolicy","Resource":"arn:aws:kms:`+east+`:*:*"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := dev(t, data, "--regions", east+","+west, "--identity", "partly=111122223333:"+partly)
	e, w := p.client(t, east), p.client(t, west)
	id, _ := makeKey(t, e, true)
	replicate(t, e, id, west)
	report := func(profile string) map[string]string {
		t.Helper()
		out, err := asked(t, data, profile, "drift", id, "--endpoint", p.origin, "--region", west, "--json")
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var got struct {
			Regions    []string
			Properties []struct{ Name, Verdict string }
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Regions) != 2 || got.Regions[0] != east {
			t.Fatalf("%v: %s", err, out)
		}
		verdicts := map[string]string{}
		for _, one := range got.Properties {
			verdicts[one.Name] = one.Verdict
		}
		return verdicts
	}
	for name, verdict := range report("default") {
		if verdict != "SAME" {
			t.Errorf("of a new replica, %s: %s", name, verdict)
		}
	}
	for _, err := range []error{
		func() error { _, err := w.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &id}); return err }(),
		func() error {
			_, err := e.TagResource(ctx, &kms.TagResourceInput{KeyId: &id, Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}})
			return err
		}(),
		func() error {
			_, err := e.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/one"), TargetKeyId: &id})
			return err
		}(),
		func() error {
			_, err := e.CreateGrant(ctx, &kms.CreateGrantInput{
				KeyId: &id, GranteePrincipal: aws.String("arn:aws:iam::111122223333:user/partly"), Operations: []types.GrantOperation{types.GrantOperationDecrypt},
			})
			return err
		}(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"state": "DIFFERENT", "description": "SAME", "policy": "SAME", "tags": "DIFFERENT", "aliases": "DIFFERENT", "grants": "DIFFERENT"}
	if got := report("default"); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	want["policy"], want["aliases"], want["grants"] = "UNKNOWN", "UNKNOWN", "UNKNOWN"
	if got := report("partly"); !maps.Equal(got, want) {
		t.Errorf("for who may read some of it %v, want %v", got, want)
	}
	out, err := asked(t, data, "default", "drift", id, "--endpoint", p.origin, "--region", east)
	for _, text := range []string{"aliases      DIFFERENT", "  " + east + ": alias/one", "  " + west + ": (none)", "  " + east + ": a=b", "  " + west + ": Disabled"} {
		if err != nil || !strings.Contains(out, text) {
			t.Errorf("no %q in, %v\n%s", text, err, out)
		}
	}
	p.stop(t)
}
