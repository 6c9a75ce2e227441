package policy_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"antipode/regions/policy"
)

// TestSuite runs the cases of testdata/*.txt, through the evaluator and the reference. A line is
//
//	rule TEXT                                  the AWS rule that the cases below come from, and where it is written
//	define NAME TEXT                           NAME stands for TEXT in the lines below, as a word or as $NAME in one
//	accept KIND DOCUMENT                       a document of KIND (key, identity, session, trust) that is good
//	refuse KIND DOCUMENT                       and one that is malformed
//	action PATTERN ACTION -> yes|no            whether an Action means it
//	resource PATTERN ARN [WITH]... -> yes|no   whether a Resource does
//	condition BLOCK [WITH]... -> yes|no|unknown
//	decide CALLER ACTION [WITH]... -> REASON   a decision on a key
//	unkeyed CALLER ACTION [WITH]... -> REASON  one on no key
//	control CALLER DOCUMENT [WITH]... -> yes|no  the lockout safety check
//	retire CALLER GRANT [WITH]... -> REASON    whether he may retire the grant
//
// WITH is key=DOCUMENT, identity=DOCUMENT, session=DOCUMENT, grant=GRANT, token=GRANT, new=GRANT, caller=NAME, resource=ARN,
// owner=ACCOUNT, or a field of the context or the principal. Words have no spaces; ~ stands for one.
func TestSuite(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	total := 0
	for _, name := range files {
		total += runFile(t, name)
	}
	t.Logf("%d cases", total)
	if total < 300 {
		t.Errorf("only %d cases were found", total)
	}
}

func runFile(t *testing.T, name string) int {
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	s := suite{defined: map[string]string{}}
	cases := 0
	lines := bufio.NewScanner(bytes.NewReader(content))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "rule":
			s.rule = rest
			continue
		case "define":
			name, text, _ := strings.Cut(rest, " ")
			s.defined[name] = s.expand(text)
			continue
		}
		if s.rule == "" {
			t.Fatalf("%s:%d: a case without a rule", name, n)
		}
		cases++
		if err := s.run(word, strings.Fields(rest)); err != nil {
			t.Errorf("%s:%d: %v\n%s\n(%s)", name, n, err, line, s.rule)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return cases
}

type suite struct {
	rule    string
	defined map[string]string
}

// expand replaces $NAME; a variable of a policy, ${...}, stays.
func (s *suite) expand(text string) string {
	return os.Expand(strings.ReplaceAll(text, "${", "\x00"), func(name string) string { return s.defined[name] })
}

func (s *suite) word(text string) string {
	if d, ok := s.defined[text]; ok {
		text = d
	}
	return strings.NewReplacer("\x00", "${", "~", " ").Replace(s.expand(text))
}

func parserOf(kind string) func(string) (*policy.Document, error) {
	return map[string]func(string) (*policy.Document, error){
		"key": policy.ParseKeyPolicy, "identity": policy.ParseIdentityPolicy, "session": policy.ParseSessionPolicy, "trust": policy.ParseTrustPolicy,
	}[kind]
}

func (s *suite) run(kind string, words []string) error {
	want := ""
	if n := len(words); n > 2 && words[n-2] == "->" {
		want, words = words[n-1], words[:n-2]
	}
	for i := range words {
		name, text, assigned := strings.Cut(words[i], "=")
		if assigned && !strings.ContainsAny(name, `{"`) {
			words[i] = strings.ReplaceAll(name, "~", " ") + "=" + s.word(text)
			continue
		}
		words[i] = s.word(words[i])
	}
	if len(words) < 2 && kind != "condition" {
		return fmt.Errorf("too few words")
	}
	switch kind {
	case "accept", "refuse":
		_, err := parserOf(words[0])(words[1])
		if (err == nil) != (kind == "accept") {
			return errors.Join(errors.New("the other answer"), err)
		}
		return nil
	case "action":
		return s.probe(`{"Version":"2012-10-17","Statement":{"Effect":"%s","Action":"`+words[0]+`","Resource":"*"}}`, words[1], words[2:], want)
	case "resource":
		words[1] = "resource=" + words[1]
		return s.probe(`{"Version":"2012-10-17","Statement":{"Effect":"%s","Action":"*","Resource":"`+words[0]+`"}}`, "kms:Encrypt", words[1:], want)
	case "condition":
		return s.probe(`{"Version":"2012-10-17","Statement":{"Effect":"%s","Action":"*","Resource":"*","Condition":`+words[0]+`}}`, "kms:Encrypt", words[1:], want)
	case "decide", "unkeyed", "control", "retire":
		return s.decision(kind, words, want)
	default:
		return fmt.Errorf("unknown word %q", kind)
	}
}

