package regions

import "context"

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
	if in.PolicyName != "" && in.PolicyName != "default" {
		return nil, Errorf(CodeNotFound, "No such policy exists")
	}
	return &GetKeyPolicyOutput{Policy: v.document, PolicyName: "default"}, nil
}
