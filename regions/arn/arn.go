// Package arn reads and writes the names of KMS keys: key ids, alias names, and the ARNs of both.
//
// Invariants:
//   - A name has one spelling. What [Parse] accepts, String writes back byte for byte; nothing is folded,
//     trimmed or repaired.
//   - Accepting a name allocates nothing: the parts of a [Name] are slices of the string that was given.
//   - The ARNs of related multi-Region keys differ in their Region only, because [Place] is all that an ARN adds to an id.
package arn

import "strings"

// MaxLength is the length in bytes of the longest KeyId parameter that AWS KMS accepts.
const MaxLength = 2048

// Kind says what a [Name] names and how it was spelled. The zero value is no name.
type Kind uint8

// The kinds of names that a KeyId parameter may hold.
const (
	KeyID     Kind = iota + 1 // mrk-1234abcd12ab34cd56ef1234567890ab, 1234abcd-12ab-34cd-56ef-1234567890ab
	KeyARN                    // arn:aws:kms:us-east-2:111122223333:key/ID
	AliasName                 // alias/NAME
	AliasARN                  // arn:aws:kms:us-east-2:111122223333:alias/NAME
)

// String returns the kind in words, for logs.
func (k Kind) String() string {
	switch k {
	case KeyID:
		return "key id"
	case KeyARN:
		return "key ARN"
	case AliasName:
		return "alias name"
	case AliasARN:
		return "alias ARN"
	default:
		return "no name"
	}
}

// IsAlias reports whether the name is one of an alias, in either spelling. Operations that take no alias
// (ReplicateKey, ScheduleKeyDeletion and others) refuse these.
func (k Kind) IsAlias() bool { return k == AliasName || k == AliasARN }

// IsARN reports whether the name carries its place.
func (k Kind) IsARN() bool { return k == KeyARN || k == AliasARN }

// Place is where keys and aliases live: one account in one Region of one partition.
type Place struct {
	Partition string // "aws": 1 to 32 of a-z, 0-9 and inner '-'
	Region    string // "us-east-2": 1 to 64 of a-z, 0-9 and inner '-'
	Account   string // 12 digits
}

// Valid reports whether each part has the form that its field states.
func (p Place) Valid() bool {
	return isLabel(p.Partition, 32) && isLabel(p.Region, 64) && IsAccount(p.Account)
}

// Key returns the ARN of the key with this id. Neither the place nor the id is checked.
func (p Place) Key(id string) string { return p.prefix() + "key/" + id }

// Alias returns the ARN of the alias with this name, which starts with "alias/". Neither is checked.
func (p Place) Alias(name string) string { return p.prefix() + name }

func (p Place) prefix() string {
	return "arn:" + p.Partition + ":kms:" + p.Region + ":" + p.Account + ":"
}

// Name is a KeyId parameter, understood. ID is a key id, or an alias name with its "alias/" prefix. Place is the ARN's,
// and empty for a bare id or alias name until [Resolve] fills it in.
type Name struct {
	Kind  Kind
	Place Place
	ID    string
}

// String returns the spelling that the Kind says, and "" for the zero Name.
func (n Name) String() string {
	switch n.Kind {
	case KeyID, AliasName:
		return n.ID
	case KeyARN:
		return n.Place.Key(n.ID)
	case AliasARN:
		return n.Place.Alias(n.ID)
	default:
		return ""
	}
}

// ARN returns the full name of the key or alias; the Name must have its Place.
func (n Name) ARN() string {
	if n.Kind.IsAlias() {
		return n.Place.Alias(n.ID)
	}
	return n.Place.Key(n.ID)
}

// Parse understands s as one of the four kinds. Every refusal is an [*Error] of kind [ErrInvalidKeyID].
func Parse(s string) (Name, error) {
	n, ok := parse(s)
	if !ok {
		return Name{}, &Error{Kind: ErrInvalidKeyID, Value: s}
	}
	return n, nil
}

// Resolve understands s as a request that arrived at home means it: a bare id or alias name is one of home's account. An
// ARN keeps its own account, so that a caller may name another account's key, but must be of home's partition and
// Region: otherwise the error is an [*Error] of kind [ErrOtherRegion].
func Resolve(s string, home Place) (Name, error) {
	n, err := Parse(s)
	if err != nil {
		return Name{}, err
	}
	if !n.Kind.IsARN() {
		n.Place = home
		return n, nil
	}
	if n.Place.Region != home.Region || n.Place.Partition != home.Partition {
		return Name{}, &Error{Kind: ErrOtherRegion, Value: n.Place.Region}
	}
	return n, nil
}

func parse(s string) (Name, bool) {
	switch {
	case len(s) > MaxLength:
		return Name{}, false
	case strings.HasPrefix(s, "arn:"):
		return parseARN(s)
	case IsKeyID(s):
		return Name{Kind: KeyID, ID: s}, true
	case IsAliasName(s):
		return Name{Kind: AliasName, ID: s}, true
	default:
		return Name{}, false
	}
}

func parseARN(s string) (Name, bool) {
	rest := s[len("arn:"):]
	var p Place
	var service string
	var ok bool
	for _, part := range [...]*string{&p.Partition, &service, &p.Region, &p.Account} {
		if *part, rest, ok = strings.Cut(rest, ":"); !ok {
			return Name{}, false
		}
	}
	if service != "kms" || !p.Valid() {
		return Name{}, false
	}
	if id, isKey := strings.CutPrefix(rest, "key/"); isKey {
		return Name{Kind: KeyARN, Place: p, ID: id}, IsKeyID(id)
	}
	return Name{Kind: AliasARN, Place: p, ID: rest}, IsAliasName(rest)
}

// IsAccount reports whether s is an account id, 12 digits.
func IsAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// isLabel reports whether s is 1 to limit of a-z, 0-9 and '-', with no '-' at either end.
func isLabel(s string, limit int) bool {
	if s == "" || len(s) > limit || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
