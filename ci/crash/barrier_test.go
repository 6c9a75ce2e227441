package crash

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// crashRotation ends the primary's Region at each step of a rotation that waits for a replica.
func crashRotation(t *testing.T, l *ledger) {
	t.Helper()
	original := newCountedPair(t, l)
	bothSides(t, original, "regions.(*Region).commitPending", beginningRotation)
	bothSides(t, original, "regions.(*Region).completeRotation", completingRotation)
	bothSides(t, original, "regions.(*Region).tellHeld", tellingOfHeldRotation)
	bothSides(t, original, "replication.(*Node).commitSupply", takingPending)
}

// newReplicated makes a key that both Regions have.
func newReplicated(t *testing.T, p *pair) *journey {
	t.Helper()
	j := newKey(t, p)
	j.verifyReplica(t, p, "new key") // which makes it
	j.replica = true
	return j
}

// rotate asks for a rotation.
func (j *journey) rotate(t *testing.T, p *pair) error {
	t.Helper()
	_, err := p.client(t, home).RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: &j.mrk})
	return err
}

// materials lists a Region's materials of the key.
func (j *journey) materials(t *testing.T, p *pair, name string) []types.RotationsListEntry {
	t.Helper()
	list, err := p.client(t, name).ListKeyRotations(t.Context(), &kms.ListKeyRotationsInput{
		KeyId: &j.mrk, IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial,
	})
	if err != nil {
		t.Fatal(err)
	}
	return list.Rotations
}

// rotates waits until both Regions have the key's second material as the current one, and opens in each what the other has
// encrypted with it.
func (j *journey) rotates(t *testing.T, p *pair, point string) {
	t.Helper()
	ctx := t.Context()
	deadline := time.Now().Add(60 * time.Second)
	for _, name := range []string{home, away} {
		for {
			list := j.materials(t, p, name)
			if len(list) == 2 && list[1].KeyMaterialState == types.KeyMaterialStateCurrent {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s has the materials %+v", point, name, list)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	current := *j.materials(t, p, home)[1].KeyMaterialId
	for from, to := range map[string]string{home: away, away: home} {
		sealed, err := p.client(t, from).Encrypt(ctx, &kms.EncryptInput{KeyId: &j.mrk, Plaintext: []byte("after")})
		if err != nil {
			t.Fatalf("%s: %s: %v", point, from, err)
		}
		opened, err := p.client(t, to).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})
		if err != nil || *opened.KeyMaterialId != current {
			t.Errorf("%s: %s encrypts, %s opens: %v", point, from, to, err)
		}
	}
	j.verify(t, p, point)
}

// beginningRotation: the primary's Region ends while it stores the new material. The caller was not answered; if nothing
// was begun he asks again.
func beginningRotation(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, crash)
	j := newReplicated(t, p)
	if err := j.rotate(t, p); err == nil {
		t.Error("RotateKeyOnDemand was answered")
	}
	p.died(t, h)
	h = p.start(t, home, "")
	if len(j.materials(t, p, home)) == 1 {
		if err := j.rotate(t, p); err != nil {
			t.Error(err)
		}
	}
	j.rotates(t, p, crash)
	return []*server{h, a}
}

// completingRotation: it ends while it lets the new material encrypt, and goes on by itself.
func completingRotation(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, crash)
	j := newReplicated(t, p)
	if err := j.rotate(t, p); err != nil {
		t.Error(err)
	}
	p.died(t, h)
	h = p.start(t, home, "")
	j.rotates(t, p, crash)
	return []*server{h, a}
}

// takingPending: the replica's Region ends while it takes the new material, and is brought it again.
func takingPending(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, crash), p.start(t, home, "")
	j := newReplicated(t, p)
	if err := j.rotate(t, p); err != nil {
		t.Error(err)
	}
	p.died(t, a)
	if list := j.materials(t, p, home); len(list) != 2 || list[1].KeyMaterialState != types.KeyMaterialStatePendingRotation {
		t.Errorf("%s: before the replica has signed, the materials are %+v", crash, list)
	}
	a = p.start(t, away, "")
	j.rotates(t, p, crash)
	return []*server{h, a}
}

// tellingOfHeldRotation: the replica's Region is away for an hour, and the primary's ends while it tells of that.
func tellingOfHeldRotation(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, "")
	j := newReplicated(t, p)
	a.kill(t)
	if err := j.rotate(t, p); err != nil {
		t.Error(err)
	}
	h.stop(t)
	p.died(t, p.start(t, home, crash, "ANTIPODE_AHEAD=1h"))
	h, a = p.start(t, home, ""), p.start(t, away, "")
	j.rotates(t, p, crash)
	return []*server{h, a}
}
