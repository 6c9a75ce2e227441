package regions

import (
	"context"
	"slices"
	"sync"

	"antipode/regions/policy"
)

// Class says what an operation does to the Region, and so how it is audited.
type Class uint8

// The classes.
const (
	// ClassRead changes nothing: one audit record before the answer.
	ClassRead Class = iota
	// ClassData is a cryptographic operation: one audit record before the answer.
	ClassData
	// ClassManage changes the Region: an intent on disk before the effect, an outcome after it.
	ClassManage
)

// Operation is one row of the table that every front (AWS JSON, REST) serves.
type Operation struct {
	// Name is AWS's, "Encrypt".
	Name string
	// Action is what policies call it, "kms:Encrypt".
	Action string
	// Class says how it is audited.
	Class Class
	// NewInput returns a pointer to a zero input struct, whose JSON names are AWS's member names.
	NewInput func() any
	// NewOutput returns a pointer to a zero answer, one without members if the operation answers nothing. It is nil for
	// operations that are not built.
	NewOutput func() any
	// run does it. It is nil for operations of the AWS model that are not built yet.
	run func(ctx context.Context, r *Region, c *Call, input any) (any, error)
}

// Built reports whether the operation is built; others answer UnsupportedOperationException.
func (o Operation) Built() bool { return o.run != nil }

// actionPrefix is before each operation's name in policies.
const actionPrefix = "kms:"

// Actions of policies that are no operation's name.
const (
	actionReEncryptFrom = actionPrefix + "ReEncryptFrom"
	actionReEncryptTo   = actionPrefix + "ReEncryptTo"
	actionCreateKey     = actionPrefix + "CreateKey"
	actionTagResource   = actionPrefix + "TagResource"
)

// otherAccounts reports whether the operation may be called on keys of another account than the caller's, if policies of
// both allow it.
func (o Operation) otherAccounts() bool {
	if o.Action == actionPrefix+"ReEncrypt" {
		return policy.OpenToOtherAccounts(actionReEncryptFrom)
	}
	return policy.OpenToOtherAccounts(o.Action)
}

// row makes an Operation of a typed function. in is decoded by the front, out is encoded by it; a nil out is an empty
// answer.
func row[In, Out any](name string, class Class, fn func(ctx context.Context, r *Region, c *Call, in *In) (*Out, error)) Operation {
	return Operation{
		Name: name, Action: actionPrefix + name, Class: class,
		NewInput: func() any { return new(In) }, NewOutput: func() any { return new(Out) },
		run: func(ctx context.Context, r *Region, c *Call, input any) (any, error) {
			in, isIn := input.(*In)
			if !isIn {
				return nil, Errorf(CodeInternal, "")
			}
			out, err := fn(ctx, r, c, in)
			if err != nil || out == nil {
				return nil, err
			}
			return out, nil
		},
	}
}

// OwnOperations returns the operations that AWS has not, in order of name. They ask for a permission that AWS has, and are
// served by REST alone: a client of AWS's has no call for them.
func OwnOperations() []Operation {
	out := []Operation{
		row("DescribeKeyReplicas", ClassRead, describeKeyReplicas),
	}
	for i := range out {
		out[i].Action = actionPrefix + "DescribeKey"
	}
	return out
}

// OwnOperation returns the one of [OwnOperations] with this name.
func OwnOperation(name string) (Operation, bool) {
	for _, o := range OwnOperations() {
		if o.Name == name {
			return o, true
		}
	}
	return Operation{}, false
}

// Operations returns the table: every operation of the AWS KMS model, in order of name.
func Operations() []Operation { return slices.Clone(table()) }

// OperationByName returns the row of the table with this name.
func OperationByName(name string) (Operation, bool) {
	i, found := slices.BinarySearchFunc(table(), name, func(o Operation, n string) int {
		switch {
		case o.Name < n:
			return -1
		case o.Name > n:
			return 1
		}
		return 0
	})
	if !found {
		return Operation{}, false
	}
	return table()[i], true
}

