package conformance

import (
	"crypto/rand"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"antipode/regions/policy"
	"antipode/regions/regionstest"
)

// scene is what a call is about: a key, Enabled, in one of the Regions of a kit.
type scene struct {
	t      *testing.T
	k      *kit
	region string
	key    *types.KeyMetadata
	// material is what was imported into the key.
	material []byte
}

// kind is a kind of key: multi-Region ones of this Region's token, or single-Region ones whose material is imported.
type kind struct {
	spec     types.KeySpec
	usage    types.KeyUsageType
	imported bool
}

var (
	symmetric = kind{types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt, false}
	external  = kind{types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt, true}
	signer    = kind{types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify, false}
	macs      = kind{types.KeySpecHmac256, types.KeyUsageTypeGenerateVerifyMac, false}
	agrees    = kind{types.KeySpecEccNistP256, types.KeyUsageTypeKeyAgreement, false}
)

// newScene makes a multi-Region key of this kind in the home Region.
func newScene(t *testing.T, k *kit, of kind) *scene {
	t.Helper()
	s := &scene{t: t, k: k, region: home}
	s.key = s.newKey(of)
	if of.imported {
		s.importMaterial()
	}
	return s
}

func (s *scene) newKey(of kind) *types.KeyMetadata {
	s.t.Helper()
	in := &kms.CreateKeyInput{KeySpec: of.spec, KeyUsage: of.usage, MultiRegion: aws.Bool(!of.imported)}
	if of.imported {
		in.Origin = types.OriginTypeExternal
	}
	return must[kms.CreateKeyOutput](s.t, s.k, s.region, "CreateKey", in).KeyMetadata
}

// alias is a name for the key, of the tests of this operation; made if that is asked for.
func (s *scene) alias(op string, there bool) *string {
	s.t.Helper()
	name := aws.String("alias/" + op + "/" + *s.key.KeyId)
	if there {
		_, err := s.k.call(s.t, s.region, "CreateAlias", &kms.CreateAliasInput{AliasName: name, TargetKeyId: s.key.KeyId})
		if c := code(err); c != "" && c != "AlreadyExistsException" {
			s.t.Fatal(err)
		}
	}
	return name
}

func (s *scene) blob() []byte {
	s.t.Helper()
	return must[kms.EncryptOutput](s.t, s.k, s.region, "Encrypt", &kms.EncryptInput{KeyId: s.key.KeyId, Plaintext: message}).CiphertextBlob
}

func (s *scene) grant() *kms.CreateGrantOutput {
	s.t.Helper()
	return must[kms.CreateGrantOutput](s.t, s.k, s.region, "CreateGrant", newGrant(s))
}

func newGrant(s *scene) *kms.CreateGrantInput {
	return &kms.CreateGrantInput{
		KeyId: s.key.KeyId, GranteePrincipal: administrator, RetiringPrincipal: administrator, Name: aws.String(rand.Text()),
		Operations:  []types.GrantOperation{types.GrantOperationDecrypt},
		Constraints: &types.GrantConstraints{EncryptionContextSubset: pairs, EncryptionContextEquals: pairs, SourceArn: aws.String("arn:aws:s3:::b*")},
	}
}

var (
	message       = []byte("a message")
	pairs         = map[string]string{"a": "b"}
	tags          = []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}
	administrator = aws.String("arn:aws:iam::" + regionstest.Account + ":user/" + regionstest.UserName)
	defaultPolicy = aws.String(policy.Default(regionstest.Account))
	noSuchStore   = aws.String("cks-1234567890abcdef0")
)

// operation is how an operation is called so that it succeeds, if it can, on a key of this kind that is Enabled.
type operation struct {
	kind
	in func(*scene) any
}

