package awsjson_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

func sdkRotation(t *testing.T, r *recorder, seen map[string]bool, c *kms.Client) {
	t.Helper()
	id := sdkCall(t, r, seen, "CreateKey", c.CreateKey, &kms.CreateKeyInput{}).KeyMetadata.KeyId
	sdkCall(t, r, seen, "EnableKeyRotation", c.EnableKeyRotation, &kms.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: aws.Int32(180)})
	on := sdkCall(t, r, seen, "GetKeyRotationStatus", c.GetKeyRotationStatus, &kms.GetKeyRotationStatusInput{KeyId: id})
	if !on.KeyRotationEnabled || *on.RotationPeriodInDays != 180 || on.NextRotationDate == nil || *on.KeyId != *id {
		t.Errorf("%+v", on)
	}
	sdkCall(t, r, seen, "RotateKeyOnDemand", c.RotateKeyOnDemand, &kms.RotateKeyOnDemandInput{KeyId: id})
	list := sdkCall(t, r, seen, "ListKeyRotations", c.ListKeyRotations, &kms.ListKeyRotationsInput{
		KeyId: id, IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial, Limit: aws.Int32(1),
	})
	if !list.Truncated || len(list.Rotations) != 1 || list.Rotations[0].KeyMaterialState != types.KeyMaterialStateNonCurrent {
		t.Errorf("%+v", list)
	}
	list = sdkCall(t, r, seen, "ListKeyRotations", c.ListKeyRotations, &kms.ListKeyRotationsInput{
		KeyId: id, IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial, Marker: list.NextMarker,
	})
	if len(list.Rotations) != 1 || list.Rotations[0].RotationType != types.RotationTypeOnDemand || list.Rotations[0].RotationDate == nil {
		t.Errorf("%+v", list)
	}
	sealed := sdkCall(t, r, seen, "Encrypt", c.Encrypt, &kms.EncryptInput{KeyId: id, Plaintext: []byte("x")})
	used := sdkCall(t, r, seen, "GetKeyLastUsage", c.GetKeyLastUsage, &kms.GetKeyLastUsageInput{KeyId: sealed.KeyId})
	if u := used.KeyLastUsage; *used.KeyId != *id || used.KeyCreationDate == nil || !used.TrackingStartDate.Equal(*used.KeyCreationDate) || u == nil ||
		u.Operation != types.KeyLastUsageTrackingOperationEncrypt || u.Timestamp == nil || u.CloudTrailEventId == nil || u.KmsRequestId == nil {
		t.Errorf("%+v", used)
	}
	sdkCall(t, r, seen, "DisableKeyRotation", c.DisableKeyRotation, &kms.DisableKeyRotationInput{KeyId: id})
	sdkCall(t, r, seen, "ScheduleKeyDeletion", c.ScheduleKeyDeletion, &kms.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: aws.Int32(7)})
}

// neverSucceed are the operations that only refuse: there are no custom key stores, and SoftHSM2 has no ML-KEM.
var neverSucceed = map[string]bool{
	"ConnectCustomKeyStore": true, "CreateCustomKeyStore": true, "DeleteCustomKeyStore": true,
	"DisconnectCustomKeyStore": true, "UpdateCustomKeyStore": true, "Encapsulate": true, "Decapsulate": true,
}
