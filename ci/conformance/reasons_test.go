package conformance

// Why an operation does not succeed.
const (
	noStores = "There are no custom key stores: every Region is on its operator's own HSM already."
	noMLKEM  = "SoftHSM2 has no ML-KEM: UnsupportedOperationException names the mechanism."
	notBuilt = "Not built: UnsupportedOperationException."
)

var neverSucceeds = map[string]string{
	"ConnectCustomKeyStore": noStores, "CreateCustomKeyStore": noStores, "DeleteCustomKeyStore": noStores,
	"DisconnectCustomKeyStore": noStores, "UpdateCustomKeyStore": noStores,
	"Decapsulate": noMLKEM, "Encapsulate": noMLKEM,
}

// storeOperation are the operations that name a custom key store.
var storeOperation = map[string]bool{
	"ConnectCustomKeyStore": true, "DeleteCustomKeyStore": true, "DescribeCustomKeyStores": true,
	"DisconnectCustomKeyStore": true, "UpdateCustomKeyStore": true,
}

const (
	noDependency = "Nothing that the operation waits for is outside the Region's process, store and token; a failure there is KMSInternalException."
	noSuchArn    = "A KeyId that is no name of a key is NotFoundException, as in AWS's recorded answers; InvalidArnException is given for principals only."
	everyState   = "AWS's table of key states allows the operation in every state."
	noToken      = "The operation asks no token: it works with the public key."
)

// unreachable says why an error of the model is not shown: by "operation error", or "* error" for all operations that
// are not named; "" if it is shown.
var unreachable = map[string]string{
	"* DependencyTimeoutException": noDependency,
	"* InvalidArnException":        noSuchArn,

	"CreateGrant InvalidArnException":           "",
	"ListRetirableGrants InvalidArnException":   "",
	"GenerateRandom DependencyTimeoutException": "",

	"CreateAlias InvalidAliasNameException":              "A name that breaks a rule is ValidationException, as in AWS's recorded answers.",
	"CreateGrant LimitExceededException":                 "The limit is 50,000 grants on a key, more than the test makes.",
	"EnableKey LimitExceededException":                   "No quota counts enabled keys.",
	"TagResource LimitExceededException":                 "More than 50 tags are TagException.",
	"UntagResource TagException":                         "Any key of a tag may be named; one that is not there is passed over.",
	"GetPublicKey InvalidKeyUsageException":              "Every usage of a key pair allows it; a key of another kind is UnsupportedOperationException.",
	"GetPublicKey KeyUnavailableException":               noToken,
	"Verify KeyUnavailableException":                     noToken,
	"DeleteImportedKeyMaterial KMSInvalidStateException": "Only a key that is Creating or Updating; `regions`: `TestImportStates` shows it on records with these states.",
	"DeleteAlias KMSInvalidStateException":               everyState,
	"GetKeyPolicy KMSInvalidStateException":              everyState,
	"ListGrants KMSInvalidStateException":                everyState,
	"ListKeyPolicies KMSInvalidStateException":           everyState,
	"ListKeyRotations KMSInvalidStateException":          everyState,
	"PutKeyPolicy KMSInvalidStateException":              everyState,
	"RetireGrant KMSInvalidStateException":               everyState,
	"RevokeGrant KMSInvalidStateException":               everyState,
	"GetKeyRotationStatus KMSInvalidStateException":      everyState,
	"PutKeyPolicy UnsupportedOperationException":         "Every key has a policy that can be set.",
	"ListRetirableGrants NotFoundException":              "A principal who has nothing to retire has an empty list.",
	"CreateCustomKeyStore LimitExceededException":        noStores,
}
