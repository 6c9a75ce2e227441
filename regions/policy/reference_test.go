package policy_test

import (
	"encoding/json"
	"strconv"
	"strings"

	"antipode/regions/policy"
)

// reference is a slow and literal reading of AWS's rules, written without a look at the evaluator that it is compared
// with: documents are maps, patterns regular expressions, and every value of a request is a text.
type reference struct {
	key               map[string]any
	identity, session []map[string]any
	grants            []policy.Grant
	request           *policy.Request
	// seen, if not nil, is told each condition's operator and outcome.
	seen func(operator string, outcome bool)
}

func decode(document string) map[string]any {
	var m map[string]any
	dec := json.NewDecoder(strings.NewReader(document))
	dec.UseNumber()
	if err := dec.Decode(&m); err != nil {
		panic(document + ": " + err.Error())
	}
	return m
}

// each returns a value as a list of values.
func each(v any) []any {
	if v == nil {
		return nil
	}
	if l, ok := v.([]any); ok {
		return l
	}
	return []any{v}
}

func str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	panic("neither string nor number nor boolean")
}

// decide follows AWS's flow chart: is there an explicit deny; does the owner's side allow; does the caller's side.
func (f *reference) decide() (bool, policy.Reason) {
	if f.denies(f.key) {
		return false, policy.DeniedByKeyPolicy
	}
	for _, d := range f.identity {
		if f.denies(d) {
			return false, policy.DeniedByIdentityPolicy
		}
	}
	for _, d := range f.session {
		if f.denies(d) {
			return false, policy.DeniedBySessionPolicy
		}
	}
	p := f.request.Principal
	root := p.Type == policy.AccountRoot
	foreign := p.Account != "" && p.Account != f.request.ResourceAccount
	if foreign && !policy.OpenToOtherAccounts(f.request.Action) {
		return false, policy.OtherAccount
	}
	keySays, grantSays := f.keyAllows(), map[string]bool{}
	for i := range f.grants {
		if how := f.names(f.grants[i].Grantee); how != "" && f.grantAllows(&f.grants[i]) {
			grantSays[how] = true
		}
	}
	identity := root || f.anyAllows(f.identity)
	session := len(f.session) == 0 || f.anyAllows(f.session)
	says := func(how string) bool { return keySays[how] || grantSays[how] }
	because := func(how string, key policy.Reason) policy.Reason {
		if keySays[how] {
			return key
		}
		return policy.ByGrant
	}
	if !says("himself") && !says("role") && !says("account") {
		return false, policy.NoKeyPolicy
	}
	for _, how := range []string{"himself", "role", "account"} {
		if !says(how) {
			continue
		}
		needsIdentity := foreign || how == "account"
		needsSession := needsIdentity || how == "role"
		switch {
		case needsIdentity && !identity:
			return false, policy.NoIdentityPolicy
		case needsSession && !session:
			return false, policy.NoSessionPolicy
		case how == "account" && !foreign:
			return true, because(how, policy.ByDelegation)
		default:
			return true, because(how, policy.ByKeyPolicy)
		}
	}
	panic("not reached")
}

// decideIdentity is for what is on no key.
func (f *reference) decideIdentity() (bool, policy.Reason) {
	for _, d := range f.identity {
		if f.denies(d) {
			return false, policy.DeniedByIdentityPolicy
		}
	}
	for _, d := range f.session {
		if f.denies(d) {
			return false, policy.DeniedBySessionPolicy
		}
	}
	switch {
	case f.request.Principal.Account != f.request.ResourceAccount:
		return false, policy.OtherAccount
	case f.request.Principal.Type == policy.AccountRoot:
		return true, policy.ByRoot
	case !f.anyAllows(f.identity):
		return false, policy.NoIdentityPolicy
	case len(f.session) > 0 && !f.anyAllows(f.session):
		return false, policy.NoSessionPolicy
	}
	return true, policy.ByIdentityPolicy
}

func (f *reference) denies(d map[string]any) bool {
	for _, s := range each(d["Statement"]) {
		s := s.(map[string]any)
		if s["Effect"] == "Deny" && f.concerns(s) && f.matches(d, s) {
			return true
		}
	}
	return false
}

func (f *reference) anyAllows(docs []map[string]any) bool {
	for _, d := range docs {
		for _, s := range each(d["Statement"]) {
			s := s.(map[string]any)
			if s["Effect"] == "Allow" && f.matches(d, s) {
				return true
			}
		}
	}
	return false
}

// keyAllows says in which ways statements of the key policy that match name the caller.
func (f *reference) keyAllows() map[string]bool {
	ways := map[string]bool{}
	for _, s := range each(f.key["Statement"]) {
		s := s.(map[string]any)
		if s["Effect"] != "Allow" || !f.matches(f.key, s) {
			continue
		}
		for _, name := range principalNames(s["Principal"]) {
			if how := f.names(name); how != "" {
				ways[how] = true
			}
		}
	}
	return ways
}

