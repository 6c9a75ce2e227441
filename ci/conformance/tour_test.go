package conformance

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// tour asks for the members of answers that a key has only after something was done to it.
func tour(t *testing.T, k *kit) {
	t.Helper()
	for _, of := range []kind{signer, macs, agrees, {types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt, false}} {
		s := newScene(t, k, of)
		s.must("DescribeKey", &kms.DescribeKeyInput{KeyId: s.key.KeyId})
		if of != macs {
			s.must("GetPublicKey", &kms.GetPublicKeyInput{KeyId: s.key.KeyId})
		}
	}
	s := newScene(t, k, symmetric)
	s.must("EnableKeyRotation", calls["EnableKeyRotation"].in(s))
	s.must("GetKeyRotationStatus", calls["GetKeyRotationStatus"].in(s))
	s.must("Encrypt", calls["Encrypt"].in(s))
	s.must("GetKeyLastUsage", calls["GetKeyLastUsage"].in(s))
	s.must("RotateKeyOnDemand", calls["RotateKeyOnDemand"].in(s))
	s.must("ListKeyRotations", calls["ListKeyRotations"].in(s))
	one := aws.Int32(1)
	s.must("ListKeyRotations", &kms.ListKeyRotationsInput{KeyId: s.key.KeyId, IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial, Limit: one})
	s.must("TagResource", &kms.TagResourceInput{KeyId: s.key.KeyId, Tags: append(tags, types.Tag{TagKey: aws.String("c"), TagValue: aws.String("d")})})
	s.must("ListResourceTags", &kms.ListResourceTagsInput{KeyId: s.key.KeyId, Limit: one})
	s.grant()
	s.grant()
	s.must("ListGrants", &kms.ListGrantsInput{KeyId: s.key.KeyId, Limit: one})
	s.must("ListRetirableGrants", &kms.ListRetirableGrantsInput{RetiringPrincipal: administrator, Limit: one})
	s.must("CreateAlias", calls["CreateAlias"].in(s))
	s.must("CreateAlias", &kms.CreateAliasInput{AliasName: aws.String(*s.alias("CreateAlias", false) + "/2"), TargetKeyId: s.key.KeyId})
	s.must("ListAliases", &kms.ListAliasesInput{KeyId: s.key.KeyId, Limit: one})
	s.must("ListKeys", &kms.ListKeysInput{Limit: one})

	s = newScene(t, k, symmetric)
	s.must("ReplicateKey", calls["ReplicateKey"].in(s))
	s.must("DescribeKey", calls["DescribeKey"].in(s))
	s.must("ScheduleKeyDeletion", calls["ScheduleKeyDeletion"].in(s))
	s.must("DescribeKey", calls["DescribeKey"].in(s))
	s.region = away
	s.must("ScheduleKeyDeletion", calls["ScheduleKeyDeletion"].in(s))
	s.must("DescribeKey", calls["DescribeKey"].in(s))

	s = newScene(t, k, external)
	in := s.importInput()
	in.ExpirationModel, in.ValidTo = types.ExpirationModelTypeKeyMaterialExpires, aws.Time(k.at[home].Clock.Now().Add(240*time.Hour))
	s.must("ImportKeyMaterial", in)
	s.must("DescribeKey", calls["DescribeKey"].in(s))
	s.material = nil
	in = s.importInput()
	in.ImportType, in.ExpirationModel, in.ValidTo = types.ImportTypeNewKeyMaterial, types.ExpirationModelTypeKeyMaterialExpires, aws.Time(k.at[home].Clock.Now().Add(240*time.Hour))
	s.must("ImportKeyMaterial", in)
	s.must("ListKeyRotations", calls["ListKeyRotations"].in(s))
	s.must("RotateKeyOnDemand", calls["RotateKeyOnDemand"].in(s))
	s.must("ListKeyRotations", calls["ListKeyRotations"].in(s))
}
