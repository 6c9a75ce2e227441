package crash

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// TestBackupRestore saves a Region while it serves, brings the copy back, and sees what the Region then does and what
// not: it decrypts with what it has, changes nothing that is shared until its operator ends the recovery.
func TestBackupRestore(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	servers := []*server{p.start(t, home, ""), p.start(t, away, "")}
	ctx, h := t.Context(), p.client(t, home)
	before, err := replicateOne(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(p.dir, "backup.db")
	run(t, binary, "backup", "--socket", p.socket(home), "--out", backup)
	after, err := replicateOne(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	refusedRestore(t, "in use", "--config", p.config(home), "--from", backup)
	for _, s := range servers {
		s.stop(t)
	}
	refusedRestore(t, "refused", "--config", p.config(home), "--from", tampered(t, backup))
	refusedRestore(t, "", "--config", p.config(away), "--from", backup)
	if out := run(t, binary, "restore", "--config", p.config(home), "--from", backup); !strings.Contains(out, "is now") {
		t.Errorf("restore says %q", out)
	}
	servers = []*server{p.start(t, home, ""), p.start(t, away, "")}
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
	a := p.client(t, away)
	theirs, err := a.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	here := &kms.ReplicateKeyInput{KeyId: theirs.KeyMetadata.KeyId, ReplicaRegion: aws.String(home)}
	if _, err := a.ReplicateKey(ctx, here); err == nil {
		t.Error("a Region that recovers took a replica")
	}
	run(t, binary, "region", "recovered", "--socket", p.socket(home))
	if _, err := h.ReplicateKey(ctx, replicate); err != nil {
		t.Errorf("ReplicateKey after the recovery: %v", err)
	}
	if _, err := a.ReplicateKey(ctx, here); err != nil {
		t.Errorf("ReplicateKey to the Region after its recovery: %v", err)
	}
	for _, s := range servers {
		s.stop(t)
	}
}

// refusedRestore tries a restore that must fail and change nothing.
func refusedRestore(t *testing.T, why string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binary, append([]string{"restore"}, args...)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), why) {
		t.Errorf("restore %v: %v, want %q\n%s", args, err, why, out)
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
	// The MAC is the record's last column.
	for i := at + 200; i < at+600; i++ {
		raw[i] ^= 1
	}
	path := backup + ".tampered"
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
