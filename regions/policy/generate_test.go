package policy_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"antipode/regions/policy"
)

const (
	other   = "444455556666"
	keyARN  = "arn:aws:kms:us-east-2:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	roleARN = "arn:aws:iam::111122223333:role/app/worker"
)

// generator makes random policies, grants and requests out of few names, so that they meet.
type generator struct{ *rand.Rand }

func pick[T any](g generator, of ...T) T { return of[g.IntN(len(of))] }

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

func callers() []policy.Principal {
	tags := []policy.Tag{{Key: "team", Value: "blue"}, {Key: "Level", Value: "5"}}
	issued := time.Unix(1_790_000_000, 0)
	return []policy.Principal{
		{Type: policy.User, ARN: "arn:aws:iam::111122223333:user/alice", Account: account, UserName: "alice", UserID: "AIDAALICE", Tags: tags},
		{Type: policy.User, ARN: "arn:aws:iam::111122223333:user/team/bob", Account: account, UserName: "bob", UserID: "AIDABOB"},
		{
			Type: policy.AssumedRole, ARN: "arn:aws:sts::111122223333:assumed-role/worker/s1", RoleARN: roleARN, Account: account,
			UserID: "AROAWORKER:s1", Tags: tags, TokenIssued: issued, MultiFactor: policy.False, SourceIdentity: "alice",
		},
		{Type: policy.AccountRoot, ARN: policy.Root(account), Account: account, UserID: account},
		{Type: policy.User, ARN: "arn:aws:iam::444455556666:user/carol", Account: other, UserName: "carol", UserID: "AIDACAROL"},
		{
			Type: policy.AssumedRole, ARN: "arn:aws:sts::444455556666:assumed-role/guest/s2", Account: other,
			RoleARN: "arn:aws:iam::444455556666:role/guest", UserID: "AROAGUEST:s2", TokenIssued: issued, MultiFactor: policy.True,
		},
		{Type: policy.AccountRoot, ARN: policy.Root(other), Account: other, UserID: other},
		{Type: policy.Service, ARN: "s3.amazonaws.com"},
		{Type: policy.FederatedUser, ARN: "arn:aws:sts::111122223333:federated-user/dan", Account: account, UserID: account + ":dan"},
	}
}

func (g generator) caller() policy.Principal {
	all := callers()
	if g.chance(60) {
		return all[pick(g, 0, 2)]
	}
	return pick(g, all...)
}

// principalOf returns a way to name the caller, or somebody else.
func (g generator) principalOf(p policy.Principal) string {
	if g.chance(70) && p.Account != "" {
		if p.RoleARN != "" && g.chance(40) {
			return p.RoleARN
		}
		return pick(g, p.ARN, policy.Root(p.Account), p.Account, p.ARN)
	}
	q := pick(g, callers()...)
	if q.Account == "" {
		return policy.Root(account)
	}
	return pick(g, q.ARN, policy.Root(q.Account))
}

func (g generator) principals(p policy.Principal, deny bool) any {
	switch {
	case g.chance(15):
		return "*"
	case p.Account == "" && g.chance(70):
		return map[string]any{"Service": pick(g, p.ARN, "sqs.amazonaws.com")}
	case g.chance(5):
		return map[string]any{"AWS": "*"}
	}
	list := []any{}
	for range 1 + g.IntN(3) {
		list = append(list, g.principalOf(p))
	}
	if len(list) == 1 && g.chance(50) {
		return map[string]any{"AWS": list[0]}
	}
	if deny && p.RoleARN != "" && g.chance(30) {
		list = append(list, p.ARN, p.RoleARN, p.Account)
	}
	return map[string]any{"AWS": list}
}

func (g generator) action(of string) string {
	if g.chance(60) {
		return pick(g, of, "kms:*", "*", strings.ToUpper(of), of[:len(of)-2]+"*", of[:5]+"?"+of[6:])
	}
	return pick(g, "kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:CreateGrant", "kms:*Key*", "s3:*", "kms:?e*")
}

