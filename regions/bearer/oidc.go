package bearer

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"antipode/regions"
)

const (
	leeway = time.Minute    // between the issuer's clock and this one
	maxAge = 24 * time.Hour // since a token was issued, whatever it says of its end
)

// claims are what is read of a token, and the rest for the mapping.
type claims struct {
	Issuer    string                    `json:"iss"`
	Subject   string                    `json:"sub"`
	Audience  jsontext.Value            `json:"aud"`
	Expires   *float64                  `json:"exp"`
	NotBefore *float64                  `json:"nbf"`
	Issued    *float64                  `json:"iat"`
	others    map[string]jsontext.Value // all of them
}

func (a *Authenticator) oidc(ctx context.Context, token string) (regions.Caller, error) {
	refuse := func(why string) (regions.Caller, error) {
		return regions.Caller{}, fmt.Errorf("%w: %s", ErrRefused, why)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.ES384, jose.EdDSA})
	if err != nil || len(signed.Signatures) != 1 {
		return refuse("not a token with a signature that could be accepted")
	}
	// Whose token it is must be known before its keys are; nothing else of it is used before its signature is verified.
	var unverified claims
	if json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &unverified) != nil {
		return refuse("its claims are no JSON object of the right form")
	}
	iss, known := a.issuers[unverified.Issuer]
	if !known {
		return refuse("an issuer that is not configured")
	}
	head := signed.Signatures[0].Header
	if why := iss.checkHeader(head); why != "" {
		return refuse(why)
	}
	key, err := iss.key(ctx, head.KeyID)
	if err != nil {
		return regions.Caller{}, err
	}
	if !fits(key, head.Algorithm) {
		return refuse("its key is not for this")
	}
	payload, err := signed.Verify(key.Key)
	if err != nil {
		return refuse("its signature is wrong")
	}
	var c claims
	if json.Unmarshal(payload, &c) != nil || json.Unmarshal(payload, &c.others) != nil || c.Issuer != iss.Issuer.Issuer {
		return refuse("its claims are not those that were looked at")
	}
	issued, why := c.check(iss.Audience, a.now())
	if why != "" {
		return refuse(why)
	}
	for _, r := range iss.Roles {
		if slices.Contains(c.texts(r.Claim), r.Value) {
			return a.session(ctx, r.Role, sessionName(c.Subject), issued, regions.Proof{
				Kind: "OpenIDConnect", Credential: head.KeyID, Issuer: c.Issuer, Subject: c.Subject, Audience: iss.Audience,
			})
		}
	}
	return refuse("no role is for its claims")
}

// checkHeader says what is wrong with a token's header, "" if nothing is.
func (i *issuer) checkHeader(h jose.Header) string {
	switch {
	case !slices.Contains(i.algorithms, h.Algorithm):
		return "an algorithm that is not accepted of this issuer"
	case h.KeyID == "" || len(h.KeyID) > 256:
		return "it names no key"
	case h.JSONWebKey != nil:
		return "it brings its own key"
	}
	for name, value := range h.ExtraHeaders {
		switch name {
		case jose.HeaderType:
			typ, _ := value.(string)
			if typ = strings.TrimPrefix(strings.ToLower(typ), "application/"); typ != "jwt" && typ != "at+jwt" {
				return "it is no JWT by its type"
			}
		default:
			return "a header that is not understood"
		}
	}
	return ""
}

// fits reports whether a key of the issuer's set is a public key for signatures by this algorithm. That the algorithm is
// one of its type is checked again when a signature is verified.
func fits(k jose.JSONWebKey, algorithm string) bool {
	if !k.Valid() || !k.IsPublic() || k.Use != "" && k.Use != "sig" || k.Algorithm != "" && k.Algorithm != algorithm {
		return false
	}
	if r, isRSA := k.Key.(*rsa.PublicKey); isRSA {
		return r.N.BitLen() >= 2048
	}
	return true
}

// check says what is wrong with the claims, "" if nothing is.
func (c *claims) check(audience string, now time.Time) (issued time.Time, why string) {
	if c.Subject == "" || len(c.Subject) > 255 {
		return issued, "no subject"
	}
	if !slices.Contains(texts(c.Audience), audience) {
		return issued, "for another audience"
	}
	if c.Expires == nil || c.Issued == nil {
		return issued, "no time of issue or end"
	}
	issued = instant(*c.Issued)
	switch {
	case !now.Before(instant(*c.Expires).Add(leeway)):
		return issued, "expired"
	case issued.After(now.Add(leeway)) || c.NotBefore != nil && instant(*c.NotBefore).After(now.Add(leeway)):
		return issued, "not valid yet"
	case now.Sub(issued) > maxAge:
		return issued, "issued too long ago"
	}
	return issued, ""
}

// instant is a NumericDate. What is out of bounds is very long ago, or very far ahead.
func instant(seconds float64) time.Time {
	const far = 1 << 40
	return time.UnixMilli(int64(min(max(seconds, -far), far) * 1000))
}

func (c *claims) texts(claim string) []string {
	if claim == "sub" {
		return []string{c.Subject}
	}
	return texts(c.others[claim])
}

// texts are those of a claim that is a text or an array of texts.
func texts(v jsontext.Value) []string {
	var one string
	if len(v) > 0 && json.Unmarshal(v, &one) == nil && v.Kind() == '"' {
		return []string{one}
	}
	var all []string
	if len(v) > 0 && json.Unmarshal(v, &all) == nil {
		return all
	}
	return nil
}

// sessionName is the subject, or what stands for it if it can't be a session's name or looks like what stands for another.
func sessionName(subject string) string {
	const prefix = "sha256-"
	if validSession(subject) && !strings.HasPrefix(subject, prefix) {
		return subject
	}
	sum := sha256.Sum256([]byte(subject))
	return prefix + hex.EncodeToString(sum[:16])
}
