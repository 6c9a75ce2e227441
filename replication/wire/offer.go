package wire

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"antipode/regions/keyset"
)

// Limits of an offer; those of policy, description and tags are the AWS API's.
const (
	MaxPolicy      = 32 << 10 // bytes
	MaxDescription = 8192     // characters
	MaxTags        = 50
	MaxMaterials   = keyset.MaxMaterials
	NonceSize      = 32
)

// Offer is m1: the source asks whether the destination takes a key, and says all that the destination needs to decide.
type Offer struct {
	Route
	Account   string `cbor:"5,keyasint"` // 12 digits
	Principal string `cbor:"6,keyasint"` // ARN of who asked for the replica at the source
	KeyID     string `cbor:"7,keyasint"` // "mrk-" and 32 hex digits
	Spec      string `cbor:"8,keyasint"`
	Usage     string `cbor:"9,keyasint"`
	Origin    string `cbor:"10,keyasint"`
	// Policy, Description and Tags are the replica's own, not shared. An empty policy asks for the default one.
	Policy      string     `cbor:"11,keyasint"` // JSON
	Description string     `cbor:"12,keyasint"`
	Tags        []Tag      `cbor:"13,keyasint"`
	Materials   []Material `cbor:"14,keyasint"` // what will be sent, in the order of the key set
	// Certificate is keyset.Hash of the last epoch certificate: Transfer must come with the chain that ends in it.
	Certificate [keyset.HashSize]byte `cbor:"15,keyasint"`
	Suites      []Suite               `cbor:"16,keyasint"` // that the source's token can do
	Nonce       [NonceSize]byte       `cbor:"17,keyasint"`
	// DryRun asks for every check and for nothing to be made.
	DryRun bool `cbor:"18,keyasint"`
	// Purpose is what the material is sent for.
	Purpose Purpose `cbor:"19,keyasint"`
	// State and Chain are the proof that the destination may be supplied, which it checks before its token is asked for
	// anything; Transfer repeats them byte for byte. Absent from a replication, whose state is made after Accept.
	State []byte   `cbor:"20,keyasint,omitempty"` // keyset.SignState
	Chain [][]byte `cbor:"21,keyasint,omitempty"` // the epoch certificates, genesis first
}

// Purpose is what an exchange is for.
type Purpose string

// The purposes.
const (
	// PurposeReplicate makes the destination a new member of the key set. The source is the primary.
	PurposeReplicate Purpose = "replicate"
	// PurposeSupply brings material to a Region that is a member already. The source is any member that holds it. Nobody
	// asked for a replica, so there is no principal, and no property of the replica is in the offer.
	PurposeSupply Purpose = "supply"
)

// Tag is one tag of a key.
type Tag struct {
	Key   string `cbor:"1,keyasint"` // 1 to 128 characters
	Value string `cbor:"2,keyasint"` // 0 to 256 characters
}

// Material names one version of the key material.
type Material struct {
	ID     string                `cbor:"1,keyasint"` // 64 lower-case hex digits
	Status keyset.MaterialStatus `cbor:"2,keyasint"`
}

// Type returns [TypeOffer].
func (*Offer) Type() string { return TypeOffer }

func (o *Offer) validate() error {
	if err := o.Route.validate(); err != nil {
		return err
	}
	switch {
	case !validAccount(o.Account):
		return fmt.Errorf("%w: account", ErrMalformed)
	case !validKeyID(o.KeyID):
		return fmt.Errorf("%w: key id", ErrMalformed)
	case !apiName(o.Spec) || !apiName(o.Usage) || !apiName(o.Origin):
		return fmt.Errorf("%w: spec, usage or origin", ErrMalformed)
	case len(o.Policy) > MaxPolicy:
		return fmt.Errorf("%w: policy of %d bytes", ErrMalformed, len(o.Policy))
	case utf8.RuneCountInString(o.Description) > MaxDescription:
		return fmt.Errorf("%w: description of more than %d characters", ErrMalformed, MaxDescription)
	case o.Nonce == [NonceSize]byte{}:
		return fmt.Errorf("%w: no nonce", ErrMalformed)
	}
	if err := o.validatePurpose(); err != nil {
		return err
	}
	if err := validateTags(o.Tags); err != nil {
		return err
	}
	if err := o.validateMaterials(); err != nil {
		return err
	}
	return validateSuites(o.Suites)
}

