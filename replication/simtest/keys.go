package simtest

import (
	"context"

	"antipode/regions"
	"antipode/regions/encctx"
)

// CreateKey makes a multi-Region primary key for the administrator and returns its id.
func (r *Region) CreateKey(ctx context.Context) string {
	r.world.t.Helper()
	out, err := r.Do(ctx, "CreateKey", &regions.CreateKeyInput{MultiRegion: true})
	if err != nil {
		r.world.t.Fatal(err)
	}
	return answer[*regions.CreateKeyOutput](r, out).KeyMetadata.KeyID
}

// Replicate asks for a replica of a key of this Region in another one.
func (r *Region) Replicate(ctx context.Context, keyID, to string) error {
	_, err := r.Do(ctx, "ReplicateKey", &regions.ReplicateKeyInput{KeyID: keyID, ReplicaRegion: to})
	return err
}

// UpdatePrimary asks for another Region to be the primary of a key of this Region.
func (r *Region) UpdatePrimary(ctx context.Context, keyID, to string) error {
	_, err := r.Do(ctx, "UpdatePrimaryRegion", &regions.UpdatePrimaryRegionInput{KeyID: keyID, PrimaryRegion: to})
	return err
}

// Describe is DescribeKey.
func (r *Region) Describe(ctx context.Context, keyID string) (regions.KeyMetadata, error) {
	out, err := r.Do(ctx, "DescribeKey", &regions.DescribeKeyInput{KeyID: keyID})
	if err != nil {
		return regions.KeyMetadata{}, err
	}
	return answer[*regions.DescribeKeyOutput](r, out).KeyMetadata, nil
}

// ScheduleDeletion schedules the deletion of a key of this Region, in 7 days.
func (r *Region) ScheduleDeletion(ctx context.Context, keyID string) error {
	days := 7
	_, err := r.Do(ctx, "ScheduleKeyDeletion", &regions.ScheduleKeyDeletionInput{KeyID: keyID, PendingWindowInDays: &days})
	return err
}

// Encrypt is Encrypt, with an encryption context.
func (r *Region) Encrypt(ctx context.Context, keyID, plaintext string) ([]byte, error) {
	out, err := r.Do(ctx, "Encrypt", &regions.EncryptInput{KeyID: keyID, Plaintext: []byte(plaintext), EncryptionContext: purpose()})
	if err != nil {
		return nil, err
	}
	return answer[*regions.EncryptOutput](r, out).CiphertextBlob, nil
}

// Decrypt is Decrypt without a KeyId, with the context of Encrypt.
func (r *Region) Decrypt(ctx context.Context, blob []byte) (string, error) {
	out, err := r.Do(ctx, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob, EncryptionContext: purpose()})
	if err != nil {
		return "", err
	}
	return string(answer[*regions.DecryptOutput](r, out).Plaintext), nil
}

func purpose() encctx.Context { return encctx.Context{"purpose": "simtest"} }

func answer[T any](r *Region, out any) T {
	r.world.t.Helper()
	typed, ok := out.(T)
	if !ok {
		r.world.t.Fatalf("the answer is a %T", out)
	}
	return typed
}

// Both checks that what either of two Regions encrypts under a key the other decrypts.
func (w *World) Both(ctx context.Context, keyID, a, b string) {
	w.t.Helper()
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		blob, err := w.Region(pair[0]).Encrypt(ctx, keyID, "made in "+pair[0])
		if err != nil {
			w.t.Errorf("encrypt in %s: %v", pair[0], err)
			continue
		}
		got, err := w.Region(pair[1]).Decrypt(ctx, blob)
		if err != nil || got != "made in "+pair[0] {
			w.t.Errorf("encrypted in %s, in %s it decrypts to %q, %v", pair[0], pair[1], got, err)
		}
	}
}
