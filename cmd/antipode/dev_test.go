package main_test

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"antipode/regions/audit"
	"antipode/regions/identity"
)

func get(t *testing.T, url string) (status int, body string) {
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
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// The life of a folder: made, used, stopped, opened again, and a Region added to it later.
func TestDev(t *testing.T) {
	t.Parallel()
	data := folder(t)
	alien := map[string]string{
		"notes.txt": "mine", "sub/deep/file": "mine", ".new-notes": "mine", ".new-folder/file": "mine", "eu-central-1x/file": "mine",
	}
	for name, text := range alien {
		path := filepath.Join(data, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := dev(t, data, "--regions", east+","+west, "--log-level", "debug")
	if !regexp.MustCompile(`^http://127\.0\.0\.1:\d+$`).MatchString(p.origin) {
		t.Errorf("ready %s", p.origin)
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if status, body := get(t, p.origin+path); status != http.StatusOK || body != "ok\n" {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	credentials := filepath.Join(data, "credentials")
	before, err := os.ReadFile(credentials)
	if err != nil {
		t.Fatal(err)
	}
	form := `^\[default\]\naws_access_key_id = AKIA[A-Z2-7]{16}\naws_secret_access_key = [A-Za-z0-9+/]{40}\n$`
	if !regexp.MustCompile(form).Match(before) {
		t.Errorf("the credentials file is not of the form %s", form)
	}
	id, sealed := makeKey(t, p.client(t, east), true)
	replicate(t, p.client(t, east), id, west)
	opens(t, p.client(t, west), sealed)
	single, singleSealed := makeKey(t, p.client(t, west), false)
	p.stop(t)
	checkLog(t, p)

	p = dev(t, data, "--regions", east+","+west)
	opens(t, p.client(t, west), sealed)
	opens(t, p.client(t, west), singleSealed)
	if _, err := p.client(t, east).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &single}); err == nil {
		t.Error("a single-Region key is in both Regions")
	}
	p.stop(t)

	p = dev(t, data, "--regions", "eu-central-1,"+east+","+west)
	replicate(t, p.client(t, east), id, "eu-central-1")
	opens(t, p.client(t, "eu-central-1"), sealed)
	p.stop(t)
	if after, err := os.ReadFile(credentials); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the credentials have changed, %v", err)
	}

	// Fewer Regions may run than the folder holds.
	p = dev(t, data, "--regions", west)
	opens(t, p.client(t, west), sealed)
	p.stop(t)
	for name, text := range alien {
		if got, err := os.ReadFile(filepath.Join(data, name)); err != nil || string(got) != text {
			t.Errorf("%s is now %q, %v", name, got, err)
		}
	}
	for _, region := range []string{east, west, "eu-central-1"} {
		checkPrivate(t, filepath.Join(data, region))
		if _, err := audit.Verify(t.Context(), filepath.Join(data, region, "audit")); err != nil {
			t.Errorf("%s: %v", region, err)
		}
	}
	if info, err := os.Stat(credentials); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("credentials: %v, %v", info.Mode(), err)
	}
}

// checkLog sees that stderr is JSON, line by line, without anything that looks wrong.
func checkLog(t *testing.T, p *program) {
	t.Helper()
	log := p.stderr(t)
	for line := range strings.Lines(log) {
		var entry struct{ Level, Time, Message string }
		if err := stdjson.Unmarshal([]byte(line), &entry); err != nil || entry.Level == "" || entry.Message == "" {
			t.Errorf("log line %q: %v", line, err)
		}
		if _, err := time.Parse(time.RFC3339, entry.Time); err != nil {
			t.Errorf("log line %q: %v", line, err)
		}
		if entry.Level == "error" || entry.Level == "warn" {
			t.Errorf("an ordinary run logs %s", line)
		}
	}
	if log == "" {
		t.Error("nothing was logged")
	}
	pins, err := filepath.Glob(filepath.Join(p.data, "*", "token", "*pin"))
	if err != nil || len(pins) < 2 {
		t.Fatalf("PIN files %v, %v", pins, err)
	}
	for _, path := range pins {
		pin, err := os.ReadFile(path)
		if err != nil || len(pin) < 32 || strings.Contains(log, string(pin)) {
			t.Errorf("the log holds %s, or %v", path, err)
		}
	}
	profiles, err := identity.ReadCredentials(filepath.Join(p.data, "credentials"))
	if err != nil || strings.Contains(log, string(profiles[0].Secret.Reveal())) {
		t.Errorf("the log holds the secret access key, or %v", err)
	}
}

// checkPrivate sees that nobody else can read anything of a Region.
func checkPrivate(t *testing.T, dir string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if path == dir && info.Mode().Perm()&0o077 != 0 {
			return fmt.Errorf("%s has mode %v", path, info.Mode())
		}
		switch filepath.Base(path) {
		case "pin", "so-pin", "peer.pem", "store.db", "store.db-wal", "softhsm2.conf":
			if info.Mode().Perm()&0o077 != 0 {
				return fmt.Errorf("%s has mode %v", path, info.Mode())
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// --account moves the administrator to another account, whose keys are its own; going back works too.
func TestDevAccount(t *testing.T) {
	t.Parallel()
	data := folder(t)
	p := dev(t, data, "--regions", east)
	first, sealed := makeKey(t, p.client(t, east), false)
	p.stop(t)
	p = dev(t, data, "--regions", east, "--account", "999988887777")
	second, _ := makeKey(t, p.client(t, east), false)
	c := p.client(t, east)
	out, err := c.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &second})
	if err != nil || aws.ToString(out.KeyMetadata.Arn) != "arn:aws:kms:us-east-2:999988887777:key/"+second {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := c.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &first}); err == nil {
		t.Error("one account sees the other's key")
	}
	if _, err := c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed}); err == nil {
		t.Error("one account decrypts with the other's key")
	}
	p.stop(t)
	p = dev(t, data, "--regions", east)
	opens(t, p.client(t, east), sealed)
	p.stop(t)
}

