package regions_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/regionstest"
)

func listTags(t *testing.T, f *regionstest.Fixture, keyID string) (all []regions.Tag, pages int) {
	t.Helper()
	limit := 7
	for in := (&regions.ListResourceTagsInput{KeyID: keyID, Limit: &limit}); ; {
		out := regionstest.Must[regions.ListResourceTagsOutput](t, f, "ListResourceTags", in)
		all, pages = append(all, out.Tags...), pages+1
		if out.Truncated != (out.NextMarker != "") || len(out.Tags) > limit || out.Truncated && len(out.Tags) != limit {
			t.Fatalf("a page of %d tags, truncated %t", len(out.Tags), out.Truncated)
		}
		if !out.Truncated {
			return all, pages
		}
		in.Marker = out.NextMarker
	}
}

// Tags are added, replaced and taken away, fifty at most, and outlive a restart.
func TestTags(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, false)
	if tags, _ := listTags(t, f, key.KeyID); len(tags) != 0 {
		t.Fatalf("a new key has tags: %v", tags)
	}
	var want []regions.Tag
	for i := range 50 {
		want = append(want, regions.Tag{TagKey: fmt.Sprintf("k%02d", i), TagValue: fmt.Sprint(i)})
	}
	shuffled := slices.Clone(want)
	slices.Reverse(shuffled)
	regionstest.Must[struct{}](t, f, "TagResource", &regions.TagResourceInput{KeyID: key.Arn, Tags: shuffled})
	one := []regions.Tag{{TagKey: "one more"}}
	_, err := regionstest.Call[struct{}](t, f, "TagResource", &regions.TagResourceInput{KeyID: key.KeyID, Tags: one})
	wantError(t, "the 51st tag", err, "TagException", "Too many tags")
	want[3].TagValue = "another"
	regionstest.Must[struct{}](t, f, "TagResource", &regions.TagResourceInput{KeyID: key.KeyID, Tags: want[3:4]})
	f.Reopen(t)
	tags, pages := listTags(t, f, key.KeyID)
	if !slices.Equal(tags, want) || pages != 8 {
		t.Errorf("%d pages, tags %v", pages, tags)
	}
	regionstest.Must[struct{}](t, f, "UntagResource", &regions.UntagResourceInput{KeyID: key.KeyID, TagKeys: []string{"k00", "none such", "k49"}})
	if tags, _ := listTags(t, f, key.KeyID); !slices.Equal(tags, want[1:49]) {
		t.Errorf("after UntagResource: %v", tags)
	}
	recs := f.Records(t)
	var events []string
	for _, r := range recs {
		if strings.HasPrefix(r.Event.EventName, "Untag") {
			events = append(events, fmt.Sprintf("%v", r.Event.RequestParameters))
		}
	}
	if len(events) != 2 {
		t.Errorf("UntagResource left the records %v", events)
	}
}

