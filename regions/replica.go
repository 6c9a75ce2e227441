package regions

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"antipode/regions/arn"
	"antipode/regions/keyring"
	"antipode/regions/keyspec"
	"antipode/regions/policy"
)

// Replica is a replica key that another Region asks this one to hold.
type Replica struct {
	Account     string
	KeyID       string
	Spec        string
	Usage       string
	Origin      string
	Principal   string // ARN of who asked for it in the other Region
	Policy      string // JSON; "" asks for the default one
	Description string
	Tags        []Tag
	Source      string   // the Region that the key comes from
	Incarnation [16]byte // the exchange
}

// CheckReplica decides whether this Region would hold the replica: what kind of key it is, whether the principal may
// make keys here, and whether its policy and tags are good. It changes nothing and returns an [*Error] for a refusal.
func (r *Region) CheckReplica(ctx context.Context, p Replica) error {
	if err := r.holds(p.Spec, p.Usage, p.Origin); err != nil {
		return err
	}
	if !arn.IsAccount(p.Account) || !arn.IsMultiRegionKeyID(p.KeyID) {
		return Errorf(CodeValidation, "not a multi-Region key: %s in account %s", p.KeyID, p.Account)
	}
	if err := checkLength(p.Description, "description", utf8.RuneCountInString(p.Description), 0, 8192); err != nil {
		return err
	}
	if err := validateTags(p.Tags); err != nil {
		return err
	}
	if _, err := r.checkPolicy(ctx, p.Policy, p.Account); err != nil {
		return err
	}
	if err := r.mayCreate(ctx, p); err != nil {
		return err
	}
	return r.checkFree(ctx, p)
}

// checkFree returns AlreadyExistsException if the key id is taken, by anything but a reservation for the same source, and
// LimitExceededException if the account has as many keys as its quota allows.
func (r *Region) checkFree(ctx context.Context, p Replica) error {
	return r.cfg.Store.View(ctx, func(rd Reader) error {
		taken, err := List[Key](ctx, rd, r.ring, Query{Kind: KindKey, Ref: p.KeyID, Limit: 2})
		if err != nil {
			return err
		}
		for _, k := range taken {
			reserved := k.MultiRegion != nil && k.MultiRegion.State == nil && k.MultiRegion.Source == p.Source
			if k.Account != p.Account || !reserved {
				return r.taken(p.KeyID)
			}
		}
		if len(taken) > 0 {
			return r.checkQuota(ctx, rd, p.Account, 0) // it is counted already
		}
		return r.checkQuota(ctx, rd, p.Account, 1)
	})
}

func (r *Region) taken(keyID string) *Error {
	return Errorf(CodeAlreadyExists, "The key %s already exists in %s. You can create only one replica of each primary key in each AWS Region.",
		keyID, r.cfg.Name)
}

// holds returns UnsupportedOperationException if this Region can't hold replicas of such keys.
func (r *Region) holds(name, usage, origin string) error {
	spec, known := keyspec.Lookup(name)
	if !known || !spec.Has(usage) || origin != OriginAWSKMS && origin != OriginExternal {
		return Errorf(CodeUnsupportedOperation, "Region %s does not support %s keys with usage %s and origin %s.",
			r.cfg.Name, name, usage, origin)
	}
	if missing := spec.Missing(r.caps, usage); missing != "" {
		return Errorf(CodeUnsupportedOperation, "Region %s does not support %s keys with usage %s: its token lacks %s.",
			r.cfg.Name, name, usage, missing)
	}
	if !spec.Built() {
		return Errorf(CodeUnsupportedOperation, "Region %s does not support %s keys: this version of Antipode does not.", r.cfg.Name, name)
	}
	if !spec.Wrapped(r.caps) {
		return Errorf(CodeUnsupportedOperation, "Region %s does not support replicas of %s keys: its token cannot wrap and unwrap %s keys.",
			r.cfg.Name, name, spec.KeyType)
	}
	return nil
}

// Reserve makes the replica's record in state Creating, inside a transaction. It returns AlreadyExistsException if the
// id is taken, and LimitExceededException if the account's quota is reached: a reservation counts.
func (r *Region) Reserve(ctx context.Context, tx Tx, p Replica) error {
	taken, err := tx.List(ctx, Query{Kind: KindKey, Ref: p.KeyID, Limit: 1})
	if err != nil {
		return err
	}
	if len(taken) > 0 {
		return r.taken(p.KeyID)
	}
	document := p.Policy
	if document == "" {
		document = policy.Default(p.Account)
	}
	return r.putNew(ctx, tx, Key{
		Account: p.Account, KeyID: p.KeyID, Spec: p.Spec, Usage: p.Usage, Origin: p.Origin, Description: p.Description,
		State: StateCreating, Created: r.Now().UnixMilli(), Tags: p.Tags, Storage: keyring.StorageWrapped,
		MultiRegion: &MultiRegion{Incarnation: p.Incarnation, Source: p.Source},
	}, document)
}

// Unreserve takes back, inside a transaction, what Reserve made for this incarnation, with the aliases that were given
// to it meanwhile. A replica that has its material stays.
func (r *Region) Unreserve(ctx context.Context, tx Tx, account, keyID string, incarnation [16]byte) error {
	k, err := Get[Key](ctx, tx, r.ring, Key{Account: account, KeyID: keyID}.RecordKey())
	if errors.Is(err, ErrNoRecord) {
		return nil
	}
	if err != nil {
		return err
	}
	if k.MultiRegion == nil || k.MultiRegion.State != nil || k.MultiRegion.Incarnation != incarnation {
		return nil
	}
	aliases, err := List[Alias](ctx, tx, r.ring, Query{Kind: KindAlias, Account: account, Ref: keyID})
	if err != nil {
		return err
	}
	gone := []Body{k, PolicyRecord{Account: account, KeyID: keyID}}
	for _, a := range aliases {
		gone = append(gone, a)
	}
	for _, b := range gone {
		if err := tx.Delete(ctx, b.RecordKey()); err != nil {
			return err
		}
	}
	return nil
}

// InstallReplica gives the reserved replica its material and shared state, inside a transaction. It becomes Enabled,
// or PendingImport if its material is to be imported, unless it was scheduled for deletion meanwhile.
func (r *Region) InstallReplica(ctx context.Context, tx Tx, p Replica, shared MultiRegion, materials []keyring.Material) error {
	k, err := Get[Key](ctx, tx, r.ring, Key{Account: p.Account, KeyID: p.KeyID}.RecordKey())
	if err != nil {
		return fmt.Errorf("install replica: %w", err)
	}
	if k.MultiRegion == nil || k.MultiRegion.State != nil || k.MultiRegion.Incarnation != p.Incarnation {
		return fmt.Errorf("install replica: %s is not reserved for this exchange", p.KeyID)
	}
	if k.State == StateCreating && k.Origin == OriginExternal {
		k.State = StatePendingImport
	}
	if k.State == StateCreating {
		k.State = StateEnabled
	}
	k.MultiRegion, k.Current = &shared, shared.State.Current()
	if err := Put(ctx, tx, r.ring, k); err != nil {
		return err
	}
	return r.PutMaterials(ctx, tx, materials...)
}
