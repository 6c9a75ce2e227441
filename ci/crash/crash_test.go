package crash

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// TestCrashPoints ends one of two Regions before and after each of its durable steps, on either side, starts it again,
// and checks that nothing answered is lost and nothing half-done is left. The steps are those that a journey without a
// crash makes; that no durable step of the code is missing among them is checked against the code (steps_test.go).
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	original := newPair(t)
	seen := crashInit(t)
	maps.Copy(seen, crashRecovery(t))
	maps.Copy(seen, crashKeys(t))
	points := map[string]int{}
	for _, name := range []string{home, away} {
		steps := dryRun(t, original, name)
		for _, s := range steps {
			seen[s] = true
		}
		points[name] = len(steps)
	}
	tried := 0
	for _, name := range []string{home, away} {
		for n := 1; n <= points[name]; n++ {
			for _, when := range []string{"before", "after"} {
				tried++
				crash := fmt.Sprintf("%s:%d", when, n)
				for _, s := range crashOnce(t, original, name, crash) {
					seen[s] = true
				}
			}
		}
	}
	t.Logf("%d crash points tried, on %d durable steps of %s and %d of %s", tried, points[home], home, points[away], away)
	checkCovered(t, seen)
}

// dryRun makes the journey without a crash and returns the durable steps of one Region.
func dryRun(t *testing.T, original *pair, name string) []string {
	t.Helper()
	p := original.copy(t)
	p.forgetSteps(t, name)
	servers := []*server{p.start(t, home, ""), p.start(t, away, "")}
	j := &journey{}
	if err := j.run(t, p); err != nil {
		t.Fatalf("without a crash: %v", err)
	}
	for _, s := range servers {
		s.stop(t)
	}
	return p.readSteps(t, name)
}

func (p *pair) forgetSteps(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(p.steps(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func (p *pair) readSteps(t *testing.T, name string) (out []string) {
	t.Helper()
	raw, err := os.ReadFile(p.steps(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		_, step, _ := strings.Cut(strings.TrimSpace(line), " ")
		out = append(out, step)
	}
	return out
}

// crashOnce makes the journey with one Region ended at a point, starts it again, and checks. It returns the steps that
// the crashed Region made, those of its recovery too.
func crashOnce(t *testing.T, original *pair, name, crash string) []string {
	t.Helper()
	p := original.copy(t)
	defer func() {
		if err := os.RemoveAll(p.dir); err != nil {
			t.Error(err)
		}
	}()
	p.forgetSteps(t, name)
	other := home
	if name == home {
		other = away
	}
	standing, falling := p.start(t, other, ""), p.start(t, name, crash)
	j := &journey{}
	fault := j.run(t, p)
	select {
	case <-falling.exited:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s %s: the crash point was not reached; the journey: %v", name, crash, fault)
	}
	risen := p.start(t, name, "")
	j.verify(t, p, name+" "+crash)
	settle(t, p, []*server{risen, standing})
	checkFolders(t, p, name+" "+crash)
	return p.readSteps(t, name)
}

// journey is what a client does, with what it was answered.
type journey struct {
	mrk      string // multi-Region key whose CreateKey was answered
	single   string // single-Region key
	alias    bool   // alias/a was answered to exist, and not to be deleted
	aliasOff bool   // its deletion was at least asked for
	replica  bool   // ReplicateKey was answered
	blob     []byte // encrypted under mrk
}

const aliasName = "alias/a"

// run makes the journey until something fails.
func (j *journey) run(t *testing.T, p *pair) error {
	t.Helper()
	ctx, h, a := t.Context(), p.client(t, home), p.client(t, away)
	made, err := h.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})
	if err != nil {
		return err
	}
	j.mrk = *made.KeyMetadata.KeyId
	sealed, err := h.Encrypt(ctx, &kms.EncryptInput{KeyId: &j.mrk, Plaintext: []byte("before")})
	if err != nil {
		return err
	}
	j.blob = sealed.CiphertextBlob
	if _, err := h.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &j.mrk, ReplicaRegion: aws.String(away)}); err != nil {
		return err
	}
	j.replica = true
	if made, err = a.CreateKey(ctx, &kms.CreateKeyInput{}); err != nil {
		return err
	}
	single := *made.KeyMetadata.KeyId
	if made, err = h.CreateKey(ctx, &kms.CreateKeyInput{}); err != nil {
		return err
	}
	j.single = *made.KeyMetadata.KeyId
	if _, err = h.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(aliasName), TargetKeyId: &j.single}); err != nil {
		return err
	}
	j.alias = true
	if _, err = h.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String(aliasName), TargetKeyId: &j.mrk}); err != nil {
		return err
	}
	if _, err = a.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &single}); err != nil {
		return err
	}
	if _, err = h.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &j.single}); err != nil {
		return err
	}
	j.aliasOff, j.alias = true, false
	_, err = h.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String(aliasName)})
	return err
}

