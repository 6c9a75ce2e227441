package crash

import (
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// ahead sets a Region's clock to a day after the shortest waiting period.
const ahead = "ANTIPODE_AHEAD=192h"

// schedule begins the shortest waiting period of a key.
func schedule(t *testing.T, c *kms.Client, id string) {
	t.Helper()
	_, err := c.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: aws.Int32(7)})
	if err != nil {
		t.Fatal(err)
	}
}

// gone waits until a Region has nothing of a key.
func gone(t *testing.T, c *kms.Client, id string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := c.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &id})
		var none *types.NotFoundException
		if errors.As(err, &none) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not deleted: %v", id, err)
		}
	}
}

// deletingKey: a Region ends while it deletes a key, with its object on the token, whose waiting period is over.
func deletingKey(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, "")
	made, err := p.client(t, home).CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	id := *made.KeyMetadata.KeyId
	schedule(t, p.client(t, home), id)
	h.stop(t)
	p.forgetSteps(t, home)
	p.died(t, p.start(t, home, crash, ahead))
	h = p.start(t, home, "", ahead)
	gone(t, p.client(t, home), id)
	newKey(t, p).verify(t, p, crash)
	return []*server{h, a}
}

// replicaDue makes a replica whose waiting period will be over.
func replicaDue(t *testing.T, p *pair) *journey {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, "")
	j := newKey(t, p)
	j.verify(t, p, "before") // which replicates
	schedule(t, p.client(t, away), j.mrk)
	a.stop(t)
	h.stop(t)
	p.forgetSteps(t, home)
	p.forgetSteps(t, away)
	return j
}

// tellingOfReplica: a replica is deleted, and its Region ends while it notes what its primary is to be told.
func tellingOfReplica(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	j := replicaDue(t, p)
	h := p.start(t, home, "")
	p.died(t, p.start(t, away, crash, ahead))
	a := p.start(t, away, "", ahead)
	j.awaitListed(t, p, false)
	gone(t, p.client(t, away), j.mrk)
	j.verify(t, p, crash) // replicates again
	return []*server{h, a}
}

// toldOfReplica: a replica is deleted, and the primary's Region ends while it takes it out of the key set.
func toldOfReplica(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	j := replicaDue(t, p)
	h := p.start(t, home, crash)
	a := p.start(t, away, "", ahead)
	p.died(t, h)
	h = p.start(t, home, "")
	j.awaitListed(t, p, false)
	gone(t, p.client(t, away), j.mrk)
	j.verify(t, p, crash)
	return []*server{h, a}
}
