package crash

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// crashHandOvers ends the old primary's Region, and its successor's, at each durable step of a change of the primary.
func crashHandOvers(t *testing.T, l *ledger) {
	t.Helper()
	original := newCountedPair(t, l)
	bothSides(t, original, "replication.(*Node).commitHandOver", handOverBegun)
	bothSides(t, original, "replication.(*Node).succeed", successorEnds)
	bothSides(t, original, "replication.(*Node).endHandOver", handedOver)
	bothSides(t, original, "replication.(*Node).postponeHandOver", successorAway)
	bothSides(t, original, "replication.(*Node).refuseHandOver", successorRefuses)
	bothSides(t, original, "replication.(*Node).takeBack", takesBack)
}

// move asks for AWAY to be the primary. Whether it is answered depends on what a scenario does.
func (j *journey) move(t *testing.T, p *pair) error {
	t.Helper()
	_, err := p.client(t, home).UpdatePrimaryRegion(t.Context(), &kms.UpdatePrimaryRegionInput{KeyId: &j.mrk, PrimaryRegion: aws.String(away)})
	return err
}

// awaitPrimary waits until both Regions say that one of them has the primary, and checks that both encrypt and decrypt all
// the time, and that they never both say that they have it.
func (j *journey) awaitPrimary(t *testing.T, p *pair, want, point string) {
	t.Helper()
	ctx := t.Context()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		settled, primaries := true, 0
		for _, name := range []string{away, home} {
			c := p.client(t, name)
			got, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &j.mrk})
			if err != nil {
				t.Fatalf("%s: %v", point, err)
			}
			m := got.KeyMetadata
			if m.KeyState != types.KeyStateEnabled && m.KeyState != types.KeyStateUpdating {
				t.Fatalf("%s: in %s the key is %s", point, name, m.KeyState)
			}
			if m.MultiRegionConfiguration.MultiRegionKeyType == types.MultiRegionKeyTypePrimary && m.KeyState == types.KeyStateEnabled {
				primaries++
			}
			settled = settled && m.KeyState == types.KeyStateEnabled && *m.MultiRegionConfiguration.PrimaryKey.Region == want
			opened, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: j.blob})
			if err != nil || string(opened.Plaintext) != "before" {
				t.Errorf("%s: %s does not decrypt: %v", point, name, err)
			}
			if _, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &j.mrk, Plaintext: []byte("x")}); err != nil {
				t.Errorf("%s: %s does not encrypt: %v", point, name, err)
			}
		}
		if primaries > 1 {
			t.Fatalf("%s: two Regions act as the primary", point)
		}
		if settled {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %s does not become the primary", point, want)
		}
	}
}

// andBack gives the primary back to HOME, where the journey expects it: the new primary acts.
func (j *journey) andBack(t *testing.T, p *pair, point string) {
	t.Helper()
	j.awaitPrimary(t, p, away, point)
	if err := j.move(t, p); err == nil {
		t.Errorf("%s: a replica hands over", point)
	}
	_, err := p.client(t, away).UpdatePrimaryRegion(t.Context(), &kms.UpdatePrimaryRegionInput{KeyId: &j.mrk, PrimaryRegion: aws.String(home)})
	if err != nil {
		t.Fatalf("%s: the new primary does not hand over: %v", point, err)
	}
	j.awaitPrimary(t, p, home, point)
	j.verify(t, p, point)
}

// related makes a key with a replica, and stops both Regions.
func related(t *testing.T, p *pair) *journey {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, "")
	j := newKey(t, p)
	j.verify(t, p, "before") // which replicates
	a.stop(t)
	h.stop(t)
	p.forgetSteps(t, home)
	p.forgetSteps(t, away)
	return j
}