// --clock-offset moves deletion dates. Signatures go by the real clock all the same: the client signs with it.
func TestDevClockOffset(t *testing.T) {
	t.Parallel()
	data := folder(t)
	p := dev(t, data, "--regions", east, "--clock-offset", "240h")
	c := p.client(t, east)
	id, _ := makeKey(t, c, false)
	out, err := c.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: aws.Int32(7)})
	if err != nil {
		t.Fatal(err)
	}
	want := time.Now().Add(10*24*time.Hour + 7*24*time.Hour)
	if off := out.DeletionDate.Sub(want); off.Abs() > time.Minute {
		t.Errorf("deletion on %v, want %v", out.DeletionDate, want)
	}
	p.stop(t)
	p = dev(t, data, "--regions", east, "--clock-offset", "-240h")
	if _, err := p.client(t, east).CreateKey(t.Context(), &kms.CreateKeyInput{}); err != nil {
		t.Error(err)
	}
	p.stop(t)
}

// --audit-log-dir takes the audit logs elsewhere. A log that is not the one of the store is refused.
func TestDevAuditLogDir(t *testing.T) {
	t.Parallel()
	data, logs := folder(t), filepath.Join(folder(t), "not", "there", "yet")
	p := dev(t, data, "--regions", east+","+west, "--audit-log-dir", logs)
	makeKey(t, p.client(t, east), false)
	p.stop(t)
	for _, region := range []string{east, west} {
		if _, err := os.Stat(filepath.Join(data, region, "audit")); err == nil {
			t.Errorf("%s has an audit log in its own folder too", region)
		}
	}
	head, err := audit.Verify(t.Context(), filepath.Join(logs, east))
	if err != nil || head.Seq < 4 { // the file, the intent and outcome of CreateKey, Encrypt
		t.Errorf("%+v, %v", head, err)
	}
	args := []string{"dev", "--listen", "127.0.0.1:0", "--data", data, "--regions", east}
	fails(t, args, "region us-east-2", "audit log")
	p = dev(t, data, "--regions", east+","+west, "--audit-log-dir", logs)
	p.stop(t)
}

// --storage token keeps single-Region keys' material on the token, across a restart, and leaves multi-Region keys alone.
func TestDevStorageToken(t *testing.T) {
	t.Parallel()
	data := folder(t)
	objects := func() int {
		found, err := filepath.Glob(filepath.Join(data, east, "token", "tokens", "*", "*.object"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	p := dev(t, data, "--storage", "token")
	none := objects()
	single, singleSealed := makeKey(t, p.client(t, east), false)
	if objects() != none+1 {
		t.Errorf("%d objects on the token, then %d", none, objects())
	}
	multi, multiSealed := makeKey(t, p.client(t, east), true)
	replicate(t, p.client(t, east), multi, west)
	if objects() != none+1 {
		t.Errorf("a multi-Region key is a token object: %d, then %d", none, objects())
	}
	p.stop(t)
	p = dev(t, data, "--storage", "token")
	opens(t, p.client(t, east), singleSealed)
	opens(t, p.client(t, west), multiSealed)
	_, err := p.client(t, east).ReplicateKey(t.Context(), &kms.ReplicateKeyInput{KeyId: &single, ReplicaRegion: aws.String(west)})
	if err == nil || !strings.Contains(err.Error(), "UnsupportedOperationException") {
		t.Errorf("replicating a key that is on the token: %v", err)
	}
	p.stop(t)
	// The setting is for new keys: those that are there keep their storage.
	p = dev(t, data)
	opens(t, p.client(t, east), singleSealed)
	makeKey(t, p.client(t, east), false)
	if objects() != none+1 {
		t.Errorf("%d objects on the token, then %d", none, objects())
	}
	p.stop(t)
}
