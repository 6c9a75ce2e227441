package regions

import (
	"context"
	"errors"

	"antipode/regions/arn"
	"antipode/regions/awstime"
	"antipode/regions/keyspec"
)

// AliasInput is the request of CreateAlias and UpdateAlias.
type AliasInput struct {
	AliasName   string `json:"AliasName"`
	TargetKeyID string `json:"TargetKeyId"`
}

func (in *AliasInput) validate() error {
	if in.AliasName == "" {
		return missing("aliasName")
	}
	if err := validateKeyID(in.TargetKeyID, "targetKeyId"); err != nil {
		return err
	}
	if err := arn.CheckNewAlias(in.AliasName); err != nil {
		return nameError(err)
	}
	return nil
}

// DefaultMaxAliases is AWS's quota of aliases of a key.
const DefaultMaxAliases = 50

func createAlias(ctx context.Context, r *Region, c *Call, in *AliasInput) (*struct{}, error) {
	return nil, r.pointAlias(ctx, c, in, func(existing *Alias) error {
		if existing != nil {
			return Errorf(CodeAlreadyExists, "An alias with the name %s already exists",
				r.place(c.caller.Account).Alias(in.AliasName))
		}
		return nil
	})
}

func updateAlias(ctx context.Context, r *Region, c *Call, in *AliasInput) (*struct{}, error) {
	return nil, r.pointAlias(ctx, c, in, func(existing *Alias) error {
		if existing == nil {
			return Errorf(CodeNotFound, "Alias %s is not found.", r.place(c.caller.Account).Alias(in.AliasName))
		}
		return nil
	})
}

// pointAlias lets an alias point to a key, if check agrees to what exists under the name now (nil if nothing does).
func (r *Region) pointAlias(ctx context.Context, c *Call, in *AliasInput, check func(*Alias) error) error {
	c.param("aliasName", in.AliasName)
	c.param("targetKeyId", in.TargetKeyID)
	v, err := r.find(ctx, c, in.TargetKeyID, false)
	if err != nil {
		return err
	}
	if err := r.admitAlias(ctx, c, v, in.AliasName); err != nil {
		return err
	}
	now := r.Now().UnixMilli()
	a := Alias{Account: v.key.Account, Name: in.AliasName, KeyID: v.key.KeyID, Created: now, Updated: now}
	return r.Update(ctx, func(tx Tx) error {
		old, err := Get[Alias](ctx, tx, r.ring, a.RecordKey())
		existing := &old
		if errors.Is(err, ErrNoRecord) {
			existing = nil
		} else if err != nil {
			return err
		}
		if err := check(existing); err != nil {
			return err
		}
		k, err := Get[Key](ctx, tx, r.ring, v.key.RecordKey())
		if err != nil {
			return err
		}
		if err := checkState(c.op.Name, k.State, v.arn); err != nil {
			return err
		}
		if err := r.putOnce(ctx, tx, c, nil); err != nil {
			return err
		}
		if existing != nil {
			a.Created = existing.Created
			if existing.KeyID == a.KeyID {
				return Put(ctx, tx, r.ring, a)
			}
			if err := r.checkSameKind(ctx, tx, *existing, k); err != nil {
				return err
			}
		}
		others, err := List[Alias](ctx, tx, r.ring, Query{Kind: KindAlias, Account: a.Account, Ref: a.KeyID})
		if err != nil {
			return err
		}
		if len(others) >= r.cfg.MaxAliases {
			return Errorf(CodeLimitExceeded, "Too many aliases for key %s: the limit is %d.", v.arn, r.cfg.MaxAliases)
		}
		return Put(ctx, tx, r.ring, a)
	})
}

// checkSameKind refuses to let an alias go to a key of another type (symmetric, asymmetric, HMAC) or usage than it has:
// who encrypts by a name should not find that it signs.
func (r *Region) checkSameKind(ctx context.Context, tx Tx, a Alias, to Key) error {
	from, err := Get[Key](ctx, tx, r.ring, RecordKey{Kind: KindKey, Account: a.Account, ID: a.KeyID})
	if err != nil {
		return err
	}
	was, _ := keyspec.Lookup(from.Spec)
	will, _ := keyspec.Lookup(to.Spec)
	if from.Usage != to.Usage || was.Pair() != will.Pair() {
		return Errorf(CodeValidation, "Alias %s can't be updated: %s and %s are not of the same type and key usage.",
			a.Name, r.KeyARN(a.Account, a.KeyID), r.KeyARN(to.Account, to.KeyID))
	}
	return nil
}

