package crash

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// TestKillLoop replicates keys while one of the two Regions, chosen at random, is killed every second or so. At the end
// every key is replicated or cleanly absent, both sides agree, and nothing is left on the tokens. ANTIPODE_KILL_LOOP is
// the number of keys (make crash: 1000); ANTIPODE_SEED repeats a run's choices.
func TestKillLoop(t *testing.T) {
	t.Parallel()
	keys := number(t, "ANTIPODE_KILL_LOOP", 150)
	seed := uint64(number(t, "ANTIPODE_SEED", int(time.Now().UnixNano()&0xffffff)))
	t.Logf("ANTIPODE_SEED=%d", seed)
	p := newPair(t)
	k := &killer{t: t, p: p, rng: rand.New(rand.NewPCG(seed, 1)), running: map[string]*server{
		home: p.start(t, home, ""), away: p.start(t, away, ""),
	}}
	stop := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() { k.run(stop) })
	made := replicateMany(t, p, keys)
	close(stop)
	wait.Wait()
	t.Logf("%d keys made, %d kills", len(made), k.kills)
	if k.kills == 0 {
		t.Error("nothing was killed: the run was too short to show anything")
	}
	servers := []*server{k.running[home], k.running[away]}
	settle(t, p, servers)
	k.running[home], k.running[away] = p.start(t, home, ""), p.start(t, away, "")
	replicated := 0
	for _, m := range made {
		if agree(t, p, m) {
			replicated++
		}
	}
	t.Logf("%d of %d keys are replicated, the others cleanly absent", replicated, len(made))
	if replicated == 0 {
		t.Error("no key was replicated: the run shows nothing")
	}
	settle(t, p, []*server{k.running[home], k.running[away]})
	checkFolders(t, p, "after the loop")
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// killer kills and restarts.
type killer struct {
	t       *testing.T
	p       *pair
	rng     *rand.Rand
	running map[string]*server
	kills   int
}

func (k *killer) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(300+k.rng.IntN(1500)) * time.Millisecond):
		}
		name := []string{home, away}[k.rng.IntN(2)]
		s := k.running[name]
		if err := s.cmd.Process.Signal(syscall.SIGKILL); err != nil {
			k.t.Error(err)
			return
		}
		<-s.exited
		k.kills++
		k.running[name] = k.p.start(k.t, name, "")
	}
}

// made is a key whose CreateKey and Encrypt were answered.
type made struct {
	id       string
	blob     []byte
	answered bool // so was its ReplicateKey
}

// replicateMany makes and replicates keys, whatever fails on the way.
func replicateMany(t *testing.T, p *pair, n int) (out []made) {
	t.Helper()
	var mu sync.Mutex
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			h := p.client(t, home)
			for {
				mu.Lock()
				enough := len(out) >= n
				mu.Unlock()
				if enough || t.Context().Err() != nil {
					return
				}
				m, err := replicateOne(t.Context(), h)
				if err != nil {
					time.Sleep(20 * time.Millisecond) // it is being killed and started again
				}
				if m.blob != nil {
					mu.Lock()
					out = append(out, m)
					mu.Unlock()
				}
			}
		})
	}
	wait.Wait()
	return out
}

func replicateOne(ctx context.Context, h *kms.Client) (made, error) { return replicateTo(ctx, h, away) }

// replicateTo makes a key, encrypts its id under it, and replicates it.
func replicateTo(ctx context.Context, h *kms.Client, to string) (m made, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	created, err := h.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})
	if err != nil {
		return m, err
	}
	m.id = *created.KeyMetadata.KeyId
	sealed, err := h.Encrypt(ctx, &kms.EncryptInput{KeyId: &m.id, Plaintext: []byte(m.id)})
	if err != nil {
		return m, err
	}
	m.blob = sealed.CiphertextBlob
	_, err = h.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &m.id, ReplicaRegion: &to})
	m.answered = err == nil
	return m, err
}

// agree checks that both Regions say the same of a key, and reports whether it is replicated.
func agree(t *testing.T, p *pair, m made) bool {
	t.Helper()
	ctx, h, a := t.Context(), p.client(t, home), p.client(t, away)
	primary, err := h.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &m.id})
	if err != nil {
		t.Errorf("%s: an answered key is gone: %v", m.id, err)
		return false
	}
	if opened, err := h.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: m.blob}); err != nil || string(opened.Plaintext) != m.id {
		t.Errorf("%s: the primary does not open its own ciphertext: %v", m.id, err)
	}
	listed := len(primary.KeyMetadata.MultiRegionConfiguration.ReplicaKeys) == 1
	replica, err := a.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &m.id})
	var absent *types.NotFoundException
	switch {
	case errors.As(err, &absent) && !listed && !m.answered:
		return false
	case err != nil || !listed:
		t.Errorf("%s: answered %v; the primary lists a replica: %v; the replica's Region says %v", m.id, m.answered, listed, err)
		return false
	case replica.KeyMetadata.KeyState != types.KeyStateEnabled:
		t.Errorf("%s: the replica is %s", m.id, replica.KeyMetadata.KeyState)
		return false
	}
	if opened, err := a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: m.blob}); err != nil || string(opened.Plaintext) != m.id {
		t.Errorf("%s: the replica does not open the primary's ciphertext: %v", m.id, err)
	}
	return true
}