func (g generator) resource() string {
	if g.chance(60) {
		return "*"
	}
	return pick(g, keyARN, "arn:aws:kms:*:111122223333:key/mrk-*", "arn:aws:kms:us-east-2:*", "arn:aws:kms:eu-*:*:key/*", "arn:aws:kms",
		"arn:aws:kms:us-east-2:${aws:PrincipalAccount}:key/*", "arn:aws:kms:*:*:key/${aws:PrincipalTag/team, 'mrk-1234abcd12ab34cd56ef1234567890ab'}",
		"arn:aws:kms:${aws:RequestedRegion}:111122223333:*", "arn:*", "arn:aws:kms:*:*:alias/*")
}

func operators() []string {
	var out []string
	for _, base := range []string{
		"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike",
		"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals",
		"DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals",
		"Bool", "BinaryEquals", "IpAddress", "NotIpAddress", "ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike",
	} {
		for _, set := range []string{"", "ForAnyValue:", "ForAllValues:"} {
			out = append(out, set+base, set+base+"IfExists")
		}
	}
	return append(out, "Null")
}

func (g generator) condition(f *reference, block map[string]any, all []string) {
	op := pick(g, all...)
	key, value := g.keyAndValue(op)
	if have, _, _ := f.values(key); len(have) > 0 && g.chance(45) && strings.Contains(op, "String") {
		value = have[0] // so that conditions hold often enough
		switch {
		case strings.Contains(value, "${"):
			value = "x"
		case g.chance(20):
			value = strings.ToUpper(value)
		case g.chance(20) && len(value) > 2:
			value = value[:len(value)-2] + "*"
		}
	}
	values := []any{value}
	for g.chance(25) {
		_, v := g.keyAndValue(op)
		values = append(values, v)
	}
	inner, _ := block[op].(map[string]any)
	if inner == nil {
		inner = map[string]any{}
		block[op] = inner
	}
	if len(values) == 1 && g.chance(50) {
		inner[key] = values[0]
		return
	}
	inner[key] = values
}

// keyAndValue returns a condition key that often goes with the operator, and a value that the operator takes.
func (g generator) keyAndValue(op string) (key, value string) {
	texts := []string{
		"kms:KeySpec", "kms:CallerAccount", "kms:EncryptionContext:app", "kms:encryptioncontext:APP", "kms:EncryptionContext:owner",
		"kms:EncryptionContextKeys", "kms:GrantOperations", "kms:GrantConstraintType", "kms:RequestAlias", "kms:ResourceAliases", "kms:ViaService",
		"aws:PrincipalTag/team", "aws:PrincipalTag/TEAM", "aws:PrincipalTag/none", "aws:RequestTag/cost", "aws:ResourceTag/env", "aws:TagKeys",
		"aws:username", "aws:userid", "aws:PrincipalType", "aws:PrincipalAccount", "aws:RequestedRegion", "sts:ExternalId", "aws:Unknown", "aws:SourceIp",
		"kms:MultiRegion", "aws:CurrentTime", "kms:RotationPeriodInDays", "kms:MultiRegionKeyType", "aws:SourceIdentity", "kms:GranteePrincipal",
	}
	switch {
	case strings.Contains(op, "String"):
		return pick(g, texts...), pick(g, "SYMMETRIC_DEFAULT", "111122223333", "payments", "PAYMENTS", "pay*", "*", "?*", "alice", "blue", "${aws:username}",
			"${aws:PrincipalTag/team}", "${aws:username, 'nobody'}", "*${aws:userid}*", "${*}", "${?}${$}", "app", "owner", "alias/x", "alias/*", "env", "AssumedRole",
			"us-*", "Decrypt", "EncryptionContextSubset", "${kms:EncryptionContext:owner}", "", "true", "${aws:TagKeys}", "${kms:ResourceAliases, 'alias/x'}")
	case strings.Contains(op, "Numeric"):
		return pick(g, "kms:RotationPeriodInDays", "kms:ScheduleKeyDeletionPendingWindowInDays", "aws:EpochTime", "aws:PrincipalTag/level", "kms:EncryptionContext:level",
			"aws:username", "aws:CurrentTime", "aws:TagKeys"), pick(g, "365", "7", "30", "5", "1e2", "-1", "364.5", "1800000000", "5.0")
	case strings.Contains(op, "Date"):
		return pick(g, "aws:CurrentTime", "kms:ValidTo", "aws:TokenIssueTime", "aws:EpochTime", "aws:username"),
			pick(g, "2027-01-15T08:00:00Z", "2026-06-01", "1800000000", "2027-01-15T09:00:00+01:00", "2030-01-01T00:00:00Z")
	case strings.Contains(op, "Bool"), op == "Null":
		return pick(g, "kms:MultiRegion", "aws:SecureTransport", "aws:MultiFactorAuthPresent", "kms:GrantIsForAWSResource", "aws:ViaAWSService", "kms:ResourceAliases",
			"aws:PrincipalIsAWSService", "kms:EncryptionContext:app", "aws:TagKeys", "aws:username"), pick(g, "true", "false", "True")
	case strings.Contains(op, "Binary"):
		return pick(g, "aws:PrincipalTag/team", "aws:username", "kms:EncryptionContextKeys"), pick(g, "Ymx1ZQ==", "YWxpY2U=", "YXBw")
	case strings.Contains(op, "IpAddress"):
		return pick(g, "aws:SourceIp", "aws:SourceIp", "aws:PrincipalTag/team", "aws:VpcSourceIp"), pick(g, "203.0.113.0/24", "203.0.113.9", "0.0.0.0/0", "2001:db8::/32", "203.0.113.77/25")
	default:
		return pick(g, "aws:PrincipalArn", "aws:SourceArn", "kms:GranteePrincipal", "kms:RetiringPrincipal", "aws:username"),
			pick(g, "arn:aws:iam::111122223333:user/*", "arn:aws:iam::*:role/app/*", "arn:*:iam::*:*", "${aws:PrincipalArn}", "arn:aws:iam::${aws:PrincipalAccount}:user/${aws:username}",
				"arn:aws:s3:::bucket", "arn:aws:iam::111122223333:role/app/worke?", "arn:aws:*:*:*:*")
	}
}

