package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"antipode/regions/policy"
)

// typical is a key policy of two statements: the account, and a user under a condition.
const typical = `{"Version":"2012-10-17","Statement":[
{"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},
{"Sid":"Use","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/team/bob"},"Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*","kms:GenerateDataKey*","kms:DescribeKey"],
"Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:app":"payments"}}}]}`

func mustKey(tb testing.TB, text string) *policy.Document {
	tb.Helper()
	d, err := policy.ParseKeyPolicy(text)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// request is one by alice, whom a grant allows it and nothing else.
func request(tb testing.TB, grants []policy.Grant) *policy.Request {
	return &policy.Request{
		Principal: callers()[0], Action: "kms:Encrypt", Resource: keyARN, ResourceAccount: account,
		KeyPolicy: mustKey(tb, typical), Grants: policy.NewGrantSet(grants),
		Context: policy.Context{KeySpec: "SYMMETRIC_DEFAULT", EncryptionContext: map[string]string{"app": "payments", "id": "7"}},
	}
}

func grants(n int, grantee func(i int) string) []policy.Grant {
	out := make([]policy.Grant, n)
	for i := range out {
		out[i] = policy.Grant{ID: fmt.Sprint(i), Grantee: grantee(i), Operations: []string{"Encrypt", "Decrypt"}, Constraints: policy.Constraints{
			EncryptionContextSubset: map[string]string{"id": fmt.Sprint(i)},
		}}
	}
	return out
}

func alice(int) string { return callers()[0].ARN }

// decisions are the requests that are measured, each allowed by a grant.
func decisions(tb testing.TB) map[string]*policy.Request {
	wide := &strings.Builder{}
	wide.WriteString(`{"Version":"2012-10-17","Statement":[`)
	for i := range 100 {
		fmt.Fprintf(wide, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/u%d"},"Action":["kms:Encrypt","kms:De*"],"Resource":"*"},`, i)
		fmt.Fprintf(wide, `{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:app":"${aws:username}%d"}}},`, i)
	}
	wide.WriteString(typical[strings.Index(typical, `{"Sid"`):])
	one := grants(1, alice)
	one[0].Constraints.EncryptionContextSubset["id"] = "7"
	spread := grants(1000, func(i int) string { return fmt.Sprintf("arn:aws:iam::111122223333:user/u%d", i) })
	spread[500].Grantee, spread[500].Constraints = alice(0), policy.Constraints{}
	same := grants(1000, alice)
	same[999].Constraints.EncryptionContextSubset["id"], same[7].Constraints.EncryptionContextSubset["id"] = "7", "x"
	all := map[string]*policy.Request{
		"two statements, a grant": request(tb, one), "1000 grants to as many": request(tb, spread),
		"1000 grants to one": request(tb, same), "202 statements, a grant": request(tb, one),
	}
	all["202 statements, a grant"].KeyPolicy = mustKey(tb, wide.String())
	return all
}

func BenchmarkDecide(b *testing.B) {
	for name, r := range decisions(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := policy.Decide(r); d.Reason != policy.ByGrant {
					b.Fatal(d.Reason)
				}
			}
		})
	}
}

func BenchmarkParseKeyPolicy(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		mustKey(b, typical)
	}
}

func BenchmarkNewGrantSet(b *testing.B) {
	g := grants(1000, alice)
	b.ReportAllocs()
	for b.Loop() {
		policy.NewGrantSet(g)
	}
}

// TestDecideDoesNotAllocate: nothing that grows with the policy or the grants; with these, nothing at all.
func TestDecideDoesNotAllocate(t *testing.T) {
	for name, r := range decisions(t) {
		if n := testing.AllocsPerRun(100, func() { policy.Decide(r) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
