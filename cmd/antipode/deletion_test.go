package main_test

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// becomes waits until a key is as it should become by itself.
func becomes(t *testing.T, c *kms.Client, id, what string, is func(*kms.DescribeKeyOutput, error) bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out, err := c.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &id})
		if is(out, err) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %+v, %v", what, out, err)
		}
	}
}

func gone(_ *kms.DescribeKeyOutput, err error) bool {
	var absent *types.NotFoundException
	return errors.As(err, &absent)
}

func alone(out *kms.DescribeKeyOutput, err error) bool {
	return err == nil && len(out.KeyMetadata.MultiRegionConfiguration.ReplicaKeys) == 0
}

// Keys are deleted when their date has come, the replica first; a replica can be made again; and the primary goes last.
func TestDevDeletion(t *testing.T) {
	t.Parallel()
	ctx, data := t.Context(), folder(t)
	p := dev(t, data, "--regions", east+","+west)
	e, w := p.client(t, east), p.client(t, west)
	id, sealed := makeKey(t, e, true)
	replicate(t, e, id, west)
	schedule := func(c *kms.Client, want types.KeyState) {
		t.Helper()
		out, err := c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: aws.Int32(7)})
		if err != nil || out.KeyState != want {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	later := func(days int) {
		t.Helper()
		p.stop(t)
		p = dev(t, data, "--regions", east+","+west, "--clock-offset", (time.Duration(days) * 24 * time.Hour).String())
		e, w = p.client(t, east), p.client(t, west)
	}
	eventually := func(c *kms.Client, what string, is func(*kms.DescribeKeyOutput, error) bool) {
		t.Helper()
		becomes(t, c, id, what, is)
	}
	schedule(w, types.KeyStatePendingDeletion)
	later(8)
	eventually(w, "the replica", gone)
	eventually(e, "the primary", alone)
	opens(t, e, sealed)
	replicate(t, e, id, west)
	opens(t, w, sealed)

	schedule(e, types.KeyStatePendingReplicaDeletion)
	schedule(w, types.KeyStatePendingDeletion)
	later(16)
	eventually(w, "the replica made again", gone)
	eventually(e, "the primary that waits no more", func(out *kms.DescribeKeyOutput, err error) bool {
		return alone(out, err) && out.KeyMetadata.KeyState == types.KeyStatePendingDeletion && out.KeyMetadata.DeletionDate != nil
	})
	later(24)
	eventually(e, "the primary", gone)
	p.stop(t)
}

// The process is killed again and again while keys are deleted in two Regions: in the end all are gone, from the tokens
// too, the primaries wait for their own dates, and the keys that were not scheduled are whole.
func TestKillDuringDeletion(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	ctx, data := t.Context(), folder(t)
	objects := func() int {
		found, err := filepath.Glob(filepath.Join(data, east, "token", "tokens", "*", "*.object"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	regions := []string{"--regions", east + "," + west, "--storage", "token"}
	p := dev(t, data, regions...)
	e, w := p.client(t, east), p.client(t, west)
	kept, sealed := makeKey(t, e, false)
	before := objects()
	var shared, single []string
	schedule := func(c *kms.Client, id string) {
		t.Helper()
		if _, err := c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: aws.Int32(7)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		id, _ := makeKey(t, e, true)
		replicate(t, e, id, west)
		schedule(e, id)
		schedule(w, id)
		shared = append(shared, id)
		id, _ = makeKey(t, e, false)
		schedule(e, id)
		single = append(single, id)
	}
	p.stop(t)
	later := append(regions, "--clock-offset", "192h", "--listen", "127.0.0.1:0", "--data", data)
	for range 8 {
		p := launch(t, append([]string{"dev"}, later...)...)
		if err := p.waitReady(); err != nil {
			t.Fatal(err)
		}
		// The keys' deletion begins with the Regions, before the ready line is read.
		time.Sleep(time.Duration(rng.IntN(40)) * time.Millisecond)
		p.kill(t)
	}
	p = dev(t, data, append(regions, "--clock-offset", "192h")...)
	e, w = p.client(t, east), p.client(t, west)
	for _, id := range shared {
		becomes(t, w, id, "a replica", gone)
		becomes(t, e, id, "a primary", func(out *kms.DescribeKeyOutput, err error) bool {
			return alone(out, err) && out.KeyMetadata.KeyState == types.KeyStatePendingDeletion
		})
	}
	for _, id := range single {
		becomes(t, e, id, "a single-Region key", gone)
	}
	if n := objects(); n != before {
		t.Errorf("%d objects on the token, want %d", n, before)
	}
	opens(t, e, sealed)
	becomes(t, e, kept, "the key that was not scheduled", func(out *kms.DescribeKeyOutput, err error) bool {
		return err == nil && out.KeyMetadata.Enabled
	})
	p.stop(t)
}