// handOverBegun: the old primary ends as it stops to act.
func handOverBegun(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	j := related(t, p)
	a, h := p.start(t, away, ""), p.start(t, home, crash)
	if err := j.move(t, p); err == nil {
		t.Errorf("%s: answered", crash)
	}
	p.died(t, h)
	h = p.start(t, home, "")
	if crash == "before:replication.(*Node).commitHandOver" {
		j.awaitPrimary(t, p, home, crash)
		if err := j.move(t, p); err != nil {
			t.Errorf("%s: it can't be repeated: %v", crash, err)
		}
	}
	j.andBack(t, p, crash)
	return []*server{h, a}
}

// successorEnds: the successor ends as it becomes the primary. The caller is told that it goes on.
func successorEnds(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	j := related(t, p)
	h, a := p.start(t, home, ""), p.start(t, away, crash)
	if err := j.move(t, p); err != nil {
		t.Errorf("%s: %v", crash, err)
	}
	p.died(t, a)
	got, err := p.client(t, home).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &j.mrk})
	if err != nil || got.KeyMetadata.KeyState != types.KeyStateUpdating {
		t.Errorf("%s: the key is %+v, %v", crash, got, err)
	}
	a = p.start(t, away, "")
	j.andBack(t, p, crash)
	return []*server{h, a}
}

// handedOver: the old primary ends when it has learnt that it is a replica.
func handedOver(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	j := related(t, p)
	a, h := p.start(t, away, ""), p.start(t, home, crash)
	if err := j.move(t, p); err == nil {
		t.Errorf("%s: answered", crash)
	}
	p.died(t, h)
	h = p.start(t, home, "")
	j.andBack(t, p, crash)
	return []*server{h, a}
}

// successorAway: the successor ends once it is the primary, and the old one as it puts the next attempt off.
func successorAway(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	j := related(t, p)
	a, h := p.start(t, away, "after:replication.(*Node).succeed"), p.start(t, home, crash)
	if err := j.move(t, p); err == nil {
		t.Errorf("%s: answered", crash)
	}
	p.died(t, a)
	p.died(t, h)
	h, a = p.start(t, home, ""), p.start(t, away, "")
	j.andBack(t, p, crash)
	return []*server{h, a}
}

// begunAndDisabled: the old primary has ended before it has sent anything, and the replica was disabled since.
func begunAndDisabled(t *testing.T, p *pair) *journey {
	t.Helper()
	j := related(t, p)
	a, h := p.start(t, away, ""), p.start(t, home, "after:replication.(*Node).commitHandOver")
	if err := j.move(t, p); err == nil {
		t.Error("answered")
	}
	p.died(t, h)
	if _, err := p.client(t, away).DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &j.mrk}); err != nil {
		t.Fatal(err)
	}
	a.stop(t)
	p.forgetSteps(t, away)
	return j
}

// actsAgain waits until HOME has the primary again, and checks that it hands over to the replica, enabled again.
func (j *journey) actsAgain(t *testing.T, p *pair, point string) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got, err := p.client(t, home).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &j.mrk})
		if err == nil && got.KeyMetadata.KeyState == types.KeyStateEnabled {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: the old primary does not take its role back: %+v, %v", point, got, err)
		}
	}
	if _, err := p.client(t, away).EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: &j.mrk}); err != nil {
		t.Fatal(err)
	}
	j.awaitPrimary(t, p, home, point)
	if err := j.move(t, p); err != nil {
		t.Fatalf("%s: the primary does not act: %v", point, err)
	}
	j.andBack(t, p, point)
}

// successorRefuses: the successor ends as it refuses for good.
func successorRefuses(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	j := begunAndDisabled(t, p)
	a, h := p.start(t, away, crash), p.start(t, home, "")
	p.died(t, a)
	a = p.start(t, away, "")
	j.actsAgain(t, p, crash)
	return []*server{h, a}
}

// takesBack: the old primary ends as it takes its role back.
func takesBack(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	j := begunAndDisabled(t, p)
	a, h := p.start(t, away, ""), p.start(t, home, crash)
	p.died(t, h)
	h = p.start(t, home, "")
	j.actsAgain(t, p, crash)
	return []*server{h, a}
}
