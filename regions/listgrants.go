package regions

import (
	"context"
	"slices"
	"strings"

	"antipode/regions/awstime"
	"antipode/regions/policy"
)

// GrantListEntry describes one grant.
type GrantListEntry struct {
	KeyID             string            `json:"KeyId"` // ARN
	GrantID           string            `json:"GrantId"`
	Name              string            `json:"Name,omitzero"`
	CreationDate      awstime.Timestamp `json:"CreationDate"`
	GranteePrincipal  string            `json:"GranteePrincipal"`
	RetiringPrincipal string            `json:"RetiringPrincipal,omitzero"`
	IssuingAccount    string            `json:"IssuingAccount"` // ARN of its root
	Operations        []string          `json:"Operations"`
	Constraints       *GrantConstraints `json:"Constraints,omitempty"`
}

// ListGrantsInput is the request of ListGrants.
type ListGrantsInput struct {
	KeyID                   string `json:"KeyId"`
	GrantID                 string `json:"GrantId"`
	GranteePrincipal        string `json:"GranteePrincipal"`
	GranteeServicePrincipal string `json:"GranteeServicePrincipal"`
	Limit                   *int   `json:"Limit"` // 1 to 100, default 50
	Marker                  string `json:"Marker"`
}

// ListGrantsOutput is the answer of ListGrants and ListRetirableGrants.
type ListGrantsOutput struct {
	Grants     []GrantListEntry `json:"Grants"`
	NextMarker string           `json:"NextMarker,omitzero"`
	Truncated  bool             `json:"Truncated"`
}

func (in *ListGrantsInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	if in.GranteeServicePrincipal != "" {
		return errNoServices()
	}
	if in.GrantID != "" {
		if err := checkGrantID(in.GrantID); err != nil {
			return err
		}
	}
	if in.GranteePrincipal != "" {
		if err := validatePrincipal(in.GranteePrincipal, "granteePrincipal"); err != nil {
			return err
		}
	}
	return validatePage(in.Limit, 100, in.Marker)
}

func listGrants(ctx context.Context, r *Region, c *Call, in *ListGrantsInput) (*ListGrantsOutput, error) {
	c.param("keyId", in.KeyID)
	if in.GrantID != "" {
		c.param("grantId", in.GrantID)
	}
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	c.request.Context.GrantIsForAWSResource = policy.False
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	after, err := decodeMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	grantee := in.GranteePrincipal
	if grantee != "" {
		if grantee, err = r.grantPrincipal(grantee); err != nil {
			return nil, err
		}
	}
	var found []GrantRecord
	limit := limitOr(in.Limit, 50)
	for _, g := range v.granted {
		if g.ID <= after || (in.GrantID != "" && g.ID != in.GrantID) || (grantee != "" && g.Grantee != grantee) {
			continue
		}
		if found = append(found, g); len(found) > limit {
			break
		}
	}
	return r.grantPage(found, limit, func(g GrantRecord) string { return g.ID }), nil
}

// grantPage makes the answer of grants, which are one more than limit if there is another page. marker says after what
// the next one begins.
func (r *Region) grantPage(found []GrantRecord, limit int, marker func(GrantRecord) string) *ListGrantsOutput {
	out := &ListGrantsOutput{Grants: []GrantListEntry{}}
	if len(found) > limit {
		found, out.Truncated = found[:limit], true
		out.NextMarker = encodeMarker(marker(found[limit-1]))
	}
	for _, g := range found {
		e := GrantListEntry{
			KeyID: r.KeyARN(g.Account, g.KeyID), GrantID: g.ID, Name: g.Name, CreationDate: awstime.FromMillis(g.Created),
			GranteePrincipal: g.Grantee, RetiringPrincipal: g.Retiring, IssuingAccount: policy.Root(g.Issuer),
			Operations: slices.Clone(g.Operations),
		}
		if len(g.Equals)+len(g.Subset) > 0 || g.SourceARN != "" {
			e.Constraints = &GrantConstraints{
				EncryptionContextEquals: g.Equals, EncryptionContextSubset: g.Subset, SourceArn: g.SourceARN,
			}
		}
		out.Grants = append(out.Grants, e)
	}
	return out
}

// ListRetirableGrantsInput is the request of ListRetirableGrants.
type ListRetirableGrantsInput struct {
	RetiringPrincipal        string `json:"RetiringPrincipal"` // of the caller's account
	RetiringServicePrincipal string `json:"RetiringServicePrincipal"`
	Limit                    *int   `json:"Limit"` // 1 to 100, default 50
	Marker                   string `json:"Marker"`
}

func (in *ListRetirableGrantsInput) validate() error {
	if in.RetiringServicePrincipal != "" {
		return errNoServices()
	}
	if in.RetiringPrincipal == "" {
		return missing("retiringPrincipal")
	}
	if err := validatePrincipal(in.RetiringPrincipal, "retiringPrincipal"); err != nil {
		return err
	}
	return validatePage(in.Limit, 100, in.Marker)
}

// listRetirableGrants lists the grants on keys of all accounts that a principal may retire. It is authorised, as with
// AWS, on the principal and not on the keys.
func listRetirableGrants(ctx context.Context, r *Region, c *Call, in *ListRetirableGrantsInput) (*ListGrantsOutput, error) {
	c.param("retiringPrincipal", in.RetiringPrincipal)
	principal, err := r.grantPrincipal(in.RetiringPrincipal)
	if err != nil {
		return nil, err
	}
	if account := accountOf(principal); account != c.caller.Account {
		return nil, denied(c, c.op.Action, principal, account, policy.Decision{Reason: policy.OtherAccount})
	}
	if err := r.allowOn(c, c.op.Action, principal); err != nil {
		return nil, err
	}
	if err := r.proceed(ctx, c); err != nil {
		return nil, err
	}
	limit := limitOr(in.Limit, 50)
	q := Query{Kind: KindGrant, Ref: principal, Limit: limit + 1}
	after, err := decodeMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	if after != "" {
		parts := strings.Split(after, "/")
		if len(parts) != 3 {
			return nil, Errorf(CodeInvalidMarker, "Could not deserialize marker")
		}
		q.After = RecordKey{Kind: KindGrant, Account: parts[0], ID: parts[1], Sub: parts[2]}
	}
	var found []GrantRecord
	err = r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		found, err = List[GrantRecord](ctx, rd, r.ring, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.grantPage(found, limit, func(g GrantRecord) string { return g.Account + "/" + g.KeyID + "/" + g.ID }), nil
}
