package conformance

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"antipode/regions/policy"
	"antipode/regions/regionstest"
)

// unknown is no key's id.
const unknown = "mrk-00000000000000000000000000000000"

// set gives a member of an input a value, if the input has such a member.
func set(in any, member string, value any) bool {
	f := reflect.ValueOf(in).Elem().FieldByName(member)
	if !f.IsValid() {
		return false
	}
	f.Set(reflect.ValueOf(value))
	return true
}

// anyOperation says how an error is brought about that many operations share: on a call that would succeed. It changes the
// call, or what it is about, and reports whether the error can come of that operation in this way.
var anyOperation = map[string]func(s *scene, op string, in any) bool{
	"NotFoundException": func(_ *scene, op string, in any) bool {
		id := aws.String(unknown)
		if op == "RetireGrant" {
			id = aws.String("arn:aws:kms:" + home + ":" + regionstest.Account + ":key/" + unknown)
		}
		return set(in, "DestinationKeyId", id) || set(in, "TargetKeyId", id) || set(in, "KeyId", id) ||
			set(in, "AliasName", aws.String("alias/none"))
	},
	"DisabledException": func(s *scene, op string, _ any) bool {
		must[kms.DisableKeyOutput](s.t, s.k, s.region, "DisableKey", &kms.DisableKeyInput{KeyId: s.key.KeyId})
		return true
	},
	"KMSInvalidStateException": func(s *scene, op string, _ any) bool {
		if op == "CancelKeyDeletion" {
			return true // it is not pending
		}
		must[kms.ScheduleKeyDeletionOutput](s.t, s.k, s.region, "ScheduleKeyDeletion", &kms.ScheduleKeyDeletionInput{KeyId: s.key.KeyId})
		return true
	},
	"DryRunOperationException":   func(_ *scene, _ string, in any) bool { return set(in, "DryRun", aws.Bool(true)) },
	"InvalidGrantTokenException": func(_ *scene, _ string, in any) bool { return set(in, "GrantTokens", []string{"forged"}) },
	"InvalidMarkerException":     func(_ *scene, _ string, in any) bool { return set(in, "Marker", aws.String("!")) },
	"InvalidKeyUsageException": func(s *scene, op string, in any) bool {
		other := symmetric
		if calls[op].kind == symmetric {
			other = signer
		}
		id := s.newKey(other).KeyId
		return set(in, "DestinationKeyId", id) || set(in, "KeyId", id)
	},
	"InvalidCiphertextException":       func(_ *scene, _ string, in any) bool { return set(in, "CiphertextBlob", []byte("garbage")) },
	"InvalidGrantIdException":          func(_ *scene, _ string, in any) bool { return set(in, "GrantId", aws.String("x")) },
	"MalformedPolicyDocumentException": func(_ *scene, _ string, in any) bool { return set(in, "Policy", aws.String("{")) },
	"TagException": func(_ *scene, _ string, in any) bool {
		return set(in, "Tags", []types.Tag{{TagKey: aws.String("aws:x"), TagValue: aws.String("")}})
	},
	"CustomKeyStoreNotFoundException": func(_ *scene, _ string, in any) bool { return set(in, "CustomKeyStoreId", noSuchStore) },
}

