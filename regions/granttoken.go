package regions

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"antipode/regions/keyring"
)

// A grant token names a grant, authenticated by the record key; see docs/formats.md. It has no power of its own: a grant
// counts in every call as soon as CreateGrant has answered, so that a token adds nothing to a decision. It is checked
// all the same, and RetireGrant takes it as a grant's name.

const (
	grantTokenVersion = 1
	grantTokenDomain  = "antipode/grant-token/1" //nolint:gosec // no secret
	grantTokenNonce   = 16
	macSize           = 32
)

// grantName is what a grant token says.
type grantName struct{ account, keyID, id string }

// newGrantToken makes one more token of a grant. No two are the same.
func (r *Region) newGrantToken(ctx context.Context, g grantName) (string, error) {
	nonce, err := r.cfg.Token.Random(ctx, grantTokenNonce)
	if err != nil {
		return "", err
	}
	id, err := hex.DecodeString(g.id)
	if err != nil || len(id) != grantIDDigits/2 || len(g.account) != 12 || len(g.keyID) > 255 {
		return "", fmt.Errorf("grant token: %s of %s in %s is no grant", g.id, g.keyID, g.account)
	}
	raw := append([]byte{grantTokenVersion}, nonce...)
	raw = append(append(append(raw, id...), g.account...), g.keyID...)
	mac, err := r.ring.MAC(ctx, append([]byte(grantTokenDomain), raw...))
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(raw, mac...)), nil
}

// parseGrantToken splits a token. Nothing it says may be believed before the MAC is verified.
func parseGrantToken(token string) (g grantName, signed, mac []byte, ok bool) {
	const fixed = 1 + grantTokenNonce + grantIDDigits/2 + 12
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	// The decoder would skip line ends, and a token would have many forms.
	if err != nil || strings.ContainsAny(token, "\r\n") || len(raw) <= fixed+macSize || len(raw) > fixed+255+macSize || raw[0] != grantTokenVersion {
		return g, nil, nil, false
	}
	signed, mac = raw[:len(raw)-macSize], raw[len(raw)-macSize:]
	rest := signed[1+grantTokenNonce:]
	g.id, rest = hex.EncodeToString(rest[:grantIDDigits/2]), rest[grantIDDigits/2:]
	g.account, g.keyID = string(rest[:12]), string(rest[12:])
	return g, signed, mac, true
}

// openGrantToken returns the grant that a token names, or InvalidGrantTokenException. The grant may have ended.
func (r *Region) openGrantToken(ctx context.Context, token string) (grantName, error) {
	g, signed, mac, ok := parseGrantToken(token)
	if !ok {
		return g, errGrantToken()
	}
	err := r.ring.VerifyMAC(ctx, append([]byte(grantTokenDomain), signed...), mac)
	if errors.Is(err, keyring.ErrRefused) {
		return grantName{}, errGrantToken()
	}
	return g, err
}

func errGrantToken() *Error { return Errorf(CodeInvalidGrantToken, "The grant token is not valid.") }

// bearer is an input with grant tokens.
type bearer interface{ grantTokens() []string }

func (in *CreateGrantInput) grantTokens() []string     { return in.GrantTokens }
func (in *DecryptInput) grantTokens() []string         { return in.GrantTokens }
func (in *DescribeKeyInput) grantTokens() []string     { return in.GrantTokens }
func (in *EncryptInput) grantTokens() []string         { return in.GrantTokens }
func (in *GenerateDataKeyInput) grantTokens() []string { return in.GrantTokens }
func (in *ReEncryptInput) grantTokens() []string       { return in.GrantTokens }

// checkGrantTokens refuses tokens that this Region has not made.
func (r *Region) checkGrantTokens(ctx context.Context, input any) error {
	in, bears := input.(bearer)
	if !bears {
		return nil
	}
	for _, token := range in.grantTokens() {
		if _, err := r.openGrantToken(ctx, token); err != nil {
			return err
		}
	}
	return nil
}
