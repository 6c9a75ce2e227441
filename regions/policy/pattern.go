package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// action is a pattern of actions, in lower case: "*", "kms:encrypt", "kms:generate*".
type action struct {
	pattern string
	glob    bool // has wildcards
}

func compileActions(texts []string) ([]action, error) {
	out := make([]action, 0, len(texts))
	for _, text := range texts {
		if err := checkAction(text); err != nil {
			return nil, err
		}
		p := lower(text)
		out = append(out, action{pattern: p, glob: strings.ContainsAny(p, "*?")})
	}
	return out, nil
}

// checkAction accepts "*" and SERVICE:NAME, with wildcards in NAME alone.
func checkAction(text string) error {
	if text == "*" {
		return nil
	}
	vendor, name, ok := strings.Cut(text, ":")
	if !ok || vendor == "" || name == "" {
		return fmt.Errorf("the action %q is not of the form service:name", text)
	}
	for i := range len(vendor) {
		if !isAlphanumeric(vendor[i]) && vendor[i] != '-' {
			return fmt.Errorf("the action %q has an invalid service", text)
		}
	}
	for i := range len(name) {
		if !isAlphanumeric(name[i]) && strings.IndexByte("*?-_.", name[i]) < 0 {
			return fmt.Errorf("the action %q has an invalid name", text)
		}
	}
	return nil
}

// matches reports whether the pattern has the action; case does not count.
func (a action) matches(name string) bool {
	if a.pattern == "*" {
		return true
	}
	if !a.glob {
		return len(name) == len(a.pattern) && equalLower(a.pattern, name)
	}
	return globLower(a.pattern, name)
}

// equalLower compares a lower-case ASCII text with one of the same length in any case.
func equalLower(low, s string) bool {
	for i := range len(low) {
		if low[i] != lowerByte(s[i]) {
			return false
		}
	}
	return true
}

// globLower matches a lower-case ASCII pattern with a text in any case. It goes back to the last * only, so that it takes
// at most the product of both lengths.
func globLower(p, s string) bool {
	pi, si, star, mark := 0, 0, -1, 0
	for si < len(s) {
		switch {
		case pi < len(p) && p[pi] == '*':
			star, mark = pi, si
			pi++
		case pi < len(p) && (p[pi] == '?' || p[pi] == lowerByte(s[si])):
			pi++
			si++
		case star >= 0:
			mark++
			pi, si = star+1, mark
		default:
			return false
		}
	}
	for pi < len(p) && p[pi] == '*' {
		pi++
	}
	return pi == len(p)
}

func lowerByte(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// lower folds ASCII letters alone: no other letter may come to equal one in a name.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// Wildcards in the tokens of a template. All other tokens stand for themselves.
const (
	anyRun rune = -1 // *
	anyOne rune = -2 // ?
)

// glob matches tokens with a text, a character for a token.
func glob(p []rune, s string) bool {
	pi, si, star, mark := 0, 0, -1, 0
	for si < len(s) {
		if pi < len(p) && p[pi] == anyRun {
			if pi == len(p)-1 {
				return true
			}
			star, mark = pi, si
			pi++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[si:])
		if pi < len(p) && (p[pi] == anyOne || p[pi] == r) {
			pi++
			si += n
			continue
		}
		if star < 0 {
			return false
		}
		_, n = utf8.DecodeRuneInString(s[mark:])
		mark += n
		pi, si = star+1, mark
	}
	for pi < len(p) && p[pi] == anyRun {
		pi++
	}
	return pi == len(p)
}

// globARN matches an ARN part by part: a wildcard does not go beyond the colon that ends its part, except in the last
// part, which may have colons itself.
func globARN(p []rune, s string) bool {
	for range 5 {
		i, j := 0, strings.IndexByte(s, ':')
		for i < len(p) && p[i] != ':' {
			i++
		}
		if i == len(p) || j < 0 || !glob(p[:i], s[:j]) {
			return false
		}
		p, s = p[i+1:], s[j+1:]
	}
	return glob(p, s)
}

var errResource = errors.New(`a Resource is an ARN or "*"`)

// compileResource reads a Resource: "*" or an ARN with wildcards, which stand for colons and slashes too. An ARN of fewer
// than six parts is completed with wildcards, as AWS does.
func compileResource(text string, variables bool, asks *keySet) (template, error) {
	if text != "*" && !strings.HasPrefix(text, "arn:") {
		return template{}, fmt.Errorf("%w: %q", errResource, text)
	}
	m := wildcards
	if variables {
		m |= withVariables
	}
	t, err := compileTemplate(text, m)
	if err != nil {
		return template{}, err
	}
	if text != "*" && t.colons() < 5 {
		t, err = compileTemplate(text+strings.Repeat(":*", 5-t.colons()), m)
	}
	t.asks(asks)
	return t, err
}