// admitAlias admits an operation on an alias and the key v: the caller needs permission on both, and on the key that the
// alias points to now, if it is another.
func (r *Region) admitAlias(ctx context.Context, c *Call, v *view, name string) error {
	if err := r.allow(ctx, c, c.op.Action, v); err != nil {
		return err
	}
	now, err := r.views.alias(ctx, v.key.Account, name)
	if err != nil {
		return err
	}
	if now != "" && now != v.key.KeyID {
		old, err := r.views.key(ctx, now)
		if err != nil {
			return err
		}
		if old != nil {
			if err := r.allow(ctx, c, c.op.Action, old); err != nil {
				return err
			}
		}
	}
	if err := r.allowOn(c, c.op.Action, r.place(v.key.Account).Alias(name)); err != nil {
		return err
	}
	if err := r.answered(ctx, c); err != nil {
		return err
	}
	if err := checkState(c.op.Name, r.stateOf(v), v.arn); err != nil {
		return err
	}
	return r.proceed(ctx, c)
}

// DeleteAliasInput is the request of DeleteAlias.
type DeleteAliasInput struct {
	AliasName string `json:"AliasName"`
}

func (in *DeleteAliasInput) validate() error {
	if in.AliasName == "" {
		return missing("aliasName")
	}
	if err := arn.CheckNewAlias(in.AliasName); err != nil {
		return nameError(err)
	}
	return nil
}

func deleteAlias(ctx context.Context, r *Region, c *Call, in *DeleteAliasInput) (*struct{}, error) {
	c.param("aliasName", in.AliasName)
	v, err := r.find(ctx, c, in.AliasName, true)
	if err != nil {
		return nil, err
	}
	c.takeAlias() // kms:RequestAlias is for what uses a key
	if err := r.admitAlias(ctx, c, v, in.AliasName); err != nil {
		return nil, err
	}
	a := Alias{Account: c.caller.Account, Name: in.AliasName}
	return nil, r.Update(ctx, func(tx Tx) error { return tx.Delete(ctx, a.RecordKey()) })
}

// ListAliasesInput is the request of ListAliases.
type ListAliasesInput struct {
	KeyID  string `json:"KeyId"`
	Limit  *int   `json:"Limit"` // 1 to 100, default 50
	Marker string `json:"Marker"`
}

// ListAliasesOutput is the answer of ListAliases.
type ListAliasesOutput struct {
	Aliases    []AliasListEntry `json:"Aliases"`
	NextMarker string           `json:"NextMarker,omitzero"`
	Truncated  bool             `json:"Truncated"`
}

// AliasListEntry describes one alias.
type AliasListEntry struct {
	AliasName       string            `json:"AliasName"`
	AliasArn        string            `json:"AliasArn"`
	TargetKeyID     string            `json:"TargetKeyId"`
	CreationDate    awstime.Timestamp `json:"CreationDate"`
	LastUpdatedDate awstime.Timestamp `json:"LastUpdatedDate"`
}

func (in *ListAliasesInput) validate() error { return validatePage(in.Limit, 100, in.Marker) }

func listAliases(ctx context.Context, r *Region, c *Call, in *ListAliasesInput) (*ListAliasesOutput, error) {
	limit := limitOr(in.Limit, 50)
	q := Query{Kind: KindAlias, Account: c.caller.Account, Limit: limit + 1}
	if in.KeyID != "" {
		c.param("keyId", in.KeyID)
		v, err := r.find(ctx, c, in.KeyID, false)
		if err != nil {
			return nil, err
		}
		q.Ref = v.key.KeyID
	}
	if err := r.admitAccount(ctx, c); err != nil {
		return nil, err
	}
	after, err := decodeMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	if after != "" {
		q.After = RecordKey{Kind: KindAlias, Account: c.caller.Account, ID: after}
	}
	var aliases []Alias
	err = r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		aliases, err = List[Alias](ctx, rd, r.ring, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &ListAliasesOutput{Aliases: []AliasListEntry{}}
	if len(aliases) > limit {
		aliases, out.Truncated = aliases[:limit], true
		out.NextMarker = encodeMarker(aliases[limit-1].Name)
	}
	for _, a := range aliases {
		out.Aliases = append(out.Aliases, AliasListEntry{
			AliasName: a.Name, AliasArn: r.place(a.Account).Alias(a.Name), TargetKeyID: a.KeyID,
			CreationDate: awstime.FromMillis(a.Created), LastUpdatedDate: awstime.FromMillis(a.Updated),
		})
	}
	return out, nil
}
