package regions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"antipode/regions/awstime"
	"antipode/regions/keyset"
)

// The states of a member in the answer of DescribeKeyReplicas.
const (
	// ReplicaCreating: its receipt is not there yet.
	ReplicaCreating = "CREATING"
	// ReplicaSynchronized: it has signed that it holds what the primary's Region has.
	ReplicaSynchronized = "SYNCHRONIZED"
	// ReplicaBehind: a change, or a material, is not acknowledged.
	ReplicaBehind = "BEHIND"
	// ReplicaUnknown: the Region that answers has not the primary, and does not know.
	ReplicaUnknown = "UNKNOWN"
)

// DescribeKeyReplicasInput is the request of DescribeKeyReplicas.
type DescribeKeyReplicasInput struct {
	KeyID string `json:"KeyId"`
}

// DescribeKeyReplicasOutput says how far the Regions of a multi-Region key have come. Only the Region of the primary knows of
// the others.
type DescribeKeyReplicasOutput struct {
	KeyID         string          `json:"KeyId"`
	PrimaryRegion string          `json:"PrimaryRegion"`
	Epoch         string          `json:"Epoch,omitempty"`   // of the shared state that the answering Region holds, "1.1"
	Sequence      int             `json:"Sequence,omitzero"` // its number in the epoch
	Replicas      []ReplicaStatus `json:"Replicas"`          // all members, the primary first
}

// ReplicaStatus is what is known of one member.
type ReplicaStatus struct {
	Region string `json:"Region"`
	Arn    string `json:"Arn"`
	Role   string `json:"Role"`  // PRIMARY or REPLICA
	State  string `json:"State"` // CREATING, SYNCHRONIZED, BEHIND or UNKNOWN
	// Epoch and Sequence are of the shared state that the member has signed last to hold; absent if it has signed none.
	Epoch    string `json:"Epoch,omitempty"`
	Sequence int    `json:"Sequence,omitzero"`
	// LagSeconds is for how long a change has waited for the member's signature; 0 if none does.
	LagSeconds int `json:"LagSeconds"`
	// MissingMaterials are the ids of the key materials that the member has not signed to hold: a rotation waits for them.
	MissingMaterials []string `json:"MissingMaterials,omitempty"`
	// LastReceipt is when its last signed statement came, LastReceiptSHA256 what the message hashes to.
	LastReceipt       awstime.Timestamp `json:"LastReceipt,omitzero"`
	LastReceiptSHA256 string            `json:"LastReceiptSHA256,omitempty"`
	// Attempts in vain since the last success, the last one's error, and when the next one is made.
	Attempts    int               `json:"Attempts,omitzero"`
	LastError   string            `json:"LastError,omitempty"`
	NextAttempt awstime.Timestamp `json:"NextAttempt,omitzero"`
}

func (in *DescribeKeyReplicasInput) validate() error { return validateKeyID(in.KeyID, "keyId") }

// describeKeyReplicas is an operation of Antipode's own, which asks for the permission of DescribeKey.
func describeKeyReplicas(ctx context.Context, r *Region, c *Call, in *DescribeKeyReplicasInput) (*DescribeKeyReplicasOutput, error) {
	c.param("keyId", in.KeyID)
	v, err := r.find(ctx, c, in.KeyID, true)
	if err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	if v.key.MultiRegion == nil {
		return nil, Errorf(CodeUnsupportedOperation, "%s is not a multi-Region key.", v.arn)
	}
	if v.shared == nil { // a replica that is on its way
		config := r.multiRegionConfig(v)
		return &DescribeKeyReplicasOutput{
			KeyID: v.key.KeyID, PrimaryRegion: v.key.MultiRegion.Source,
			Replicas: []ReplicaStatus{
				{Region: config.PrimaryKey.Region, Arn: config.PrimaryKey.Arn, Role: keyTypePrimary, State: ReplicaUnknown},
				{Region: r.cfg.Name, Arn: v.arn, Role: keyTypeReplica, State: ReplicaCreating},
			},
		}, nil
	}
	var out *DescribeKeyReplicasOutput
	err = r.cfg.Store.View(ctx, func(rd Reader) error {
		k, err := Get[Key](ctx, rd, r.ring, v.key.RecordKey()) // of the same moment as the standings
		if err != nil {
			return err
		}
		list, err := r.Standings(ctx, rd, k.Account, k.KeyID)
		if err != nil {
			return err
		}
		materials, err := rd.List(ctx, Query{Kind: KindMaterial, Account: k.Account, ID: k.KeyID})
		if err != nil {
			return err
		}
		held := make([]string, 0, len(materials))
		for _, m := range materials {
			held = append(held, m.Sub)
		}
		out = r.replicaStatus(k, list, held)
		return nil
	})
	if isNoRecord(err) {
		return nil, Errorf(CodeNotFound, "Key '%s' does not exist", v.arn)
	}
	return out, err
}

// replicaStatus says what a key with a shared state and the standings of its members amount to.
func (r *Region) replicaStatus(k Key, list []MemberStanding, held []string) *DescribeKeyReplicasOutput {
	s := *k.MultiRegion.State
	out := &DescribeKeyReplicasOutput{
		KeyID: k.KeyID, PrimaryRegion: s.Primary, Epoch: s.Epoch.String(), Sequence: int(s.Sequence), //nolint:gosec // for people
		Replicas: []ReplicaStatus{},
	}
	by := map[string]MemberStanding{}
	for _, st := range list {
		by[st.Region] = st
	}
	for _, first := range []bool{true, false} { // the primary, then the others
		for _, m := range s.Members {
			if (m.Region == s.Primary) != first {
				continue
			}
			place := r.place(k.Account)
			place.Region = m.Region
			one := ReplicaStatus{Region: m.Region, Arn: place.Key(k.KeyID), Role: keyTypeReplica, State: ReplicaUnknown}
			if first {
				one.Role = keyTypePrimary
			}
			st, known := by[m.Region]
			switch {
			case m.Region == r.cfg.Name:
				own := MemberStanding{Epoch: s.Epoch, Sequence: s.Sequence, Materials: held}
				one.fill(own, s, 0)
				one.State = ReplicaSynchronized
				if !first { // whether the primary has moved on it can't know
					one.State = ReplicaUnknown
				}
			case known && m.Incarnation == st.Incarnation:
				one.fill(st, s, r.Now().UnixMilli())
				one.State = ReplicaSynchronized
				if m.Status == keyset.Creating {
					one.State = ReplicaCreating
				} else if st.Behind != 0 {
					one.State = ReplicaBehind
				}
			}
			out.Replicas = append(out.Replicas, one)
		}
	}
	return out
}

// fill says what a member's standing is against a shared state.
func (one *ReplicaStatus) fill(st MemberStanding, s keyset.State, now int64) {
	if st.Sequence != 0 {
		one.Epoch, one.Sequence = st.Epoch.String(), int(st.Sequence) //nolint:gosec // for people
	}
	one.MissingMaterials = st.Missing(s)
	if st.Behind != 0 {
		one.LagSeconds = int(max(now-st.Behind, 0) / 1000)
	}
	if len(st.Signed) > 0 {
		sum := sha256.Sum256(st.Signed)
		one.LastReceipt, one.LastReceiptSHA256 = awstime.FromMillis(st.Heard), hex.EncodeToString(sum[:])
	}
	one.Attempts, one.LastError = int(st.Attempts), st.Error
	if st.Due != 0 && st.Attempts > 0 {
		one.NextAttempt = awstime.FromMillis(st.Due)
	}
}