// calls has every operation of the model.
var calls = map[string]operation{
	"CancelKeyDeletion":     {symmetric, func(s *scene) any { return &kms.CancelKeyDeletionInput{KeyId: s.key.KeyId} }},
	"ConnectCustomKeyStore": {symmetric, func(*scene) any { return &kms.ConnectCustomKeyStoreInput{CustomKeyStoreId: noSuchStore} }},
	"CreateAlias": {symmetric, func(s *scene) any {
		return &kms.CreateAliasInput{AliasName: s.alias("CreateAlias", false), TargetKeyId: s.key.KeyId}
	}},
	"CreateCustomKeyStore":     {symmetric, func(*scene) any { return &kms.CreateCustomKeyStoreInput{CustomKeyStoreName: aws.String("n")} }},
	"CreateGrant":              {symmetric, func(s *scene) any { return newGrant(s) }},
	"CreateKey":                {symmetric, func(*scene) any { return &kms.CreateKeyInput{Description: aws.String("d"), Tags: tags} }},
	"Decrypt":                  {symmetric, func(s *scene) any { return &kms.DecryptInput{CiphertextBlob: s.blob(), KeyId: s.key.KeyId} }},
	"DeleteAlias":              {symmetric, func(s *scene) any { return &kms.DeleteAliasInput{AliasName: s.alias("DeleteAlias", true)} }},
	"DeleteCustomKeyStore":     {symmetric, func(*scene) any { return &kms.DeleteCustomKeyStoreInput{CustomKeyStoreId: noSuchStore} }},
	"DescribeCustomKeyStores":  {symmetric, func(*scene) any { return &kms.DescribeCustomKeyStoresInput{} }},
	"DescribeKey":              {symmetric, func(s *scene) any { return &kms.DescribeKeyInput{KeyId: s.key.KeyId} }},
	"DisableKey":               {symmetric, func(s *scene) any { return &kms.DisableKeyInput{KeyId: s.key.KeyId} }},
	"DisableKeyRotation":       {symmetric, func(s *scene) any { return &kms.DisableKeyRotationInput{KeyId: s.key.KeyId} }},
	"DisconnectCustomKeyStore": {symmetric, func(*scene) any { return &kms.DisconnectCustomKeyStoreInput{CustomKeyStoreId: noSuchStore} }},
	"EnableKey":                {symmetric, func(s *scene) any { return &kms.EnableKeyInput{KeyId: s.key.KeyId} }},
	"EnableKeyRotation": {symmetric, func(s *scene) any {
		return &kms.EnableKeyRotationInput{KeyId: s.key.KeyId, RotationPeriodInDays: aws.Int32(90)}
	}},
	"Encapsulate": {symmetric, func(s *scene) any {
		return &kms.EncapsulateInput{KeyId: s.key.KeyId, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem}
	}},
	"Decapsulate": {symmetric, func(s *scene) any {
		return &kms.DecapsulateInput{
			KeyId: s.key.KeyId, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem, SharedSecretCiphertextBlob: message,
		}
	}},
	"DeriveSharedSecret": {agrees, func(s *scene) any {
		public := must[kms.GetPublicKeyOutput](s.t, s.k, s.region, "GetPublicKey", &kms.GetPublicKeyInput{KeyId: s.newKey(agrees).KeyId})
		return &kms.DeriveSharedSecretInput{
			KeyId: s.key.KeyId, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh, PublicKey: public.PublicKey,
		}
	}},
	"Encrypt": {symmetric, func(s *scene) any { return &kms.EncryptInput{KeyId: s.key.KeyId, Plaintext: message} }},
	"GenerateDataKey": {symmetric, func(s *scene) any {
		return &kms.GenerateDataKeyInput{KeyId: s.key.KeyId, KeySpec: types.DataKeySpecAes256}
	}},
	"GenerateDataKeyPair": {symmetric, func(s *scene) any {
		return &kms.GenerateDataKeyPairInput{KeyId: s.key.KeyId, KeyPairSpec: types.DataKeyPairSpecEccNistP256}
	}},
	"GenerateDataKeyPairWithoutPlaintext": {symmetric, func(s *scene) any {
		return &kms.GenerateDataKeyPairWithoutPlaintextInput{KeyId: s.key.KeyId, KeyPairSpec: types.DataKeyPairSpecEccNistP256}
	}},
	"GenerateDataKeyWithoutPlaintext": {symmetric, func(s *scene) any {
		return &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: s.key.KeyId, KeySpec: types.DataKeySpecAes256}
	}},
	"GenerateMac": {macs, func(s *scene) any {
		return &kms.GenerateMacInput{KeyId: s.key.KeyId, Message: message, MacAlgorithm: types.MacAlgorithmSpecHmacSha256}
	}},
	"GenerateRandom":  {symmetric, func(*scene) any { return &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(8)} }},
	"GetKeyLastUsage": {symmetric, func(s *scene) any { return &kms.GetKeyLastUsageInput{KeyId: s.key.KeyId} }},
	"GetKeyPolicy":    {symmetric, func(s *scene) any { return &kms.GetKeyPolicyInput{KeyId: s.key.KeyId} }},
	"GetKeyRotationStatus": {symmetric, func(s *scene) any {
		return &kms.GetKeyRotationStatusInput{KeyId: s.key.KeyId}
	}},
	"GetPublicKey": {signer, func(s *scene) any { return &kms.GetPublicKeyInput{KeyId: s.key.KeyId} }},
	"ListAliases": {symmetric, func(s *scene) any {
		s.alias("ListAliases", true)
		return &kms.ListAliasesInput{KeyId: s.key.KeyId}
	}},
	"ListGrants": {symmetric, func(s *scene) any {
		s.grant()
		return &kms.ListGrantsInput{KeyId: s.key.KeyId}
	}},
	"ListKeyPolicies": {symmetric, func(s *scene) any { return &kms.ListKeyPoliciesInput{KeyId: s.key.KeyId} }},
	"ListKeyRotations": {symmetric, func(s *scene) any {
		return &kms.ListKeyRotationsInput{KeyId: s.key.KeyId, IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial}
	}},
	"ListKeys": {symmetric, func(*scene) any { return &kms.ListKeysInput{Limit: aws.Int32(1)} }},
	"ListResourceTags": {symmetric, func(s *scene) any {
		must[kms.TagResourceOutput](s.t, s.k, s.region, "TagResource", &kms.TagResourceInput{KeyId: s.key.KeyId, Tags: tags})
		return &kms.ListResourceTagsInput{KeyId: s.key.KeyId}
	}},
	"ListRetirableGrants": {symmetric, func(s *scene) any {
		s.grant()
		return &kms.ListRetirableGrantsInput{RetiringPrincipal: administrator, Limit: aws.Int32(1)}
	}},
	"PutKeyPolicy": {symmetric, func(s *scene) any { return &kms.PutKeyPolicyInput{KeyId: s.key.KeyId, Policy: defaultPolicy} }},
	"ReEncrypt": {symmetric, func(s *scene) any {
		return &kms.ReEncryptInput{CiphertextBlob: s.blob(), SourceKeyId: s.key.KeyId, DestinationKeyId: s.newKey(symmetric).KeyId}
	}},
	"ReplicateKey": {symmetric, func(s *scene) any {
		return &kms.ReplicateKeyInput{KeyId: s.key.KeyId, ReplicaRegion: aws.String(away), Tags: tags, Description: aws.String("d")}
	}},
	"RetireGrant": {symmetric, func(s *scene) any {
		return &kms.RetireGrantInput{KeyId: s.key.Arn, GrantId: s.grant().GrantId}
	}},
	"RevokeGrant": {symmetric, func(s *scene) any {
		return &kms.RevokeGrantInput{KeyId: s.key.KeyId, GrantId: s.grant().GrantId}
	}},
	"RotateKeyOnDemand": {symmetric, func(s *scene) any { return &kms.RotateKeyOnDemandInput{KeyId: s.key.KeyId} }},
	"ScheduleKeyDeletion": {symmetric, func(s *scene) any {
		return &kms.ScheduleKeyDeletionInput{KeyId: s.key.KeyId, PendingWindowInDays: aws.Int32(7)}
	}},
	"Sign": {signer, func(s *scene) any {
		return &kms.SignInput{KeyId: s.key.KeyId, Message: message, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256}
	}},
	"TagResource":   {symmetric, func(s *scene) any { return &kms.TagResourceInput{KeyId: s.key.KeyId, Tags: tags} }},
	"UntagResource": {symmetric, func(s *scene) any { return &kms.UntagResourceInput{KeyId: s.key.KeyId, TagKeys: []string{"a"}} }},
	"UpdateAlias": {symmetric, func(s *scene) any {
		return &kms.UpdateAliasInput{AliasName: s.alias("UpdateAlias", true), TargetKeyId: s.key.KeyId}
	}},
	"UpdateCustomKeyStore": {symmetric, func(*scene) any { return &kms.UpdateCustomKeyStoreInput{CustomKeyStoreId: noSuchStore} }},
	"UpdateKeyDescription": {symmetric, func(s *scene) any {
		return &kms.UpdateKeyDescriptionInput{KeyId: s.key.KeyId, Description: aws.String("new")}
	}},
	"UpdatePrimaryRegion": {symmetric, func(s *scene) any {
		return &kms.UpdatePrimaryRegionInput{KeyId: s.key.KeyId, PrimaryRegion: aws.String(away)}
	}},
	"Verify": {signer, func(s *scene) any {
		signed := must[kms.SignOutput](s.t, s.k, s.region, "Sign", &kms.SignInput{
			KeyId: s.key.KeyId, Message: message, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
		})
		return &kms.VerifyInput{
			KeyId: s.key.KeyId, Message: message, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256, Signature: signed.Signature,
		}
	}},
	"VerifyMac": {macs, func(s *scene) any {
		made := must[kms.GenerateMacOutput](s.t, s.k, s.region, "GenerateMac", &kms.GenerateMacInput{
			KeyId: s.key.KeyId, Message: message, MacAlgorithm: types.MacAlgorithmSpecHmacSha256,
		})
		return &kms.VerifyMacInput{KeyId: s.key.KeyId, Message: message, MacAlgorithm: types.MacAlgorithmSpecHmacSha256, Mac: made.Mac}
	}},

	"DeleteImportedKeyMaterial": {external, func(s *scene) any { return &kms.DeleteImportedKeyMaterialInput{KeyId: s.key.KeyId} }},
	"GetParametersForImport":    {external, func(s *scene) any { return parameters(s.key.KeyId) }},
	"ImportKeyMaterial":         {external, func(s *scene) any { return s.importInput() }},
}
