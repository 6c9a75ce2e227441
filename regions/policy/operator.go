package policy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// family is the type of an operator's values.
type family uint8

const (
	stringFamily family = iota + 1
	likeFamily
	foldFamily
	numericFamily
	dateFamily
	boolFamily
	binaryFamily
	addressFamily
	arnFamily
	nullFamily
)

// relation is what a numeric or date operator compares for.
type relation uint8

const (
	equal relation = iota
	less
	lessOrEqual
	greater
	greaterOrEqual
)

// quantifier is the set prefix of an operator.
type quantifier uint8

const (
	single quantifier = iota
	forAnyValue
	forAllValues
)

// operator is a condition operator, understood.
type operator struct {
	family   family
	relation relation
	set      quantifier
	negated  bool
	ifExists bool
}

var errOperator = errors.New("unknown condition operator")

// parseOperator reads ForAnyValue:StringNotEqualsIfExists. Case counts.
func parseOperator(text string) (operator, error) {
	var op operator
	name := text
	if rest, ok := strings.CutPrefix(name, "ForAnyValue:"); ok {
		op.set, name = forAnyValue, rest
	} else if rest, ok := strings.CutPrefix(name, "ForAllValues:"); ok {
		op.set, name = forAllValues, rest
	}
	name, op.ifExists = strings.CutSuffix(name, "IfExists")
	if !op.named(name) || (op.family == nullFamily && (op.ifExists || op.set != single)) {
		return op, fmt.Errorf("%w %q", errOperator, text)
	}
	return op, nil
}

func (op *operator) named(name string) bool {
	switch name {
	case "StringEquals", "StringNotEquals":
		op.family, op.negated = stringFamily, name == "StringNotEquals"
	case "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase":
		op.family, op.negated = foldFamily, name == "StringNotEqualsIgnoreCase"
	case "StringLike", "StringNotLike":
		op.family, op.negated = likeFamily, name == "StringNotLike"
	case "ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike": // AWS: Equals and Like behave identically
		op.family, op.negated = arnFamily, name[3] == 'N'
	case "Bool":
		op.family = boolFamily
	case "BinaryEquals":
		op.family = binaryFamily
	case "IpAddress", "NotIpAddress":
		op.family, op.negated = addressFamily, name == "NotIpAddress"
	case "Null":
		op.family = nullFamily
	default:
		rest, numeric := strings.CutPrefix(name, "Numeric")
		op.family = numericFamily
		if !numeric {
			if rest, numeric = strings.CutPrefix(name, "Date"); !numeric {
				return false
			}
			op.family = dateFamily
		}
		return op.related(rest)
	}
	return true
}

func (op *operator) related(name string) bool {
	switch name {
	case "Equals":
		op.relation = equal
	case "NotEquals":
		op.relation, op.negated = equal, true
	case "LessThan":
		op.relation = less
	case "LessThanEquals":
		op.relation = lessOrEqual
	case "GreaterThan":
		op.relation = greater
	case "GreaterThanEquals":
		op.relation = greaterOrEqual
	default:
		return false
	}
	return true
}

// operand is one value of a condition, of its operator's type.
type operand struct {
	template template     // strings and ARNs
	number   float64      // numbers; dates in milliseconds since 1970; 1 for true
	bytes    string       // binary
	prefix   netip.Prefix // addresses
}

// operand reads one value. One that is not of the operator's type is refused: it could never match.
func (op operator) operand(text string, variables bool) (o operand, err error) {
	bad := fmt.Errorf("%q is no value for this operator", text)
	ok := true
	switch op.family {
	case stringFamily, likeFamily, foldFamily, arnFamily:
		return op.template(text, variables)
	case numericFamily:
		o.number, ok = parseNumber(text)
	case dateFamily:
		o.number, ok = parseDate(text)
	case boolFamily, nullFamily:
		o.number, ok = parseBool(text)
	case binaryFamily:
		b, err := base64.StdEncoding.Strict().DecodeString(text)
		o.bytes, ok = string(b), err == nil
	case addressFamily:
		o.prefix, ok = parsePrefix(text)
	}
	if !ok {
		return o, bad
	}
	return o, nil
}

func (op operator) template(text string, variables bool) (o operand, err error) {
	var m mode
	if variables {
		m = withVariables
	}
	switch op.family {
	case foldFamily:
		m |= ignoringCase
	case likeFamily, arnFamily:
		m |= wildcards
	default:
	}
	if o.template, err = compileTemplate(text, m); err != nil {
		return o, err
	}
	if op.family == arnFamily && o.template.shape != variable && o.template.colons() < 5 {
		return o, fmt.Errorf("%q is not an ARN", text)
	}
	return o, nil
}

func parseNumber(s string) (float64, bool) {
	if s == "" || strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false // what ParseFloat takes beyond decimals: hexadecimal, infinities, underscores
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsInf(f, 0)
}

func parseBool(s string) (float64, bool) {
	switch {
	case strings.EqualFold(s, "true"):
		return 1, true
	case strings.EqualFold(s, "false"):
		return 0, true
	default:
		return 0, false
	}
}

// parseDate reads a date of W3C's profile of ISO 8601, or seconds since 1970.
func parseDate(s string) (float64, bool) {
	if s != "" && strings.Trim(s, "0123456789") == "" {
		f, ok := parseNumber(s)
		return f * 1000, ok
	}
	for _, layout := range [...]string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return float64(t.UnixMilli()), true
		}
	}
	return 0, false
}

// parsePrefix reads an address or a CIDR block, whose bits behind the prefix don't count.
func parsePrefix(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return p, false
	}
	return p.Masked(), true
}
