package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"antipode/regions/audit"
)

// settlesWithin is how long a replication that a crash cut off may take to end after the restart.
const settlesWithin = 15 * time.Second

func newRandom(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// promises are what clients were told has happened.
type promises struct {
	mu       sync.Mutex
	keys     map[string]string // key id: home Region
	replicas map[string]string // key id: Region of the replica
	aliases  map[string]string // alias: key id, all in us-east-2
	disabled map[string]bool   // key ids, all in us-east-2
	sealed   map[string][]byte // by plaintext
	calls    int
}

func (p *promises) add(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	fn()
}

// waitMore waits until more calls have been acknowledged than before, or a minute has passed: on a loaded machine the
// first may take longer than any pause.
func (p *promises) waitMore(before int) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		calls := p.calls
		p.mu.Unlock()
		if calls > before {
			return
		}
	}
}

// work makes keys, aliases, replicas and ciphertexts until the server is gone.
func (p *promises) work(ctx context.Context, name string, homeRegion string, home, away *kms.Client, awayRegion string) error {
	for i := 0; ; i++ {
		if err := p.step(ctx, fmt.Sprintf("%s-%d", name, i), homeRegion, home, away, awayRegion); err != nil {
			return err
		}
	}
}

func (p *promises) step(ctx context.Context, name, homeRegion string, home, away *kms.Client, awayRegion string) error {
	made, err := home.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true), Description: &name})
	if err != nil {
		return err
	}
	id := *made.KeyMetadata.KeyId
	p.add(func() { p.keys[id] = homeRegion })
	if err := p.seal(ctx, home, id, name+" at home"); err != nil {
		return err
	}
	if homeRegion == east {
		alias := "alias/" + name
		if _, err := home.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: &id}); err != nil {
			return err
		}
		p.add(func() { p.aliases[alias] = id })
	}
	if _, err := home.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &id, ReplicaRegion: &awayRegion}); err != nil {
		return err
	}
	p.add(func() { p.replicas[id] = awayRegion })
	if err := p.seal(ctx, away, id, name+" away"); err != nil {
		return err
	}
	other, err := home.CreateKey(ctx, &kms.CreateKeyInput{})
	if err != nil {
		return err
	}
	single := *other.KeyMetadata.KeyId
	p.add(func() { p.keys[single] = homeRegion })
	if homeRegion != east {
		return p.seal(ctx, home, single, name+" single")
	}
	if _, err := home.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &single}); err != nil {
		return err
	}
	p.add(func() { p.disabled[single] = true })
	return nil
}

func (p *promises) seal(ctx context.Context, c *kms.Client, id, text string) error {
	out, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte(text)})
	if err != nil {
		return err
	}
	p.add(func() { p.sealed[text] = out.CiphertextBlob })
	return nil
}

// Whatever moment the process is killed at, what it has acknowledged is there after a restart, what it has encrypted
// decrypts, and nothing is left half-made.
func TestKillWhileServing(t *testing.T) {
	t.Parallel()
	random := newRandom(t)
	data := folder(t)
	told := &promises{
		keys: map[string]string{}, replicas: map[string]string{}, aliases: map[string]string{}, disabled: map[string]bool{},
		sealed: map[string][]byte{},
	}
	p := dev(t, data)
	for round := range 5 {
		before := told.calls
		var wait sync.WaitGroup
		errs := make(chan error, 2)
		for home, away := range map[string]string{east: west, west: east} {
			a, b := p.client(t, home), p.client(t, away)
			wait.Go(func() { errs <- told.work(t.Context(), fmt.Sprintf("r%d", round), home, a, b, away) })
		}
		told.waitMore(before)
		time.Sleep(time.Duration(random.IntN(900)) * time.Millisecond)
		p.kill(t)
		wait.Wait()
		for range 2 {
			if err := <-errs; isRefusal(err) {
				t.Errorf("round %d: %v", round, err)
			}
		}
		if told.calls == before {
			t.Errorf("round %d: nothing was done before the kill", round)
		}
		p = dev(t, data)
		told.check(t, p)
		checkWhole(t, p)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d calls acknowledged, %d keys, %d replicas, %d ciphertexts", told.calls, len(told.keys), len(told.replicas), len(told.sealed))
	p.stop(t)
	for _, region := range []string{east, west} {
		if _, err := audit.Verify(t.Context(), filepath.Join(data, region, "audit")); err != nil {
			t.Errorf("%s: %v", region, err)
		}
	}
}

// isRefusal reports whether the server answered at all.
func isRefusal(err error) bool {
	var api interface{ ErrorCode() string }
	return errors.As(err, &api)
}

// check asks for each thing that was acknowledged.
func (p *promises) check(t *testing.T, server *program) {
	t.Helper()
	ctx := t.Context()
	clients := map[string]*kms.Client{east: server.client(t, east), west: server.client(t, west)}
	for id, region := range p.keys {
		out, err := clients[region].DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
		if err != nil {
			t.Errorf("key %s of %s: %v", id, region, err)
			continue
		}
		// A DisableKey that was cut off may have happened.
		if state := out.KeyMetadata.KeyState; p.disabled[id] && state != types.KeyStateDisabled ||
			state != types.KeyStateEnabled && state != types.KeyStateDisabled {
			t.Errorf("key %s of %s is %s; disabled: %v", id, region, state, p.disabled[id])
		}
	}
	for id, region := range p.replicas {
		if state := settle(t, clients[region], id); state != types.KeyStateEnabled {
			t.Errorf("replica %s in %s is %s", id, region, state)
		}
	}
	for alias, id := range p.aliases {
		out, err := clients[east].DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &alias})
		if err != nil || *out.KeyMetadata.KeyId != id {
			t.Errorf("%s does not lead to %s: %v", alias, id, err)
		}
	}
	for text, sealed := range p.sealed {
		opened := 0
		for region, c := range clients {
			out, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed})
			if err == nil && !bytes.Equal(out.Plaintext, []byte(text)) {
				t.Errorf("%q decrypts to %q in %s", text, out.Plaintext, region)
			}
			if err == nil {
				opened++
			}
		}
		if opened == 0 {
			t.Errorf("%q does not decrypt anywhere", text)
		}
	}
}

