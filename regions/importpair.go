package regions

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"antipode/hsmbackend"
	"antipode/regions/awstime"
	"antipode/regions/keyring"
)

// Limits of import parameters.
const (
	// importValid is how long a wrapping pair and its import token are good for, by the Region's clock.
	importValid = 24 * time.Hour
	// maxImportPairs is how many pairs a key may have at once; one more takes the place of the oldest.
	maxImportPairs = 8
	// pairWait is how long a call waits for its turn to make a pair: the token makes one at a time.
	pairWait = 10 * time.Second
)

// ImportPair is what GetParametersForImport has made for one key: the pair to which its material is to be wrapped.
type ImportPair struct {
	Account   string               `cbor:"1,keyasint"`
	KeyID     string               `cbor:"2,keyasint"`
	ID        [16]byte             `cbor:"3,keyasint"` // random; the import token names it
	Algorithm string               `cbor:"4,keyasint"` // the wrapping algorithm, one of package keyring's
	Pair      keyring.WrappingPair `cbor:"5,keyasint"`
	Created   int64                `cbor:"6,keyasint"` // Unix milliseconds
	Expires   int64                `cbor:"7,keyasint"` // Unix milliseconds
}

// RecordKey implements [Body].
func (p ImportPair) RecordKey() RecordKey {
	return RecordKey{Kind: KindImportPair, Account: p.Account, ID: p.KeyID, Sub: hex.EncodeToString(p.ID[:])}
}

// RecordIndex implements [Body]: a pair wants attention when it expires.
func (p ImportPair) RecordIndex() (string, int64) { return "", p.Expires }

// GetParametersForImportInput is the request of GetParametersForImport.
type GetParametersForImportInput struct {
	KeyID             string `json:"KeyId"`
	WrappingAlgorithm string `json:"WrappingAlgorithm"`
	WrappingKeySpec   string `json:"WrappingKeySpec"`
}

// GetParametersForImportOutput is the answer of GetParametersForImport.
type GetParametersForImportOutput struct {
	KeyID             string            `json:"KeyId"` // ARN
	ImportToken       []byte            `json:"ImportToken"`
	PublicKey         []byte            `json:"PublicKey"` // DER SubjectPublicKeyInfo
	ParametersValidTo awstime.Timestamp `json:"ParametersValidTo"`
}

// AWS's lists, those included that nobody can use here.
var (
	wrappingAlgorithms = []string{
		"RSAES_PKCS1_V1_5", keyring.WrapOAEPSHA1, keyring.WrapOAEPSHA256, keyring.WrapRSAAESSHA1, keyring.WrapRSAAESSHA256, "SM2PKE",
	}
	wrappingKeySpecs = []string{"RSA_2048", "RSA_3072", "RSA_4096", "SM2"}
)

func (in *GetParametersForImportInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	switch {
	case in.WrappingAlgorithm == "":
		return missing("wrappingAlgorithm")
	case in.WrappingKeySpec == "":
		return missing("wrappingKeySpec")
	case !slices.Contains(wrappingAlgorithms, in.WrappingAlgorithm):
		return invalidEnum(in.WrappingAlgorithm, "wrappingAlgorithm", wrappingAlgorithms...)
	case !slices.Contains(wrappingKeySpecs, in.WrappingKeySpec):
		return invalidEnum(in.WrappingKeySpec, "wrappingKeySpec", wrappingKeySpecs...)
	}
	return nil
}

// checkWrapping refuses what AWS lists and does not do any more, or not outside of China, and what the token can't.
func (r *Region) checkWrapping(material, spec, algorithm string) error {
	switch {
	case algorithm == "RSAES_PKCS1_V1_5":
		return Errorf(CodeUnsupportedOperation, "The wrapping algorithm RSAES_PKCS1_V1_5 is not supported: use RSAES_OAEP_SHA_256.")
	case algorithm == "SM2PKE" || spec == "SM2":
		return Errorf(CodeUnsupportedOperation, "The wrapping algorithm SM2PKE and the wrapping key spec SM2 are not supported.")
	}
	err := r.ring.CanImport(material, spec, algorithm)
	switch {
	case errors.Is(err, keyring.ErrWrapping):
		return Errorf(CodeUnsupportedOperation, "The wrapping algorithm %s with a wrapping key of spec %s is not supported for key "+
			"material of key spec %s.", algorithm, spec, material)
	case errors.Is(err, hsmbackend.ErrUnsupported):
		return Errorf(CodeUnsupportedOperation, "This Region's token can't open %s key material wrapped by %s to a key of spec %s.",
			material, algorithm, spec)
	}
	return err
}

