package regions_test

import (
	"antipode/regions"
	"antipode/regions/policy"
	"antipode/regions/regionstest"
)

// target is what an operation is tried on: made anew for each try.
type target struct {
	key    regions.KeyMetadata
	second regions.KeyMetadata
	alias  string // of key
	fresh  string // an alias that is not there
	blob   []byte // under key
	grant  string // on key
	own    string // ARN of who tries
}

// need is one thing that an operation asks policies for.
type need struct{ action, resource string }

// attempt says of one operation what it asks for, typed from AWS's table of permissions, and how it is called.
type attempt struct {
	needs func(target) []need
	in    func(target) any
	// fails is the error that an allowed call has all the same, "" for none.
	fails string
	// grant: a grant can give it. foreign: it may be open to other accounts.
	grant, foreign bool
}

func onKey(name string) func(target) []need {
	return func(t target) []need { return []need{{"kms:" + name, t.key.Arn}} }
}

func onAll(name string) func(target) []need {
	return func(target) []need { return []need{{"kms:" + name, "*"}} }
}

func aliasARN(name string) string {
	return "arn:aws:kms:us-east-2:" + regionstest.Account + ":" + name
}

const noStore = regions.CodeCustomKeyStoreNotFound

// attempts has one row for each operation that is built.
var attempts = map[string]attempt{
	"CancelKeyDeletion": {needs: onKey("CancelKeyDeletion"), in: func(t target) any { return &regions.KeyInput{KeyID: t.key.Arn} }, fails: regions.CodeInvalidState},
	"CreateAlias": {needs: func(t target) []need {
		return []need{{"kms:CreateAlias", t.key.Arn}, {"kms:CreateAlias", aliasARN(t.fresh)}}
	}, in: func(t target) any { return &regions.AliasInput{AliasName: t.fresh, TargetKeyID: t.key.Arn} }},
	"CreateCustomKeyStore": {needs: onAll("CreateCustomKeyStore"), in: func(target) any { return &regions.CreateCustomKeyStoreInput{CustomKeyStoreName: "n"} }, fails: regions.CodeUnsupportedOperation},
	"CreateGrant": {needs: onKey("CreateGrant"), in: func(t target) any {
		return &regions.CreateGrantInput{KeyID: t.key.Arn, GranteePrincipal: t.own, Operations: []string{"CreateGrant"}}
	}, grant: true, foreign: true},
	"CreateKey": {needs: func(target) []need { return []need{{"kms:CreateKey", "*"}, {"kms:TagResource", "*"}} }, in: func(target) any {
		return &regions.CreateKeyInput{Tags: []regions.Tag{{TagKey: "a"}}}
	}},
	"Decrypt": {needs: onKey("Decrypt"), in: func(t target) any { return &regions.DecryptInput{CiphertextBlob: t.blob, KeyID: t.key.Arn} }, grant: true, foreign: true},
	"DeleteAlias": {needs: func(t target) []need {
		return []need{{"kms:DeleteAlias", t.key.Arn}, {"kms:DeleteAlias", aliasARN(t.alias)}}
	}, in: func(t target) any { return &regions.DeleteAliasInput{AliasName: t.alias} }},
	// On a key of another origin, which is told to whom it is open; TestImportPolicies has the others.
	"DeleteImportedKeyMaterial": {needs: onKey("DeleteImportedKeyMaterial"), in: func(t target) any {
		return &regions.DeleteImportedKeyMaterialInput{KeyID: t.key.Arn}
	}, fails: regions.CodeUnsupportedOperation},
	"GetParametersForImport": {needs: onKey("GetParametersForImport"), in: func(t target) any {
		return &regions.GetParametersForImportInput{KeyID: t.key.Arn, WrappingKeySpec: "RSA_2048", WrappingAlgorithm: "RSAES_OAEP_SHA_256"}
	}, fails: regions.CodeUnsupportedOperation},
	"ImportKeyMaterial": {needs: onKey("ImportKeyMaterial"), in: func(t target) any {
		return &regions.ImportKeyMaterialInput{
			KeyID: t.key.Arn, ImportToken: []byte("x"), EncryptedKeyMaterial: []byte("x"), ExpirationModel: "KEY_MATERIAL_DOES_NOT_EXPIRE",
		}
	}, fails: regions.CodeUnsupportedOperation},
	"DescribeCustomKeyStores": {needs: onAll("DescribeCustomKeyStores"), in: func(target) any { return &regions.DescribeCustomKeyStoresInput{} }},
	"DescribeKey":             {needs: onKey("DescribeKey"), in: func(t target) any { return &regions.DescribeKeyInput{KeyID: t.key.Arn} }, grant: true, foreign: true},
	"DisableKey":              {needs: onKey("DisableKey"), in: func(t target) any { return &regions.KeyInput{KeyID: t.key.Arn} }},
	"EnableKey":               {needs: onKey("EnableKey"), in: func(t target) any { return &regions.KeyInput{KeyID: t.key.Arn} }},
	"Encrypt":                 {needs: onKey("Encrypt"), in: func(t target) any { return &regions.EncryptInput{KeyID: t.key.Arn, Plaintext: []byte("x")} }, grant: true, foreign: true},
	"GenerateDataKey":         {needs: onKey("GenerateDataKey"), in: func(t target) any { return &regions.GenerateDataKeyInput{KeyID: t.key.Arn, KeySpec: "AES_256"} }, grant: true, foreign: true},
	"GenerateDataKeyWithoutPlaintext": {needs: onKey("GenerateDataKeyWithoutPlaintext"), in: func(t target) any {
		return &regions.GenerateDataKeyInput{KeyID: t.key.Arn, KeySpec: "AES_256"}
	}, grant: true, foreign: true},
	"GenerateRandom":      {needs: onAll("GenerateRandom"), in: func(target) any { return &regions.GenerateRandomInput{NumberOfBytes: ptr(1)} }},
	"GetKeyLastUsage":     {needs: onKey("GetKeyLastUsage"), in: func(t target) any { return &regions.KeyInput{KeyID: t.key.Arn} }},
	"GetKeyPolicy":        {needs: onKey("GetKeyPolicy"), in: func(t target) any { return &regions.GetKeyPolicyInput{KeyID: t.key.Arn} }},
	"ListAliases":         {needs: onAll("ListAliases"), in: func(target) any { return &regions.ListAliasesInput{} }},
	"ListGrants":          {needs: onKey("ListGrants"), in: func(t target) any { return &regions.ListGrantsInput{KeyID: t.key.Arn} }, foreign: true},
	"ListKeyPolicies":     {needs: onKey("ListKeyPolicies"), in: func(t target) any { return &regions.ListKeyPoliciesInput{KeyID: t.key.Arn} }},
	"ListKeys":            {needs: onAll("ListKeys"), in: func(target) any { return &regions.ListKeysInput{} }},
	"ListResourceTags":    {needs: onKey("ListResourceTags"), in: func(t target) any { return &regions.ListResourceTagsInput{KeyID: t.key.Arn} }},
	"ListRetirableGrants": {needs: func(t target) []need { return []need{{"kms:ListRetirableGrants", t.own}} }, in: func(t target) any { return &regions.ListRetirableGrantsInput{RetiringPrincipal: t.own} }},
	"PutKeyPolicy": {needs: onKey("PutKeyPolicy"), in: func(t target) any {
		return &regions.PutKeyPolicyInput{KeyID: t.key.Arn, Policy: policy.Default(regionstest.Account), BypassPolicyLockoutSafetyCheck: true}
	}},
	"ReEncrypt": {needs: func(t target) []need {
		return []need{{"kms:ReEncryptFrom", t.key.Arn}, {"kms:ReEncryptTo", t.second.Arn}}
	}, in: func(t target) any {
		return &regions.ReEncryptInput{CiphertextBlob: t.blob, SourceKeyID: t.key.Arn, DestinationKeyID: t.second.Arn}
	}, grant: true, foreign: true},
	"ReplicateKey": {needs: func(t target) []need {
		return []need{{"kms:ReplicateKey", t.key.Arn}, {"kms:CreateKey", "*"}, {"kms:TagResource", "*"}}
	}, in: func(t target) any {
		return &regions.ReplicateKeyInput{KeyID: t.key.Arn, ReplicaRegion: "eu-west-1", Tags: []regions.Tag{{TagKey: "a"}}}
	}},
	"RetireGrant":          {needs: onKey("RetireGrant"), in: func(t target) any { return &regions.RetireGrantInput{KeyID: t.key.Arn, GrantID: t.grant} }, foreign: true},
	"RevokeGrant":          {needs: onKey("RevokeGrant"), in: func(t target) any { return &regions.RevokeGrantInput{KeyID: t.key.Arn, GrantID: t.grant} }, foreign: true},
	"DisableKeyRotation":   {needs: onKey("DisableKeyRotation"), in: func(t target) any { return &regions.KeyInput{KeyID: t.key.Arn} }},
	"EnableKeyRotation":    {needs: onKey("EnableKeyRotation"), in: func(t target) any { return &regions.EnableKeyRotationInput{KeyID: t.key.Arn} }},
	"GetKeyRotationStatus": {needs: onKey("GetKeyRotationStatus"), in: func(t target) any { return &regions.KeyInput{KeyID: t.key.Arn} }, foreign: true},
	"ListKeyRotations":     {needs: onKey("ListKeyRotations"), in: func(t target) any { return &regions.ListKeyRotationsInput{KeyID: t.key.Arn} }},
	"RotateKeyOnDemand":    {needs: onKey("RotateKeyOnDemand"), in: func(t target) any { return &regions.KeyInput{KeyID: t.key.Arn} }},
	"ScheduleKeyDeletion":  {needs: onKey("ScheduleKeyDeletion"), in: func(t target) any { return &regions.ScheduleKeyDeletionInput{KeyID: t.key.Arn} }},
	"TagResource": {needs: onKey("TagResource"), in: func(t target) any {
		return &regions.TagResourceInput{KeyID: t.key.Arn, Tags: []regions.Tag{{TagKey: "a"}}}
	}},
	"UntagResource": {needs: onKey("UntagResource"), in: func(t target) any { return &regions.UntagResourceInput{KeyID: t.key.Arn, TagKeys: []string{"a"}} }},
	"UpdateAlias": {needs: func(t target) []need {
		return []need{{"kms:UpdateAlias", t.second.Arn}, {"kms:UpdateAlias", t.key.Arn}, {"kms:UpdateAlias", aliasARN(t.alias)}}
	}, in: func(t target) any { return &regions.AliasInput{AliasName: t.alias, TargetKeyID: t.second.Arn} }},
	"UpdateKeyDescription": {needs: onKey("UpdateKeyDescription"), in: func(t target) any {
		d := "d"
		return &regions.UpdateKeyDescriptionInput{KeyID: t.key.Arn, Description: &d}
	}},
	"UpdatePrimaryRegion": {needs: onKey("UpdatePrimaryRegion"), in: func(t target) any {
		return &regions.UpdatePrimaryRegionInput{KeyID: t.key.Arn, PrimaryRegion: "eu-west-1"}
	}, fails: regions.CodeNotFound}, // what the other Region decides is in replication's tests

	// On a key of another usage: policies are asked first.
	"DeriveSharedSecret": {needs: onKey("DeriveSharedSecret"), in: func(t target) any {
		return &regions.DeriveSharedSecretInput{KeyID: t.key.Arn, KeyAgreementAlgorithm: "ECDH", PublicKey: []byte{1}}
	}, grant: true, foreign: true, fails: regions.CodeInvalidKeyUsage},
	// On a token that lacks ML-KEM, which says so after policies were asked. A grant gives them on keys of that usage only, of
	// which there are none.
	"Decapsulate": {needs: onKey("Decapsulate"), in: func(t target) any {
		return &regions.DecapsulateInput{KeyID: t.key.Arn, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: []byte{1}}
	}, foreign: true, fails: regions.CodeUnsupportedOperation},
	"Encapsulate": {needs: onKey("Encapsulate"), in: func(t target) any {
		return &regions.EncapsulateInput{KeyID: t.key.Arn, EncapsulationAlgorithm: "ML_KEM"}
	}, foreign: true, fails: regions.CodeUnsupportedOperation},
	"GenerateDataKeyPair": {needs: onKey("GenerateDataKeyPair"), in: func(t target) any {
		return &regions.GenerateDataKeyPairWithPlaintextInput{KeyID: t.key.Arn, KeyPairSpec: "ECC_NIST_P256"}
	}, grant: true, foreign: true},
	"GenerateDataKeyPairWithoutPlaintext": {needs: onKey("GenerateDataKeyPairWithoutPlaintext"), in: func(t target) any {
		return &regions.GenerateDataKeyPairInput{KeyID: t.key.Arn, KeyPairSpec: "ECC_NIST_P256"}
	}, grant: true, foreign: true},
	"GenerateMac": {needs: onKey("GenerateMac"), in: func(t target) any {
		return &regions.GenerateMacInput{KeyID: t.key.Arn, Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256"}
	}, grant: true, foreign: true, fails: regions.CodeInvalidKeyUsage},
	"GetPublicKey": {needs: onKey("GetPublicKey"), in: func(t target) any {
		return &regions.GetPublicKeyInput{KeyID: t.key.Arn}
	}, grant: true, foreign: true, fails: regions.CodeUnsupportedOperation},
	"Sign": {needs: onKey("Sign"), in: func(t target) any {
		return &regions.SignInput{KeyID: t.key.Arn, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256"}
	}, grant: true, foreign: true, fails: regions.CodeInvalidKeyUsage},
	"Verify": {needs: onKey("Verify"), in: func(t target) any {
		return &regions.VerifyInput{KeyID: t.key.Arn, Message: []byte("m"), Signature: []byte("s"), SigningAlgorithm: "ECDSA_SHA_256"}
	}, grant: true, foreign: true, fails: regions.CodeInvalidKeyUsage},
	"VerifyMac": {needs: onKey("VerifyMac"), in: func(t target) any {
		return &regions.VerifyMacInput{KeyID: t.key.Arn, Message: []byte("m"), Mac: []byte("m"), MacAlgorithm: "HMAC_SHA_256"}
	}, grant: true, foreign: true, fails: regions.CodeInvalidKeyUsage},

	"ConnectCustomKeyStore":    keyStoreAttempt("ConnectCustomKeyStore"),
	"DeleteCustomKeyStore":     keyStoreAttempt("DeleteCustomKeyStore"),
	"DisconnectCustomKeyStore": keyStoreAttempt("DisconnectCustomKeyStore"),
	"UpdateCustomKeyStore":     keyStoreAttempt("UpdateCustomKeyStore"),
}

func keyStoreAttempt(name string) attempt {
	return attempt{needs: onAll(name), in: func(target) any { return &regions.KeyStoreInput{CustomKeyStoreID: "cks-1"} }, fails: noStore}
}