var table = sync.OnceValue(func() []Operation {
	ops := []Operation{
		row("CancelKeyDeletion", ClassManage, cancelKeyDeletion),
		keyStoreOperation("ConnectCustomKeyStore"),
		row("CreateAlias", ClassManage, createAlias),
		row("CreateGrant", ClassManage, createGrant),
		row("CreateCustomKeyStore", ClassManage, createCustomKeyStore),
		row("CreateKey", ClassManage, createKey),
		row("Decapsulate", ClassData, decapsulate),
		row("Decrypt", ClassData, decrypt),
		row("DeleteAlias", ClassManage, deleteAlias),
		keyStoreOperation("DeleteCustomKeyStore"),
		row("DeleteImportedKeyMaterial", ClassManage, deleteImportedKeyMaterial),
		row("DeriveSharedSecret", ClassData, deriveSharedSecret),
		row("DescribeCustomKeyStores", ClassRead, describeCustomKeyStores),
		row("DescribeKey", ClassRead, describeKey),
		row("DisableKey", ClassManage, disableKey),
		row("DisableKeyRotation", ClassManage, disableKeyRotation),
		keyStoreOperation("DisconnectCustomKeyStore"),
		row("EnableKey", ClassManage, enableKey),
		row("EnableKeyRotation", ClassManage, enableKeyRotation),
		row("Encapsulate", ClassData, encapsulate),
		row("Encrypt", ClassData, encrypt),
		row("GenerateDataKey", ClassData, generateDataKey),
		row("GenerateDataKeyPair", ClassData, generateDataKeyPair),
		row("GenerateDataKeyPairWithoutPlaintext", ClassData, generateDataKeyPairWithoutPlaintext),
		row("GenerateDataKeyWithoutPlaintext", ClassData, generateDataKeyWithoutPlaintext),
		row("GenerateMac", ClassData, generateMac),
		row("GenerateRandom", ClassData, generateRandom),
		row("GetKeyLastUsage", ClassRead, getKeyLastUsage),
		row("GetKeyPolicy", ClassRead, getKeyPolicy),
		row("GetKeyRotationStatus", ClassRead, getKeyRotationStatus),
		row("GetParametersForImport", ClassManage, getParametersForImport),
		row("GetPublicKey", ClassRead, getPublicKey),
		row("ImportKeyMaterial", ClassManage, importKeyMaterial),
		row("ListAliases", ClassRead, listAliases),
		row("ListGrants", ClassRead, listGrants),
		row("ListRetirableGrants", ClassRead, listRetirableGrants),
		row("ListKeys", ClassRead, listKeys),
		row("ListKeyPolicies", ClassRead, listKeyPolicies),
		row("ListKeyRotations", ClassRead, listKeyRotations),
		row("ListResourceTags", ClassRead, listResourceTags),
		row("PutKeyPolicy", ClassManage, putKeyPolicy),
		row("ReEncrypt", ClassData, reEncrypt),
		row("ReplicateKey", ClassManage, replicateKey),
		row("RetireGrant", ClassManage, retireGrant),
		row("RevokeGrant", ClassManage, revokeGrant),
		row("RotateKeyOnDemand", ClassManage, rotateKeyOnDemand),
		row("ScheduleKeyDeletion", ClassManage, scheduleKeyDeletion),
		row("Sign", ClassData, sign),
		row("TagResource", ClassManage, tagResource),
		row("UntagResource", ClassManage, untagResource),
		row("UpdateAlias", ClassManage, updateAlias),
		keyStoreOperation("UpdateCustomKeyStore"),
		row("UpdateKeyDescription", ClassManage, updateKeyDescription),
		row("UpdatePrimaryRegion", ClassManage, updatePrimaryRegion),
		row("Verify", ClassData, verify),
		row("VerifyMac", ClassData, verifyMac),
	}
	for _, name := range notBuilt {
		ops = append(ops, Operation{Name: name, Action: actionPrefix + name, Class: ClassRead, NewInput: func() any { return new(struct{}) }})
	}
	slices.SortFunc(ops, func(a, b Operation) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return ops
})

// notBuilt are the operations of the AWS KMS model that this version answers with UnsupportedOperationException.
// There are none at present.
var notBuilt []string
