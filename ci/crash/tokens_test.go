package crash

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/rs/zerolog"

	"antipode/hsmbackend/p11"
	"antipode/softhsm"
	"antipode/softhsm/softhsmtest"
)

// keysJourney is what an operator does with the Region's own keys: a second token, another version of the domain key on
// both, everything rewrapped, a backup, the old version destroyed. Each step first looks whether it is done.
type keysJourney struct {
	t      *testing.T
	p      *pair
	second softhsm.Token
	single string // a key of before
	blob   []byte
}

func (j *keysJourney) admin(args ...string) (string, error) {
	args = append(args, "--socket", j.p.socket(home))
	out, err := j.p.command(j.t, home, "", args...).CombinedOutput()
	return string(out), err
}

func (j *keysJourney) addToken() error {
	out, err := j.admin("token", "add", "--module", j.second.Module, "--serial", j.second.Serial,
		"--pin-file", filepath.Join(j.second.Dir, "pin"), "--env", "SOFTHSM2_CONF="+filepath.Join(j.second.Dir, "softhsm2.conf"))
	if err != nil {
		return fmt.Errorf("token add: %w: %s", err, out)
	}
	return nil
}

// run makes the journey, as far as it is not made yet.
func (j *keysJourney) run() error {
	if err := j.addToken(); err != nil {
		return err
	}
	listed, err := j.admin("domain-key", "list")
	if err != nil {
		return fmt.Errorf("domain-key list: %w: %s", err, listed)
	}
	if !strings.Contains(listed, "2 current") {
		if out, err := j.admin("domain-key", "new"); err != nil {
			return fmt.Errorf("domain-key new: %w: %s", err, out)
		}
		if err := j.addToken(); err != nil { // the second token acknowledges
			return err
		}
	}
	if out, err := j.admin("domain-key", "rewrap"); err != nil {
		return fmt.Errorf("domain-key rewrap: %w: %s", err, out)
	}
	if err := j.saveAndForget(); err != nil {
		return err
	}
	if strings.Contains(listed, "2 current") && !strings.Contains(listed, "1 old") {
		return nil
	}
	if out, err := j.admin("domain-key", "destroy", "1"); err != nil {
		return fmt.Errorf("domain-key destroy: %w: %s", err, out)
	}
	return nil
}

// saveAndForget makes a backup, which keeps the old version from being destroyed, and takes all that are on record off
// it.
func (j *keysJourney) saveAndForget() error {
	path := filepath.Join(j.p.dir, home, fmt.Sprintf("saved-%d", time.Now().UnixNano()))
	if out, err := j.admin("backup", "--out", path); err != nil {
		return fmt.Errorf("backup: %w: %s", err, out)
	}
	if out, err := j.admin("domain-key", "destroy", "1"); err == nil || !strings.Contains(out, "backup") && !strings.Contains(out, "no such version") {
		return fmt.Errorf("a version that a backup carries was destroyed, or refused otherwise: %s", out)
	}
	listed, err := j.admin("backup", "list")
	if err != nil {
		return fmt.Errorf("backup list: %w: %s", err, listed)
	}
	for line := range strings.Lines(listed) {
		id, _, _ := strings.Cut(line, " ")
		if out, err := j.admin("backup", "forget", id); err != nil {
			return fmt.Errorf("backup forget: %w: %s", err, out)
		}
	}
	return nil
}

// crashKeys ends a Region before and after each durable step of the journey of its own keys, starts it again, makes the
// journey to its end, and sees that both tokens hold what they should and nothing more, and that the Region goes on with
// the second one alone.
func crashKeys(t *testing.T, l *ledger) {
	t.Helper()
	steps := keysOnce(t, l, "", "")
	if len(steps) < 12 {
		t.Fatalf("the Region's own keys took only %d durable steps: %v", len(steps), steps)
	}
	for _, when := range []string{"before", "after"} {
		for _, n := range withoutRecords(steps) {
			keysOnce(t, l, fmt.Sprintf("%s:%d", when, n), "")
		}
		keysOnce(t, l, "", when+":regions.(*Region).removeToken")
	}
}

