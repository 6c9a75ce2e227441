package policy

// Reason says what decided. The zero value is no decision, and is never allowed.
type Reason uint8

// The reasons.
const (
	// ByKeyPolicy: allowed by the key policy, which names the principal (for another account's: and his identity policies).
	ByKeyPolicy Reason = iota + 1
	// ByDelegation: allowed by identity policies, to which the key policy leaves it.
	ByDelegation
	// ByGrant: allowed by a grant (for another account's principal: and his identity policies).
	ByGrant
	// ByIdentityPolicy: allowed by identity policies; no key is concerned.
	ByIdentityPolicy
	// ByRoot: the root user of the account, whom no identity policy limits; no key is concerned.
	ByRoot

	// DeniedByKeyPolicy: an explicit deny in the key policy.
	DeniedByKeyPolicy
	// DeniedByIdentityPolicy: an explicit deny in an identity policy.
	DeniedByIdentityPolicy
	// DeniedBySessionPolicy: an explicit deny in a session policy.
	DeniedBySessionPolicy
	// NoKeyPolicy: neither the key policy nor a grant allows it.
	NoKeyPolicy
	// NoIdentityPolicy: the owner's side allows it if an identity policy does, and none does.
	NoIdentityPolicy
	// NoSessionPolicy: an identity policy or the role allows it, but no session policy does.
	NoSessionPolicy
	// OtherAccount: an operation that no policy can allow to another account.
	OtherAccount
	// NoRequest: the request lacks a principal, an account, an action or a document, or has one of another kind.
	NoRequest
)

// String returns the reason in a few words, for audit records.
func (r Reason) String() string {
	switch r {
	case ByKeyPolicy:
		return "the key policy allows it"
	case ByDelegation:
		return "the key policy delegates to the account, and an identity policy allows it"
	case ByGrant:
		return "a grant allows it"
	case ByIdentityPolicy:
		return "an identity policy allows it"
	case ByRoot:
		return "the root user of the account"
	case DeniedByKeyPolicy:
		return "explicit deny in the key policy"
	case DeniedByIdentityPolicy:
		return "explicit deny in an identity policy"
	case DeniedBySessionPolicy:
		return "explicit deny in a session policy"
	case NoKeyPolicy:
		return "neither the key policy nor a grant allows it"
	case NoIdentityPolicy:
		return "no identity policy allows it"
	case NoSessionPolicy:
		return "no session policy allows it"
	case OtherAccount:
		return "the operation is not open to other accounts"
	case NoRequest:
		return "the request is incomplete"
	default:
		return "undecided"
	}
}

// Decision is the answer to a [Request]. The zero value denies.
type Decision struct {
	Allowed bool
	Reason  Reason
}

// Because returns the end of the text of AWS's AccessDeniedException for a denial: what follows "on resource: ARN ".
func (d Decision) Because(action string) string {
	switch d.Reason {
	case DeniedByKeyPolicy:
		return "with an explicit deny in a resource-based policy"
	case DeniedByIdentityPolicy:
		return "with an explicit deny in an identity-based policy"
	case DeniedBySessionPolicy:
		return "with an explicit deny in a session policy"
	case NoIdentityPolicy:
		return "because no identity-based policy allows the " + action + " action"
	case NoSessionPolicy:
		return "because no session policy allows the " + action + " action"
	default:
		return "because no resource-based policy allows the " + action + " action"
	}
}
