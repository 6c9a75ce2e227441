package crash

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// crashExchanges ends Regions in exchanges that don't go well: the destination refuses, refuses for good, is away, or
// has lost the exchange.
func crashExchanges(t *testing.T, l *ledger) {
	t.Helper()
	original := newCountedPair(t, l)
	bothSides(t, original, "replication.(*Node).fail", offerCutOff)
	bothSides(t, original, "replication.(*Node).fail", offerUnanswered)
	bothSides(t, original, "replication.(*Node).fail", refusedTransfer)
	bothSides(t, original, "replication.(*Node).refuseForGood", refusingForGood)
	bothSides(t, original, "replication.(*Node).postpone", destinationAway)
	bothSides(t, original, "replication.(*Node).startAgain", exchangeLost)
	bothSides(t, original, "replication.(*Node).confirm", receiptLost)
	bothSides(t, original, "replication.(*Node).lose", restartedWithReservation)
	bothSides(t, original, "replication.(*Node).lose", reservationExpires)
	bothSides(t, original, "regions.(*Region).settleTokenKey", tokenKeyCutOff)
	bothSides(t, original, "keyring.(*Ring).DestroyOnToken", tokenKeyCutOff)
	for _, step := range []string{"regions.(*Region).deleteKey", "regions.(*Region).destroyObjects"} {
		bothSides(t, original, step, deletingKey)
	}
	bothSides(t, original, "replication.(*Node).changeGrave", tellingOfReplica)
	bothSides(t, original, "replication.(*Node).removeGone", toldOfReplica)
	crashImports(t, original)
	bothSides(t, original, "replication.(*Node).noteFault", memberAway)
	// A destination that is there and does not answer: its process is stopped.
	bothSides(t, original, "replication.(*Node).postpone", silentAfterAccept)
	t.Run("refused and silent", func(t *testing.T) { refusedAndSilent(t, original) })
}

// newKey makes the multi-Region key that a scenario replicates.
func newKey(t *testing.T, p *pair) *journey {
	t.Helper()
	ctx, h := t.Context(), p.client(t, home)
	made, err := h.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	j := &journey{mrk: *made.KeyMetadata.KeyId}
	sealed, err := h.Encrypt(ctx, &kms.EncryptInput{KeyId: &j.mrk, Plaintext: []byte("before")})
	if err != nil {
		t.Fatal(err)
	}
	j.blob = sealed.CiphertextBlob
	return j
}

// replicate asks for the replica, which a scenario prevents.
func (j *journey) replicate(t *testing.T, p *pair) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := p.client(t, home).ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &j.mrk, ReplicaRegion: aws.String(away)})
	if err == nil {
		t.Error("ReplicateKey was answered in spite of all")
	}
}

// untilMember takes an exchange as far as the destination's membership, at which the source ends.
func untilMember(t *testing.T, p *pair) *journey {
	t.Helper()
	s := p.start(t, home, "after:replication.(*Node).commitMember")
	j := newKey(t, p)
	j.replicate(t, p)
	p.died(t, s)
	return j
}

// awaitListed waits until the primary lists the replica, or does not.
func (j *journey) awaitListed(t *testing.T, p *pair, want bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got, err := p.client(t, home).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &j.mrk})
		if err != nil {
			t.Fatal(err)
		}
		if (len(got.KeyMetadata.MultiRegionConfiguration.ReplicaKeys) == 1) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the primary lists its replica: %v", !want)
		}
	}
}

// absent checks that the destination has nothing of the key.
func (j *journey) absent(t *testing.T, p *pair) {
	t.Helper()
	var none *types.NotFoundException
	if got, err := p.client(t, away).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &j.mrk}); !errors.As(err, &none) {
		t.Errorf("the refusing Region has the key: %+v, %v", got, err)
	}
}

// offerCutOff: the source ends before it has sent its offer, and the start after that while it gives the offer up.
func offerCutOff(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, "after:replication.(*Node).Replicate")
	j := newKey(t, p)
	j.replicate(t, p)
	p.died(t, h)
	p.died(t, p.start(t, home, crash))
	h = p.start(t, home, "")
	j.awaitListed(t, p, false)
	j.absent(t, p)
	j.verify(t, p, crash)
	return []*server{h, a}
}

// offerUnanswered: the destination ends before it has answered the offer, and the source while it gives it up.
func offerUnanswered(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, "after:replication.(*Node).reserve"), p.start(t, home, crash)
	j := newKey(t, p)
	j.replicate(t, p)
	p.died(t, a)
	p.died(t, h)
	a, h = p.start(t, away, ""), p.start(t, home, "")
	j.awaitListed(t, p, false)
	j.absent(t, p)
	j.verify(t, p, crash)
	return []*server{h, a}
}

// refusedTransfer: what the destination allowed at the offer it does not at the transfer; the source ends at taking it
// out of the key set.
func refusedTransfer(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a := p.start(t, away, "")
	j := untilMember(t, p)
	p.trust(t, away, home, nobody)
	h := p.start(t, home, crash)
	p.died(t, h)
	h = p.start(t, home, "")
	j.awaitListed(t, p, false)
	j.absent(t, p)
	p.trust(t, away, home, account)
	j.verify(t, p, crash)
	return []*server{h, a}
}

// refusingForGood: the same, and the destination ends at its refusal.
func refusingForGood(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a := p.start(t, away, crash)
	j := untilMember(t, p)
	j.servesNothing(t, p, crash)
	p.trust(t, away, home, nobody)
	h := p.start(t, home, "")
	p.died(t, a)
	a = p.start(t, away, "")
	j.awaitListed(t, p, false)
	j.absent(t, p)
	p.trust(t, away, home, account)
	j.verify(t, p, crash)
	return []*server{h, a}
}

