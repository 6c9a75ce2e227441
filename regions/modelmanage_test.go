package regions_test

import (
	"fmt"
	"maps"
	"slices"

	"pgregory.net/rapid"

	"antipode/regions"
	"antipode/regions/policy"
	"antipode/regions/regionstest"
)

// managed is what the model knows of what is managed about a key.
type managed struct {
	tags        map[string]string
	description string
	policy      string
	grants      map[string]string // operation by grant id
	rotates     bool
}

func newManaged() managed {
	return managed{tags: map[string]string{}, policy: policy.Default(regionstest.Account), grants: map[string]string{}}
}

// manager makes the steps of the model that manage keys, and compares after each what the Region shows of the key.
type manager struct {
	rt    *rapid.T
	do    func(op string, in any) (any, error)
	check func(op string, err error, code string) bool
	admin string
}

// managing are its steps.
var managing = []string{"tag", "untag", "describe key", "policy", "grant", "revoke", "retire", "rotate by schedule", "do not rotate"}

// changes is the code of an operation that asks for a key that is not pending deletion, uses of one that is Enabled.
func (k *modelKey) changes() string {
	switch {
	case k.gone:
		return regions.CodeNotFound
	case k.state == regions.StatePendingDeletion:
		return regions.CodeInvalidState
	}
	return ""
}

func (k *modelKey) uses() string {
	if !k.gone && k.state == regions.StateDisabled {
		return regions.CodeDisabled
	}
	return k.changes()
}

func (k *modelKey) always() string {
	if k.gone {
		return regions.CodeNotFound
	}
	return ""
}

func (m manager) step(step string, k *modelKey) {
	m.rt.Helper()
	name := fmt.Sprint("t", rapid.IntRange(0, 3).Draw(m.rt, "tag"))
	switch step {
	case "tag":
		value := rapid.StringMatching(`[a-z]{0,5}`).Draw(m.rt, "value")
		_, err := m.do("TagResource", &regions.TagResourceInput{KeyID: k.id, Tags: []regions.Tag{{TagKey: name, TagValue: value}}})
		if m.check("TagResource", err, k.changes()) {
			k.tags[name] = value
		}
	case "untag":
		if have := slices.Sorted(maps.Keys(k.tags)); len(have) > 0 {
			name = rapid.SampledFrom(have).Draw(m.rt, "tag to take")
		}
		_, err := m.do("UntagResource", &regions.UntagResourceInput{KeyID: k.id, TagKeys: []string{name}})
		if m.check("UntagResource", err, k.changes()) {
			delete(k.tags, name)
		}
	case "describe key":
		text := rapid.StringMatching(`[a-z]{0,5}`).Draw(m.rt, "description")
		_, err := m.do("UpdateKeyDescription", &regions.UpdateKeyDescriptionInput{KeyID: k.id, Description: &text})
		if m.check("UpdateKeyDescription", err, k.changes()) {
			k.description = text
		}
	case "policy":
		document := policy.Default(regionstest.Account) + fmt.Sprintf("%*s", rapid.IntRange(0, 3).Draw(m.rt, "spaces"), "")
		_, err := m.do("PutKeyPolicy", &regions.PutKeyPolicyInput{KeyID: k.id, Policy: document})
		if m.check("PutKeyPolicy", err, k.always()) {
			k.policy = document
		}
	case "grant":
		operation := rapid.SampledFrom([]string{"Encrypt", "Decrypt"}).Draw(m.rt, "operation")
		out, err := m.do("CreateGrant", &regions.CreateGrantInput{
			KeyID: k.id, GranteePrincipal: m.admin, RetiringPrincipal: m.admin, Operations: []string{operation},
		})
		if m.check("CreateGrant", err, k.uses()) {
			k.grants[out.(*regions.CreateGrantOutput).GrantID] = operation
		}
	case "revoke", "retire":
		ids := slices.Sorted(maps.Keys(k.grants))
		if len(ids) == 0 {
			return
		}
		id := rapid.SampledFrom(ids).Draw(m.rt, "grant")
		op, in := "RevokeGrant", any(&regions.RevokeGrantInput{KeyID: k.id, GrantID: id})
		if step == "retire" {
			op, in = "RetireGrant", &regions.RetireGrantInput{KeyID: k.arn, GrantID: id}
		}
		if _, err := m.do(op, in); m.check(op, err, k.always()) {
			delete(k.grants, id)
		}
	case "rotate by schedule":
		const longest = 2560 // so that no date comes while the model waits
		_, err := m.do("EnableKeyRotation", &regions.EnableKeyRotationInput{KeyID: k.id, RotationPeriodInDays: ptr(longest)})
		if m.check("EnableKeyRotation", err, k.uses()) {
			k.rotates = true
		}
	case "do not rotate":
		_, err := m.do("DisableKeyRotation", &regions.KeyInput{KeyID: k.id})
		if m.check("DisableKeyRotation", err, k.uses()) {
			k.rotates = false
		}
	}
}

// observe compares what the Region shows of a key, in whatever state, with the model.
func (m manager) observe(k *modelKey) {
	m.rt.Helper()
	id := k.id
	if out, err := m.do("DescribeKey", &regions.DescribeKeyInput{KeyID: id}); m.check("DescribeKey", err, k.always()) {
		if got := out.(*regions.DescribeKeyOutput).KeyMetadata; got.KeyState != k.state || got.Description != k.description || got.CurrentKeyMaterialID != k.material {
			m.rt.Fatalf("%+v, want %+v", got, k)
		}
	}
	if out, err := m.do("ListResourceTags", &regions.ListResourceTagsInput{KeyID: id}); m.check("ListResourceTags", err, k.always()) {
		got := map[string]string{}
		for _, t := range out.(*regions.ListResourceTagsOutput).Tags {
			got[t.TagKey] = t.TagValue
		}
		if !maps.Equal(got, k.tags) {
			m.rt.Fatalf("tags %v, want %v", got, k.tags)
		}
	}
	if out, err := m.do("GetKeyPolicy", &regions.GetKeyPolicyInput{KeyID: id}); m.check("GetKeyPolicy", err, k.always()) {
		if got := out.(*regions.GetKeyPolicyOutput).Policy; got != k.policy {
			m.rt.Fatalf("policy %q, want %q", got, k.policy)
		}
	}
	if out, err := m.do("ListGrants", &regions.ListGrantsInput{KeyID: id}); m.check("ListGrants", err, k.always()) {
		got := map[string]string{}
		for _, g := range out.(*regions.ListGrantsOutput).Grants {
			got[g.GrantID] = g.Operations[0]
		}
		if !maps.Equal(got, k.grants) {
			m.rt.Fatalf("grants %v, want %v", got, k.grants)
		}
	}
	if out, err := m.do("GetKeyRotationStatus", &regions.KeyInput{KeyID: id}); m.check("GetKeyRotationStatus", err, k.always()) {
		want := k.rotates && k.state != regions.StatePendingDeletion // AWS shows none of a key that is to be deleted
		if got := out.(*regions.GetKeyRotationStatusOutput).KeyRotationEnabled; got != want {
			m.rt.Fatalf("rotation %v, want %v", got, want)
		}
	}
}
