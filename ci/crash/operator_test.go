package crash

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"antipode/regions"
)

// crashOperator ends a Region while its operator's commands change it.
func crashOperator(t *testing.T, l *ledger) {
	t.Helper()
	original := newCountedPair(t, l)
	bothSides(t, original, "regions.(*Region).Enrol", trusting)
	bothSides(t, original, "regions.(*Region).EnrolOperators", enrollingOperators)
	bothSides(t, original, "write a backup", backingUp)
	bothSides(t, original, "regions.(*Region).enterRecovery", rolledBack)
	bothSides(t, original, "regions.(*Region).Excuse", endingRecovery)
}

// fails runs a command that the crash of the Region cuts off.
func (p *pair) fails(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := p.command(t, name, "", args...).CombinedOutput(); err == nil {
		t.Errorf("%v ended well: %s", args, out)
	}
}

// trusting: a Region ends while it enrols another; the command is repeated.
func trusting(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, crash)
	p.fails(t, home, p.trustArgs(home, away, "*")...)
	p.died(t, h)
	h = p.start(t, home, "")
	allows := func() string {
		for line := range strings.Lines(p.run(t, home, "region", "list", "--socket", p.socket(home))) {
			if strings.HasPrefix(line, away) {
				_, rest, _ := strings.Cut(line, " accounts ")
				accounts, _, _ := strings.Cut(rest, " ")
				return accounts
			}
		}
		return ""
	}
	if got, want := allows(), map[bool]string{true: account, false: "*"}[strings.HasPrefix(crash, "before")]; got != want {
		t.Errorf("%s: the roster allows %q, want %q", crash, got, want)
	}
	p.trust(t, home, away, "*")
	if got := allows(); got != "*" {
		t.Errorf("%s, and repeated: the roster allows %q", crash, got)
	}
	newKey(t, p).verify(t, p, crash)
	return []*server{h, a}
}

// backingUp: a Region ends while it writes a backup. A file of that name is a whole backup.
func backingUp(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, crash)
	j := newKey(t, p)
	out := filepath.Join(p.dir, home, "backup.db")
	p.fails(t, home, "backup", "--socket", p.socket(home), "--out", out)
	p.died(t, h)
	h = p.start(t, home, "")
	switch _, err := os.Stat(out); {
	case err == nil:
		wholeStore(t, out)
	case !errors.Is(err, os.ErrNotExist):
		t.Fatal(err)
	case strings.HasPrefix(crash, "after"):
		t.Error("the backup that was written is not there")
	}
	again := filepath.Join(p.dir, home, "again.db")
	p.run(t, home, "backup", "--socket", p.socket(home), "--out", again)
	wholeStore(t, again)
	j.verify(t, p, crash)
	return []*server{h, a}
}

// wholeStore checks that a file is a store with a Region in it.
func wholeStore(t *testing.T, path string) {
	t.Helper()
	view(t, path, func(rd regions.Reader) error {
		_, err := rd.Get(t.Context(), regions.RecordKey{Kind: regions.KindHierarchy, ID: home})
		return err
	})
}