// keysOnce makes the journey, with the Region ended at a point if crash is not empty, and at another one, if remove is not
// empty, when the first token is taken off its record. It returns the steps of the first process.
func keysOnce(t *testing.T, l *ledger, crash, remove string) []string {
	t.Helper()
	p := &pair{dir: softhsmtest.Dir(t), ledger: l}
	defer removeAll(t, p.dir)
	passable(t, p.dir)
	p.choosePorts(t)
	if _, err := softhsm.Create(t.Context(), filepath.Join(p.dir, home, "token"), "antipode-"+home); err != nil {
		t.Fatal(err)
	}
	second, err := softhsm.Create(t.Context(), filepath.Join(p.dir, home, "second"), "second")
	if err != nil {
		t.Fatal(err)
	}
	p.configure(t, home)
	p.run(t, home, "init", "--config", p.config(home), "--credentials", p.credentials(home))
	j := &keysJourney{t: t, p: p, second: second}
	s := p.start(t, home, "")
	j.prepare(t)
	s.stop(t)
	p.forgetSteps(t, home)

	s = p.start(t, home, crash)
	fault := j.run()
	if crash != "" {
		p.died(t, s)
		s = p.start(t, home, "")
		fault = j.run()
	}
	if fault != nil {
		t.Errorf("%s: %v", crash, fault)
	}
	steps := p.readSteps(t, home)
	j.verify(t, crash)
	s.stop(t)
	checkFolder(t, p, home, "keys "+crash)
	j.goOn(t, crash, remove)
	return steps
}

// prepare makes a key and encrypts with it.
func (j *keysJourney) prepare(t *testing.T) {
	t.Helper()
	before := &journey{}
	// The peer is unknown here, so the journey ends at ReplicateKey, after the key and the ciphertext that are needed.
	if err := before.run(t, j.p); err == nil || before.blob == nil {
		t.Fatal(err)
	}
	j.single, j.blob = before.mrk, before.blob
}

func (j *keysJourney) verify(t *testing.T, point string) {
	t.Helper()
	c := j.p.client(t, home)
	opened, err := c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: j.blob})
	if err != nil || string(opened.Plaintext) != "before" {
		t.Errorf("%s: a ciphertext of before does not open: %v", point, err)
	}
	made, err := c.CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Errorf("%s: CreateKey: %v", point, err)
		return
	}
	if _, err := c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: made.KeyMetadata.KeyId, Plaintext: []byte("x")}); err != nil {
		t.Errorf("%s: Encrypt: %v", point, err)
	}
}

// goOn looks at the second token, and starts the Region with it in the place of the first.
func (j *keysJourney) goOn(t *testing.T, point, remove string) {
	t.Helper()
	token, err := p11.Open(t.Context(), j.second.Config(zerolog.Nop()))
	if err != nil {
		t.Fatal(err)
	}
	session, objects, err := token.CountObjects(t.Context())
	if err := errors.Join(err, token.Close()); err != nil {
		t.Fatal(err)
	}
	if session != 0 || objects != ownObjects {
		t.Errorf("%s: the second token holds %d session and %d token objects", point, session, objects)
	}
	run(t, "rm", "-rf", filepath.Join(j.p.dir, home, "token"))
	run(t, "mv", j.second.Dir, filepath.Join(j.p.dir, home, "token"))
	j.p.configure(t, home)
	j.p.forgetSteps(t, home)
	s := j.p.start(t, home, remove)
	opened, err := j.p.client(t, home).Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: j.blob})
	if err != nil || string(opened.Plaintext) != "before" {
		t.Errorf("%s: the second token does not open a ciphertext of before: %v", point, err)
	}
	listed, err := j.admin("token", "list")
	first := strings.Fields(listed)
	if err != nil || len(first) == 0 || first[0] == j.second.Serial {
		t.Fatalf("%s: token list: %v %s", point, err, listed)
	}
	if remove != "" {
		if out, err := j.admin("token", "remove", first[0]); err == nil {
			t.Errorf("token remove ended well: %s", out)
		}
		j.p.died(t, s)
		s = j.p.start(t, home, "")
	}
	out, err := j.admin("token", "remove", first[0])
	if strings.HasPrefix(remove, "after") {
		if err == nil || !strings.Contains(out, "the Region has no keys on this token") {
			t.Errorf("%s: token remove, repeated: %v %s", remove, err, out)
		}
	} else if err != nil || !strings.Contains(out, "zeroise") {
		t.Errorf("%s: token remove: %v %s", point, err, out)
	}
	s.stop(t)
}
