package crash

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// rotated is the part of a journey in which a single-Region key is rotated.
type rotated struct {
	key    string
	sealed []byte // encrypted under it before
	done   bool   // RotateKeyOnDemand was answered
}

func (j *rotated) run(t *testing.T, c *kms.Client, key string) error {
	t.Helper()
	j.key = key
	sealed, err := c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &key, Plaintext: []byte("old")})
	if err != nil {
		return err
	}
	j.sealed = sealed.CiphertextBlob
	if _, err := c.EnableKeyRotation(t.Context(), &kms.EnableKeyRotationInput{KeyId: &key}); err != nil {
		return err
	}
	_, err = c.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: &key})
	j.done = err == nil
	return err
}

// verify checks that a rotation that was answered is there, and that what was encrypted before opens.
func (j *rotated) verify(t *testing.T, c *kms.Client, point string) {
	t.Helper()
	if j.sealed == nil {
		return
	}
	list, err := c.ListKeyRotations(t.Context(), &kms.ListKeyRotationsInput{KeyId: &j.key})
	if err != nil || len(list.Rotations) > 1 || j.done && len(list.Rotations) == 0 {
		t.Errorf("%s: answered rotation %t, %+v, %v", point, j.done, list, err)
	}
	opened, err := c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: j.sealed})
	var disabled *types.DisabledException
	if !errors.As(err, &disabled) && (err != nil || string(opened.Plaintext) != "old") {
		t.Errorf("%s: what was encrypted before a rotation does not open: %v", point, err)
	}
}
