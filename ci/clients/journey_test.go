package clients

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestClients takes each client through one journey.
func TestClients(t *testing.T) {
	t.Parallel()
	for name, open := range everyClient() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			journey{t, open(t)}.run()
		})
	}
}

// everyClient returns what opens each client, by its name.
func everyClient() map[string]func(*testing.T) client {
	return map[string]func(*testing.T) client{
		"aws-cli": newCLI,
		"boto3": func(t *testing.T) client {
			python := installed(t, "/usr/bin/python3")
			if out, err := exec.CommandContext(t.Context(), python, "-c", "import boto3").CombinedOutput(); err != nil {
				t.Fatalf("boto3 is missing; run 'make install-tools': %s", out)
			}
			return newDriver(t, python, "boto3_driver.py")
		},
		"aws-sdk-js": func(t *testing.T) client {
			return newDriver(t, nodeWith(t, "@aws-sdk/client-kms"), "js_driver.mjs")
		},
		"aws-sdk-go": newGoSDK,
	}
}

// nodeWith returns the path of Node.js, and fails the test unless it and the package are there.
func nodeWith(t *testing.T, npm string) string {
	t.Helper()
	if _, err := os.Stat(filepath.Join("node_modules", npm)); err != nil {
		t.Fatalf("%s is missing; run 'make install-tools': %v", npm, err)
	}
	return installed(t, "node")
}

// journey is a test with the client it is about.
type journey struct {
	*testing.T
	client client
}

func (j journey) run() {
	created := j.must(primaryRegion, "CreateKey", members{"MultiRegion": true, "Description": "client test"}).sub("KeyMetadata")
	key := created.text("KeyId")
	if !regexp.MustCompile(`^mrk-[0-9a-f]{32}$`).MatchString(key) {
		j.Fatalf("KeyId %q is not that of a multi-Region key", key)
	}
	j.refused("NotFoundException", replicaRegion, "DescribeKey", members{"KeyId": key})

	replica := j.must(primaryRegion, "ReplicateKey", members{"KeyId": key, "ReplicaRegion": replicaRegion}).sub("ReplicaKeyMetadata")
	if replica.text("KeyId") != key || replica.text("Arn") != inRegion(created.text("Arn"), replicaRegion) {
		j.Fatalf("replica %v of %v", replica, created)
	}
	j.untilEnabled(key)
	j.related(key)
	j.refused("AlreadyExistsException", primaryRegion, "ReplicateKey", members{"KeyId": key, "ReplicaRegion": replicaRegion})
	j.refused("UnsupportedOperationException", replicaRegion, "ReplicateKey", members{"KeyId": key, "ReplicaRegion": primaryRegion})

	j.across(key, primaryRegion, replicaRegion)
	j.across(key, replicaRegion, primaryRegion)
	j.apart(key)
	j.imports()

	// The primary goes there and comes back; what was encrypted before opens in both all the time.
	for _, way := range [][2]string{{primaryRegion, replicaRegion}, {replicaRegion, primaryRegion}} {
		j.must(way[0], "UpdatePrimaryRegion", members{"KeyId": key, "PrimaryRegion": way[1]})
		for region, role := range map[string]string{way[0]: "REPLICA", way[1]: "PRIMARY"} {
			m := j.must(region, "DescribeKey", members{"KeyId": key}).sub("KeyMetadata")
			if got := m.sub("MultiRegionConfiguration").text("MultiRegionKeyType"); got != role || m.text("KeyState") != "Enabled" {
				j.Errorf("in %s the key is %s and %s", region, got, m.text("KeyState"))
			}
		}
		j.refused("UnsupportedOperationException", way[0], "UpdatePrimaryRegion", members{"KeyId": key, "PrimaryRegion": way[1]})
		j.across(key, primaryRegion, replicaRegion)
		j.across(key, replicaRegion, primaryRegion)
	}

	for _, region := range []string{replicaRegion, primaryRegion} {
		j.must(region, "ScheduleKeyDeletion", members{"KeyId": key, "PendingWindowInDays": 7})
	}
	j.is("PendingDeletion", replicaRegion, key)
	j.is("PendingReplicaDeletion", primaryRegion, key)
}

