package regions

import "context"

// There are no custom key stores: they put single keys of AWS on the customer's own HSM, and here every key is on it. A
// client that looks for one finds none.

// KeyStoreInput is the request of the operations on one custom key store.
type KeyStoreInput struct {
	CustomKeyStoreID string `json:"CustomKeyStoreId"`
}

func (in *KeyStoreInput) validate() error {
	if in.CustomKeyStoreID == "" {
		return missing("customKeyStoreId")
	}
	return checkLength(in.CustomKeyStoreID, "customKeyStoreId", len(in.CustomKeyStoreID), 1, 64)
}

// keyStoreOperation answers an operation on one custom key store, of which there is none.
func keyStoreOperation(name string) Operation {
	return row(name, ClassManage, func(ctx context.Context, r *Region, c *Call, in *KeyStoreInput) (*struct{}, error) {
		c.param("customKeyStoreId", in.CustomKeyStoreID)
		if err := r.admitAccount(ctx, c); err != nil {
			return nil, err
		}
		return nil, noKeyStore(in.CustomKeyStoreID)
	})
}

func noKeyStore(id string) *Error {
	return Errorf(CodeCustomKeyStoreNotFound, "Custom key store %s does not exist.", id)
}

// CreateCustomKeyStoreInput is the request of CreateCustomKeyStore. Its other members are not looked at.
type CreateCustomKeyStoreInput struct {
	CustomKeyStoreName string `json:"CustomKeyStoreName"`
}

func (in *CreateCustomKeyStoreInput) validate() error {
	if in.CustomKeyStoreName == "" {
		return missing("customKeyStoreName")
	}
	return checkLength(in.CustomKeyStoreName, "customKeyStoreName", len(in.CustomKeyStoreName), 1, 256)
}

func createCustomKeyStore(ctx context.Context, r *Region, c *Call, in *CreateCustomKeyStoreInput) (*struct{}, error) {
	c.param("customKeyStoreName", in.CustomKeyStoreName)
	if err := r.admitAccount(ctx, c); err != nil {
		return nil, err
	}
	return nil, Errorf(CodeUnsupportedOperation, "Custom key stores are not supported: all keys of this Region are on its "+
		"own HSM, which its operator chooses as the backend of the Region.")
}

// DescribeCustomKeyStoresInput is the request of DescribeCustomKeyStores.
type DescribeCustomKeyStoresInput struct {
	CustomKeyStoreID   string `json:"CustomKeyStoreId"`
	CustomKeyStoreName string `json:"CustomKeyStoreName"`
	Limit              *int   `json:"Limit"`
	Marker             string `json:"Marker"`
}

// DescribeCustomKeyStoresOutput is the answer of DescribeCustomKeyStores.
type DescribeCustomKeyStoresOutput struct {
	CustomKeyStores []struct{} `json:"CustomKeyStores"` // always empty
	Truncated       bool       `json:"Truncated"`
}

func (in *DescribeCustomKeyStoresInput) validate() error {
	if in.CustomKeyStoreID != "" && in.CustomKeyStoreName != "" {
		return Errorf(CodeValidation, "You can specify CustomKeyStoreId or CustomKeyStoreName, but not both.")
	}
	if err := checkLength(in.CustomKeyStoreID, "customKeyStoreId", len(in.CustomKeyStoreID), 0, 64); err != nil {
		return err
	}
	if err := checkLength(in.CustomKeyStoreName, "customKeyStoreName", len(in.CustomKeyStoreName), 0, 256); err != nil {
		return err
	}
	return validatePage(in.Limit, 1000, in.Marker)
}

func describeCustomKeyStores(ctx context.Context, r *Region, c *Call, in *DescribeCustomKeyStoresInput) (*DescribeCustomKeyStoresOutput, error) {
	if err := r.admitAccount(ctx, c); err != nil {
		return nil, err
	}
	if _, err := decodeMarker(in.Marker); err != nil {
		return nil, err
	}
	if id := in.CustomKeyStoreID + in.CustomKeyStoreName; id != "" {
		return nil, noKeyStore(id)
	}
	return &DescribeCustomKeyStoresOutput{CustomKeyStores: []struct{}{}}, nil
}
