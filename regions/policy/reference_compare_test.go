package policy_test

import (
	"encoding/base64"
	"math/big"
	"net"
	"regexp"
	"strings"
	"time"
)

// compare returns whether the value matches, and false as second if that can't be told for want of a variable.
func (f *reference) compare(operator, want, have string, variables bool) (match, known bool) {
	switch operator {
	case "StringEquals", "StringEqualsIgnoreCase":
		p, ok := f.expand(want, variables, false)
		if !ok {
			return false, false
		}
		text := ""
		for _, c := range p {
			text += string(c.char)
		}
		if operator == "StringEquals" {
			return text == have, true
		}
		return strings.EqualFold(text, have), true
	case "StringLike":
		p, ok := f.expand(want, variables, true)
		return ok && glob(p).MatchString(have), ok
	case "ArnEquals", "ArnLike":
		p, ok := f.expand(want, variables, true)
		return ok && arnLike(p, have), ok
	case "Bool":
		return strings.EqualFold(want, have) && (strings.EqualFold(want, "true") || strings.EqualFold(want, "false")), true
	case "BinaryEquals":
		b, err := base64.StdEncoding.DecodeString(want)
		return err == nil && string(b) == have, true
	case "IpAddress":
		if !strings.Contains(want, "/") {
			return net.ParseIP(want).Equal(net.ParseIP(have)) && net.ParseIP(have) != nil, true
		}
		_, block, err := net.ParseCIDR(want)
		ip := net.ParseIP(have)
		return err == nil && ip != nil && block.Contains(ip), true
	}
	var w, h *big.Rat
	if rest, ok := strings.CutPrefix(operator, "Numeric"); ok {
		operator, w, h = rest, rational(want), rational(have)
	} else {
		operator, w, h = strings.TrimPrefix(operator, "Date"), date(want), date(have)
	}
	if w == nil || h == nil {
		return false, true
	}
	c := h.Cmp(w)
	return map[string]bool{
		"Equals": c == 0, "LessThan": c < 0, "LessThanEquals": c <= 0, "GreaterThan": c > 0, "GreaterThanEquals": c >= 0,
	}[operator], true
}

var decimal = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)

func rational(s string) *big.Rat {
	if !decimal.MatchString(s) {
		return nil
	}
	r, _ := new(big.Rat).SetString(s)
	return r
}

func date(s string) *big.Rat {
	if regexp.MustCompile(`^[0-9]+$`).MatchString(s) {
		return rational(s)
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return new(big.Rat).SetInt64(t.Unix())
		}
	}
	return nil
}

// char is a character of a pattern; wild is '*' or '?' for one that stands for others.
type char struct {
	char rune
	wild bool
}

func plain(text string, wildcards bool) []char {
	var out []char
	for _, r := range text {
		out = append(out, char{r, wildcards && (r == '*' || r == '?')})
	}
	return out
}

var variable = regexp.MustCompile(`\$\{\s*([^,}']+?)\s*(,\s*'([^']*)'\s*)?\}`)

func outsideVariables(text string, variables bool) string {
	if !variables {
		return text
	}
	return variable.ReplaceAllString(text, "")
}

// expand fills in variables; false if one has no value.
func (f *reference) expand(text string, variables, wildcards bool) ([]char, bool) {
	if !variables {
		return plain(text, wildcards), true
	}
	var out []char
	at := 0
	for _, m := range variable.FindAllStringSubmatchIndex(text, -1) {
		out = append(out, plain(text[at:m[0]], wildcards)...)
		at = m[1]
		name := text[m[2]:m[3]]
		if name == "*" || name == "?" || name == "$" {
			out = append(out, plain(name, false)...)
			continue
		}
		have, multi, ambiguous := f.values(name)
		switch {
		case ambiguous || (multi && len(have) > 0):
			return nil, false
		case len(have) == 1:
			out = append(out, plain(have[0], false)...)
		case m[4] >= 0 && len(have) == 0:
			out = append(out, plain(text[m[6]:m[7]], false)...)
		default:
			return nil, false
		}
	}
	return append(out, plain(text[at:], wildcards)...), true
}

// globs are compiled once, for a million requests to end.
var globs = newCache()

func glob(pattern []char) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?s)^`)
	for _, c := range pattern {
		switch {
		case c.wild && c.char == '*':
			b.WriteString(`.*`)
		case c.wild:
			b.WriteString(`.`)
		default:
			b.WriteString(regexp.QuoteMeta(string(c.char)))
		}
	}
	b.WriteString(`$`)
	return globs.get(b.String())
}

// arnLike compares the six parts one by one.
func arnLike(pattern []char, have string) bool {
	parts := [][]char{nil}
	for _, c := range pattern {
		if c.char == ':' && !c.wild && len(parts) < 6 {
			parts = append(parts, nil)
			continue
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], c)
	}
	fields := strings.SplitN(have, ":", 6)
	if len(parts) != 6 || len(fields) != 6 {
		return false
	}
	for i := range parts {
		if !glob(parts[i]).MatchString(fields[i]) {
			return false
		}
	}
	return true
}
