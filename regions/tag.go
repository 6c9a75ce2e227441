package regions

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"antipode/regions/policy"
)

// maxTags is how many tags a key may have (AWS: "Each resource can have up to 50 user created tags").
const maxTags = 50

// policyTags are tags as conditions of policies ask for them.
func policyTags(tags []Tag) []policy.Tag {
	var out []policy.Tag
	for _, t := range tags {
		out = append(out, policy.Tag{Key: t.TagKey, Value: t.TagValue})
	}
	return out
}

// TagResourceInput is the request of TagResource.
type TagResourceInput struct {
	KeyID string `json:"KeyId"`
	Tags  []Tag  `json:"Tags"` // up to 50
}

func (in *TagResourceInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	if in.Tags == nil {
		return missing("tags")
	}
	return validateTags(in.Tags)
}

// tagResource adds tags to a key, and gives those that it has already their new values.
func tagResource(ctx context.Context, r *Region, c *Call, in *TagResourceInput) (*struct{}, error) {
	c.param("keyId", in.KeyID)
	tags := map[string]string{}
	for _, t := range in.Tags {
		tags[t.TagKey] = t.TagValue
	}
	c.event.RequestParameters.Map("tags", tags)
	c.request.Context.RequestTags = policyTags(in.Tags)
	return nil, r.editTags(ctx, c, in.KeyID, func(have []Tag) ([]Tag, error) {
		for _, t := range in.Tags {
			i := slices.IndexFunc(have, func(o Tag) bool { return o.TagKey == t.TagKey })
			if i >= 0 {
				have[i] = t
				continue
			}
			have = append(have, t)
		}
		if len(have) > maxTags {
			return nil, Errorf(CodeTag, "Too many tags")
		}
		return have, nil
	})
}

// UntagResourceInput is the request of UntagResource.
type UntagResourceInput struct {
	KeyID   string   `json:"KeyId"`
	TagKeys []string `json:"TagKeys"`
}

func (in *UntagResourceInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	if in.TagKeys == nil {
		return missing("tagKeys")
	}
	for _, k := range in.TagKeys {
		if err := checkLength(k, "tagKeys", utf8.RuneCountInString(k), 1, 128); err != nil {
			return err
		}
	}
	return nil
}

// untagResource takes tags from a key. Those that it does not have are passed over, as AWS does.
func untagResource(ctx context.Context, r *Region, c *Call, in *UntagResourceInput) (*struct{}, error) {
	c.param("keyId", in.KeyID)
	c.event.RequestParameters.Strs("tagKeys", in.TagKeys)
	c.request.Context.TagKeys = in.TagKeys
	return nil, r.editTags(ctx, c, in.KeyID, func(have []Tag) ([]Tag, error) {
		return slices.DeleteFunc(have, func(t Tag) bool { return slices.Contains(in.TagKeys, t.TagKey) }), nil
	})
}

// editTags replaces the tags of a key by what edit makes of a copy of them.
func (r *Region) editTags(ctx context.Context, c *Call, keyID string, edit func([]Tag) ([]Tag, error)) error {
	v, err := r.find(ctx, c, keyID, false)
	if err != nil {
		return err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return err
	}
	_, err = r.changeKey(ctx, c, v, func(k *Key) (err error) {
		k.Tags, err = edit(slices.Clone(k.Tags))
		return err
	})
	return err
}

// ListResourceTagsInput is the request of ListResourceTags.
type ListResourceTagsInput struct {
	KeyID  string `json:"KeyId"`
	Limit  *int   `json:"Limit"` // 1 to 50, default 50
	Marker string `json:"Marker"`
}

// ListResourceTagsOutput is the answer of ListResourceTags.
type ListResourceTagsOutput struct {
	Tags       []Tag  `json:"Tags"` // in order of key
	NextMarker string `json:"NextMarker,omitzero"`
	Truncated  bool   `json:"Truncated"`
}

func (in *ListResourceTagsInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	return validatePage(in.Limit, maxTags, in.Marker)
}

func listResourceTags(ctx context.Context, r *Region, c *Call, in *ListResourceTagsInput) (*ListResourceTagsOutput, error) {
	c.param("keyId", in.KeyID)
	v, err := r.find(ctx, c, in.KeyID, false)
	if err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	after, err := decodeMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	tags := slices.Clone(v.key.Tags)
	slices.SortFunc(tags, func(a, b Tag) int { return strings.Compare(a.TagKey, b.TagKey) })
	out := &ListResourceTagsOutput{Tags: []Tag{}}
	limit := limitOr(in.Limit, maxTags)
	for _, t := range tags {
		if after != "" && t.TagKey <= after {
			continue
		}
		if len(out.Tags) == limit {
			out.Truncated, out.NextMarker = true, encodeMarker(out.Tags[limit-1].TagKey)
			break
		}
		out.Tags = append(out.Tags, t)
	}
	return out, nil
}
