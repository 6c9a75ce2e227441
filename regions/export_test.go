package regions

import (
	"context"
	"encoding/base64"
	"encoding/hex"
)

// Undecided are operations that forget to ask: one that answers at once, one that goes on without a decision.
func Undecided() []Operation {
	return []Operation{
		row("DescribeKey", ClassRead, func(context.Context, *Region, *Call, *struct{}) (*struct{}, error) {
			return &struct{}{}, nil
		}),
		row("EnableKey", ClassManage, func(ctx context.Context, r *Region, c *Call, _ *struct{}) (*struct{}, error) {
			return &struct{}{}, r.proceed(ctx, c)
		}),
	}
}

// ReparseGrantToken parses a grant token and encodes what was found in it, with the token's own nonce and MAC.
func ReparseGrantToken(token string) (again string, ok bool) {
	g, signed, mac, ok := parseGrantToken(token)
	if !ok {
		return "", false
	}
	id, err := hex.DecodeString(g.id)
	if err != nil {
		return "", false
	}
	raw := append([]byte{grantTokenVersion}, signed[1:1+grantTokenNonce]...)
	raw = append(append(append(append(raw, id...), g.account...), g.keyID...), mac...)
	return base64.RawURLEncoding.EncodeToString(raw), true
}
