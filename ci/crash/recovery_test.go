package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// restored is a pair whose HOME was brought back from an older backup, and what clients were answered before.
type restored struct {
	pair   *pair
	known  []made // keys of which HOME's backup lacks the replica or the key, or nothing
	single string // a multi-Region key of the backup that was not replicated
}

// newRestored makes keys, saves HOME, makes more in both Regions, and brings the copy back.
func newRestored(t *testing.T, l *ledger) *restored {
	t.Helper()
	p := newCountedPair(t, l)
	servers := []*server{p.start(t, home, ""), p.start(t, away, "")}
	ctx, h, a := t.Context(), p.client(t, home), p.client(t, away)
	r := &restored{pair: p}
	must := func(k made, err error) made {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	r.known = append(r.known, must(replicateOne(ctx, h)))
	var early []string
	for range 2 {
		created, err := h.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
		early = append(early, *created.KeyMetadata.KeyId)
	}
	r.single = early[0]
	backup := filepath.Join(p.dir, home, "backup.db")
	p.run(t, home, "backup", "--socket", p.socket(home), "--out", backup)
	// The backup has this key, and not its replica.
	if _, err := h.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &early[1], ReplicaRegion: aws.String(away)}); err != nil {
		t.Fatal(err)
	}
	sealed, err := h.Encrypt(ctx, &kms.EncryptInput{KeyId: &early[1], Plaintext: []byte(early[1])})
	if err != nil {
		t.Fatal(err)
	}
	r.known = append(r.known, made{id: early[1], blob: sealed.CiphertextBlob})
	// It knows nothing of these: one is a primary's, one a replica's.
	r.known = append(r.known, must(replicateOne(ctx, h)), must(replicateTo(ctx, a, home)))
	for _, s := range servers {
		s.stop(t)
	}
	p.run(t, home, "restore", "--config", p.config(home), "--from", backup)
	return r
}

// crashRecovery ends one of two Regions before and after each of the durable steps of a recovery, on either side, starts
// it again, and checks that the recovery ends by itself and all that was answered decrypts.
func crashRecovery(t *testing.T, l *ledger) {
	t.Helper()
	original := newRestored(t, l)
	for _, name := range []string{home, away} {
		steps := withoutRecords(original.recoverOnce(t, name, ""))
		for _, n := range steps {
			for _, when := range []string{"before", "after"} {
				original.recoverOnce(t, name, fmt.Sprintf("%s:%d", when, n))
			}
		}
	}
}

// recoverOnce lets HOME recover while one Region is ended at a point, and started again as soon as it was. It returns the
// steps of that Region up to the end.
func (r *restored) recoverOnce(t *testing.T, name, crash string) []string {
	t.Helper()
	c := *r
	c.pair = r.pair.copy(t)
	p := c.pair
	defer func() {
		if err := os.RemoveAll(p.dir); err != nil {
			t.Error(err)
		}
	}()
	p.forgetSteps(t, name)
	servers := map[string]*server{}
	for _, each := range []string{away, home} {
		at := ""
		if each == name {
			at = crash
		}
		servers[each] = p.start(t, each, at)
	}
	restart := func() {
		select {
		case <-servers[name].exited:
			p.died(t, servers[name])
			servers[name] = p.start(t, name, "")
		default:
		}
	}
	p.awaitRecovered(t, name+" "+crash, restart)
	c.verify(t, name+" "+crash, restart)
	if crash != "" { // it may also come after all this, or as the process ends
		s := servers[name]
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		s.wait(t)
		switch {
		case s.err == nil:
		case s.err.Error() == "signal: killed":
			p.died(t, s)
		default:
			t.Fatalf("%s ended with %v\n%s", name, s.err, s.tail())
		}
		servers[name] = p.start(t, name, "")
	}
	settle(t, p, []*server{servers[home], servers[away]})
	checkFolders(t, p, name+" "+crash)
	return p.readSteps(t, name)
}

// awaitRecovered waits until HOME's recovery has ended by itself.
func (p *pair) awaitRecovered(t *testing.T, point string, meanwhile func()) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		meanwhile()
		out, err := p.command(t, home, "", "region", "recovered", "--socket", p.socket(home)).CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: the recovery does not end: %s", point, out)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// verify checks that HOME decrypts everything, and takes part in shared changes again.
func (r *restored) verify(t *testing.T, point string, meanwhile func()) {
	t.Helper()
	ctx, h, a := t.Context(), r.pair.client(t, home), r.pair.client(t, away)
	deadline := time.Now().Add(60 * time.Second)
	try := func(what string, do func() error) {
		t.Helper()
		for {
			err := do()
			if err == nil {
				return
			}
			meanwhile() // the crash may have come in the middle of the call
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s: %v", point, what, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	for i, k := range r.known {
		try("enable", func() error {
			_, err := h.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &k.id})
			return err
		})
		for _, c := range []*kms.Client{h, a} {
			try(fmt.Sprintf("decrypt %d", i), func() error {
				opened, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: k.blob})
				if err == nil && string(opened.Plaintext) != k.id {
					t.Fatalf("%s: decrypted to %q", point, opened.Plaintext)
				}
				return err
			})
		}
	}
	// A shared change: the term is raised first.
	try("replicate", func() error {
		_, err := h.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &r.single, ReplicaRegion: aws.String(away)})
		var exists *types.AlreadyExistsException
		if errors.As(err, &exists) {
			return nil
		}
		return err
	})
	try("the replica", func() error {
		_, err := a.Encrypt(ctx, &kms.EncryptInput{KeyId: &r.single, Plaintext: []byte("x")})
		return err
	})
}
