package crash

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

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
