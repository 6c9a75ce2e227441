package crash

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// crashPolicy is the default key policy and a statement that the journey looks for.
const crashPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},` +
	`"Action":"kms:*","Resource":"*"},{"Sid":"journey","Effect":"Deny","Principal":"*","Action":"kms:UpdatePrimaryRegion","Resource":"*"}]}`

// theGrant is the one grant of the journey.
func (j *journey) theGrant() *kms.CreateGrantInput {
	return &kms.CreateGrantInput{
		KeyId: &j.mrk, GranteePrincipal: aws.String("999988887777"), Name: aws.String("journey"),
		Operations: []types.GrantOperation{types.GrantOperationEncrypt},
	}
}

// allow is the journey's part with a key policy and a grant.
func (j *journey) allow(ctx context.Context, h *kms.Client) error {
	if _, err := h.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &j.mrk, Policy: aws.String(crashPolicy)}); err != nil {
		return err
	}
	j.policy = true
	made, err := h.CreateGrant(ctx, j.theGrant())
	if err != nil {
		return err
	}
	j.grant = *made.GrantId
	j.revoked = true
	if _, err = h.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: &j.mrk, GrantId: &j.grant}); err != nil {
		return err
	}
	j.ended = true
	return nil
}

// verifyAllowed: the policy and the grant are as answered, and a repeated CreateGrant makes no second grant of one that
// was made and not answered.
func (j *journey) verifyAllowed(t *testing.T, h *kms.Client, point string) {
	t.Helper()
	ctx := t.Context()
	pol, err := h.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &j.mrk})
	if err != nil {
		t.Fatalf("%s: %v", point, err)
	}
	if has := strings.Contains(*pol.Policy, "journey"); j.policy && !has {
		t.Errorf("%s: an answered policy is gone", point)
	}
	list := func() []types.GrantListEntry {
		t.Helper()
		out, err := h.ListGrants(ctx, &kms.ListGrantsInput{KeyId: &j.mrk})
		if err != nil {
			t.Fatalf("%s: %v", point, err)
		}
		return out.Grants
	}
	before := list()
	there := len(before) == 1 && (j.grant == "" || *before[0].GrantId == j.grant)
	switch {
	case len(before) > 1, len(before) == 1 && !there:
		t.Errorf("%s: grants %+v", point, before)
	case j.grant != "" && !j.revoked && !there:
		t.Errorf("%s: an answered grant is gone", point)
	case j.ended && there:
		t.Errorf("%s: a grant whose end was answered is there", point)
	}
	made, err := h.CreateGrant(ctx, j.theGrant())
	if err != nil {
		t.Fatalf("%s: CreateGrant can't be repeated: %v", point, err)
	}
	if there && *made.GrantId != *before[0].GrantId || len(list()) != 1 {
		t.Errorf("%s: the repeated CreateGrant made a second grant", point)
	}
}
