package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// tri is a truth that may be unknown, ordered so that "and" is min, "or" is max and "not" is the sign.
type tri int8

const (
	no      tri = -1
	unknown tri = 0
	yes     tri = 1
)

func triOf(b bool) tri {
	if b {
		return yes
	}
	return no
}

// condition is one operator on one condition key.
type condition struct {
	operator
	key      keyRef
	operands []operand
}

// compile reads a Condition block, in an order that does not depend on that of its members.
func (r rawConditions) compile(variables bool, asks *keySet) ([]condition, error) {
	var out []condition
	for _, name := range slices.Sorted(maps.Keys(r)) {
		op, err := parseOperator(name)
		if err != nil {
			return nil, err
		}
		block := r[name]
		for _, key := range slices.Sorted(maps.Keys(block)) {
			c := condition{operator: op}
			if c.key, err = newKeyRef(key); err != nil {
				return nil, err
			}
			asks.add(c.key.id)
			for _, text := range block[key] {
				o, err := op.operand(text, variables)
				if err != nil {
					return nil, fmt.Errorf("%s on %s: %w", name, key, err)
				}
				o.template.asks(asks)
				c.operands = append(c.operands, o)
			}
			out = append(out, c)
		}
	}
	return out, nil
}

// holds evaluates the condition for a request.
func (c *condition) holds(ev *evaluator) tri {
	v := ev.lookup(c.key)
	if c.family == nullFamily {
		return c.isNull(v.state == absent)
	}
	switch v.state {
	case absent:
		return triOf(c.ifExists || c.set == forAllValues || (c.negated && c.set == single))
	case ambiguous:
		return unknown
	case present:
	}
	if !v.multi {
		return c.one(ev, v.one)
	}
	// Without a prefix a multi-valued key is taken as ForAnyValue would; a negation is one of that.
	all := c.set == forAllValues || (c.set == single && c.negated)
	result := triOf(all)
	add := func(s string) {
		t := c.one(ev, value{s: s})
		if all {
			result = min(result, t)
		} else {
			result = max(result, t)
		}
	}
	for _, s := range v.list {
		add(s)
	}
	for s := range v.keys {
		add(s)
	}
	for i := range v.tags {
		add(v.tags[i].Key)
	}
	return result
}

func (c *condition) isNull(null bool) tri {
	for i := range c.operands {
		if (c.operands[i].number == 1) == null {
			return yes
		}
	}
	return no
}

// one compares one value of the request with the operands: one that matches is enough, none may if the operator is
// negated. An unresolved variable matches nothing, which is not known to be a difference.
func (c *condition) one(ev *evaluator, v value) tri {
	found := no
	for i := range c.operands {
		if found = max(found, c.compare(ev, &c.operands[i], v)); found == yes {
			break
		}
	}
	if c.negated {
		return -found
	}
	return triOf(found == yes)
}

func (c *condition) compare(ev *evaluator, o *operand, v value) tri {
	switch c.family {
	case stringFamily, likeFamily, foldFamily:
		return o.template.matches(ev, ev.text(c.key, v))
	case arnFamily:
		return o.template.matchesARN(ev, ev.text(c.key, v))
	case numericFamily:
		n, ok := v.asNumber()
		return triOf(ok && c.compares(n, o.number))
	case dateFamily:
		n, ok := v.asDate()
		return triOf(ok && c.compares(n, o.number))
	case boolFamily:
		b, ok := v.asBool()
		return triOf(ok && b == o.number)
	case binaryFamily:
		return triOf(ev.text(c.key, v) == o.bytes)
	case addressFamily:
		a, ok := v.asAddress()
		return triOf(ok && o.prefix.Contains(a))
	default:
		return no
	}
}

func (op operator) compares(have, want float64) bool {
	switch op.relation {
	case less:
		return have < want
	case lessOrEqual:
		return have <= want
	case greater:
		return have > want
	case greaterOrEqual:
		return have >= want
	default:
		return have == want
	}
}

func (v value) asNumber() (float64, bool) {
	switch v.kind {
	case numberValue:
		return float64(v.n), true
	case textValue:
		return parseNumber(v.s)
	default:
		return 0, false
	}
}

func (v value) asDate() (float64, bool) {
	switch v.kind {
	case numberValue, timeValue:
		return float64(v.n) * 1000, true
	case textValue:
		return parseDate(v.s)
	default:
		return 0, false
	}
}

func (v value) asBool() (float64, bool) {
	switch v.kind {
	case boolValue:
		return float64(v.n), true
	case textValue:
		return parseBool(v.s)
	default:
		return 0, false
	}
}

func (v value) asAddress() (netip.Addr, bool) {
	if v.kind == addressValue {
		return v.ip, true
	}
	if v.kind != textValue {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(v.s)
	return a.Unmap(), err == nil
}
