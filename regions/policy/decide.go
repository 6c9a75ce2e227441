package policy

import "strings"

// Request is what [Decide] is asked about. The caller has authenticated the principal.
type Request struct {
	PrincipalARN     string // "arn:aws:iam::111122223333:user/alice"
	PrincipalAccount string // 12 digits
	// Administrator says that the policies of the principal's own account let him do everything.
	Administrator bool
	Action        string // "kms:Encrypt"
	KeyAccount    string // the account that owns the key
}

// Reason says what decided. The zero value is no decision, and is never allowed.
type Reason uint8

// The reasons.
const (
	// NoKeyPolicy: no statement of the key policy concerns the principal or his account.
	NoKeyPolicy Reason = iota + 1
	// OtherAccount: the principal belongs to another account than the key, to which it is not delegated.
	OtherAccount
	// NoIdentityPolicy: the key policy leaves it to the account, and the account does not allow it.
	NoIdentityPolicy
	// Delegated: the key policy leaves it to the account, and the account allows it.
	Delegated
	// NoRequest: the request lacks a principal, an account or an action of KMS.
	NoRequest
)

// String returns the reason in a few words, for audit records.
func (r Reason) String() string {
	switch r {
	case NoKeyPolicy:
		return "no statement of the key policy applies"
	case OtherAccount:
		return "the principal is of another account"
	case NoIdentityPolicy:
		return "the account does not allow it"
	case Delegated:
		return "the key policy delegates to the account, which allows it"
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
	// Statement is the Sid of the key policy's deciding statement, "" if none decided or it has none.
	Statement string
}

// Because returns the end of the text of AWS's AccessDeniedException for a denial, what follows "because ".
func (d Decision) Because(action string) string {
	if d.Reason == NoIdentityPolicy {
		return "no identity-based policy allows the " + action + " action"
	}
	return "no resource-based policy allows the " + action + " action"
}

// Decide answers whether the principal may do the action on a key with policy p: exactly if the key is delegated to the
// account that owns it, and the principal is of that account and its administrator.
func Decide(p Policy, r Request) Decision {
	if operation, ok := strings.CutPrefix(r.Action, "kms:"); !ok || operation == "" ||
		r.PrincipalARN == "" || r.PrincipalAccount == "" || r.KeyAccount == "" {
		return Decision{Reason: NoRequest}
	}
	if r.PrincipalAccount != r.KeyAccount {
		return Decision{Reason: OtherAccount}
	}
	for _, d := range p.delegates {
		if d.account != r.PrincipalAccount {
			continue
		}
		if !r.Administrator {
			return Decision{Reason: NoIdentityPolicy, Statement: d.sid}
		}
		return Decision{Allowed: true, Reason: Delegated, Statement: d.sid}
	}
	return Decision{Reason: NoKeyPolicy}
}
