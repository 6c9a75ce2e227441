package policy

// OpenToOtherAccounts reports whether AWS lets the policies of both sides open an action to principals of other accounts:
// the cryptographic operations, grants, and what describes a key. All others are for the key's own account alone.
func OpenToOtherAccounts(action string) bool {
	switch action {
	case "kms:CreateGrant", "kms:Decapsulate", "kms:Decrypt", "kms:DeriveSharedSecret", "kms:DescribeKey", "kms:Encapsulate",
		"kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyPair", "kms:GenerateDataKeyPairWithoutPlaintext",
		"kms:GenerateDataKeyWithoutPlaintext", "kms:GenerateMac", "kms:GetKeyRotationStatus", "kms:GetPublicKey",
		"kms:ListGrants", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:RetireGrant", "kms:RevokeGrant", "kms:Sign",
		"kms:Verify", "kms:VerifyMac",
		"sts:AssumeRole", "sts:AssumeRoleWithWebIdentity", "sts:SetSourceIdentity", "sts:TagSession":
		return true
	default:
		return false
	}
}