// admitImported admits a call on imported key material: authorisation first, then the key's origin, then its state.
func (r *Region) admitImported(ctx context.Context, c *Call, v *view) error {
	if err := r.allow(ctx, c, c.op.Action, v); err != nil {
		return err
	}
	if v.key.Origin != OriginExternal {
		return Errorf(CodeUnsupportedOperation, "%s origin is %s which is not valid for this operation.", v.arn, v.key.Origin)
	}
	return checkState(c.op.Name, r.stateOf(v), v.arn)
}

func getParametersForImport(ctx context.Context, r *Region, c *Call, in *GetParametersForImportInput) (*GetParametersForImportOutput, error) {
	c.param("keyId", in.KeyID)
	c.param("wrappingAlgorithm", in.WrappingAlgorithm)
	c.param("wrappingKeySpec", in.WrappingKeySpec)
	c.request.Context.WrappingAlgorithm, c.request.Context.WrappingKeySpec = in.WrappingAlgorithm, in.WrappingKeySpec
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if err := r.admitImported(ctx, c, v); err != nil {
		return nil, err
	}
	if err := r.checkWrapping(v.key.Spec, in.WrappingKeySpec, in.WrappingAlgorithm); err != nil {
		return nil, err
	}
	if err := r.proceed(ctx, c); err != nil {
		return nil, err
	}
	p := ImportPair{Account: v.key.Account, KeyID: v.key.KeyID, Algorithm: in.WrappingAlgorithm}
	raw, err := r.cfg.Token.Random(ctx, len(p.ID))
	if err != nil {
		return nil, err
	}
	copy(p.ID[:], raw)
	if p.Pair, err = r.makePair(ctx, in.WrappingKeySpec); err != nil {
		return nil, err
	}
	if err := r.putPair(ctx, c, v, &p); err != nil {
		return nil, err
	}
	token, err := r.importToken(ctx, p)
	if err != nil {
		return nil, err
	}
	return &GetParametersForImportOutput{
		KeyID: v.arn, ImportToken: token, PublicKey: p.Pair.Public, ParametersValidTo: awstime.FromMillis(p.Expires),
	}, nil
}

// makePair makes a wrapping pair when it is its turn: making one keeps a token busy, and callers' data goes before.
func (r *Region) makePair(ctx context.Context, spec string) (keyring.WrappingPair, error) {
	wait := time.NewTimer(pairWait)
	defer wait.Stop()
	select {
	case r.pairs <- struct{}{}:
	case <-wait.C:
		return keyring.WrappingPair{}, Errorf(CodeDependencyTimeout, "The system timed out while trying to fulfill the request. You can retry the request.")
	case <-ctx.Done():
		return keyring.WrappingPair{}, ctx.Err()
	}
	defer func() { <-r.pairs }()
	return r.ring.MakeWrappingPair(ctx, spec)
}

// putPair commits a pair, if the key is still one to import into, and removes those of the key that it takes the place
// of. Its private half is under the domain key that is in use when it is committed.
func (r *Region) putPair(ctx context.Context, c *Call, v *view, p *ImportPair) error {
	now := r.Now()
	p.Created, p.Expires = now.UnixMilli(), now.Add(importValid).UnixMilli()
	made := p.Pair
	return r.Update(ctx, func(tx Tx) error {
		k, err := Get[Key](ctx, tx, r.ring, v.key.RecordKey())
		if err != nil {
			return err
		}
		if err := checkState(c.op.Name, k.State, v.arn); err != nil {
			return err
		}
		h, err := r.hierarchy(ctx, tx)
		if err != nil {
			return err
		}
		if p.Pair, err = r.ring.RewrapPair(ctx, made, h.Current); err != nil {
			return err
		}
		held, err := List[ImportPair](ctx, tx, r.ring, Query{Kind: KindImportPair, Account: p.Account, ID: p.KeyID})
		if err != nil {
			return err
		}
		slices.SortFunc(held, func(a, b ImportPair) int { return int(a.Created - b.Created) })
		for i, old := range held {
			if old.Expires > p.Created && len(held)-i < maxImportPairs {
				break
			}
			if err := tx.Delete(ctx, old.RecordKey()); err != nil {
				return err
			}
		}
		return Put(ctx, tx, r.ring, *p)
	})
}

// prunePairs removes the pairs whose time is over: what was wrapped to one of them nobody can open any more.
func (r *Region) prunePairs(ctx context.Context) error {
	q := Query{Kind: KindImportPair, DueBy: max(r.Now().UnixMilli(), 1), Limit: 256}
	var due []Record
	err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		due, err = rd.List(ctx, q)
		return err
	})
	if err != nil || len(due) == 0 {
		return err
	}
	err = r.Update(ctx, func(tx Tx) error {
		for _, rec := range due { // authentic or not: a pair that is not there opens nothing
			if err := tx.Delete(ctx, rec.RecordKey); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove import parameters: %w", err)
	}
	return nil
}