// untilEnabled waits for the replica, and fails if it passes through a state that a new replica never has.
func (j journey) untilEnabled(key string) {
	j.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		state := j.must(replicaRegion, "DescribeKey", members{"KeyId": key}).sub("KeyMetadata").text("KeyState")
		switch {
		case state == "Enabled":
			return
		case state != "Creating":
			j.Fatalf("the new replica is %s", state)
		case time.Now().After(deadline):
			j.Fatal("the replica is still Creating after a minute")
		}
	}
}

// related compares DescribeKey in both Regions: the same key but for ARN, role, date and description.
func (j journey) related(key string) {
	j.Helper()
	a := j.must(primaryRegion, "DescribeKey", members{"KeyId": key}).sub("KeyMetadata")
	b := j.must(replicaRegion, "DescribeKey", members{"KeyId": key}).sub("KeyMetadata")
	if a.text("Arn") != inRegion(b.text("Arn"), primaryRegion) || a.text("Arn") == b.text("Arn") {
		j.Errorf("ARNs %s and %s", a["Arn"], b["Arn"])
	}
	// The related keys look the same from either side; only the key's own role differs.
	ac, bc := a.sub("MultiRegionConfiguration"), b.sub("MultiRegionConfiguration")
	if ac.text("MultiRegionKeyType") != "PRIMARY" || bc.text("MultiRegionKeyType") != "REPLICA" {
		j.Errorf("roles %v and %v", ac, bc)
	}
	if ac.sub("PrimaryKey").text("Arn") != a.text("Arn") || ac.sub("PrimaryKey").text("Region") != primaryRegion {
		j.Errorf("primary key %v of %s", ac["PrimaryKey"], a["Arn"])
	}
	if want := []any{map[string]any{"Arn": b["Arn"], "Region": replicaRegion}}; !reflect.DeepEqual(ac["ReplicaKeys"], want) {
		j.Errorf("replica keys %v, not %v", ac["ReplicaKeys"], want)
	}
	for _, own := range []string{"Arn", "CreationDate", "Description"} {
		delete(a, own)
		delete(b, own)
	}
	delete(ac, "MultiRegionKeyType")
	delete(bc, "MultiRegionKeyType")
	if !reflect.DeepEqual(a, b) {
		j.Errorf("the related keys differ:\n%v\n%v", a, b)
	}
}

// across encrypts in one Region and decrypts in the other, in the ways that clients do.
func (j journey) across(key, from, to string) {
	j.Helper()
	plaintext := make([]byte, 4096) // the most that Encrypt takes
	if _, err := rand.Read(plaintext); err != nil {
		j.Fatal(err)
	}
	context := map[string]string{"purpose": "journey", "ключ": "🔑"}
	ciphertext := j.must(from, "Encrypt", members{"KeyId": key, "Plaintext": plaintext, "EncryptionContext": context}).blob("CiphertextBlob")
	for _, in := range []members{{}, {"KeyId": key}} { // the ciphertext alone tells the key
		in["CiphertextBlob"], in["EncryptionContext"] = ciphertext, context
		out := j.must(to, "Decrypt", in)
		if !bytes.Equal(out.blob("Plaintext"), plaintext) {
			j.Fatalf("decrypted in %s: another plaintext", to)
		}
		if arn := out.text("KeyId"); !strings.Contains(arn, ":"+to+":") || !strings.HasSuffix(arn, ":key/"+key) {
			j.Errorf("decrypted in %s by %s", to, arn)
		}
	}
	wrong := map[string]string{"purpose": "another"}
	j.refused("InvalidCiphertextException", to, "Decrypt", members{"CiphertextBlob": ciphertext, "EncryptionContext": wrong})
	j.refused("InvalidCiphertextException", to, "Decrypt", members{"CiphertextBlob": ciphertext})
	ciphertext[len(ciphertext)-1] ^= 1
	j.refused("InvalidCiphertextException", to, "Decrypt", members{"CiphertextBlob": ciphertext, "EncryptionContext": context})

	data := j.must(from, "GenerateDataKey", members{"KeyId": key, "KeySpec": "AES_256"})
	opened := j.must(to, "Decrypt", members{"CiphertextBlob": data.blob("CiphertextBlob")}).blob("Plaintext")
	if len(opened) != 32 || !bytes.Equal(opened, data.blob("Plaintext")) {
		j.Errorf("a data key of %s opened in %s: %d other bytes", from, to, len(opened))
	}
}

