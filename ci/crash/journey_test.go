package crash

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// journey is what a client does, with what it was answered.
type journey struct {
	once     bool   // mrk is made, and replicated, under idempotency keys
	mrk      string // multi-Region key whose CreateKey was answered
	single   string // single-Region key
	alias    bool   // alias/a was answered to exist, and not to be deleted
	aliasOff bool   // its deletion was at least asked for
	replica  bool   // ReplicateKey was answered
	blob     []byte // encrypted under mrk
	policy   bool   // PutKeyPolicy was answered
	grant    string // on mrk, whose CreateGrant was answered
	revoked  bool   // its end was at least asked for
	ended    bool   // and answered
	rotated  rotated
	replicas int // that verifyReplica has seen: each is asked for under an idempotency key of its own
}

const aliasName = "alias/a"

// run makes the journey until something fails.
func (j *journey) run(t *testing.T, p *pair) error {
	t.Helper()
	ctx, h, a := t.Context(), p.client(t, home), p.client(t, away)
	j.once = true
	if err := j.createOnce(t, p); err != nil {
		return err
	}
	sealed, err := h.Encrypt(ctx, &kms.EncryptInput{KeyId: &j.mrk, Plaintext: []byte("before")})
	if err != nil {
		return err
	}
	j.blob = sealed.CiphertextBlob
	if err := j.allow(ctx, h); err != nil {
		return err
	}
	if err := j.replicateOnce(t, p); err != nil {
		return err
	}
	j.replica = true
	if err := j.pushed(t, p); err != nil {
		return err
	}
	made, err := a.CreateKey(ctx, &kms.CreateKeyInput{})
	if err != nil {
		return err
	}
	if err := j.rotated.run(t, a, *made.KeyMetadata.KeyId); err != nil {
		return err
	}
	if made, err = h.CreateKey(ctx, &kms.CreateKeyInput{}); err != nil {
		return err
	}
	j.single = *made.KeyMetadata.KeyId
	if _, err = h.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(aliasName), TargetKeyId: &j.single}); err != nil {
		return err
	}
	j.alias = true
	if _, err = h.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String(aliasName), TargetKeyId: &j.mrk}); err != nil {
		return err
	}
	if _, err = a.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &j.rotated.key}); err != nil {
		return err
	}
	if _, err = h.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &j.single}); err != nil {
		return err
	}
	j.aliasOff, j.alias = true, false
	_, err = h.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String(aliasName)})
	return err
}

// verify checks what the Regions hold after the crash against what the client was answered.
func (j *journey) verify(t *testing.T, p *pair, point string) {
	t.Helper()
	ctx, h := t.Context(), p.client(t, home)
	if j.once {
		j.verifyOnce(t, p, point)
	}
	if j.mrk != "" {
		opened, err := h.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: j.blob})
		if j.blob != nil && (err != nil || string(opened.Plaintext) != "before") {
			t.Errorf("%s: an answered ciphertext does not open: %v", point, err)
		}
		j.verifyReplica(t, p, point)
		j.verifyAllowed(t, h, point)
	}
	j.rotated.verify(t, p.client(t, away), point)
	if j.single != "" {
		if _, err := h.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &j.single}); err != nil {
			t.Errorf("%s: an answered key is gone: %v", point, err)
		}
	}
	if _, err := h.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(aliasName)}); j.alias && err != nil {
		t.Errorf("%s: an answered alias is gone: %v", point, err)
	}
	// A key that was made but not answered is whole all the same.
	for _, name := range []string{home, away} {
		c := p.client(t, name)
		list, err := c.ListKeys(ctx, &kms.ListKeysInput{})
		if err != nil {
			t.Fatalf("%s: %v", point, err)
		}
		for _, k := range list.Keys {
			d, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.KeyId})
			if err != nil {
				t.Errorf("%s: %s lists %s: %v", point, name, *k.KeyId, err)
				continue
			}
			if d.KeyMetadata.KeyState != types.KeyStateEnabled {
				continue
			}
			if _, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x")}); err != nil {
				t.Errorf("%s: %s does not encrypt with %s: %v", point, name, *k.KeyId, err)
			}
		}
	}
}

// verifyReplica waits until the replication has finished by itself or is absent on both sides, in which case it is
// repeated; then both Regions must agree.
func (j *journey) verifyReplica(t *testing.T, p *pair, point string) {
	t.Helper()
	ctx, h, a := t.Context(), p.client(t, home), p.client(t, away)
	deadline := time.Now().Add(60 * time.Second)
	defer func() { j.replicas++ }()
	for {
		j.servesNothing(t, p, point)
		primary, err := h.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &j.mrk})
		if err != nil {
			t.Fatalf("%s: %v", point, err)
		}
		listed := slices.ContainsFunc(primary.KeyMetadata.MultiRegionConfiguration.ReplicaKeys,
			func(k types.MultiRegionKey) bool { return *k.Region == away })
		replica, err := a.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &j.mrk})
		var absent *types.NotFoundException
		switch {
		case errors.As(err, &absent) && !listed:
			if j.replica {
				t.Fatalf("%s: an answered replica is gone", point)
			}
			// Cleanly absent: it can be repeated.
			if err := j.replicateOnce(t, p); err != nil {
				t.Fatalf("%s: ReplicateKey can't be repeated: %v", point, err)
			}
		case err == nil && listed && replica.KeyMetadata.KeyState == types.KeyStateEnabled:
			if j.once {
				if err := j.replicateOnce(t, p); err != nil {
					t.Errorf("%s: ReplicateKey, done and repeated under its idempotency key: %v", point, err)
				}
			}
			if j.blob == nil {
				return
			}
			opened, err := a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: j.blob})
			if err != nil || string(opened.Plaintext) != "before" {
				t.Errorf("%s: the replica does not open what the primary encrypted: %v", point, err)
			}
			return
		case err == nil && replica.KeyMetadata.KeyState == types.KeyStateCreating && !listed:
			// The source gave up; the reservation's time is bounded, and a repeat takes its place.
			if err := j.replicateOnce(t, p); err != nil {
				t.Fatalf("%s: ReplicateKey can't be repeated over a reservation: %v", point, err)
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: listed %v, replica %+v, %v: neither finishes nor goes", point, listed, replica, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// servesNothing checks that the replica, while it is being made, neither encrypts nor decrypts.
func (j *journey) servesNothing(t *testing.T, p *pair, point string) {
	t.Helper()
	ctx, a := t.Context(), p.client(t, away)
	replica, err := a.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &j.mrk})
	if err != nil || replica.KeyMetadata.KeyState != types.KeyStateCreating {
		return
	}
	_, encErr := a.Encrypt(ctx, &kms.EncryptInput{KeyId: &j.mrk, Plaintext: []byte("x")})
	_, decErr := a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: j.blob})
	// It may have become Enabled meanwhile; then that it did is what counts.
	replica, err = a.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &j.mrk})
	if err == nil && replica.KeyMetadata.KeyState == types.KeyStateCreating && (encErr == nil || j.blob != nil && decErr == nil) {
		t.Errorf("%s: a replica that is being made serves: Encrypt %v, Decrypt %v", point, encErr, decErr)
	}
}
