package regions

import (
	"context"

	"antipode/regions/encctx"
	"antipode/regions/keyspec"
	"antipode/regions/policy"
)

// ReEncryptInput is the request of ReEncrypt.
type ReEncryptInput struct {
	CiphertextBlob                 []byte         `json:"CiphertextBlob"`
	SourceEncryptionContext        encctx.Context `json:"SourceEncryptionContext"`
	SourceKeyID                    string         `json:"SourceKeyId"`
	DestinationKeyID               string         `json:"DestinationKeyId"`
	DestinationEncryptionContext   encctx.Context `json:"DestinationEncryptionContext"`
	SourceEncryptionAlgorithm      string         `json:"SourceEncryptionAlgorithm"`
	DestinationEncryptionAlgorithm string         `json:"DestinationEncryptionAlgorithm"`
	GrantTokens                    []string       `json:"GrantTokens"`
	DryRun                         bool           `json:"DryRun"`
	DryRunModifiers                []string       `json:"DryRunModifiers"` // IGNORE_CIPHERTEXT; count in dry runs only
}

// ReEncryptOutput is the answer of ReEncrypt.
type ReEncryptOutput struct {
	CiphertextBlob                 []byte `json:"CiphertextBlob"`
	SourceKeyID                    string `json:"SourceKeyId"` // ARN
	KeyID                          string `json:"KeyId"`       // ARN of the destination key
	SourceEncryptionAlgorithm      string `json:"SourceEncryptionAlgorithm"`
	DestinationEncryptionAlgorithm string `json:"DestinationEncryptionAlgorithm"`
	SourceKeyMaterialID            string `json:"SourceKeyMaterialId,omitzero"`      // of symmetric keys only
	DestinationKeyMaterialID       string `json:"DestinationKeyMaterialId,omitzero"` // of symmetric keys only
}

func (in *ReEncryptInput) validate() error {
	if err := validateModifiers(in.DryRunModifiers); err != nil {
		return err
	}
	if ignoresBlob(in.DryRun, in.DryRunModifiers) {
		if in.SourceKeyID == "" {
			return missing("sourceKeyId")
		}
	} else if err := validateBlob(in.CiphertextBlob); err != nil {
		return err
	}
	if in.SourceKeyID != "" {
		if err := validateKeyID(in.SourceKeyID, "sourceKeyId"); err != nil {
			return err
		}
	}
	if err := validateKeyID(in.DestinationKeyID, "destinationKeyId"); err != nil {
		return err
	}
	if err := validateAlgorithm(in.SourceEncryptionAlgorithm, "sourceEncryptionAlgorithm"); err != nil {
		return err
	}
	if err := validateGrantTokens(in.GrantTokens); err != nil {
		return err
	}
	return validateAlgorithm(in.DestinationEncryptionAlgorithm, "destinationEncryptionAlgorithm")
}

func reEncrypt(ctx context.Context, r *Region, c *Call, in *ReEncryptInput) (*ReEncryptOutput, error) {
	if in.SourceKeyID != "" {
		c.param("sourceKeyId", in.SourceKeyID)
	}
	c.param("destinationKeyId", in.DestinationKeyID)
	c.contextParam("sourceEncryptionContext", in.SourceEncryptionContext)
	c.contextParam("destinationEncryptionContext", in.DestinationEncryptionContext)
	c.askCrypto(in.SourceEncryptionContext, in.SourceEncryptionAlgorithm)
	source, blob, err := r.findSource(ctx, c, actionReEncryptFrom, in.CiphertextBlob, in.SourceKeyID,
		ignoresBlob(in.DryRun, in.DryRunModifiers))
	if err != nil {
		return nil, err
	}
	sourceAlias := c.takeAlias()
	destination, err := r.find(ctx, c, in.DestinationKeyID, true)
	if err != nil {
		return nil, err
	}
	destinationAlias := c.takeAlias()
	var algorithms [2]keyspec.Algorithm
	// Each of the two keys allows its own half; a dry run is answered after both.
	c.request.Context.ReEncryptOnSameKey = policy.BoolOf(source.key.KeyID == destination.key.KeyID)
	for i, half := range []struct {
		v       *view
		action  string
		alg     string
		alias   string
		keyID   string
		context encctx.Context
	}{
		{source, actionReEncryptFrom, in.SourceEncryptionAlgorithm, sourceAlias, in.SourceKeyID, in.SourceEncryptionContext},
		{
			destination, actionReEncryptTo, in.DestinationEncryptionAlgorithm, destinationAlias, in.DestinationKeyID,
			in.DestinationEncryptionContext,
		},
	} {
		c.request.Context.RequestAlias = half.alias
		c.askCrypto(half.context, half.alg)
		if err := r.allow(ctx, c, half.action, half.v); err != nil {
			return nil, unnamed(err, half.keyID)
		}
		a, err := r.usable(c, half.v, keyspec.EncryptDecrypt, half.alg)
		if err == nil {
			err = checkContext(a, half.context)
		}
		if err != nil {
			return nil, err
		}
		algorithms[i] = a
	}
	c.dryRun = in.DryRun
	if err := r.proceed(ctx, c); err != nil {
		return nil, err
	}
	plaintext, err := r.decryptBy(ctx, c, source, algorithms[0], blob, in.SourceEncryptionContext)
	if err != nil {
		return nil, err
	}
	defer plaintext.Zero()
	if err := checkPlaintext(destination, algorithms[1], in.DestinationEncryptionContext, plaintext.Len()); err != nil {
		return nil, err
	}
	sealed, err := r.encryptBy(ctx, c, destination, algorithms[1], in.DestinationEncryptionContext, plaintext.Reveal())
	if err != nil {
		return nil, err
	}
	return &ReEncryptOutput{
		CiphertextBlob: sealed, SourceKeyID: source.arn, KeyID: destination.arn,
		SourceEncryptionAlgorithm: algorithms[0].Name, DestinationEncryptionAlgorithm: algorithms[1].Name,
		SourceKeyMaterialID: blob.materialID(), DestinationKeyMaterialID: shownMaterial(&destination.key),
	}, nil
}
