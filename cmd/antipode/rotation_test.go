package main_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// A key is rotated when its date has come, at the interval that --rotation-tick says; a key that was disabled over its
// date when it is enabled, and not a tick later. What was encrypted before opens.
func TestDevRotation(t *testing.T) {
	t.Parallel()
	ctx, data := t.Context(), folder(t)
	p := dev(t, data, "--regions", east)
	c := p.client(t, east)
	id, sealed := makeKey(t, c, false)
	off, _ := makeKey(t, c, true)
	for _, key := range []string{id, off} {
		if _, err := c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: &key, RotationPeriodInDays: aws.Int32(90)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &off}); err != nil {
		t.Fatal(err)
	}
	rotations := func(key string) []types.RotationsListEntry {
		t.Helper()
		out, err := c.ListKeyRotations(ctx, &kms.ListKeyRotationsInput{KeyId: &key})
		if err != nil {
			t.Fatal(err)
		}
		return out.Rotations
	}
	wait := func(key string, n int) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); len(rotations(key)) < n; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s was not rotated", key)
			}
		}
		if r := rotations(key); len(r) != n || r[0].RotationType != types.RotationTypeAutomatic || r[0].RotationDate == nil {
			t.Errorf("%+v", r)
		}
	}
	p.stop(t)
	p = dev(t, data, "--regions", east, "--clock-offset", (91 * 24 * time.Hour).String(), "--rotation-tick", "1h")
	c = p.client(t, east)
	wait(id, 1) // at the start
	if r := rotations(off); len(r) != 0 {
		t.Errorf("a disabled key was rotated: %+v", r)
	}
	if _, err := c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &off}); err != nil {
		t.Fatal(err)
	}
	wait(off, 1) // the next tick is in an hour
	opens(t, c, sealed)

	// By the tick: the next date comes some seconds after the start, long before the tick of an ordinary start.
	next, err := c.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: &id})
	if err != nil || !next.KeyRotationEnabled || *next.RotationPeriodInDays != 90 {
		t.Fatalf("%+v, %v", next, err)
	}
	p.stop(t)
	offset := time.Until(*next.NextRotationDate) - 5*time.Second
	p = dev(t, data, "--regions", east, "--clock-offset", offset.String(), "--rotation-tick", "100ms")
	c = p.client(t, east)
	wait(id, 2)
	opens(t, c, sealed)
	p.stop(t)
}
