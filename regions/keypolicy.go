package regions

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"antipode/regions/arn"
	"antipode/regions/identity"
	"antipode/regions/policy"
)

// policyName is the name of every key policy.
const policyName = "default"

// GetKeyPolicyInput is the request of GetKeyPolicy.
type GetKeyPolicyInput struct {
	KeyID      string `json:"KeyId"`
	PolicyName string `json:"PolicyName"` // only "default" exists
}

// GetKeyPolicyOutput is the answer of GetKeyPolicy.
type GetKeyPolicyOutput struct {
	Policy     string `json:"Policy"` // JSON
	PolicyName string `json:"PolicyName"`
}

func (in *GetKeyPolicyInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	return checkLength(in.PolicyName, "policyName", len(in.PolicyName), 0, 128)
}

func getKeyPolicy(ctx context.Context, r *Region, c *Call, in *GetKeyPolicyInput) (*GetKeyPolicyOutput, error) {
	c.param("keyId", in.KeyID)
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	if in.PolicyName != "" && in.PolicyName != policyName {
		return nil, Errorf(CodeNotFound, "No such policy exists")
	}
	return &GetKeyPolicyOutput{Policy: v.document, PolicyName: policyName}, nil
}

// PutKeyPolicyInput is the request of PutKeyPolicy.
type PutKeyPolicyInput struct {
	KeyID                          string `json:"KeyId"`
	PolicyName                     string `json:"PolicyName"` // only "default" exists
	Policy                         string `json:"Policy"`     // JSON, at most 32 KiB
	BypassPolicyLockoutSafetyCheck bool   `json:"BypassPolicyLockoutSafetyCheck"`
}

func (in *PutKeyPolicyInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	if in.Policy == "" {
		return missing("policy")
	}
	return checkLength(in.PolicyName, "policyName", len(in.PolicyName), 0, 128)
}

func putKeyPolicy(ctx context.Context, r *Region, c *Call, in *PutKeyPolicyInput) (*struct{}, error) {
	c.param("keyId", in.KeyID)
	c.param("policyName", policyName)
	c.param("policy", in.Policy)
	c.param("bypassPolicyLockoutSafetyCheck", in.BypassPolicyLockoutSafetyCheck)
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	c.request.Context.BypassLockoutCheck = policy.BoolOf(in.BypassPolicyLockoutSafetyCheck)
	if err := r.allow(ctx, c, c.op.Action, v); err != nil {
		return nil, err
	}
	if in.PolicyName != "" && in.PolicyName != policyName {
		return nil, Errorf(CodeNotFound, "No such policy exists")
	}
	document, err := r.checkPolicy(ctx, in.Policy, v.key.Account)
	if err != nil {
		return nil, err
	}
	if err := keepsControl(c, document, v.arn, v.key.Account, in.BypassPolicyLockoutSafetyCheck); err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	return nil, r.Update(ctx, func(tx Tx) error {
		if _, err := Get[Key](ctx, tx, r.ring, v.key.RecordKey()); errors.Is(err, ErrNoRecord) {
			return Errorf(CodeNotFound, "Key '%s' does not exist", v.arn)
		} else if err != nil {
			return err
		}
		return Put(ctx, tx, r.ring, PolicyRecord{Account: v.key.Account, KeyID: v.key.KeyID, Document: document})
	})
}

// ListKeyPoliciesInput is the request of ListKeyPolicies.
type ListKeyPoliciesInput struct {
	KeyID  string `json:"KeyId"`
	Limit  *int   `json:"Limit"` // 1 to 1000
	Marker string `json:"Marker"`
}

// ListKeyPoliciesOutput is the answer of ListKeyPolicies.
type ListKeyPoliciesOutput struct {
	PolicyNames []string `json:"PolicyNames"` // always "default" alone
	Truncated   bool     `json:"Truncated"`
}

func (in *ListKeyPoliciesInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	return validatePage(in.Limit, 1000, in.Marker)
}

func listKeyPolicies(ctx context.Context, r *Region, c *Call, in *ListKeyPoliciesInput) (*ListKeyPoliciesOutput, error) {
	c.param("keyId", in.KeyID)
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	after, err := decodeMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	out := &ListKeyPoliciesOutput{PolicyNames: []string{}}
	if after < policyName {
		out.PolicyNames = append(out.PolicyNames, policyName)
	}
	return out, nil
}

// checkPolicy returns the policy document that a key of the account gets: the one given, if it is good, or the default
// one.
func (r *Region) checkPolicy(ctx context.Context, document, account string) (string, error) {
	if document == "" {
		return policy.Default(account), nil
	}
	if !utf8.ValidString(document) {
		return "", Errorf(CodeMalformedPolicy, "The policy document is not UTF-8.")
	}
	d, err := policy.ParseKeyPolicy(document)
	if err == nil {
		err = policy.CheckPrincipals(ctx, d, existence{r})
	}
	switch {
	case errors.Is(err, policy.ErrTooLarge):
		return "", Errorf(CodeLimitExceeded, "The policy document is larger than %d bytes.", policy.MaxSize)
	case errors.Is(err, policy.ErrMalformed):
		return "", Errorf(CodeMalformedPolicy, "%v", err)
	case err != nil:
		return "", err
	}
	return document, nil
}

// keepsControl is AWS's lockout safety check: who sets a policy must be able to replace it, unless he says that he need
// not.
func keepsControl(c *Call, document, keyARN, account string, bypass bool) error {
	if bypass {
		return nil
	}
	d, err := policy.ParseKeyPolicy(document)
	if err != nil {
		return err
	}
	req := c.request
	req.Resource, req.ResourceAccount = keyARN, account
	if !policy.KeepsControl(d, &req) {
		return Errorf(CodeMalformedPolicy, "The new key policy will not allow you to update the key policy in the future.")
	}
	return nil
}

// existence tells package policy which principals this Region knows.
type existence struct{ r *Region }

// PrincipalExists implements policy.Existence. Users and roles of an account that has none here can't be looked for, and
// are taken to exist.
func (e existence) PrincipalExists(ctx context.Context, principal string) (bool, error) {
	if arn.IsAccount(principal) || strings.HasSuffix(principal, ":root") {
		return true, nil
	}
	if _, err := e.r.directory.Named(ctx, principal); err == nil || !errors.Is(err, identity.ErrUnknownKey) {
		return err == nil, err
	}
	if account, _, name, err := identity.ParseRoleARN(principal); err == nil {
		role, err := identitySource(e).Role(ctx, account, name)
		if err == nil && role.ARN() == principal && !role.Deleted {
			return true, nil
		}
		if err != nil && !errors.Is(err, identity.ErrUnknownKey) {
			return false, err
		}
	}
	names, err := e.r.Identities(ctx, accountOf(principal))
	return len(names) == 0, err
}

// accountOf returns the account in an ARN.
func accountOf(principal string) string {
	parts := strings.SplitN(principal, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}