// destinationAway: the destination can't be reached once it is a member; the source ends at putting the exchange off.
func destinationAway(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a := p.start(t, away, "")
	j := untilMember(t, p)
	a.kill(t)
	h := p.start(t, home, crash)
	p.died(t, h)
	a, h = p.start(t, away, ""), p.start(t, home, "")
	j.finishes(t, p)
	j.verify(t, p, crash)
	return []*server{h, a}
}

// exchangeLost: the destination was restarted between its acceptance and the transfer; the source ends at putting another
// exchange in the place of the lost one.
func exchangeLost(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a := p.start(t, away, "")
	j := untilMember(t, p)
	a.kill(t)
	a = p.start(t, away, "")
	h := p.start(t, home, crash)
	p.died(t, h)
	h = p.start(t, home, "")
	j.finishes(t, p)
	j.verify(t, p, crash)
	return []*server{h, a}
}

// finishes waits until the replica is there, without anybody asking for it again.
func (j *journey) finishes(t *testing.T, p *pair) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got, err := p.client(t, away).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &j.mrk})
		if err == nil && got.KeyMetadata.KeyState == types.KeyStateEnabled {
			j.awaitListed(t, p, true)
			return
		}
		j.servesNothing(t, p, "until it finishes")
		if time.Now().After(deadline) {
			t.Fatalf("the replica does not come by itself: %+v, %v", got, err)
		}
	}
}

// receiptLost: the source's store is put back to where the destination had just become a member, so that it knows nothing
// of the transfer and its receipt; it ends at taking the destination's word in the receipt's place.
func receiptLost(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a := p.start(t, away, "")
	j := untilMember(t, p)
	data := filepath.Dir(p.socket(home))
	files, err := filepath.Glob(filepath.Join(data, "store.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the store's files are %v, %v", files, err)
	}
	old := t.TempDir()
	run(t, "cp", append(append([]string{"-p"}, files...), old)...)
	h := p.start(t, home, "")
	j.finishes(t, p)
	h.stop(t)
	for _, f := range files {
		if err := os.RemoveAll(f); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := filepath.Glob(filepath.Join(old, "*"))
	if err != nil {
		t.Fatal(err)
	}
	run(t, "cp", append(append([]string{"-p"}, kept...), filepath.Dir(files[0]))...)
	p.died(t, p.start(t, home, crash))
	h = p.start(t, home, "")
	j.finishes(t, p)
	j.verify(t, p, crash)
	return []*server{h, a}
}

// restartedWithReservation: the destination ends after it has reserved the key, and again while it takes that back.
func restartedWithReservation(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	h, a := p.start(t, home, ""), p.start(t, away, "after:replication.(*Node).reserve")
	j := newKey(t, p)
	j.replicate(t, p)
	p.died(t, a)
	p.died(t, p.start(t, away, crash))
	a = p.start(t, away, "")
	j.absent(t, p)
	j.verify(t, p, crash)
	return []*server{h, a}
}

// reservationExpires: the source ends once the destination is a member, and the destination at taking the reservation
// back when its key's minute is over, which takes three seconds here.
func reservationExpires(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	const haste = "ANTIPODE_HASTE=20"
	a := p.start(t, away, crash, haste)
	j := untilMember(t, p)
	j.servesNothing(t, p, crash)
	p.died(t, a)
	a = p.start(t, away, "", haste)
	j.absent(t, p)
	h := p.start(t, home, "")
	j.finishes(t, p)
	j.verify(t, p, crash)
	return []*server{h, a}
}

// tokenKeyCutOff: CreateKey ends between the object on the token and the commit, and the start after it while it
// destroys the object.
func tokenKeyCutOff(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, "after:keyring.(*Ring).GenerateOnToken")
	if _, err := p.client(t, home).CreateKey(t.Context(), &kms.CreateKeyInput{}); err == nil {
		t.Error("CreateKey was answered")
	}
	p.died(t, h)
	p.died(t, p.start(t, home, crash))
	h = p.start(t, home, "")
	list, err := p.client(t, home).ListKeys(t.Context(), &kms.ListKeysInput{})
	if err != nil || len(list.Keys) != 0 {
		t.Errorf("%d keys are there: %v", len(list.Keys), err)
	}
	return []*server{h, a}
}

// silentAfterAccept: the destination's process is stopped once it is a member, and goes on after the source has ended.
func silentAfterAccept(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a := p.start(t, away, "")
	j := untilMember(t, p)
	a.signal(t, syscall.SIGSTOP)
	h := p.start(t, home, crash)
	p.died(t, h)
	a.signal(t, syscall.SIGCONT)
	h = p.start(t, home, "")
	j.finishes(t, p)
	j.verify(t, p, crash)
	return []*server{h, a}
}

// refusedAndSilent: what is refused, or asked of a process that is stopped, leaves nothing on either side, and can be
// repeated when the hindrance is gone.
func refusedAndSilent(t *testing.T, original *pair) {
	t.Helper()
	p := original.copy(t)
	defer removeAll(t, p.dir)
	a, h := p.start(t, away, ""), p.start(t, home, "")
	p.trust(t, away, home, nobody)
	j := newKey(t, p)
	j.replicate(t, p)
	j.awaitListed(t, p, false)
	j.absent(t, p)
	p.trust(t, away, home, account)
	a.signal(t, syscall.SIGSTOP)
	j.replicate(t, p)
	a.signal(t, syscall.SIGCONT)
	j.awaitListed(t, p, false)
	j.verify(t, p, "refused and silent")
	settle(t, p, []*server{h, a})
	checkFolders(t, p, "refused and silent")
}

func (s *server) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// kill ends the Region as a crash of the machine would.
func (s *server) kill(t *testing.T) {
	t.Helper()
	s.signal(t, syscall.SIGKILL)
	s.wait(t)
}
