package regions

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"antipode/regions/audit"
	"antipode/regions/canon"
	"antipode/regions/encctx"
	"antipode/regions/policy"
)

// AWS's limits.
const (
	DefaultMaxGrants  = 50000 // on a key
	constraintPairs   = 8
	constraintLetters = 384
)

// GrantConstraints is AWS's structure of the same name.
type GrantConstraints struct {
	EncryptionContextEquals encctx.Context `json:"EncryptionContextEquals,omitempty"` // up to 8 pairs
	EncryptionContextSubset encctx.Context `json:"EncryptionContextSubset,omitempty"` // up to 8 pairs
	SourceArn               string         `json:"SourceArn,omitzero"`                // may have wildcards
}

// CreateGrantInput is the request of CreateGrant.
type CreateGrantInput struct {
	KeyID                    string            `json:"KeyId"`
	GranteePrincipal         string            `json:"GranteePrincipal"`
	RetiringPrincipal        string            `json:"RetiringPrincipal"`
	Operations               []string          `json:"Operations"`
	Constraints              *GrantConstraints `json:"Constraints"`
	GrantTokens              []string          `json:"GrantTokens"`
	Name                     string            `json:"Name"` // up to 256 characters
	DryRun                   bool              `json:"DryRun"`
	GranteeServicePrincipal  string            `json:"GranteeServicePrincipal"`
	RetiringServicePrincipal string            `json:"RetiringServicePrincipal"`
}

// CreateGrantOutput is the answer of CreateGrant.
type CreateGrantOutput struct {
	GrantToken string `json:"GrantToken"`
	GrantID    string `json:"GrantId"`
}

func (in *CreateGrantInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	if in.GranteeServicePrincipal != "" || in.RetiringServicePrincipal != "" {
		return errNoServices()
	}
	if in.GranteePrincipal == "" {
		return missing("granteePrincipal")
	}
	if err := validatePrincipal(in.GranteePrincipal, "granteePrincipal"); err != nil {
		return err
	}
	if in.RetiringPrincipal != "" {
		if err := validatePrincipal(in.RetiringPrincipal, "retiringPrincipal"); err != nil {
			return err
		}
	}
	if in.Operations == nil {
		return missing("operations")
	}
	for _, op := range in.Operations {
		if !policy.IsGrantOperation(op) {
			return invalid("["+strings.Join(in.Operations, ", ")+"]", "operations",
				"Member must satisfy constraint: [Member must satisfy enum value set: ["+strings.Join(policy.GrantOperations(), ", ")+"]]")
		}
	}
	if len(in.Operations) == 0 {
		return Errorf(CodeValidation, "A grant must have at least one operation.")
	}
	if err := validateGrantTokens(in.GrantTokens); err != nil {
		return err
	}
	if err := validateGrantName(in.Name); err != nil {
		return err
	}
	return in.Constraints.validate()
}