func (o *Offer) validatePurpose() error {
	switch o.Purpose {
	case PurposeReplicate:
		if !strings.HasPrefix(o.Principal, "arn:") || len(o.Principal) > 2048 {
			return fmt.Errorf("%w: principal", ErrMalformed)
		}
		if len(o.State) != 0 || len(o.Chain) != 0 {
			return fmt.Errorf("%w: a replication is offered without state and chain", ErrMalformed)
		}
		return nil
	case PurposeSupply:
		if o.Principal != "" || o.Policy != "" || o.Description != "" || len(o.Tags) != 0 || o.DryRun {
			return fmt.Errorf("%w: a supply has no principal and no properties, and no dry run", ErrMalformed)
		}
		if err := validateShared(o.State, o.Chain); err != nil {
			return err
		}
		if keyset.Hash(o.Chain[len(o.Chain)-1]) != o.Certificate {
			return fmt.Errorf("%w: the chain does not end in the certificate", ErrMalformed)
		}
		return nil
	}
	return fmt.Errorf("%w: purpose %.20q", ErrMalformed, o.Purpose)
}

// validateShared checks the size of a signed state and its chain.
func validateShared(state []byte, chain [][]byte) error {
	if len(state) == 0 || len(state) > maxState {
		return fmt.Errorf("%w: state of %d bytes", ErrMalformed, len(state))
	}
	if len(chain) == 0 || len(chain) > keyset.MaxChain {
		return fmt.Errorf("%w: chain of %d certificates", ErrMalformed, len(chain))
	}
	for _, c := range chain {
		if len(c) == 0 || len(c) > maxCertificate {
			return fmt.Errorf("%w: certificate of %d bytes", ErrMalformed, len(c))
		}
	}
	return nil
}

func validAccount(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }

func validKeyID(s string) bool {
	return strings.HasPrefix(s, "mrk-") && len(s) == 36 && strings.Trim(s[4:], "0123456789abcdef") == ""
}

// validateIDs checks a list of material ids, each once.
func validateIDs(ids []string) error {
	if len(ids) > MaxMaterials {
		return fmt.Errorf("%w: %d materials", ErrMalformed, len(ids))
	}
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if !keyset.ValidMaterialID(id) || seen[id] {
			return fmt.Errorf("%w: material id malformed or repeated", ErrMalformed)
		}
		seen[id] = true
	}
	return nil
}

func validateTags(tags []Tag) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("%w: more than %d tags", ErrMalformed, MaxTags)
	}
	for i, t := range tags {
		n := utf8.RuneCountInString(t.Key)
		if n == 0 || n > 128 || utf8.RuneCountInString(t.Value) > 256 {
			return fmt.Errorf("%w: length of a tag", ErrMalformed)
		}
		if slices.ContainsFunc(tags[:i], func(o Tag) bool { return o.Key == t.Key }) {
			return fmt.Errorf("%w: tag repeated", ErrMalformed)
		}
	}
	return nil
}

// validateMaterials: imported material is in no exchange.
func (o *Offer) validateMaterials() error {
	list := o.Materials
	if (len(list) == 0) != (o.Origin == keyset.OriginExternal) || len(list) > MaxMaterials {
		return fmt.Errorf("%w: %d materials, 1 to %d are allowed", ErrMalformed, len(list), MaxMaterials)
	}
	count := map[keyset.MaterialStatus]int{}
	seen := make(map[string]bool, len(list))
	for _, m := range list {
		if !keyset.ValidMaterialID(m.ID) || seen[m.ID] {
			return fmt.Errorf("%w: material id malformed or repeated", ErrMalformed)
		}
		seen[m.ID] = true
		switch m.Status {
		case keyset.Current, keyset.NonCurrent, keyset.Pending:
			count[m.Status]++
		default:
			return fmt.Errorf("%w: material status %.20q", ErrMalformed, m.Status)
		}
	}
	if count[keyset.Current] > 1 || count[keyset.Pending] > 1 {
		return fmt.Errorf("%w: more than one current or pending material", ErrMalformed)
	}
	return nil
}

// apiName holds for the enumerated names of the AWS API.
func apiName(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}