// verify checks what the Regions hold after the crash against what the client was answered.
func (j *journey) verify(t *testing.T, p *pair, point string) {
	t.Helper()
	ctx, h := t.Context(), p.client(t, home)
	if j.mrk != "" {
		opened, err := h.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: j.blob})
		if j.blob != nil && (err != nil || string(opened.Plaintext) != "before") {
			t.Errorf("%s: an answered ciphertext does not open: %v", point, err)
		}
		j.verifyReplica(t, p, point)
	}
	if j.single != "" {
		if _, err := h.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &j.single}); err != nil {
			t.Errorf("%s: an answered key is gone: %v", point, err)
		}
	}
	if _, err := h.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(aliasName)}); j.alias && err != nil {
		t.Errorf("%s: an answered alias is gone: %v", point, err)
	}
	// A key that was made but not answered is whole all the same.
	for _, name := range []string{home, away} {
		c := p.client(t, name)
		list, err := c.ListKeys(ctx, &kms.ListKeysInput{})
		if err != nil {
			t.Fatalf("%s: %v", point, err)
		}
		for _, k := range list.Keys {
			d, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.KeyId})
			if err != nil {
				t.Errorf("%s: %s lists %s: %v", point, name, *k.KeyId, err)
				continue
			}
			if d.KeyMetadata.KeyState != types.KeyStateEnabled {
				continue
			}
			if _, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x")}); err != nil {
				t.Errorf("%s: %s does not encrypt with %s: %v", point, name, *k.KeyId, err)
			}
		}
	}
}

// verifyReplica waits until the replication has finished by itself or is absent on both sides, in which case it is
// repeated; then both Regions must agree.
func (j *journey) verifyReplica(t *testing.T, p *pair, point string) {
	t.Helper()
	ctx, h, a := t.Context(), p.client(t, home), p.client(t, away)
	deadline := time.Now().Add(60 * time.Second)
	for {
		primary, err := h.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &j.mrk})
		if err != nil {
			t.Fatalf("%s: %v", point, err)
		}
		listed := slices.ContainsFunc(primary.KeyMetadata.MultiRegionConfiguration.ReplicaKeys,
			func(k types.MultiRegionKey) bool { return *k.Region == away })
		replica, err := a.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &j.mrk})
		var absent *types.NotFoundException
		switch {
		case errors.As(err, &absent) && !listed:
			if j.replica {
				t.Fatalf("%s: an answered replica is gone", point)
			}
			// Cleanly absent: it can be repeated.
			if _, err := h.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &j.mrk, ReplicaRegion: aws.String(away)}); err != nil {
				t.Fatalf("%s: ReplicateKey can't be repeated: %v", point, err)
			}
		case err == nil && listed && replica.KeyMetadata.KeyState == types.KeyStateEnabled:
			if j.blob == nil {
				return
			}
			opened, err := a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: j.blob})
			if err != nil || string(opened.Plaintext) != "before" {
				t.Errorf("%s: the replica does not open what the primary encrypted: %v", point, err)
			}
			return
		case err == nil && replica.KeyMetadata.KeyState == types.KeyStateCreating && !listed:
			// The source gave up; the reservation's time is bounded, and a repeat takes its place.
			if _, err := h.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &j.mrk, ReplicaRegion: aws.String(away)}); err != nil {
				t.Fatalf("%s: ReplicateKey can't be repeated over a reservation: %v", point, err)
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: listed %v, replica %+v, %v: neither finishes nor goes", point, listed, replica, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