// principalNames lists the principals of an element; those of types other than AWS have no account and are no ARNs of IAM.
func principalNames(element any) []string {
	if element == "*" {
		return []string{"*"}
	}
	var names []string
	byType, _ := element.(map[string]any)
	for _, list := range byType {
		for _, n := range each(list) {
			names = append(names, n.(string))
		}
	}
	return names
}

// names says how a name in a Principal element or a grant means the caller: himself, his role, his account, or "".
func (f *reference) names(name string) string {
	p := f.request.Principal
	switch {
	case name == "*" || name == p.ARN:
		return "himself"
	case p.Account == "":
		return ""
	case name == p.RoleARN:
		return "role"
	case name == p.Account || name == "arn:aws:iam::"+p.Account+":root":
		if p.Type == policy.AccountRoot {
			return "himself"
		}
		return "account"
	}
	return ""
}

// concerns says whether a Deny is meant for the caller. NotPrincipal spares him only if it names all that he is.
func (f *reference) concerns(s map[string]any) bool {
	if list, ok := s["NotPrincipal"]; ok {
		listed := map[string]bool{}
		for _, n := range principalNames(list) {
			listed[n] = true
		}
		p := f.request.Principal
		if listed["*"] {
			return false
		}
		if p.Account == "" {
			return !listed[p.ARN]
		}
		account := listed[p.Account] || listed["arn:aws:iam::"+p.Account+":root"]
		if p.Type == policy.AccountRoot {
			return !account
		}
		return !account || !listed[p.ARN] || (p.RoleARN != "" && !listed[p.RoleARN])
	}
	list, ok := s["Principal"]
	if !ok {
		return true // an identity policy
	}
	for _, n := range principalNames(list) {
		if f.names(n) != "" {
			return true
		}
	}
	return false
}

// matches looks at action, resource and conditions. What is not known counts for a Deny and against an Allow.
func (f *reference) matches(d, s map[string]any) bool {
	unknown := s["Effect"] == "Deny"
	variables := d["Version"] == "2012-10-17"
	action := func(list any) bool {
		for _, a := range each(list) {
			if glob(plain(strings.ToLower(a.(string)), true)).MatchString(strings.ToLower(f.request.Action)) {
				return true
			}
		}
		return false
	}
	if list, ok := s["NotAction"]; ok && action(list) {
		return false
	} else if !ok && !action(s["Action"]) {
		return false
	}
	resource := func(list any) (found, unresolved bool) {
		for _, r := range each(list) {
			text := r.(string)
			if text != "*" {
				for strings.Count(outsideVariables(text, variables), ":") < 5 {
					text += ":*"
				}
			}
			pattern, ok := f.expand(text, variables, true)
			if !ok {
				unresolved = true
			} else if glob(pattern).MatchString(f.request.Resource) {
				found = true
			}
		}
		return found, unresolved
	}
	_, hasResource := s["Resource"]
	list, negative := s["NotResource"]
	switch {
	case negative:
		found, unresolved := resource(list)
		if found || (unresolved && !unknown) {
			return false
		}
	case hasResource:
		if found, _ := resource(s["Resource"]); !found {
			return false
		}
	case f.request.Action[:4] != "sts:": // only a trust policy does without
		return false
	}
	conditions, _ := s["Condition"].(map[string]any)
	all := true
	for operator, block := range conditions {
		for key, values := range block.(map[string]any) {
			var texts []string
			for _, v := range each(values) {
				texts = append(texts, str(v))
			}
			ok := f.condition(operator, key, texts, variables, unknown)
			if f.seen != nil {
				f.seen(operator, ok)
			}
			all = all && ok
		}
	}
	return all
}

func (f *reference) condition(operator, key string, want []string, variables, unknown bool) bool {
	have, multi, ambiguous := f.values(key)
	set := ""
	if i := strings.IndexByte(operator, ':'); i >= 0 {
		set, operator = operator[:i], operator[i+1:]
	}
	operator, ifExists := strings.CutSuffix(operator, "IfExists")
	negated := strings.Contains(operator, "Not")
	operator = strings.Replace(operator, "Not", "", 1)
	if operator == "Null" {
		for _, w := range want {
			if strings.EqualFold(w, strconv.FormatBool(len(have) == 0 && !ambiguous)) {
				return true
			}
		}
		return false
	}
	if ambiguous {
		return unknown
	}
	if len(have) == 0 {
		return ifExists || set == "ForAllValues" || (negated && set == "")
	}
	matched := func(value string) bool { // the answer for one value, negation included
		unresolved := false
		for _, w := range want {
			m, ok := f.compare(operator, w, value, variables)
			if m {
				return !negated
			}
			unresolved = unresolved || !ok
		}
		if !negated {
			return false
		}
		return !unresolved || unknown
	}
	every := set == "ForAllValues" || (set == "" && negated)
	if !multi {
		return matched(have[0])
	}
	for _, v := range have {
		if matched(v) != every {
			return !every
		}
	}
	return every
}
