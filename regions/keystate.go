package regions

// verdict is what the key-state table says of one operation in one state. The numbers are the notes of AWS's page "Key
// states of AWS KMS keys".
type verdict uint8

const (
	ok              verdict = iota
	disabled                // 1: DisabledException
	pendingDeletion         // 2, 3: KMSInvalidStateException
	notPending              // 4: KMSInvalidStateException
	pendingImport           // 5: KMSInvalidStateException
	originExternal          // 6: UnsupportedOperationException
	noRotation              // 7: UnsupportedOperationException if imported or in a custom store; the operation checks it
	unavailable             // 11: KMSInvalidStateException
	creating                // 14: KMSInvalidStateException
	updating                // 15: KMSInvalidStateException
)

// stateRow holds the verdicts in the states Enabled, Disabled, PendingDeletion and PendingReplicaDeletion,
// PendingImport, Unavailable, Creating, Updating.
type stateRow [7]verdict

func column(s KeyState) int {
	switch s {
	case StateEnabled:
		return 0
	case StateDisabled:
		return 1
	case StatePendingDeletion, StatePendingReplicaDeletion:
		return 2
	case StatePendingImport:
		return 3
	case StateUnavailable:
		return 4
	case StateCreating:
		return 5
	case StateUpdating:
		return 6
	}
	return 4 // a state this program does not know is not usable
}

// The rows that several operations share.
var (
	rowCrypto   = stateRow{ok, disabled, pendingDeletion, pendingImport, unavailable, creating, ok}
	rowAlways   = stateRow{ok, ok, ok, ok, ok, ok, ok}
	rowTag      = stateRow{ok, ok, pendingDeletion, ok, ok, ok, ok}
	rowRotation = stateRow{noRotation, disabled, pendingDeletion, originExternal, noRotation, creating, noRotation}
	rowSwitch   = stateRow{ok, ok, pendingDeletion, pendingImport, ok, creating, updating}
)

// keyStates is AWS's key-state table (Key states of AWS KMS keys), for every operation that is built. An operation that is not
// in it can't be called on a key.
var keyStates = map[string]stateRow{
	"CancelKeyDeletion":                   {notPending, notPending, ok, notPending, notPending, notPending, notPending},
	"CreateAlias":                         rowTag,
	"CreateGrant":                         {ok, disabled, pendingDeletion, pendingImport, ok, creating, ok},
	"ListGrants":                          rowAlways,
	"RetireGrant":                         rowAlways,
	"RevokeGrant":                         rowAlways,
	"Encapsulate":                         rowCrypto,
	"Encrypt":                             rowCrypto,
	"Decapsulate":                         rowCrypto,
	"Decrypt":                             rowCrypto,
	"ReEncrypt":                           rowCrypto,
	"GenerateDataKey":                     rowCrypto,
	"GenerateDataKeyWithoutPlaintext":     rowCrypto,
	"DeleteAlias":                         rowAlways,
	"DescribeKey":                         rowAlways,
	"DescribeKeyReplicas":                 rowAlways,
	"GetKeyLastUsage":                     rowAlways,
	"GetKeyPolicy":                        rowAlways,
	"ListAliases":                         rowAlways,
	"ListKeyPolicies":                     rowAlways,
	"ListResourceTags":                    rowAlways,
	"PutKeyPolicy":                        rowAlways,
	"TagResource":                         rowTag,
	"UntagResource":                       rowTag,
	"UpdateKeyDescription":                rowTag,
	"DisableKey":                          rowSwitch,
	"EnableKey":                           rowSwitch,
	"ReplicateKey":                        {ok, disabled, pendingDeletion, pendingImport, unavailable, creating, updating},
	"ScheduleKeyDeletion":                 {ok, ok, pendingDeletion, ok, ok, ok, updating},
	"UpdateAlias":                         rowTag,
	"UpdatePrimaryRegion":                 {ok, disabled, pendingDeletion, pendingImport, unavailable, creating, ok},
	"DisableKeyRotation":                  rowRotation,
	"EnableKeyRotation":                   rowRotation,
	"GetKeyRotationStatus":                {noRotation, noRotation, noRotation, originExternal, noRotation, noRotation, noRotation},
	"ListKeyRotations":                    rowAlways,
	"RotateKeyOnDemand":                   {ok, disabled, pendingDeletion, pendingImport, unavailable, creating, updating},
	"GenerateDataKeyPair":                 rowCrypto,
	"GenerateDataKeyPairWithoutPlaintext": rowCrypto,
	"Sign":                                rowCrypto,
	"Verify":                              rowCrypto,
	"GenerateMac":                         rowCrypto,
	"VerifyMac":                           rowCrypto,
	"DeriveSharedSecret":                  rowCrypto,
	"GetPublicKey":                        rowCrypto,
	"GetParametersForImport":              {ok, ok, pendingDeletion, ok, unavailable, creating, updating},
	"ImportKeyMaterial":                   {ok, ok, pendingDeletion, ok, unavailable, creating, ok},
	"DeleteImportedKeyMaterial":           {ok, ok, ok, ok, unavailable, creating, updating},
}

// checkState returns the error that AWS gives for the operation on a key in this state, or nil.
func checkState(operation string, s KeyState, arn string) error {
	row, known := keyStates[operation]
	if !known {
		return Errorf(CodeUnsupportedOperation, "%s can't be called on a key.", operation)
	}
	switch row[column(s)] {
	case ok, noRotation:
		return nil
	case disabled:
		return Errorf(CodeDisabled, "%s is disabled.", arn)
	case pendingDeletion:
		if s == StatePendingReplicaDeletion {
			return Errorf(CodeInvalidState, "%s is pending replica deletion.", arn)
		}
		return Errorf(CodeInvalidState, "%s is pending deletion.", arn)
	case notPending:
		return Errorf(CodeInvalidState, "%s is not pending deletion (or pending replica deletion).", arn)
	case pendingImport:
		return Errorf(CodeInvalidState, "%s is pending import.", arn)
	case originExternal:
		return Errorf(CodeUnsupportedOperation, "%s origin is EXTERNAL which is not valid for this operation.", arn)
	case unavailable:
		return Errorf(CodeInvalidState, "%s is unavailable.", arn)
	case creating:
		return Errorf(CodeInvalidState, "%s is creating.", arn)
	case updating:
		return Errorf(CodeInvalidState, "%s is updating.", arn)
	}
	return Errorf(CodeInvalidState, "%s is unavailable.", arn)
}

// CheckState returns the error that the key-state table gives for an operation on a key as it is, or nil.
func (r *Region) CheckState(operation string, k Key) error {
	return checkState(operation, k.State, r.KeyARN(k.Account, k.KeyID))
}
