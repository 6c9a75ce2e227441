package crash

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"antipode/softhsm/softhsmtest"
)

// BenchmarkReplicateKey measures ReplicateKey between two processes, through to Enabled: from the request to the
// replica's first answered Encrypt. It reports the median in milliseconds, with all folders in memory and on disk.
func BenchmarkReplicateKey(b *testing.B) {
	here, err := os.Getwd()
	if err != nil {
		b.Fatal(err)
	}
	disk, err := os.MkdirTemp(here, "bench-") //nolint:usetesting // the temporary folder may be in memory
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := os.RemoveAll(disk); err != nil {
			b.Error(err)
		}
	})
	for _, place := range []struct{ name, dir string }{{"shm", softhsmtest.Dir(b)}, {"disk", disk}} {
		b.Run(place.name, func(b *testing.B) {
			p := newPairIn(b, place.dir)
			p.timed = true
			servers := []*server{p.start(b, home, ""), p.start(b, away, "")}
			h, a := p.client(b, home), p.client(b, away)
			var took []time.Duration
			for b.Loop() {
				took = append(took, replicateTimed(b, h, a))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2])/float64(time.Millisecond), "ms-median")
			for _, s := range servers {
				s.stop(b)
			}
		})
	}
}

// BenchmarkUpdatePrimaryRegion measures UpdatePrimaryRegion between two processes, from the request to its answer: the
// other Region is the primary then, and says so. The primary goes to and fro between the two, ten times for each key. It
// reports the median in milliseconds, with all folders in memory.
func BenchmarkUpdatePrimaryRegion(b *testing.B) {
	p := newPairIn(b, softhsmtest.Dir(b))
	p.timed = true
	servers := []*server{p.start(b, home, ""), p.start(b, away, "")}
	names := []string{home, away}
	clients := []*kms.Client{p.client(b, home), p.client(b, away)}
	var took []time.Duration
	var id string
	for i := 0; b.Loop(); i++ {
		at := i % 2
		if i%10 == 0 {
			made, err := clients[0].CreateKey(b.Context(), &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})
			if err != nil {
				b.Fatal(err)
			}
			id = *made.KeyMetadata.KeyId
			if _, err := clients[0].ReplicateKey(b.Context(), &kms.ReplicateKeyInput{KeyId: &id, ReplicaRegion: aws.String(away)}); err != nil {
				b.Fatal(err)
			}
		}
		start := time.Now()
		if _, err := clients[at].UpdatePrimaryRegion(b.Context(), &kms.UpdatePrimaryRegionInput{KeyId: &id, PrimaryRegion: &names[1-at]}); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
		got, err := clients[1-at].DescribeKey(b.Context(), &kms.DescribeKeyInput{KeyId: &id})
		if err != nil || got.KeyMetadata.MultiRegionConfiguration.MultiRegionKeyType != types.MultiRegionKeyTypePrimary {
			b.Fatalf("%s describes %+v, %v", names[1-at], got, err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/float64(time.Millisecond), "ms-median")
	for _, s := range servers {
		s.stop(b)
	}
}

func replicateTimed(b *testing.B, h, a *kms.Client) time.Duration {
	b.Helper()
	made, err := h.CreateKey(b.Context(), &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	if _, err := h.ReplicateKey(b.Context(), &kms.ReplicateKeyInput{KeyId: made.KeyMetadata.KeyId, ReplicaRegion: aws.String(away)}); err != nil {
		b.Fatal(err)
	}
	if _, err := a.Encrypt(b.Context(), &kms.EncryptInput{KeyId: made.KeyMetadata.KeyId, Plaintext: []byte("x")}); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}
