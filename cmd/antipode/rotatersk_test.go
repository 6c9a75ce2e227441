package main_test

import (
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// The signing keys of three Regions are replaced, one after the other and two at once, while clients encrypt, decrypt and
// replicate in all of them: no call fails, the Regions agree on the keys, and a kill -9 in between loses nothing.
func TestRotateRSKWhileServing(t *testing.T) {
	t.Parallel()
	const third = "eu-west-1"
	all := []string{east, west, third}
	p := dev(t, filepath.Join(folder(t), "data"), "--regions", strings.Join(all, ","))
	socket := func(region string) string { return filepath.Join(p.data, region, "admin.sock") }
	status := func(region string) string {
		return says(t, "", "region", "rotate-rsk", "--status", "--socket", socket(region))
	}
	before := map[string]string{}
	for _, r := range all {
		before[r] = word(t, status(r), "signs")
	}
	ctx := t.Context()
	id, sealed := makeKey(t, p.client(t, east), true)
	replicate(t, p.client(t, east), id, west)
	replicate(t, p.client(t, east), id, third)

	var stop atomic.Bool
	var calls atomic.Int64
	var clients sync.WaitGroup
	for i, r := range all {
		c, other := p.client(t, r), all[(i+1)%len(all)]
		clients.Go(func() {
			for !stop.Load() {
				blob, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("plaintext")})
				if err != nil {
					t.Errorf("encrypt in %s: %v", r, err)
					return
				}
				opens(t, p.client(t, other), blob.CiphertextBlob)
				calls.Add(2)
			}
		})
	}
	clients.Go(func() {
		for !stop.Load() {
			made, _ := makeKey(t, p.client(t, west), true)
			replicate(t, p.client(t, west), made, third)
			calls.Add(3)
		}
	})
	done := func(regions ...string) {
		t.Helper()
		deadline := time.Now().Add(readyWithin)
		for _, r := range regions {
			for strings.Contains(status(r), "rotating ") {
				if time.Now().After(deadline) {
					t.Fatalf("%s does not end: %s", r, status(r))
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
	says(t, "", "region", "rotate-rsk", "--socket", socket(east))
	done(east)
	says(t, "", "region", "rotate-rsk", "--socket", socket(west))
	says(t, "", "region", "rotate-rsk", "--socket", socket(third))
	done(west, third)
	stop.Store(true)
	clients.Wait()
	t.Logf("%d calls of clients meanwhile", calls.Load())

	// Cut off, it goes on by itself.
	says(t, "", "region", "rotate-rsk", "--socket", socket(east))
	p.kill(t)
	p = dev(t, p.data, "--regions", strings.Join(all, ","))
	done(all...)
	prints := map[string]bool{}
	for _, in := range all {
		if got := word(t, status(in), "signs"); got == before[in] {
			t.Errorf("%s signs with the key of before", in)
		}
		prints[word(t, says(t, "", "region", "list", "--socket", socket(in)), east)] = true
	}
	if len(prints) != 1 {
		t.Errorf("the Regions have different entries of %s: %v", east, prints)
	}
	opens(t, p.client(t, third), sealed)
	again, blob := makeKey(t, p.client(t, east), true)
	replicate(t, p.client(t, east), again, third)
	opens(t, p.client(t, third), blob)
	p.stop(t)
}
