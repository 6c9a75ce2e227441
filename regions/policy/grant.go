package policy

import "strings"

// Grant lets its grantee do some operations on one key. It only allows.
type Grant struct {
	ID string
	// Grantee is who may use the key: the ARN of a user, a role, a role's or federated session, an account's root, or a
	// service's name. A grant to a role is one to each session of it, within its session policies.
	Grantee string
	// Retiring is who may retire the grant, "" for nobody.
	Retiring string
	// Operations are names without "kms:", of those that [IsGrantOperation] knows.
	Operations  []string
	Constraints Constraints
	// IssuingAccount made the grant; its root user may retire it.
	IssuingAccount string
}

// Constraints narrow a grant. What is empty does not constrain.
type Constraints struct {
	// EncryptionContextEquals: the request's encryption context is exactly this one.
	EncryptionContextEquals map[string]string
	// EncryptionContextSubset: the request's encryption context has all these pairs.
	EncryptionContextSubset map[string]string
	SourceARN               string // aws:SourceArn, as ArnLike matches it
	SourceAccount           string // aws:SourceAccount
}

// covers reports whether whatever satisfies narrow satisfies c: what AWS asks of a grant that is made by means of one.
func (c *Constraints) covers(narrow *Constraints) bool {
	if len(c.EncryptionContextEquals) > 0 && (len(narrow.EncryptionContextEquals) != len(c.EncryptionContextEquals) ||
		!contains(narrow.EncryptionContextEquals, c.EncryptionContextEquals)) {
		return false
	}
	if len(c.EncryptionContextSubset) > 0 && !contains(narrow.EncryptionContextEquals, c.EncryptionContextSubset) &&
		!contains(narrow.EncryptionContextSubset, c.EncryptionContextSubset) {
		return false
	}
	return (c.SourceARN == "" || c.SourceARN == narrow.SourceARN) &&
		(c.SourceAccount == "" || c.SourceAccount == narrow.SourceAccount)
}

// contains reports whether m has all pairs of part.
func contains(m, part map[string]string) bool {
	if len(m) < len(part) {
		return false
	}
	for k, v := range part {
		if have, ok := m[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// operations is a set of grant operations, a bit for each.
type operations uint32

// grantOperation returns the bit of an operation, 0 for one that no grant can give.
func grantOperation(name string) operations {
	switch name {
	case "Decrypt":
		return 1 << 0
	case "Encrypt":
		return 1 << 1
	case "GenerateDataKey":
		return 1 << 2
	case "GenerateDataKeyWithoutPlaintext":
		return 1 << 3
	case "ReEncryptFrom":
		return 1 << 4
	case "ReEncryptTo":
		return 1 << 5
	case "Sign":
		return 1 << 6
	case "Verify":
		return 1 << 7
	case "GetPublicKey":
		return 1 << 8
	case "CreateGrant":
		return 1 << 9
	case "RetireGrant":
		return 1 << 10
	case "DescribeKey":
		return 1 << 11
	case "GenerateDataKeyPair":
		return 1 << 12
	case "GenerateDataKeyPairWithoutPlaintext":
		return 1 << 13
	case "GenerateMac":
		return 1 << 14
	case "VerifyMac":
		return 1 << 15
	case "DeriveSharedSecret":
		return 1 << 16
	case "Encapsulate":
		return 1 << 17
	case "Decapsulate":
		return 1 << 18
	default:
		return 0
	}
}

const (
	opCreateGrant operations = 1 << 9
	opRetireGrant operations = 1 << 10
	opDescribeKey operations = 1 << 11
	// withoutContext are the operations that have no encryption context of their own to constrain.
	withoutContext = opCreateGrant | opRetireGrant | opDescribeKey
)

// IsGrantOperation reports whether a grant can give the operation, which is named without "kms:".
func IsGrantOperation(name string) bool { return grantOperation(name) != 0 }

func operationSet(names []string) operations {
	var set operations
	for _, n := range names {
		set |= grantOperation(n)
	}
	return set
}

// requested returns the bit of a request's action, 0 if no grant can give it.
func requested(action string) operations {
	name, ok := strings.CutPrefix(action, "kms:")
	if !ok {
		return 0
	}
	return grantOperation(name)
}

// GrantOperations returns the names of what a grant can give, in AWS's order.
func GrantOperations() []string {
	return []string{
		"Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo", "Sign",
		"Verify", "GetPublicKey", "CreateGrant", "RetireGrant", "DescribeKey", "GenerateDataKeyPair",
		"GenerateDataKeyPairWithoutPlaintext", "GenerateMac", "VerifyMac", "DeriveSharedSecret", "Encapsulate", "Decapsulate",
	}
}

// GrantFits reports whether a key of this KeyUsage can do an operation that a grant gives. Symmetric says that the key is
// a symmetric encryption key.
func GrantFits(operation, usage string, symmetric bool) bool {
	switch operation {
	case "CreateGrant", "RetireGrant", "DescribeKey":
		return true
	case "Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo":
		return usage == "ENCRYPT_DECRYPT"
	case "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext":
		return symmetric
	case "Sign", "Verify":
		return usage == "SIGN_VERIFY"
	case "GenerateMac", "VerifyMac":
		return usage == "GENERATE_VERIFY_MAC"
	case "DeriveSharedSecret":
		return usage == "KEY_AGREEMENT"
	case "Encapsulate", "Decapsulate":
		return usage == "ENCAPSULATE_DECAPSULATE"
	case "GetPublicKey":
		return !symmetric && usage != "GENERATE_VERIFY_MAC"
	default:
		return false
	}
}