// apart shows that the two keys are enabled and disabled each for itself, and are not other keys.
func (j journey) apart(key string) {
	j.Helper()
	in := members{"KeyId": key, "Plaintext": []byte("x")}
	j.must(replicaRegion, "DisableKey", members{"KeyId": key})
	j.refused("DisabledException", replicaRegion, "Encrypt", in)
	ciphertext := j.must(primaryRegion, "Encrypt", in).blob("CiphertextBlob")
	j.must(replicaRegion, "EnableKey", members{"KeyId": key})

	other := j.must(replicaRegion, "CreateKey", members{}).sub("KeyMetadata").text("KeyId")
	j.refused("IncorrectKeyException", replicaRegion, "Decrypt", members{"KeyId": other, "CiphertextBlob": ciphertext})
	j.must(replicaRegion, "ScheduleKeyDeletion", members{"KeyId": other, "PendingWindowInDays": 7})
}

// is fails unless key is in state.
func (j journey) is(state, region, key string) {
	j.Helper()
	if got := j.must(region, "DescribeKey", members{"KeyId": key}).sub("KeyMetadata").text("KeyState"); got != state {
		j.Errorf("%s in %s is %s, not %s", key, region, got, state)
	}
}

// must makes a call that has to succeed.
func (j journey) must(region, operation string, in members) members {
	j.Helper()
	out, err := j.client.call(j.Context(), region, operation, in)
	if err != nil {
		j.Fatalf("%s in %s: %v", operation, region, err)
	}
	return out
}

// refused makes a call that the service has to refuse with the class of exception that the client knows by that name.
func (j journey) refused(class, region, operation string, in members) {
	j.Helper()
	out, err := j.client.call(j.Context(), region, operation, in)
	var r *refusal
	if !errors.As(err, &r) {
		j.Fatalf("%s in %s: %v %v, where %s was due", operation, region, out, err, class)
	}
	if r.Class != class {
		j.Errorf("%s in %s: %s, where %s was due", operation, region, r, class)
	}
}

// inRegion returns a key ARN with its Region replaced.
func inRegion(arn, region string) string {
	parts := strings.Split(arn, ":")
	if len(parts) > 3 {
		parts[3] = region
	}
	return strings.Join(parts, ":")
}

func (m members) sub(name string) members {
	inner, _ := m[name].(map[string]any)
	return inner
}

func (m members) text(name string) string {
	s, _ := m[name].(string)
	return s
}

func (m members) blob(name string) []byte {
	b, _ := base64.StdEncoding.DecodeString(m.text(name))
	return b
}

// TestScripts runs whole scripts: the tutorial with both clients of the demo, and a walk-through in the form that
// tutorials print it.
func TestScripts(t *testing.T) {
	t.Parallel()
	kmscli := filepath.Join(t.TempDir(), "kmscli")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", kmscli, "antipode/scripts/kmscli")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, script := range map[string][]string{
		"tutorial-aws":    {"../../scripts/tutorial.sh", "AWS_CLI=" + awsCLI(t)},
		"tutorial-kmscli": {"../../scripts/tutorial.sh", "AWS_CLI=" + kmscli},
		"as-printed":      {"as-printed.sh", "AWS_CLI=" + awsCLI(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), "bash", script[0])
			cmd.Env = dev.environment(t, script[1:]...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