// probe asks whether an Allow with this pattern or condition applies, and whether a Deny does.
func (s *suite) probe(document, action string, with []string, want string) error {
	answers := map[string][2]bool{"yes": {true, true}, "no": {false, false}, "unknown": {false, true}}
	expected, ok := answers[want]
	if !ok {
		return fmt.Errorf("no answer %q", want)
	}
	for i, effect := range []string{"Allow", "Deny"} {
		c := newCase()
		c.request.Action = action
		if err := c.all(append([]string{"identity=" + fmt.Sprintf(document, effect)}, with...)); err != nil {
			return err
		}
		allowed, reason := c.reference.decideIdentity()
		applies := allowed || reason == policy.DeniedByIdentityPolicy
		d := policy.DecideIdentity(c.request)
		if got := d.Allowed || d.Reason == policy.DeniedByIdentityPolicy; got != expected[i] || applies != got {
			return fmt.Errorf("%s applies: %v, by the reference %v", effect, got, applies)
		}
	}
	return nil
}

func (s *suite) decision(kind string, words []string, want string) error {
	c := newCase()
	first := []string{"caller=" + words[0]}
	switch kind {
	case "control":
		first = append(first, "key="+words[1])
	case "retire":
		c.request.Action = "kms:RetireGrant"
	default:
		c.request.Action = words[1]
		if !strings.Contains(words[1], ":") {
			c.request.Action = "kms:" + words[1]
		}
	}
	if err := c.all(append(first, words[2:]...)); err != nil {
		return err
	}
	var d policy.Decision
	switch kind {
	case "control":
		if got := policy.KeepsControl(c.request.KeyPolicy, c.request); got != (want == "yes") {
			return fmt.Errorf("got %v", got)
		}
		return nil
	case "retire":
		g, err := parseGrant(words[1])
		if err != nil {
			return err
		}
		d = policy.DecideRetire(c.request, &g)
	case "unkeyed":
		d = policy.DecideIdentity(c.request)
		if e := policy.ExplainIdentity(c.request); e.Decision != d {
			return fmt.Errorf("explained as %+v", e)
		}
	default:
		d = policy.Decide(c.request)
		if e := policy.Explain(c.request); e.Decision != d {
			return fmt.Errorf("explained as %+v", e)
		}
	}
	if got := shortReason(d); got != want {
		return fmt.Errorf("got %s", got)
	}
	if d.Reason == policy.NoRequest || kind == "retire" {
		return nil
	}
	decide := c.reference.decide
	if kind == "unkeyed" {
		decide = c.reference.decideIdentity
	}
	if allowed, reason := decide(); allowed != d.Allowed || reason != d.Reason {
		return fmt.Errorf("the reference says %v", reason)
	}
	return nil
}

func shortReason(d policy.Decision) string {
	name := map[policy.Reason]string{
		policy.ByKeyPolicy: "key-policy", policy.ByDelegation: "delegation", policy.ByGrant: "grant",
		policy.ByIdentityPolicy: "identity-policy", policy.ByRoot: "root",
		policy.DeniedByKeyPolicy: "denied-by-key", policy.DeniedByIdentityPolicy: "denied-by-identity",
		policy.DeniedBySessionPolicy: "denied-by-session", policy.NoKeyPolicy: "no-key-policy",
		policy.NoIdentityPolicy: "no-identity-policy", policy.NoSessionPolicy: "no-session-policy",
		policy.OtherAccount: "other-account", policy.NoRequest: "incomplete",
	}[d.Reason]
	if d.Allowed != (d.Reason >= policy.ByKeyPolicy && d.Reason <= policy.ByRoot) {
		return "a contradiction: " + name
	}
	return name
}

// testCase is a request under construction.
type testCase struct {
	request   *policy.Request
	reference *reference
	grants    []policy.Grant
}

func newCase() *testCase {
	r := &policy.Request{Principal: callers()[0], Resource: keyARN, ResourceAccount: account}
	return &testCase{request: r, reference: &reference{request: r}}
}

