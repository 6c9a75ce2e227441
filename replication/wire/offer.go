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
}

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
	case len(o.Account) != 12 || strings.Trim(o.Account, "0123456789") != "":
		return fmt.Errorf("%w: account", ErrMalformed)
	case !strings.HasPrefix(o.Principal, "arn:") || len(o.Principal) > 2048:
		return fmt.Errorf("%w: principal", ErrMalformed)
	case !strings.HasPrefix(o.KeyID, "mrk-") || len(o.KeyID) != 36 || strings.Trim(o.KeyID[4:], "0123456789abcdef") != "":
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
	if err := validateTags(o.Tags); err != nil {
		return err
	}
	if err := validateMaterials(o.Materials); err != nil {
		return err
	}
	return validateSuites(o.Suites)
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

func validateMaterials(list []Material) error {
	if len(list) == 0 || len(list) > MaxMaterials {
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