func validateGrantName(name string) error {
	for i := range len(name) {
		if c := name[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune(":/_-", rune(c)) {
			return invalid(name, "name", `Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$`)
		}
	}
	return checkLength(name, "name", len(name), 0, 256)
}

func (c *GrantConstraints) validate() error {
	if c == nil {
		return nil
	}
	for field, pairs := range map[string]encctx.Context{
		"EncryptionContextEquals": c.EncryptionContextEquals, "EncryptionContextSubset": c.EncryptionContextSubset,
	} {
		if len(pairs) > constraintPairs {
			return Errorf(CodeValidation, "%s has more than %d pairs.", field, constraintPairs)
		}
		for name, value := range pairs {
			if max(utf8.RuneCountInString(name), utf8.RuneCountInString(value)) > constraintLetters {
				return Errorf(CodeValidation, "A name or value of %s has more than %d characters.", field, constraintLetters)
			}
		}
	}
	if c.SourceArn == "" {
		return nil
	}
	if err := checkLength(c.SourceArn, "constraints.sourceArn", len(c.SourceArn), 1, 2048); err != nil {
		return err
	}
	if !strings.HasPrefix(c.SourceArn, "arn:") || strings.Count(c.SourceArn, ":") < 5 {
		return Errorf(CodeInvalidArn, "The SourceArn is not an ARN.")
	}
	return nil
}

// record is the grant as far as the request says it. Whether its principals are good is still to be checked.
func (in *CreateGrantInput) record(issuer string) GrantRecord {
	g := GrantRecord{
		Name: in.Name, Grantee: in.GranteePrincipal, Retiring: in.RetiringPrincipal, Issuer: issuer,
		Operations: slices.Compact(slices.Sorted(slices.Values(in.Operations))),
	}
	if c := in.Constraints; c != nil {
		g.Equals, g.Subset, g.SourceARN = c.EncryptionContextEquals, c.EncryptionContextSubset, c.SourceArn
	}
	return g
}

func (c *Call) grantParams(in *CreateGrantInput) {
	c.param("keyId", in.KeyID)
	c.param("granteePrincipal", in.GranteePrincipal)
	if in.RetiringPrincipal != "" {
		c.param("retiringPrincipal", in.RetiringPrincipal)
	}
	c.event.RequestParameters.Strs("operations", in.Operations)
	if k := in.Constraints; k != nil {
		var limits audit.Fields
		if len(k.EncryptionContextEquals) > 0 {
			limits.Map("encryptionContextEquals", k.EncryptionContextEquals)
		}
		if len(k.EncryptionContextSubset) > 0 {
			limits.Map("encryptionContextSubset", k.EncryptionContextSubset)
		}
		if k.SourceArn != "" {
			limits.Str("sourceArn", k.SourceArn)
		}
		c.event.RequestParameters.Object("constraints", limits)
	}
	if in.Name != "" {
		c.param("name", in.Name)
	}
}

func createGrant(ctx context.Context, r *Region, c *Call, in *CreateGrantInput) (*CreateGrantOutput, error) {
	c.grantParams(in)
	c.dryRun = in.DryRun
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	g := in.record(c.caller.Account)
	asked := g.policy()
	c.request.Context.NewGrant, c.request.Context.GrantIsForAWSResource = &asked, policy.False
	if err := r.allow(ctx, c, c.op.Action, v); err != nil {
		return nil, err
	}
	if err := r.answered(ctx, c); err != nil {
		return nil, err
	}
	if err := checkState(c.op.Name, r.stateOf(v), v.arn); err != nil {
		return nil, err
	}
	if err := r.checkGrant(ctx, v, &g); err != nil {
		return nil, err
	}
	if len(v.granted) >= r.cfg.MaxGrants && (g.Name == "" || !slices.ContainsFunc(v.granted, g.repeats)) {
		return nil, r.tooManyGrants(v.arn)
	}
	if err := r.proceed(ctx, c); err != nil {
		return nil, err
	}
	id, err := r.cfg.Token.Random(ctx, grantIDDigits/2)
	if err != nil {
		return nil, err
	}
	g.ID, g.Created = hex.EncodeToString(id), r.Now().UnixMilli()
	out, err := r.putGrant(ctx, c, v, g)
	if err != nil {
		return nil, err
	}
	c.response("grantId", out.GrantID)
	c.response("keyId", v.arn)
	return out, nil
}

// putGrant commits a grant, unless one with its name says the same already. It answers with the one that is there
// afterwards.
func (r *Region) putGrant(ctx context.Context, c *Call, v *view, g GrantRecord) (out *CreateGrantOutput, err error) {
	token, err := r.newGrantToken(ctx, grantName{account: g.Account, keyID: g.KeyID, id: g.ID})
	if err != nil {
		return nil, err
	}
	err = r.Update(ctx, func(tx Tx) error {
		k, err := Get[Key](ctx, tx, r.ring, v.key.RecordKey())
		if errors.Is(err, ErrNoRecord) {
			return Errorf(CodeNotFound, "Key '%s' does not exist", v.arn)
		}
		if err != nil {
			return err
		}
		if err := checkState(c.op.Name, k.State, v.arn); err != nil {
			return err
		}
		have, err := tx.List(ctx, Query{Kind: KindGrant, Account: g.Account, ID: g.KeyID})
		if err != nil {
			return err
		}
		if g.Name != "" {
			id, err := r.repeated(ctx, have, g)
			if err != nil {
				return err
			}
			if id != "" {
				repeat := grantName{account: g.Account, keyID: g.KeyID, id: id}
				if token, err = r.newGrantToken(ctx, repeat); err != nil {
					return err
				}
				out = &CreateGrantOutput{GrantToken: token, GrantID: id}
				return r.putOnce(ctx, tx, c, out)
			}
		}
		if len(have) >= r.cfg.MaxGrants {
			return r.tooManyGrants(v.arn)
		}
		out = &CreateGrantOutput{GrantToken: token, GrantID: g.ID}
		if err := r.putOnce(ctx, tx, c, out); err != nil {
			return err
		}
		return Put(ctx, tx, r.ring, g)
	})
	return out, err
}

func (r *Region) tooManyGrants(key string) *Error {
	return Errorf(CodeLimitExceeded, "Too many grants on key %s: the limit is %d.", key, r.cfg.MaxGrants)
}

// repeats reports whether the two say the same under one name, so that CreateGrant is a repetition.
func (g *GrantRecord) repeats(o GrantRecord) bool {
	return g.Name == o.Name && g.Grantee == o.Grantee && g.Retiring == o.Retiring && g.Issuer == o.Issuer &&
		g.SourceARN == o.SourceARN && slices.Equal(g.Operations, o.Operations) && maps.Equal(g.Equals, o.Equals) &&
		maps.Equal(g.Subset, o.Subset)
}

// repeated returns the id of the grant among these that g repeats, "" if there is none. Only what looks like it is
// authenticated: there may be very many.
func (r *Region) repeated(ctx context.Context, among []Record, g GrantRecord) (string, error) {
	before := r.views.seenGrants(g.KeyID)
	for _, rec := range among {
		if i, found := slices.BinarySearchFunc(before, rec.Sub, func(s seenGrant, id string) int { return strings.Compare(s.grant.ID, id) }); found &&
			bytes.Equal(before[i].mac[:], rec.MAC) && !g.repeats(before[i].grant) {
			continue // it says what it said when it was read; what repeats g is authenticated below
		}
		var o GrantRecord
		if err := canon.Unmarshal(rec.Body, &o); err != nil {
			return "", fmt.Errorf("decode grant %s on %s: %w", rec.Sub, rec.ID, err)
		}
		if !g.repeats(o) {
			continue
		}
		o, err := open[GrantRecord](ctx, r.ring, rec)
		return o.ID, err
	}
	return "", nil
}

// checkGrant checks what depends on the key and on the principals that there are, and completes the record.
func (r *Region) checkGrant(ctx context.Context, v *view, g *GrantRecord) error {
	g.Account, g.KeyID = v.key.Account, v.key.KeyID
	for _, p := range []*string{&g.Grantee, &g.Retiring} {
		if *p == "" {
			continue
		}
		name, err := r.grantPrincipal(*p)
		if err != nil {
			return err
		}
		there, err := existence{r}.PrincipalExists(ctx, name)
		if err != nil {
			return err
		}
		if !there {
			return invalidPrincipal(*p)
		}
		*p = name
	}
	symmetric := v.key.Spec == SpecSymmetricDefault
	for _, op := range g.Operations {
		if !policy.GrantFits(op, v.key.Usage, symmetric) {
			return Errorf(CodeValidation, "Operation %s is not supported on the key %s, whose spec is %s and whose usage is %s.",
				op, v.arn, v.key.Spec, v.key.Usage)
		}
	}
	if len(g.Equals)+len(g.Subset) > 0 && !symmetric {
		return Errorf(CodeValidation, "Encryption context constraints are for symmetric encryption keys only.")
	}
	return nil
}