func (g generator) document(f *reference, principals bool, all []string) string {
	r := f.request
	var statements []any
	for i := range 1 + g.IntN(4) {
		s := map[string]any{"Effect": "Allow"}
		deny := g.chance(14)
		if deny {
			s["Effect"] = "Deny"
		}
		if g.chance(40) {
			s["Sid"] = "s" + strconv.Itoa(i)
		}
		if principals {
			name := "Principal"
			if deny && g.chance(25) {
				name = "NotPrincipal"
			}
			s[name] = g.principals(r.Principal, deny)
		}
		g.actions(s, r.Action, principals)
		if g.chance(93) {
			s["Resource"] = pick[any](g, g.resource(), []any{g.resource(), g.resource()})
		} else if g.chance(80) || !principals {
			s["NotResource"] = []any{g.resource()}
		}
		block := map[string]any{}
		for g.chance(45) {
			g.condition(f, block, all)
		}
		if len(block) > 0 || g.chance(3) {
			s["Condition"] = block
		}
		statements = append(statements, s)
	}
	d := map[string]any{"Statement": statements}
	if len(statements) == 1 && g.chance(50) {
		d["Statement"] = statements[0]
	}
	if g.chance(85) {
		d["Version"] = "2012-10-17"
	} else if g.chance(50) {
		d["Version"] = "2008-10-17"
	}
	text, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	if d["Version"] != "2012-10-17" { // where this is no variable, and no ARN either
		return strings.ReplaceAll(string(text), `"${aws:PrincipalArn}"`, `"arn:aws:iam::111122223333:user/alice"`)
	}
	return string(text)
}

func (g generator) actions(s map[string]any, of string, principals bool) {
	list := []any{g.action(of)}
	for g.chance(30) {
		list = append(list, g.action(of))
	}
	switch {
	case g.chance(8):
		s["NotAction"] = list
	case principals && g.chance(3): // accepted in a key policy, and without effect
	case len(list) == 1 && g.chance(50):
		s["Action"] = list[0]
	default:
		s["Action"] = list
	}
}

func (g generator) pairs() map[string]string {
	m := map[string]string{}
	for range g.IntN(4) {
		m[pick(g, "app", "App", "APP", "owner", "level")] = pick(g, "payments", "alice", "5", "Payments", "bob")
	}
	return m
}

