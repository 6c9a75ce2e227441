package policy_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"antipode/regions/policy"
)

// values returns what the request says about a condition key, each value as a text; whether the key may have several; and
// whether there is no telling which is meant.
func (f *reference) values(key string) (have []string, multi, ambiguous bool) {
	p, c := f.request.Principal, f.request.Context
	low := strings.ToLower(key)
	for prefix, pairs := range map[string][]policy.Tag{
		"kms:encryptioncontext:": pairsOf(c.EncryptionContext), "aws:principaltag/": p.Tags,
		"aws:requesttag/": c.RequestTags, "aws:resourcetag/": c.ResourceTags,
	} {
		if strings.HasPrefix(low, prefix) {
			return named(pairs, key[len(prefix):])
		}
	}
	switch low {
	case "kms:encryptioncontextkeys":
		return keysOf(pairsOf(c.EncryptionContext)), true, false
	case "kms:resourcealiases":
		return c.ResourceAliases, true, len(c.ResourceAliases) > 50
	case "aws:tagkeys":
		return append(keysOf(c.RequestTags), c.TagKeys...), true, false
	case "kms:grantoperations":
		if c.NewGrant == nil {
			return nil, false, false
		}
		return c.NewGrant.Operations, true, false
	case "kms:grantconstrainttype":
		if c.NewGrant != nil && len(c.NewGrant.Constraints.EncryptionContextEquals) > 0 {
			have = append(have, "EncryptionContextEquals")
		}
		if c.NewGrant != nil && len(c.NewGrant.Constraints.EncryptionContextSubset) > 0 {
			have = append(have, "EncryptionContextSubset")
		}
		return have, len(have) > 1, false
	}
	if list, ok := c.Other[low]; ok {
		return list, len(list) != 1, false
	}
	if s := f.one(low); s != "" {
		return []string{s}, false, false
	}
	return nil, false, false
}

func (f *reference) one(low string) string {
	p, c := f.request.Principal, f.request.Context
	arn, service := p.ARN, ""
	switch {
	case p.Account == "":
		arn, service = "", p.ARN
	case p.RoleARN != "":
		arn = p.RoleARN
	}
	if p.Type != policy.Service {
		service = ""
	}
	ip := ""
	if c.SourceIP.IsValid() {
		ip = c.SourceIP.Unmap().String()
	}
	epoch := ""
	if !c.Time.IsZero() {
		epoch = strconv.FormatInt(c.Time.Unix(), 10)
	}
	grantee, retiring := "", ""
	if c.NewGrant != nil {
		grantee, retiring = c.NewGrant.Grantee, c.NewGrant.Retiring
	}
	return map[string]string{
		"kms:bypasspolicylockoutsafetycheck": boolean(c.BypassLockoutCheck), "kms:calleraccount": p.Account,
		"kms:customermasterkeyspec": c.KeySpec, "kms:keyspec": c.KeySpec, "kms:customermasterkeyusage": c.KeyUsage,
		"kms:keyusage": c.KeyUsage, "kms:keyorigin": c.KeyOrigin, "kms:datakeypairspec": c.DataKeyPairSpec,
		"kms:encryptionalgorithm": c.EncryptionAlgorithm, "kms:expirationmodel": c.ExpirationModel,
		"kms:grantisforawsresource": boolean(c.GrantIsForAWSResource), "kms:granteeprincipal": grantee,
		"kms:retiringprincipal": retiring, "kms:keyagreementalgorithm": c.KeyAgreementAlg,
		"kms:macalgorithm": c.MacAlgorithm, "kms:messagetype": c.MessageType, "kms:multiregion": boolean(c.MultiRegion),
		"kms:multiregionkeytype": c.MultiRegionKeyType, "kms:primaryregion": c.PrimaryRegion,
		"kms:reencryptonsamekey": boolean(c.ReEncryptOnSameKey), "kms:replicaregion": c.ReplicaRegion,
		"kms:requestalias": c.RequestAlias, "kms:rotationperiodindays": number(c.RotationPeriodInDays),
		"kms:schedulekeydeletionpendingwindowindays": number(c.PendingWindowInDays),
		"kms:signingalgorithm":                       c.SigningAlgorithm, "kms:validto": iso(c.ValidTo), "kms:viaservice": c.ViaService,
		"kms:wrappingalgorithm": c.WrappingAlgorithm, "kms:wrappingkeyspec": c.WrappingKeySpec,
		"aws:currenttime": iso(c.Time), "aws:epochtime": epoch, "aws:multifactorauthpresent": boolean(p.MultiFactor),
		"aws:principalaccount": p.Account, "aws:principalarn": arn,
		"aws:principalisawsservice": strconv.FormatBool(p.Type == policy.Service), "aws:principalservicename": service,
		"aws:principaltype": string(p.Type), "aws:requestedregion": c.RequestedRegion,
		"aws:resourceaccount": f.request.ResourceAccount, "aws:securetransport": boolean(c.SecureTransport),
		"aws:sourceaccount": c.SourceAccount, "aws:sourcearn": c.SourceARN, "aws:sourceidentity": p.SourceIdentity,
		"aws:sourceip": ip, "aws:tokenissuetime": iso(p.TokenIssued), "aws:useragent": c.UserAgent,
		"aws:userid": p.UserID, "aws:username": p.UserName, "aws:viaawsservice": boolean(c.ViaAWSService),
	}[low]
}

