package policy

import (
	"net/netip"
	"time"
)

// Request is what [Decide] is asked about: who wants to do what on which resource, and what applies to it. Nothing in it
// is changed or kept. The caller has authenticated the principal.
type Request struct {
	Principal Principal
	// Action is service and operation, "kms:Encrypt", as AWS spells it.
	Action string
	// Resource is the ARN of the key or alias (or of the role, for sts:AssumeRole), "*" for what is on no resource.
	Resource string
	// ResourceAccount owns the resource, 12 digits.
	ResourceAccount string
	// KeyPolicy is the policy of the key, or the trust policy of the role. [Decide] denies everything if it is nil.
	KeyPolicy *Document
	// Identity are the policies of the user, or of the role whose session calls; empty grants nothing.
	Identity []*Document
	// Session are the session policies of the caller's temporary credentials. If there are any, what Identity allows is
	// allowed only if one of them allows it too.
	Session []*Document
	// Grants are those of the key; nil is none.
	Grants *GrantSet
	// TokenGrants are grants on the key that the request named by token, beside those of Grants.
	TokenGrants []Grant
	// Context is what conditions may ask about.
	Context Context
}

// PrincipalType says what kind of principal calls, in the words of aws:PrincipalType.
type PrincipalType string

// The kinds of principals. The zero value is refused.
const (
	User          PrincipalType = "User"
	AssumedRole   PrincipalType = "AssumedRole"
	AccountRoot   PrincipalType = "Account"       // the root user of an account
	FederatedUser PrincipalType = "FederatedUser" // a session of GetFederationToken
	Service       PrincipalType = "Service"       // a service principal, by its name in ARN
	WebIdentity   PrincipalType = "WebIdentity"   // authenticated by a provider, in ARN; for trust policies
)

// Principal is who calls.
type Principal struct {
	Type PrincipalType
	// ARN is arn:aws:iam::ACCOUNT:user/PATH/NAME, arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION,
	// arn:aws:sts::ACCOUNT:federated-user/NAME or arn:aws:iam::ACCOUNT:root; of a service "NAME.amazonaws.com".
	ARN string
	// RoleARN is arn:aws:iam::ACCOUNT:role/PATH/ROLE of a role's session, "" for others.
	RoleARN string
	Account string // 12 digits; "" of services and web identities
	// UserName is aws:username: of users only.
	UserName string
	// UserID is aws:userid: "AIDA...", or "AROA...:SESSION" of a role's session, or the account id of its root.
	UserID         string
	SourceIdentity string // aws:SourceIdentity
	// Tags are aws:PrincipalTag/KEY: those of the user, or of the role and the session.
	Tags []Tag
	// TokenIssued is aws:TokenIssueTime, zero without temporary credentials.
	TokenIssued time.Time
	// MultiFactor is aws:MultiFactorAuthPresent, which only temporary credentials have.
	MultiFactor Bool
}

// Tag is a tag of a key, a principal or a request.
type Tag struct{ Key, Value string }

// Bool is a condition key that may be absent.
type Bool uint8

// The values of a [Bool]. The zero value is that the request has no such key.
const (
	Absent Bool = iota
	False
	True
)

// BoolOf returns True or False.
func BoolOf(b bool) Bool {
	if b {
		return True
	}
	return False
}

// Context holds what conditions may ask about beside the principal. The zero value of a field means that the request has
// no such key. What is costly to fill in need be there only if the documents ask for it: see [Document.Asks].
type Context struct {
	// The key.
	KeySpec            string // kms:KeySpec, and kms:CustomerMasterKeySpec
	KeyUsage           string // kms:KeyUsage, and kms:CustomerMasterKeyUsage
	KeyOrigin          string // kms:KeyOrigin
	MultiRegion        Bool   // kms:MultiRegion
	MultiRegionKeyType string // kms:MultiRegionKeyType: PRIMARY or REPLICA, "" for a single-Region key
	// ResourceAliases are kms:ResourceAliases, the names of all of the key's aliases, each with "alias/".
	ResourceAliases []string
	ResourceTags    []Tag // aws:ResourceTag/KEY

	// The parameters.
	RequestAlias         string            // kms:RequestAlias: the alias name that KeyId held
	EncryptionContext    map[string]string // kms:EncryptionContext:NAME, kms:EncryptionContextKeys
	EncryptionAlgorithm  string            // kms:EncryptionAlgorithm
	SigningAlgorithm     string            // kms:SigningAlgorithm
	MacAlgorithm         string            // kms:MacAlgorithm
	KeyAgreementAlg      string            // kms:KeyAgreementAlgorithm
	MessageType          string            // kms:MessageType
	DataKeyPairSpec      string            // kms:DataKeyPairSpec
	WrappingAlgorithm    string            // kms:WrappingAlgorithm
	WrappingKeySpec      string            // kms:WrappingKeySpec
	ExpirationModel      string            // kms:ExpirationModel
	ValidTo              time.Time         // kms:ValidTo
	PrimaryRegion        string            // kms:PrimaryRegion
	ReplicaRegion        string            // kms:ReplicaRegion
	RotationPeriodInDays int               // kms:RotationPeriodInDays
	PendingWindowInDays  int               // kms:ScheduleKeyDeletionPendingWindowInDays
	BypassLockoutCheck   Bool              // kms:BypassPolicyLockoutSafetyCheck
	ReEncryptOnSameKey   Bool              // kms:ReEncryptOnSameKey
	RequestTags          []Tag             // aws:RequestTag/KEY and aws:TagKeys
	TagKeys              []string          // aws:TagKeys of a request that has keys alone
	// NewGrant is the grant that CreateGrant asks for: kms:GrantOperations, kms:GranteePrincipal, kms:RetiringPrincipal,
	// kms:GrantConstraintType. A grant that allows CreateGrant allows only grants within itself.
	NewGrant *Grant
	// GrantIsForAWSResource is kms:GrantIsForAWSResource.
	GrantIsForAWSResource Bool

	// The call.
	Time             time.Time  // aws:CurrentTime, aws:EpochTime
	SourceIP         netip.Addr // aws:SourceIp
	SecureTransport  Bool       // aws:SecureTransport
	RequestedRegion  string     // aws:RequestedRegion
	UserAgent        string     // aws:UserAgent
	SourceARN        string     // aws:SourceArn
	SourceAccount    string     // aws:SourceAccount
	ViaService       string     // kms:ViaService
	ViaAWSService    Bool       // aws:ViaAWSService
	PrincipalService Bool       // aws:PrincipalIsAWSService
	// Other are further keys, by name in lower case ("sts:externalid"), each with its values.
	Other map[string][]string
}
