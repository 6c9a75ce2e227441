package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"antipode/softhsm"
)

// TestSecondToken takes the first token from a Region that has a second one, and has it go on: it decrypts, makes keys,
// and replicates to a peer that enrolled the second token's signing key, and not to one that did not.
func TestSecondToken(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{true, false} {
		t.Run(fmt.Sprintf("trusted=%t", trusted), func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			second, err := softhsm.Create(t.Context(), filepath.Join(p.dir, home, "second"), "second")
			if err != nil {
				t.Fatal(err)
			}
			s, peer := p.start(t, home, ""), p.start(t, away, "")
			if !strings.Contains(s.tail(), "only one token holds the domain key") {
				t.Error("serve does not warn of a single token")
			}
			ctx, h, a := t.Context(), p.client(t, home), p.client(t, away)
			before, err := replicateOne(ctx, h)
			if err != nil {
				t.Fatal(err)
			}
			j := &keysJourney{t: t, p: p, second: second}
			if err := j.addToken(); err != nil {
				t.Fatal(err)
			}
			pin, err := os.ReadFile(filepath.Join(second.Dir, "pin"))
			if err != nil || strings.Contains(s.tail(), string(pin)) {
				t.Errorf("the log has the PIN, or there is none: %v", err)
			}
			if trusted {
				p.learn(t, home)
				p.trust(t, away, home, account)
			}
			s.stop(t)
			run(t, "rm", "-rf", filepath.Join(p.dir, home, "token"))
			run(t, "mv", second.Dir, filepath.Join(p.dir, home, "token"))
			p.configure(t, home)
			if err := os.Truncate(filepath.Join(p.dir, home, "server.log"), 0); err != nil {
				t.Fatal(err)
			}
			s = p.start(t, home, "")
			if strings.Contains(s.tail(), "only one token") {
				t.Error("serve warns of a single token, and there are two")
			}
			if opened, err := h.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: before.blob}); err != nil || string(opened.Plaintext) != before.id {
				t.Errorf("on the second token a key of before does not decrypt: %v", err)
			}
			// What this Region's second token signs is an offer, a shared state and a transfer; its certificate of the
			// key's first epoch too, for a key that is made now.
			after, err := replicateOne(ctx, h)
			if !trusted {
				if err == nil {
					t.Error("a peer took a key from a signing key that it did not enrol")
				}
				if _, err := a.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(after.id)}); err == nil {
					t.Error("and made a replica")
				}
				p.learn(t, home)
				p.trust(t, away, home, account)
				if after, err = replicateOne(ctx, h); err != nil {
					t.Fatalf("after the second signing key was enrolled: %v", err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			for _, m := range []made{before, after} {
				if opened, err := a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: m.blob}); err != nil || string(opened.Plaintext) != m.id {
					t.Errorf("the peer does not open what %s encrypted: %v", home, err)
				}
			}
			// The other way round the peer's messages are answered by the second token.
			theirs, err := a.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: theirs.KeyMetadata.KeyId, ReplicaRegion: aws.String(home)}); err != nil {
				t.Errorf("a replica on the second token: %v", err)
			}
			for _, s := range []*server{s, peer} {
				s.stop(t)
			}
		})
	}
}