func boolean(b policy.Bool) string { return [...]string{"", "false", "true"}[b] }

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func iso(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

func pairsOf(m map[string]string) []policy.Tag {
	var out []policy.Tag
	for k, v := range m {
		out = append(out, policy.Tag{Key: k, Value: v})
	}
	return out
}

func keysOf(pairs []policy.Tag) []string {
	var out []string
	for _, p := range pairs {
		out = append(out, p.Key)
	}
	return out
}

// named: names of tags and of encryption contexts have no case in a condition key.
func named(pairs []policy.Tag, name string) (have []string, multi, ambiguous bool) {
	for _, p := range pairs {
		if p.Key == name {
			return []string{p.Value}, false, false
		}
		if strings.EqualFold(p.Key, name) {
			have = append(have, p.Value)
		}
	}
	return have, false, len(have) > 1
}

// grantAllows: the operation is among the grant's, and the request keeps to its constraints.
func (f *reference) grantAllows(g *policy.Grant) bool {
	op := strings.TrimPrefix(f.request.Action, "kms:")
	if !strings.HasPrefix(f.request.Action, "kms:") || !policy.IsGrantOperation(op) || !slices.Contains(g.Operations, op) {
		return false
	}
	c, want := f.request.Context, g.Constraints
	if want.SourceARN != "" && !arnLike(plain(want.SourceARN, true), c.SourceARN) {
		return false
	}
	if want.SourceAccount != "" && want.SourceAccount != c.SourceAccount {
		return false
	}
	within := func(small, large map[string]string) bool {
		for k, v := range small {
			if got, ok := large[k]; !ok || got != v {
				return false
			}
		}
		return true
	}
	same := func(a, b map[string]string) bool { return within(a, b) && within(b, a) }
	switch op {
	case "DescribeKey", "RetireGrant":
		return true
	case "CreateGrant":
		n := c.NewGrant
		if n == nil {
			return false
		}
		for _, o := range n.Operations {
			if policy.IsGrantOperation(o) && !slices.Contains(g.Operations, o) {
				return false
			}
		}
		if len(want.EncryptionContextEquals) > 0 && !same(want.EncryptionContextEquals, n.Constraints.EncryptionContextEquals) {
			return false
		}
		if !within(want.EncryptionContextSubset, n.Constraints.EncryptionContextEquals) &&
			!within(want.EncryptionContextSubset, n.Constraints.EncryptionContextSubset) {
			return false
		}
		return (want.SourceARN == "" || want.SourceARN == n.Constraints.SourceARN) &&
			(want.SourceAccount == "" || want.SourceAccount == n.Constraints.SourceAccount)
	}
	if len(want.EncryptionContextEquals) > 0 && !same(want.EncryptionContextEquals, c.EncryptionContext) {
		return false
	}
	return within(want.EncryptionContextSubset, c.EncryptionContext)
}

// cache holds compiled expressions.
type cache struct {
	mu sync.Mutex
	m  map[string]*regexp.Regexp
}

func newCache() *cache { return &cache{m: map[string]*regexp.Regexp{}} }

func (c *cache) get(expr string) *regexp.Regexp {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.m[expr]; r != nil {
		return r
	}
	if len(c.m) > 20000 {
		clear(c.m)
	}
	r := regexp.MustCompile(expr)
	c.m[expr] = r
	return r
}
