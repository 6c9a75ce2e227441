package crash

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// TestBackupRestore saves a Region while it serves, brings the copy back, and sees what the Region then does and what
// not: it decrypts with what it has and changes nothing that is shared until the other Region has said what it knows, and
// what the copy lacks was fetched, or until its operator goes on without.
func TestBackupRestore(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	servers := []*server{p.start(t, home, ""), p.start(t, away, "")}
	ctx, h := t.Context(), p.client(t, home)
	before, err := replicateOne(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(p.dir, home, "backup.db")
	p.run(t, home, "backup", "--socket", p.socket(home), "--out", backup)
	after, err := replicateOne(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	refusedRestore(t, p, home, "in use", backup)
	for _, s := range servers {
		s.stop(t)
	}
	refusedRestore(t, p, home, "refused", tampered(t, backup))
	elsewhere := filepath.Join(p.dir, away, "backup.db")
	run(t, "cp", backup, elsewhere)
	refusedRestore(t, p, away, "", elsewhere)
	if out := p.run(t, home, "restore", "--config", p.config(home), "--from", backup); !strings.Contains(out, "is now") {
		t.Errorf("restore says %q", out)
	}
	standing := p.start(t, home, "") // alone: the other Region is asked and does not answer
	if opened, err := h.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: before.blob}); err != nil || string(opened.Plaintext) != before.id {
		t.Errorf("a key of the backup does not decrypt: %v", err)
	}
	var absent *types.NotFoundException
	if _, err := h.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &after.id}); !errors.As(err, &absent) {
		t.Errorf("a key made after the backup: %v", err)
	}
	made, err := h.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	replicate := &kms.ReplicateKeyInput{KeyId: made.KeyMetadata.KeyId, ReplicaRegion: aws.String(away)}
	var state *types.KMSInvalidStateException
	if _, err := h.ReplicateKey(ctx, replicate); !errors.As(err, &state) {
		t.Errorf("ReplicateKey while recovering: %v", err)
	}
	p.checkWaits(t)
	servers = []*server{standing, p.start(t, away, "")}
	p.awaitRecovered(t, "with the other Region", func() {})
	if _, err := h.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &after.id}); err != nil {
		t.Errorf("the key made after the backup did not come back: %v", err)
	}
	if opened, err := h.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: after.blob}); err != nil || string(opened.Plaintext) != after.id {
		t.Errorf("the key made after the backup does not decrypt: %v", err)
	}
	if _, err := h.ReplicateKey(ctx, replicate); err != nil {
		t.Errorf("ReplicateKey after the recovery: %v", err)
	}
	a := p.client(t, away)
	if _, err := replicateTo(ctx, a, home); err != nil {
		t.Errorf("ReplicateKey to the Region after its recovery: %v", err)
	}
	for _, s := range servers {
		s.stop(t)
	}
	// Without the other Region, on the operator's word.
	p.run(t, home, "restore", "--config", p.config(home), "--from", backup)
	standing = p.start(t, home, "")
	p.run(t, home, "region", "recovered", "--socket", p.socket(home), "--without", away)
	p.awaitRecovered(t, "without the other Region", func() {})
	standing.stop(t)
}

// checkWaits checks that HOME says everywhere that it recovers and waits for the other Region.
func (p *pair) checkWaits(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		shown := p.run(t, home, "region", "show", "--socket", p.socket(home))
		asked, err := p.command(t, home, "", "region", "recovered", "--socket", p.socket(home)).CombinedOutput()
		if err == nil {
			t.Fatalf("it has recovered: %s", asked)
		}
		ready := p.readyz(t, home)
		waits := "waits " + away + " has not answered in full: "
		if strings.Contains(shown, "recovering "+home+"\n"+waits) && strings.Contains(string(asked), waits) &&
			ready == "ok\n"+home+" recovers, waiting for "+away+"\n" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it says %q, %q and %q", shown, asked, ready)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (p *pair) readyz(t *testing.T, name string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/readyz", p.ports[name]), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	return string(text)
}

// refusedRestore tries a restore that must fail and change nothing.
func refusedRestore(t *testing.T, p *pair, name, why, from string) {
	t.Helper()
	out, err := p.command(t, name, "", "restore", "--config", p.config(name), "--from", from).CombinedOutput()
	if err == nil || !strings.Contains(string(out), why) {
		t.Errorf("restore of %s from %s: %v, want %q\n%s", name, from, err, why, out)
	}
}

// tampered returns a copy of a backup in which the wrapped keys of the Region were altered.
func tampered(t *testing.T, backup string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Clean(backup))
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(raw), "hierarchy"+home)
	if at < 0 {
		t.Fatal("the hierarchy's record is not where it was")
	}
	// The public half of the token's RSK, 120 bytes of DER, stands before the wrapped domain keys.
	spki := strings.Index(string(raw[at:]), "\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d")
	if spki < 0 {
		t.Fatal("the signing key is not where it was")
	}
	for i := at + spki + 120 + 12; i < at+spki+120+28; i++ {
		raw[i] ^= 1
	}
	path := backup + ".tampered"
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