func (g generator) grant(p policy.Principal) policy.Grant {
	n := policy.Grant{ID: fmt.Sprint(g.IntN(1000)), Grantee: g.principalOf(p), IssuingAccount: account}
	for range 1 + g.IntN(4) {
		n.Operations = append(n.Operations, pick(g, "Encrypt", "Decrypt", "DescribeKey", "CreateGrant", "RetireGrant", "GenerateDataKey"))
	}
	if g.chance(30) {
		n.Constraints.EncryptionContextEquals = g.pairs()
	}
	if g.chance(30) {
		n.Constraints.EncryptionContextSubset = g.pairs()
	}
	if g.chance(10) {
		n.Constraints.SourceARN = pick(g, "arn:aws:s3:::bucket", "arn:aws:s3:::*", "arn:aws:sqs:*:*:*")
	}
	if g.chance(10) {
		n.Constraints.SourceAccount = pick(g, account, other)
	}
	if g.chance(30) {
		n.Retiring = g.principalOf(p)
	}
	return n
}

func (g generator) request() *policy.Request {
	maybe := func(values ...string) string {
		if g.chance(35) {
			return ""
		}
		return pick(g, values...)
	}
	tri := func() policy.Bool { return pick(g, policy.Absent, policy.False, policy.True) }
	r := &policy.Request{
		Principal: g.caller(), Resource: keyARN, ResourceAccount: account,
		Action: pick(g, "kms:Encrypt", "kms:Encrypt", "kms:Decrypt", "kms:Decrypt", "kms:DescribeKey", "kms:CreateGrant", "kms:RetireGrant", "kms:PutKeyPolicy", "kms:GenerateDataKey"),
	}
	c := &r.Context
	c.KeySpec, c.KeyUsage, c.KeyOrigin = maybe("SYMMETRIC_DEFAULT", "RSA_2048"), maybe("ENCRYPT_DECRYPT"), maybe("AWS_KMS")
	c.MultiRegion, c.MultiRegionKeyType = tri(), maybe("PRIMARY", "REPLICA")
	c.RequestAlias, c.ViaService = maybe("alias/x", "alias/y"), maybe("s3.us-east-2.amazonaws.com")
	for i := range pick(g, 0, 0, 1, 2, 3, 51) {
		c.ResourceAliases = append(c.ResourceAliases, pick(g, "alias/x", "alias/y", "alias/z")+strings.Repeat("_", i/2))
	}
	c.EncryptionContext = g.pairs()
	c.ResourceTags = g.tags("env", "Env", "ENV")
	c.RequestTags = g.tags("cost", "Cost", "env")
	if g.chance(10) {
		c.TagKeys = []string{"env"}
	}
	if r.Action == "kms:CreateGrant" && g.chance(90) {
		n := g.grant(r.Principal)
		c.NewGrant = &n
	}
	c.RotationPeriodInDays, c.PendingWindowInDays = pick(g, 0, 90, 365), pick(g, 0, 7, 30)
	c.GrantIsForAWSResource, c.ReEncryptOnSameKey, c.BypassLockoutCheck = tri(), tri(), tri()
	if g.chance(90) {
		c.Time = time.Unix(pick(g, int64(1_800_000_000), 1_780_000_000, 1_799_999_999), 0)
	}
	if g.chance(30) {
		c.ValidTo = time.Unix(1_800_000_000, 0)
	}
	c.SourceIP = pick(g, netip.Addr{}, netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:203.0.113.200"))
	c.SecureTransport, c.ViaAWSService = tri(), policy.False
	c.RequestedRegion, c.UserAgent = maybe("us-east-2", "eu-west-1"), maybe("aws-cli")
	c.SourceARN, c.SourceAccount = maybe("arn:aws:s3:::bucket"), maybe(account)
	if g.chance(30) {
		c.Other = map[string][]string{"sts:externalid": pick(g, []string{"payments"}, []string{"a", "alice"}, nil)}
	}
	return r
}

func (g generator) tags(names ...string) []policy.Tag {
	var out []policy.Tag
	for _, n := range names {
		if g.chance(30) {
			out = append(out, policy.Tag{Key: n, Value: pick(g, "blue", "payments", "")})
		}
	}
	return out
}
