package regions

import (
	"context"

	"antipode/regions/awstime"
)

// The kinds of records that tell when keys were used last.
const (
	KindLastUsage RecordKind = "last-usage"
	KindUsageMark RecordKind = "usage-mark"
)

// LastUsage is the last successful cryptographic operation with a key in this Region, as of when it was committed.
type LastUsage struct {
	Account   string `cbor:"1,keyasint"`
	KeyID     string `cbor:"2,keyasint"`
	Operation string `cbor:"3,keyasint"` // "Encrypt"
	At        int64  `cbor:"4,keyasint"` // Unix milliseconds of a whole second: the event's time, as the audit log has it
	EventID   string `cbor:"5,keyasint"` // of the audit log
	RequestID string `cbor:"6,keyasint"`
}

// RecordKey implements [Body].
func (u LastUsage) RecordKey() RecordKey {
	return RecordKey{Kind: KindLastUsage, Account: u.Account, ID: u.KeyID}
}

// RecordIndex implements [Body].
func (u LastUsage) RecordIndex() (string, int64) { return "", 0 }

// UsageMark says what [LastUsage] records know: every use that the audit log has up to a record, from a time on.
type UsageMark struct {
	Region   string   `cbor:"1,keyasint"`
	Sequence uint64   `cbor:"2,keyasint"` // of the audit log's record
	Hash     [32]byte `cbor:"3,keyasint"` // of the same
	Started  int64    `cbor:"4,keyasint"` // Unix milliseconds; 0 since the Region was made
}

// RecordKey implements [Body].
func (m UsageMark) RecordKey() RecordKey { return RecordKey{Kind: KindUsageMark, ID: m.Region} }

// RecordIndex implements [Body].
func (m UsageMark) RecordIndex() (string, int64) { return "", 0 }

// GetKeyLastUsageOutput is the answer of GetKeyLastUsage.
type GetKeyLastUsageOutput struct {
	KeyID             string            `json:"KeyId"` // not the ARN
	KeyCreationDate   awstime.Timestamp `json:"KeyCreationDate"`
	TrackingStartDate awstime.Timestamp `json:"TrackingStartDate"`
	KeyLastUsage      KeyLastUsageData  `json:"KeyLastUsage"` // {} if there was no use
}

// KeyLastUsageData is AWS's structure of the same name.
type KeyLastUsageData struct {
	CloudTrailEventID string            `json:"CloudTrailEventId,omitzero"`
	KmsRequestID      string            `json:"KmsRequestId,omitzero"`
	Operation         string            `json:"Operation,omitzero"`
	Timestamp         awstime.Timestamp `json:"Timestamp,omitzero"`
}

func getKeyLastUsage(ctx context.Context, r *Region, c *Call, in *KeyInput) (*GetKeyLastUsageOutput, error) {
	c.param("keyId", in.KeyID)
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	last, err := r.lastUsage(ctx, v.key)
	if err != nil {
		return nil, err
	}
	return &GetKeyLastUsageOutput{
		KeyID: v.key.KeyID, KeyCreationDate: awstime.FromMillis(v.key.Created),
		TrackingStartDate: awstime.FromMillis(max(v.key.Created, r.usage.started())),
		KeyLastUsage: KeyLastUsageData{
			CloudTrailEventID: last.EventID, KmsRequestID: last.RequestID, Operation: last.Operation,
			Timestamp: awstime.FromMillis(last.At),
		},
	}, nil
}

// lastUsage returns the last use of a key, zero if none is known.
func (r *Region) lastUsage(ctx context.Context, k Key) (LastUsage, error) {
	// Memory first: what leaves it is in the store by then.
	if u, is := r.usage.find(usedKey{k.Account, k.KeyID}); is {
		return u, nil
	}
	var last LastUsage
	err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		last, err = Get[LastUsage](ctx, rd, r.ring, LastUsage{Account: k.Account, KeyID: k.KeyID}.RecordKey())
		return err
	})
	if isNoRecord(err) {
		return LastUsage{}, nil
	}
	return last, err
}
