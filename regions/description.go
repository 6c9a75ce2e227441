package regions

import "context"

// UpdateKeyDescriptionInput is the request of UpdateKeyDescription.
type UpdateKeyDescriptionInput struct {
	KeyID       string  `json:"KeyId"`
	Description *string `json:"Description"` // up to 8192 characters
}

func (in *UpdateKeyDescriptionInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	if in.Description == nil {
		return missing("description")
	}
	return validateDescription(*in.Description)
}

func updateKeyDescription(ctx context.Context, r *Region, c *Call, in *UpdateKeyDescriptionInput) (*struct{}, error) {
	c.param("keyId", in.KeyID)
	c.param("description", *in.Description)
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	_, err = r.changeKey(ctx, c, v, func(k *Key) error {
		k.Description = *in.Description
		return nil
	})
	return nil, err
}
