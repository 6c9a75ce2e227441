package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// mode says what has a meaning of its own in a template.
type mode uint8

const (
	wildcards     mode = 1 << iota // * and ?
	withVariables                  // ${name}, ${name, 'default'}, ${*}, ${?}, ${$}
	ignoringCase                   // letters match in both cases
)

// shape is what a template comes down to, so that the frequent ones are compared at once.
type shape uint8

const (
	exactly    shape = iota // text
	everything              // *
	beginning               // text, then *
	pattern                 // tokens
	variable                // tokens after variables are filled in
)

// template is a text to compare with: a Resource, or a value of a string or ARN operator.
type template struct {
	shape  shape
	fold   bool
	text   string
	tokens []rune
	parts  []part // of shape variable
}

// part is a run of tokens, or a variable.
type part struct {
	tokens     []rune
	name       keyRef
	isVariable bool
	fallback   []rune
	hasDefault bool
}

var errVariable = errors.New("invalid policy variable")

func compileTemplate(text string, m mode) (template, error) {
	t := template{text: text, fold: m&ignoringCase != 0}
	var tokens []rune
	for rest := text; rest != ""; {
		if m&withVariables != 0 && strings.HasPrefix(rest, "${") {
			inner, after, ok := cutVariable(rest[2:])
			if !ok {
				return t, fmt.Errorf("%w in %q", errVariable, text)
			}
			rest = after
			if inner == "*" || inner == "?" || inner == "$" {
				tokens = append(tokens, rune(inner[0]))
				continue
			}
			p, err := compileVariable(inner)
			if err != nil {
				return t, fmt.Errorf("%w in %q", err, text)
			}
			t.parts = append(t.parts, part{tokens: tokens}, p)
			tokens = nil
			continue
		}
		r, n := utf8.DecodeRuneInString(rest)
		rest = rest[n:]
		switch {
		case r == '*' && m&wildcards != 0:
			r = anyRun
		case r == '?' && m&wildcards != 0:
			r = anyOne
		}
		tokens = append(tokens, r)
	}
	if t.parts != nil {
		t.parts = append(t.parts, part{tokens: tokens})
		t.shape, t.text = variable, ""
		return t, nil
	}
	t.tokens = tokens
	t.simplify()
	return t, nil
}

// simplify finds the shape of a template without variables.
func (t *template) simplify() {
	wild := 0
	for _, r := range t.tokens {
		if r < 0 {
			wild++
		}
	}
	n := len(t.tokens)
	ends := n > 0 && t.tokens[n-1] == anyRun
	switch {
	case wild == 0:
		t.shape, t.text = exactly, string(t.tokens)
	case wild == 1 && ends && n == 1:
		t.shape, t.text = everything, ""
	case wild == 1 && ends:
		t.shape, t.text = beginning, string(t.tokens[:n-1])
	default:
		t.shape, t.text = pattern, ""
	}
}

// cutVariable splits behind the brace that ends a variable. A default value in quotes may hold a brace.
func cutVariable(s string) (inner, after string, ok bool) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '\'':
			quoted = !quoted
		case s[i] == '}' && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

func compileVariable(inner string) (part, error) {
	name, fallback, hasDefault := strings.Cut(inner, ",")
	p := part{isVariable: true, hasDefault: hasDefault}
	if hasDefault {
		q := strings.TrimSpace(fallback)
		if len(q) < 2 || q[0] != '\'' || q[len(q)-1] != '\'' || strings.ContainsRune(q[1:len(q)-1], '\'') {
			return p, errVariable
		}
		p.fallback = []rune(q[1 : len(q)-1])
	}
	ref, err := newKeyRef(strings.TrimSpace(name))
	if err != nil {
		return p, errVariable
	}
	p.name = ref
	return p, nil
}

// colons returns the number of colons outside variables.
func (t *template) colons() int {
	n := 0
	count := func(tokens []rune) {
		for _, r := range tokens {
			if r == ':' {
				n++
			}
		}
	}
	count(t.tokens)
	for i := range t.parts {
		count(t.parts[i].tokens)
	}
	return n
}

// asks notes the condition keys that the variables need.
func (t *template) asks(set *keySet) {
	for i := range t.parts {
		if t.parts[i].isVariable {
			set.add(t.parts[i].name.id)
		}
	}
}

// fill returns the tokens with variables replaced by their values, which stand for themselves whatever they contain, or
// no if one has neither a value nor a default. The tokens are valid until the next call.
func (t *template) fill(ev *evaluator) ([]rune, bool) {
	size := 0
	for i := range t.parts {
		s, ok := t.parts[i].value(ev)
		if !ok {
			return nil, false
		}
		size += len(t.parts[i].tokens) + len(t.parts[i].fallback) + len(s)
	}
	out := ev.buffer[:0]
	if size > len(ev.buffer) {
		if size > cap(ev.spill) {
			ev.spill = make([]rune, 0, 2*size)
		}
		out = ev.spill[:0]
	}
	for i := range t.parts {
		p := &t.parts[i]
		out = append(out, p.tokens...)
		if !p.isVariable {
			continue
		}
		if ev.lookup(p.name).state == absent {
			out = append(out, p.fallback...)
			continue
		}
		s, _ := p.value(ev)
		for _, r := range s {
			out = append(out, r)
		}
	}
	return out, true
}

// value returns the value of a variable; "" for one that has only a default, and for a run of tokens.
func (p *part) value(ev *evaluator) (string, bool) {
	if !p.isVariable {
		return "", true
	}
	v := ev.lookup(p.name)
	if v.state == present && !v.multi {
		return ev.text(p.name, v.one), true
	}
	return "", v.state == absent && p.hasDefault
}

// matches compares as a text; tri because a variable may have no value.
func (t *template) matches(ev *evaluator, s string) tri {
	switch t.shape {
	case exactly:
		if t.fold {
			return triOf(strings.EqualFold(t.text, s))
		}
		return triOf(t.text == s)
	case everything:
		return yes
	case beginning:
		return triOf(strings.HasPrefix(s, t.text))
	case pattern:
		return triOf(glob(t.tokens, s))
	default:
		tokens, ok := t.fill(ev)
		if !ok {
			return unknown
		}
		if t.fold {
			return triOf(equalFold(tokens, s))
		}
		return triOf(glob(tokens, s))
	}
}

// matchesARN compares as an ARN.
func (t *template) matchesARN(ev *evaluator, s string) tri {
	if t.shape != variable {
		return triOf(globARN(t.tokens, s))
	}
	tokens, ok := t.fill(ev)
	if !ok {
		return unknown
	}
	return triOf(globARN(tokens, s))
}

// equalFold is strings.EqualFold for tokens, which have no wildcards where it is used.
func equalFold(tokens []rune, s string) bool {
	i := 0
	for _, r := range s {
		if i == len(tokens) || smallest(tokens[i]) != smallest(r) {
			return false
		}
		i++
	}
	return i == len(tokens)
}

// smallest returns the same character for all that differ in case only.
func smallest(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}