// rolledBack: an older store is put beside the audit log, and the Region ends when it notices. It starts in recovery.
func rolledBack(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	data := filepath.Join(p.dir, home, "data", "store.db")
	raw, err := os.ReadFile(filepath.Clean(data))
	if err != nil {
		t.Fatal(err)
	}
	h := p.start(t, home, "")
	newKey(t, p)
	h.stop(t)
	if err := os.WriteFile(data, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	p.died(t, p.start(t, home, crash))
	h = p.start(t, home, "")
	if !p.recovering(t) {
		t.Errorf("%s: the rolled-back Region does not recover", crash)
	}
	a := p.start(t, away, "")
	p.awaitRecovered(t, crash, func() {})
	newKey(t, p).verify(t, p, crash)
	return []*server{h, a}
}

// endingRecovery: a Region ends while its operator tells it to recover without the other; he repeats it.
func endingRecovery(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	h := p.start(t, home, "")
	backup := filepath.Join(p.dir, home, "backup.db")
	p.run(t, home, "backup", "--socket", p.socket(home), "--out", backup)
	h.stop(t)
	p.run(t, home, "restore", "--config", p.config(home), "--from", backup)
	p.forgetSteps(t, home)
	h = p.start(t, home, crash)
	p.fails(t, home, "region", "recovered", "--socket", p.socket(home), "--without", away)
	p.died(t, h)
	h = p.start(t, home, "")
	// It ends by itself if the word was kept, and by the repeated one otherwise; the other Region is not there.
	if strings.HasPrefix(crash, "before") {
		if !p.recovering(t) {
			t.Errorf("%s: it has recovered without a word", crash)
		}
		p.run(t, home, "region", "recovered", "--socket", p.socket(home), "--without", away)
	}
	p.awaitRecovered(t, crash, func() {})
	a := p.start(t, away, "")
	newKey(t, p).verify(t, p, crash)
	return []*server{h, a}
}

// recovering reports whether the store of home says that it recovers; the Region may be running.
func (p *pair) recovering(t *testing.T) (found bool) {
	t.Helper()
	view(t, filepath.Join(p.dir, home, "data", "store.db"), func(rd regions.Reader) error {
		_, err := rd.Get(t.Context(), regions.Recovery{Region: home}.RecordKey())
		found = err == nil
		if errors.Is(err, regions.ErrNoRecord) {
			return nil
		}
		return err
	})
	return found
}

// keepingHead are two Regions that end at the commit that they make once a minute: it keeps the audit log's head, and the
// last uses of keys. Both sides of it are tried at once, each in one of the two.
type keepingHead struct {
	p       *pair
	servers []*server
}

func beginKeepingHead(t *testing.T, l *ledger) keepingHead {
	t.Helper()
	k := keepingHead{p: newCountedPair(t, l)}
	for name, when := range map[string]string{home: "before", away: "after"} {
		k.p.forgetSteps(t, name)
		k.servers = append(k.servers, k.p.start(t, name, when+":"+lastRound))
		// A record that no commit follows.
		if _, err := k.p.client(t, name).ListKeys(t.Context(), &kms.ListKeysInput{}); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

func (k keepingHead) end(t *testing.T) {
	t.Helper()
	for _, s := range k.servers {
		select {
		case <-s.exited:
		case <-time.After(90 * time.Second):
		}
		k.p.died(t, s)
	}
	running := []*server{k.p.start(t, home, ""), k.p.start(t, away, "")}
	newKey(t, k.p).verify(t, k.p, "keeping the head")
	settle(t, k.p, running)
	checkFolders(t, k.p, "keeping the head")
}

// enrollingOperators: a Region ends while it takes its first operators; the command is repeated.
func enrollingOperators(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, crash)
	at := func(name string) string { return filepath.Join(p.dir, home, name) }
	said := func(after, text string) string {
		_, rest, found := strings.Cut("\n"+text, "\n"+after+" ")
		if !found {
			t.Fatalf("no %q in %s", after, text)
		}
		line, _, _ := strings.Cut(rest, "\n")
		return line
	}
	public := said("operator", p.run(t, home, "operator", "keygen", "--out", at("key"), "--name", "alice", "--no-passphrase"))
	fingerprint := said("fingerprint", p.run(t, home, "operator", "propose", "--out", at("operators"), "--quorum", "1", "--operator", public))
	enrol := []string{"operator", "enrol", "--socket", p.socket(home), "--in", at("operators"), "--fingerprint", fingerprint}
	p.fails(t, home, enrol...)
	p.died(t, h)
	h = p.start(t, home, "")
	shown := p.run(t, home, "operator", "show", "--socket", p.socket(home))
	if there := strings.Contains(shown, fingerprint); there == strings.HasPrefix(crash, "before") {
		t.Errorf("%s: %s", crash, shown)
	}
	p.run(t, home, enrol...)
	if shown := p.run(t, home, "operator", "show", "--socket", p.socket(home)); !strings.Contains(shown, fingerprint) {
		t.Errorf("%s, and repeated: %s", crash, shown)
	}
	newKey(t, p).verify(t, p, crash)
	return []*server{h, a}
}
