package crash

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// restoreCase is a Region that was backed up between two keys, and stopped.
type restoreCase struct {
	original     *pair
	early, later *journey // later is not in the backup
	backup       string   // its path in the Region's folder
}

// crashRestore ends `antipode restore` before and after each of its durable steps. The Region is then started: it is the
// old one or the restored one, whole, whichever that is. Then the restore is repeated, and it is the restored one.
func crashRestore(t *testing.T, l *ledger) {
	t.Helper()
	c := restoreCase{original: newCountedPair(t, l), backup: "backup.db"}
	s := c.original.start(t, home, "")
	c.early = newKey(t, c.original)
	c.original.run(t, home, "backup", "--socket", c.original.socket(home), "--out", filepath.Join(c.original.dir, home, c.backup))
	c.later = newKey(t, c.original)
	// Killed, so that the old store has a write-ahead log, without which it is not whole.
	s.kill(t)
	p := c.original.copy(t)
	p.forgetSteps(t, home)
	p.run(t, home, c.args(p)...)
	steps := p.readSteps(t, home)
	removeAll(t, p.dir)
	if len(steps) < 8 {
		t.Fatalf("restore made only %d durable steps: %v", len(steps), steps)
	}
	for n := 1; n <= len(steps); n++ {
		for _, when := range []string{"before", "after"} {
			decided := n > indexOf(steps, "restore: decide") || n == indexOf(steps, "restore: decide") && when == "after"
			t.Run(fmt.Sprintf("%s %d %s", when, n, steps[n-1]), func(t *testing.T) {
				c.once(t, fmt.Sprintf("%s:%d", when, n), decided)
			})
		}
	}
	for _, when := range []string{"before", "after"} {
		t.Run(when+" removing a refused copy", func(t *testing.T) { c.refused(t, when+":restore: remove a refused copy") })
	}
}

// indexOf is the number of a step, from 1.
func indexOf(steps []string, name string) int {
	for i, s := range steps {
		if s == name {
			return i + 1
		}
	}
	return 0
}

func (c restoreCase) args(p *pair) []string {
	return []string{"restore", "--config", p.config(home), "--from", filepath.Join(p.dir, home, c.backup)}
}

func (c restoreCase) once(t *testing.T, crash string, decided bool) {
	t.Helper()
	p := c.original.copy(t)
	defer removeAll(t, p.dir)
	p.crashes(t, home, crash, c.args(p)...)
	s := p.start(t, home, "")
	c.whole(t, p, crash, decided)
	s.stop(t)
	p.run(t, home, c.args(p)...)
	s = p.start(t, home, "")
	c.whole(t, p, crash+", and repeated", true)
	s.stop(t)
	checkFolder(t, p, home, crash)
	left, err := filepath.Glob(filepath.Join(p.dir, home, "data", "store.db.rest*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%s: %v is left, %v", crash, left, err)
	}
	c.kept(t, p, crash)
}

// whole checks that a Region that runs is the old one, or the restored one, in all that tells them apart.
func (c restoreCase) whole(t *testing.T, p *pair, point string, restored bool) {
	t.Helper()
	ctx, h := t.Context(), p.client(t, home)
	if opened, err := h.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: c.early.blob}); err != nil || string(opened.Plaintext) != "before" {
		t.Errorf("%s: a key of both stores: %v", point, err)
	}
	_, err := h.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &c.later.mrk})
	var absent *types.NotFoundException
	if restored && !errors.As(err, &absent) || !restored && err != nil {
		t.Errorf("%s: restored %v, and the key that the backup lacks answers %v", point, restored, err)
	}
	if got := p.recovering(t); got != restored {
		t.Errorf("%s: restored %v, recovering %v", point, restored, got)
	}
}

// kept checks that the store that was replaced first is there still, with the key that the backup lacks.
func (c restoreCase) kept(t *testing.T, p *pair, point string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(p.dir, home, "data", "store.db.replaced-*Z"))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatalf("%s: nothing is left of the old store", point)
	}
	holds := false
	for _, path := range found {
		holds = holds || hasKey(t, path, c.later.mrk)
	}
	if !holds {
		t.Errorf("%s: the old store, with what only it had, is not among %s", point, strings.Join(found, ", "))
	}
}

// refused: a restore ends while it removes the copy of a backup that is not authentic. Nothing has changed.
func (c restoreCase) refused(t *testing.T, crash string) {
	t.Helper()
	p := c.original.copy(t)
	defer removeAll(t, p.dir)
	bad := tampered(t, filepath.Join(p.dir, home, c.backup))
	p.crashes(t, home, crash, "restore", "--config", p.config(home), "--from", bad)
	s := p.start(t, home, "")
	c.whole(t, p, crash, false)
	s.stop(t)
	p.run(t, home, c.args(p)...)
	s = p.start(t, home, "")
	c.whole(t, p, crash+", and a good one", true)
	s.stop(t)
}