// settle waits until the key is not Creating any more, and returns its state.
func settle(t *testing.T, c *kms.Client, id string) types.KeyState {
	t.Helper()
	for end := time.Now().Add(settlesWithin); ; time.Sleep(50 * time.Millisecond) {
		out, err := c.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &id})
		if err != nil {
			t.Errorf("%s: %v", id, err)
			return ""
		}
		if state := out.KeyMetadata.KeyState; state != types.KeyStateCreating || time.Now().After(end) {
			return state
		}
	}
}

// checkWhole sees that each key that a Region lists, acknowledged or not, is whole: it can be used unless it is disabled,
// and both Regions say the same of it.
func checkWhole(t *testing.T, server *program) {
	t.Helper()
	ctx := t.Context()
	clients := map[string]*kms.Client{east: server.client(t, east), west: server.client(t, west)}
	members := func(region, id string) (string, error) {
		out, err := clients[region].DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
		if err != nil {
			return "", err
		}
		m := out.KeyMetadata.MultiRegionConfiguration
		if m == nil {
			return "single " + region, nil
		}
		text := "primary " + *m.PrimaryKey.Region
		for _, r := range m.ReplicaKeys {
			text += ", replica " + *r.Region
		}
		return text + fmt.Sprint(" material ", aws.ToString(out.KeyMetadata.CurrentKeyMaterialId)), nil
	}
	for region, c := range clients {
		pages := kms.NewListKeysPaginator(c, &kms.ListKeysInput{Limit: aws.Int32(1000)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range page.Keys {
				state := settle(t, c, *k.KeyId)
				if state == types.KeyStateDisabled {
					continue
				}
				if _, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x")}); err != nil || state != types.KeyStateEnabled {
					t.Errorf("%s in %s is %s: %v", *k.KeyId, region, state, err)
				}
				if (*k.KeyId)[:4] != "mrk-" {
					continue
				}
				both := map[string]string{}
				// A replication that goes on changes first the one and then the other Region.
				for end := time.Now().Add(settlesWithin); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
					clear(both)
					for other := range clients {
						if text, err := members(other, *k.KeyId); err == nil {
							both[text] = other
						} else if !isRefusal(err) {
							t.Fatal(err)
						}
					}
					if len(both) == 1 {
						break
					}
				}
				if len(both) != 1 {
					t.Errorf("the Regions differ over %s: %v", *k.KeyId, both)
				}
			}
		}
		pages2 := kms.NewListAliasesPaginator(c, &kms.ListAliasesInput{})
		for pages2.HasMorePages() {
			page, err := pages2.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range page.Aliases {
				if _, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: a.AliasName}); err != nil {
					t.Errorf("%s: %v", *a.AliasName, err)
				}
			}
		}
	}
}

// A first start that is killed at any moment leaves a folder that the next start completes.
func TestKillDuringFirstStart(t *testing.T) {
	t.Parallel()
	random := newRandom(t)
	for round := range 5 {
		data := folder(t)
		early := 0
		for range 4 {
			p := launch(t, "dev", "--listen", "127.0.0.1:0", "--data", data)
			time.Sleep(time.Duration(random.IntN(700)) * time.Millisecond)
			p.kill(t)
			if p.ready() {
				break
			}
			early++
		}
		p := dev(t, data)
		id, sealed := makeKey(t, p.client(t, east), true)
		replicate(t, p.client(t, east), id, west)
		opens(t, p.client(t, west), sealed)
		p.stop(t)
		left, err := filepath.Glob(filepath.Join(data, ".*"))
		if err != nil || len(left) != 0 {
			t.Errorf("round %d: left over: %v, %v", round, left, err)
		}
		t.Logf("round %d: killed %d times before it was ready", round, early)
	}
}
