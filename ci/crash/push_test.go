package crash

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// acknowledged is the step by which a primary keeps what a member has signed.
const acknowledged = "replication.(*Node).noteAck"

// pushed waits until the primary has kept its replica's acknowledgement of the state that makes it Active, which is sent in
// the background: a journey makes the same steps each time. It returns an error if one of the Regions has ended.
func (j *journey) pushed(t *testing.T, p *pair) error {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if slices.Contains(p.readSteps(t, home), acknowledged) {
			return nil
		}
		for _, name := range []string{home, away} {
			if _, err := p.client(t, name).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &j.mrk}); err != nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s has not acknowledged that it is a member", away)
		}
	}
}

// memberAway: a replica's Region ends when it is told the newest state, and its primary's while it keeps that it could not be
// told.
func memberAway(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, "before:regions.(*Region).Learn"), p.start(t, home, crash)
	j := newKey(t, p)
	if _, err := p.client(t, home).ReplicateKey(t.Context(), &kms.ReplicateKeyInput{KeyId: &j.mrk, ReplicaRegion: aws.String(away)}); err != nil {
		t.Fatal(err)
	}
	p.died(t, a)
	p.died(t, h)
	p.forgetSteps(t, home)
	a, h = p.start(t, away, ""), p.start(t, home, "")
	if err := j.pushed(t, p); err != nil {
		t.Error(err)
	}
	j.verify(t, p, crash)
	return []*server{h, a}
}