// What is not a good tag is refused by name.
func TestTagsRefused(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, false)
	for name, c := range map[string]struct {
		op   string
		in   any
		code string
	}{
		"aws: prefix":    {"TagResource", &regions.TagResourceInput{KeyID: key.KeyID, Tags: []regions.Tag{{TagKey: "aws:x"}}}, "TagException"},
		"duplicate":      {"TagResource", &regions.TagResourceInput{KeyID: key.KeyID, Tags: []regions.Tag{{TagKey: "x"}, {TagKey: "x"}}}, "TagException"},
		"empty key":      {"TagResource", &regions.TagResourceInput{KeyID: key.KeyID, Tags: []regions.Tag{{TagKey: ""}}}, "ValidationException"},
		"no tags":        {"TagResource", &regions.TagResourceInput{KeyID: key.KeyID}, "ValidationException"},
		"long value":     {"TagResource", &regions.TagResourceInput{KeyID: key.KeyID, Tags: []regions.Tag{{TagKey: "x", TagValue: strings.Repeat("v", 257)}}}, "ValidationException"},
		"no tag keys":    {"UntagResource", &regions.UntagResourceInput{KeyID: key.KeyID}, "ValidationException"},
		"long tag key":   {"UntagResource", &regions.UntagResourceInput{KeyID: key.KeyID, TagKeys: []string{strings.Repeat("v", 129)}}, "ValidationException"},
		"marker":         {"ListResourceTags", &regions.ListResourceTagsInput{KeyID: key.KeyID, Marker: "%"}, "InvalidMarkerException"},
		"unknown key":    {"TagResource", &regions.TagResourceInput{KeyID: "mrk-" + strings.Repeat("0", 32), Tags: []regions.Tag{}}, "NotFoundException"},
		"by alias":       {"TagResource", &regions.TagResourceInput{KeyID: "alias/x", Tags: []regions.Tag{}}, "NotFoundException"},
		"no description": {"UpdateKeyDescription", &regions.UpdateKeyDescriptionInput{KeyID: key.KeyID}, "ValidationException"},
	} {
		_, err := regionstest.Call[struct{}](t, f, c.op, c.in)
		if codeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	if tags := f.Key(t, key.KeyID).Tags; len(tags) != 0 {
		t.Errorf("tags are %v", tags)
	}
}

func TestUpdateKeyDescription(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, true)
	long := strings.Repeat("é", 8192)
	for _, text := range []string{"a key", long, ""} {
		regionstest.Must[struct{}](t, f, "UpdateKeyDescription", &regions.UpdateKeyDescriptionInput{KeyID: key.KeyID, Description: &text})
		f.Reopen(t)
		out := regionstest.Must[regions.DescribeKeyOutput](t, f, "DescribeKey", &regions.DescribeKeyInput{KeyID: key.KeyID})
		if out.KeyMetadata.Description != text {
			t.Errorf("the description is %.20q", out.KeyMetadata.Description)
		}
	}
	long += "é"
	_, err := regionstest.Call[struct{}](t, f, "UpdateKeyDescription", &regions.UpdateKeyDescriptionInput{KeyID: key.KeyID, Description: &long})
	if codeOf(err) != "ValidationException" {
		t.Errorf("8193 characters: %v", err)
	}
}

// There are no custom key stores, and a client that asks is told so.
func TestCustomKeyStores(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	out := regionstest.Must[regions.DescribeCustomKeyStoresOutput](t, f, "DescribeCustomKeyStores", nil)
	if out.Truncated || out.CustomKeyStores == nil || len(out.CustomKeyStores) != 0 {
		t.Errorf("custom key stores: %+v", out)
	}
	for _, in := range []*regions.DescribeCustomKeyStoresInput{{CustomKeyStoreID: "cks-1"}, {CustomKeyStoreName: "n"}} {
		_, err := regionstest.Call[regions.DescribeCustomKeyStoresOutput](t, f, "DescribeCustomKeyStores", in)
		if codeOf(err) != "CustomKeyStoreNotFoundException" {
			t.Errorf("%+v: %v", in, err)
		}
	}
	for _, op := range []string{"ConnectCustomKeyStore", "DeleteCustomKeyStore", "DisconnectCustomKeyStore", "UpdateCustomKeyStore"} {
		_, err := regionstest.Call[struct{}](t, f, op, &regions.KeyStoreInput{CustomKeyStoreID: "cks-1"})
		wantError(t, op, err, "CustomKeyStoreNotFoundException", "Custom key store cks-1 does not exist.")
		_, err = regionstest.Call[struct{}](t, f, op, nil)
		if codeOf(err) != "ValidationException" {
			t.Errorf("%s of nothing: %v", op, err)
		}
	}
	_, err := regionstest.Call[struct{}](t, f, "CreateCustomKeyStore", &regions.CreateCustomKeyStoreInput{CustomKeyStoreName: "n"})
	if codeOf(err) != "UnsupportedOperationException" {
		t.Errorf("CreateCustomKeyStore: %v", err)
	}
}