func (c *testCase) all(with []string) error {
	for _, w := range with {
		name, text, ok := strings.Cut(w, "=")
		if !ok {
			return fmt.Errorf("no WITH: %q", w)
		}
		if err := c.with(name, text); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	c.request.Grants = policy.NewGrantSet(c.grants)
	c.reference.grants = append(c.grants, c.request.TokenGrants...)
	return nil
}

func (c *testCase) with(name, text string) error {
	r := c.request
	switch name {
	case "caller":
		for _, p := range callers() {
			if short := p.ARN[strings.LastIndexAny(p.ARN, "/:")+1:]; short == text || (short == "root" && text == "root-"+p.Account) {
				r.Principal = p
				return nil
			}
		}
		return fmt.Errorf("nobody is called %s", text)
	case "key", "trust", "identity", "session":
		d, err := parserOf(name)(text)
		if err != nil {
			return err
		}
		switch name {
		case "identity":
			r.Identity, c.reference.identity = append(r.Identity, d), append(c.reference.identity, decode(text))
		case "session":
			r.Session, c.reference.session = append(r.Session, d), append(c.reference.session, decode(text))
		default:
			r.KeyPolicy, c.reference.key = d, decode(text)
		}
		return nil
	case "grant", "token", "new":
		g, err := parseGrant(text)
		switch name {
		case "grant":
			c.grants = append(c.grants, g)
		case "token":
			r.TokenGrants = append(r.TokenGrants, g)
		default:
			r.Context.NewGrant = &g
		}
		return err
	case "resource":
		r.Resource = text
		return nil
	case "owner":
		r.ResourceAccount = text
		return nil
	}
	field, member, _ := strings.Cut(name, ".")
	for _, v := range []reflect.Value{reflect.ValueOf(&r.Context).Elem(), reflect.ValueOf(&r.Principal).Elem()} {
		if f := v.FieldByName(field); f.IsValid() {
			return set(f, member, text)
		}
	}
	return fmt.Errorf("unknown word")
}

func set(f reflect.Value, member, text string) error {
	var err error
	var v any
	switch have := f.Interface().(type) {
	case string:
		v = text
	case []string:
		v = append(have, strings.Split(text, ",")...)
	case int:
		v, err = strconv.Atoi(text)
	case policy.Bool:
		b, e := strconv.ParseBool(text)
		v, err = policy.BoolOf(b), e
	case time.Time:
		v, err = time.Parse(time.RFC3339, text)
	case netip.Addr:
		v, err = netip.ParseAddr(text)
	case []policy.Tag:
		v = append(have[:len(have):len(have)], policy.Tag{Key: member, Value: text})
	case map[string]string:
		m := map[string]string{member: text}
		for k, e := range have {
			m[k] = e
		}
		v = m
	case map[string][]string:
		v = map[string][]string{member: strings.Split(text, ",")}
	default:
		return fmt.Errorf("a field of type %T", have)
	}
	if err == nil {
		f.Set(reflect.ValueOf(v))
	}
	return err
}

// parseGrant reads GRANTEE;OPERATION,OPERATION[;equals:NAME:VALUE][;subset:NAME:VALUE][;source-arn:ARN][;source-account:ID]
// [;retiring:ARN].
func parseGrant(text string) (policy.Grant, error) {
	parts := strings.Split(text, ";")
	if len(parts) < 2 {
		return policy.Grant{}, fmt.Errorf("no grant: %q", text)
	}
	g := policy.Grant{ID: "g", Grantee: parts[0], Operations: strings.Split(parts[1], ","), IssuingAccount: account}
	for _, p := range parts[2:] {
		kind, value, _ := strings.Cut(p, ":")
		name, pair, _ := strings.Cut(value, ":")
		switch kind {
		case "equals", "subset":
			m := &g.Constraints.EncryptionContextEquals
			if kind == "subset" {
				m = &g.Constraints.EncryptionContextSubset
			}
			if *m == nil {
				*m = map[string]string{}
			}
			(*m)[name] = pair
		case "source-arn":
			g.Constraints.SourceARN = value
		case "source-account":
			g.Constraints.SourceAccount = value
		case "retiring":
			g.Retiring = value
		default:
			return g, fmt.Errorf("unknown constraint %q", kind)
		}
	}
	return g, nil
}