// anOperation says how an error of one operation is brought about.
var anOperation = map[string]func(s *scene) (in any){
	"CreateAlias AlreadyExistsException": func(s *scene) any {
		return &kms.CreateAliasInput{AliasName: s.alias("CreateAlias", true), TargetKeyId: s.key.KeyId}
	},
	"CreateAlias LimitExceededException": func(s *scene) any {
		s.fillAliases()
		return &kms.CreateAliasInput{AliasName: s.alias("CreateAlias", false), TargetKeyId: s.key.KeyId}
	},
	"UpdateAlias LimitExceededException": func(s *scene) any {
		other := &scene{t: s.t, k: s.k, region: s.region, key: s.newKey(symmetric)}
		s.fillAliases()
		return &kms.UpdateAliasInput{AliasName: other.alias("UpdateAlias", true), TargetKeyId: s.key.KeyId}
	},
	"CreateGrant InvalidArnException": func(s *scene) any {
		in := newGrant(s)
		in.GranteePrincipal = aws.String("nobody")
		return in
	},
	"ListRetirableGrants InvalidArnException": func(*scene) any {
		return &kms.ListRetirableGrantsInput{RetiringPrincipal: aws.String("nobody")}
	},
	"CreateKey UnsupportedOperationException": func(*scene) any {
		return &kms.CreateKeyInput{KeySpec: types.KeySpecMlDsa44, KeyUsage: types.KeyUsageTypeSignVerify}
	},
	"Decrypt IncorrectKeyException": func(s *scene) any {
		return &kms.DecryptInput{CiphertextBlob: s.blob(), KeyId: s.newKey(symmetric).KeyId}
	},
	"ReEncrypt IncorrectKeyException": func(s *scene) any {
		return &kms.ReEncryptInput{CiphertextBlob: s.blob(), SourceKeyId: s.newKey(symmetric).KeyId, DestinationKeyId: s.key.KeyId}
	},
	"GenerateDataKeyPair UnsupportedOperationException": func(s *scene) any {
		return &kms.GenerateDataKeyPairInput{KeyId: s.key.KeyId, KeyPairSpec: types.DataKeyPairSpecMlKem768}
	},
	"GenerateDataKeyPairWithoutPlaintext UnsupportedOperationException": func(s *scene) any {
		return &kms.GenerateDataKeyPairWithoutPlaintextInput{KeyId: s.key.KeyId, KeyPairSpec: types.DataKeyPairSpecSm2}
	},
	"GenerateRandom UnsupportedOperationException": func(*scene) any {
		return &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(8), CustomKeyStoreId: noSuchStore}
	},
	"GetPublicKey UnsupportedOperationException": func(s *scene) any {
		return &kms.GetPublicKeyInput{KeyId: s.newKey(symmetric).KeyId}
	},
	"DisableKeyRotation UnsupportedOperationException": func(s *scene) any {
		return &kms.DisableKeyRotationInput{KeyId: s.newKey(signer).KeyId}
	},
	"EnableKeyRotation UnsupportedOperationException": func(s *scene) any {
		return &kms.EnableKeyRotationInput{KeyId: s.newKey(signer).KeyId}
	},
	"GetKeyRotationStatus UnsupportedOperationException": func(s *scene) any {
		return &kms.GetKeyRotationStatusInput{KeyId: s.newKey(external).KeyId}
	},
	"ListKeyRotations UnsupportedOperationException": func(s *scene) any {
		return &kms.ListKeyRotationsInput{KeyId: s.newKey(signer).KeyId}
	},
	"RotateKeyOnDemand UnsupportedOperationException": func(s *scene) any {
		return &kms.RotateKeyOnDemandInput{KeyId: s.newKey(macs).KeyId}
	},
	"RotateKeyOnDemand LimitExceededException": func(s *scene) any {
		in := &kms.RotateKeyOnDemandInput{KeyId: s.key.KeyId}
		for range 25 {
			must[kms.RotateKeyOnDemandOutput](s.t, s.k, s.region, "RotateKeyOnDemand", in)
		}
		return in
	},
	"RotateKeyOnDemand ConflictException": func(s *scene) any {
		must[kms.EnableKeyRotationOutput](s.t, s.k, s.region, "EnableKeyRotation", &kms.EnableKeyRotationInput{KeyId: s.key.KeyId, RotationPeriodInDays: aws.Int32(90)})
		s.k.at[s.region].Clock.Advance(90*24*time.Hour - 10*time.Minute)
		return &kms.RotateKeyOnDemandInput{KeyId: s.key.KeyId}
	},
	"PutKeyPolicy LimitExceededException": func(s *scene) any {
		return &kms.PutKeyPolicyInput{KeyId: s.key.KeyId, Policy: aws.String(strings.Repeat(" ", policy.MaxSize) + *defaultPolicy)}
	},
	"ReplicateKey AlreadyExistsException": func(s *scene) any {
		in := &kms.ReplicateKeyInput{KeyId: s.key.KeyId, ReplicaRegion: aws.String(away)}
		must[kms.ReplicateKeyOutput](s.t, s.k, s.region, "ReplicateKey", in)
		return in
	},
	"ReplicateKey UnsupportedOperationException": func(s *scene) any {
		single := must[kms.CreateKeyOutput](s.t, s.k, s.region, "CreateKey", &kms.CreateKeyInput{}).KeyMetadata
		return &kms.ReplicateKeyInput{KeyId: single.KeyId, ReplicaRegion: aws.String(away)}
	},
	"DeleteImportedKeyMaterial UnsupportedOperationException": func(s *scene) any {
		return &kms.DeleteImportedKeyMaterialInput{KeyId: s.newKey(symmetric).KeyId}
	},
	"GetParametersForImport UnsupportedOperationException": func(s *scene) any { return parameters(s.newKey(symmetric).KeyId) },
	"ImportKeyMaterial UnsupportedOperationException": func(s *scene) any {
		in := s.importInput()
		in.KeyId = s.newKey(symmetric).KeyId
		return in
	},
	"ImportKeyMaterial ExpiredImportTokenException": func(s *scene) any {
		in := s.importInput()
		s.k.at[s.region].Clock.Advance(25 * time.Hour)
		return in
	},
	"ImportKeyMaterial IncorrectKeyMaterialException": func(s *scene) any {
		s.material = nil
		return s.importInput()
	},
	"ImportKeyMaterial InvalidCiphertextException": func(s *scene) any {
		in := s.importInput()
		in.EncryptedKeyMaterial[0] ^= 1
		return in
	},
	"ImportKeyMaterial InvalidImportTokenException": func(s *scene) any {
		in := s.importInput()
		in.ImportToken[5] ^= 1
		return in
	},
	"UpdatePrimaryRegion UnsupportedOperationException": func(s *scene) any {
		single := must[kms.CreateKeyOutput](s.t, s.k, s.region, "CreateKey", &kms.CreateKeyInput{}).KeyMetadata
		return &kms.UpdatePrimaryRegionInput{KeyId: single.KeyId, PrimaryRegion: aws.String(away)}
	},
	"RetireGrant InvalidGrantTokenException": func(*scene) any { return &kms.RetireGrantInput{GrantToken: aws.String("forged")} },
	"Verify KMSInvalidSignatureException": func(s *scene) any {
		return &kms.VerifyInput{
			KeyId: s.key.KeyId, Message: message, Signature: message, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
		}
	},
	"VerifyMac KMSInvalidMacException": func(s *scene) any {
		return &kms.VerifyMacInput{KeyId: s.key.KeyId, Message: message, Mac: message, MacAlgorithm: types.MacAlgorithmSpecHmacSha256}
	},
}

// fillAliases gives the key as many aliases as a key can have.
func (s *scene) fillAliases() {
	s.t.Helper()
	for i := range 50 {
		must[kms.CreateAliasOutput](s.t, s.k, s.region, "CreateAlias", &kms.CreateAliasInput{
			AliasName: aws.String(fmt.Sprintf("alias/%s/%d", *s.key.KeyId, i)), TargetKeyId: s.key.KeyId,
		})
	}
}
