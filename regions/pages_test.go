package regions_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/regionstest"
)

// paged is an operation that answers by pages.
type paged struct {
	op           string
	most, normal int // entries on a page: what may be asked for, and what there are if nothing is; 0 if not tried
	in           func(limit *int, marker string) any
	out          func(any) (names []string, next string, truncated bool)
	add          func() string
	remove       func(name string) // nil if entries stay for ever
}

// Every operation that answers by pages, with AWS's limits: a walk by single entries sees what one page shows, in the same
// order; while entries come and go it shows each of those that stay exactly once, and none that is gone; what is no marker
// is refused.
func TestPages(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, l := range listings(t) {
		for range 5 {
			l.add()
		}
		whole, next, truncated := l.page(t, nil, "")
		if next != "" || truncated {
			t.Errorf("%s: %d entries are %v, and more", l.op, len(whole), whole)
		}
		if walked := l.walk(t, func([]string) {}); !slices.Equal(walked, whole) {
			t.Errorf("%s: by single entries %v, in one page %v", l.op, walked, whole)
		}
		l.changing(t, r)
		for _, marker := range []string{"!", "%", "a b"} {
			_, err := regionstest.Do(t.Context(), l.fixture, l.caller, l.op, l.in(nil, marker))
			wantError(t, l.op, err, "InvalidMarkerException", "Could not deserialize marker")
		}
		for limit, text := range map[int]string{0: "have value greater than or equal to 1", l.most + 1: fmt.Sprintf("have value less than or equal to %d", l.most)} {
			_, err := regionstest.Do(t.Context(), l.fixture, l.caller, l.op, l.in(&limit, ""))
			wantError(t, l.op, err, "ValidationException", fmt.Sprintf("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must %s", limit, text))
		}
		for l.normal != 0 {
			names, _, more := l.page(t, nil, "")
			if more {
				if len(names) != l.normal {
					t.Errorf("%s: %d entries without a Limit", l.op, len(names))
				}
				break
			}
			l.add()
		}
	}
}

// listed is a paged with the Region it is asked of.
type listed struct {
	paged
	fixture *regions.Region
	caller  regions.Caller
}

func (l listed) page(t *testing.T, limit *int, marker string) (names []string, next string, truncated bool) {
	t.Helper()
	answer, err := regionstest.Do(t.Context(), l.fixture, l.caller, l.op, l.in(limit, marker))
	if err != nil {
		t.Fatalf("%s: %v", l.op, err)
	}
	names, next, truncated = l.out(answer)
	if truncated != (next != "") {
		t.Errorf("%s: Truncated is %v, NextMarker %q", l.op, truncated, next)
	}
	if limit != nil && len(names) > *limit {
		t.Errorf("%s: %d entries, the Limit is %d", l.op, len(names), *limit)
	}
	return names, next, truncated
}

// walk goes through all pages of one entry; between is told what was seen so far, after each.
func (l listed) walk(t *testing.T, between func(seen []string)) (seen []string) {
	t.Helper()
	for marker, more := "", true; more; {
		var names []string
		names, marker, more = l.page(t, ptr(1), marker)
		seen = append(seen, names...)
		if len(seen) > 10_000 {
			t.Fatalf("%s: the walk does not end", l.op)
		}
		between(seen)
	}
	return seen
}

// changing walks while entries come and go.
func (l listed) changing(t *testing.T, r *rand.Rand) {
	t.Helper()
	before, _, _ := l.page(t, nil, "")
	gone, steps := map[string]int{}, 0 // by the number of entries that had been seen
	seen := l.walk(t, func(seen []string) {
		if steps++; steps > 6 {
			return
		}
		if r.IntN(2) == 0 {
			l.add()
		}
		if l.remove == nil || len(seen) == 0 {
			return
		}
		// The entry that the marker names goes, or any other.
		victim := seen[len(seen)-1]
		if r.IntN(2) == 0 {
			victim = before[r.IntN(len(before))]
		}
		if _, is := gone[victim]; !is {
			l.remove(victim)
			gone[victim] = len(seen)
		}
	})
	for i, name := range seen {
		if slices.Index(seen, name) != i {
			t.Errorf("%s shows %s twice: %v", l.op, name, seen)
		}
		if at, is := gone[name]; is && i >= at {
			t.Errorf("%s shows %s, which was gone: %v", l.op, name, seen)
		}
	}
	for _, name := range before {
		if _, is := gone[name]; !is && !slices.Contains(seen, name) {
			t.Errorf("%s does not show %s, which was there all the time: %v", l.op, name, seen)
		}
	}
}

func listings(t *testing.T) (all []listed) {
	t.Helper()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, false).KeyID
	n := 0
	// next is a name that sorts anywhere among the others.
	next := func() string {
		n++
		return fmt.Sprintf("%02d-%d", n*37%100, n)
	}
	grants := func(out any) (names []string, marker string, truncated bool) {
		page := out.(*regions.ListGrantsOutput)
		for _, g := range page.Grants {
			names = append(names, g.GrantID)
		}
		return names, page.NextMarker, page.Truncated
	}
	grant := func() string {
		return regionstest.Must[regions.CreateGrantOutput](t, f, "CreateGrant", &regions.CreateGrantInput{
			KeyID: key, GranteePrincipal: f.Admin.ARN, RetiringPrincipal: f.Admin.ARN, Operations: []string{"Encrypt"},
		}).GrantID
	}
	revoke := func(id string) {
		regionstest.Must[struct{}](t, f, "RevokeGrant", &regions.RevokeGrantInput{KeyID: key, GrantID: id})
	}
	for _, l := range []paged{
		{
			op: "ListKeys", most: 1000,
			in: func(limit *int, marker string) any { return &regions.ListKeysInput{Limit: limit, Marker: marker} },
			out: func(out any) (names []string, marker string, truncated bool) {
				page := out.(*regions.ListKeysOutput)
				for _, k := range page.Keys {
					names = append(names, k.KeyID)
				}
				return names, page.NextMarker, page.Truncated
			},
			add: func() string { return f.CreateKey(t, n%2 == 0).KeyID },
			remove: func(id string) {
				if id == key {
					return
				}
				regionstest.Must[regions.ScheduleKeyDeletionOutput](t, f, "ScheduleKeyDeletion", &regions.ScheduleKeyDeletionInput{KeyID: id})
				f.Clock.Advance(31 * oneDay)
				if err := f.Region.DeleteDue(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			op: "ListAliases", most: 100,
			in: func(limit *int, marker string) any {
				return &regions.ListAliasesInput{KeyID: key, Limit: limit, Marker: marker}
			},
			out: aliasNames,
			add: func() string {
				name := "alias/" + next()
				regionstest.Must[struct{}](t, f, "CreateAlias", &regions.AliasInput{AliasName: name, TargetKeyID: key})
				return name
			},
			remove: func(name string) {
				regionstest.Must[struct{}](t, f, "DeleteAlias", &regions.DeleteAliasInput{AliasName: name})
			},
		},
		{
			op: "ListResourceTags", most: 50,
			in: func(limit *int, marker string) any {
				return &regions.ListResourceTagsInput{KeyID: key, Limit: limit, Marker: marker}
			},
			out: func(out any) (names []string, marker string, truncated bool) {
				page := out.(*regions.ListResourceTagsOutput)
				for _, tag := range page.Tags {
					names = append(names, tag.TagKey)
				}
				return names, page.NextMarker, page.Truncated
			},
			add: func() string {
				name := next()
				regionstest.Must[struct{}](t, f, "TagResource", &regions.TagResourceInput{KeyID: key, Tags: []regions.Tag{{TagKey: name}}})
				return name
			},
			remove: func(name string) {
				regionstest.Must[struct{}](t, f, "UntagResource", &regions.UntagResourceInput{KeyID: key, TagKeys: []string{name}})
			},
		},
		{
			op: "ListRetirableGrants", most: 100, out: grants, add: grant, remove: revoke,
			in: func(limit *int, marker string) any {
				return &regions.ListRetirableGrantsInput{RetiringPrincipal: f.Admin.ARN, Limit: limit, Marker: marker}
			},
		},
		{
			op: "ListGrants", most: 100, normal: 50, out: grants, add: grant, remove: revoke,
			in: func(limit *int, marker string) any {
				return &regions.ListGrantsInput{KeyID: key, Limit: limit, Marker: marker}
			},
		},
		{
			op: "ListKeyRotations", most: 1000,
			in: func(limit *int, marker string) any {
				return &regions.ListKeyRotationsInput{KeyID: key, IncludeKeyMaterial: "ALL_KEY_MATERIAL", Limit: limit, Marker: marker}
			},
			out: func(out any) (names []string, marker string, truncated bool) {
				page := out.(*regions.ListKeyRotationsOutput)
				for _, e := range page.Rotations {
					names = append(names, e.KeyMaterialID)
				}
				return names, page.NextMarker, page.Truncated
			},
			add: func() string {
				regionstest.Must[regions.RotateKeyOnDemandOutput](t, f, "RotateKeyOnDemand", &regions.KeyInput{KeyID: key})
				return ""
			},
		},
		{
			op: "ListKeyPolicies", most: 1000, add: func() string { return "" },
			in: func(limit *int, marker string) any {
				return &regions.ListKeyPoliciesInput{KeyID: key, Limit: limit, Marker: marker}
			},
			out: func(out any) (names []string, marker string, truncated bool) {
				page := out.(*regions.ListKeyPoliciesOutput)
				return page.PolicyNames, "", page.Truncated
			},
		},
		{
			op: "DescribeCustomKeyStores", most: 1000, add: func() string { return "" },
			in: func(limit *int, marker string) any {
				return &regions.DescribeCustomKeyStoresInput{Limit: limit, Marker: marker}
			},
			out: func(out any) (names []string, marker string, truncated bool) {
				page := out.(*regions.DescribeCustomKeyStoresOutput)
				return make([]string, len(page.CustomKeyStores)), "", page.Truncated
			},
		},
	} {
		all = append(all, listed{l, f.Region, f.Admin})
	}
	return all
}

func aliasNames(out any) (names []string, marker string, truncated bool) {
	page := out.(*regions.ListAliasesOutput)
	for _, a := range page.Aliases {
		names = append(names, a.AliasName)
	}
	return names, page.NextMarker, page.Truncated
}

// Whatever answers by pages is in the table of TestPages.
func TestPagesAreAll(t *testing.T) {
	t.Parallel()
	var tried []string
	for _, l := range listings(t) {
		tried = append(tried, l.op)
	}
	for _, op := range regions.Operations() {
		if _, has := members(op.NewInput())["Marker"]; has != slices.Contains(tried, op.Name) {
			t.Errorf("%s takes a marker: %v", op.Name, has)
		}
	}
}

// members are the names of an input's members.
func members(in any) map[string]bool {
	out := map[string]bool{}
	typ := reflect.TypeOf(in).Elem()
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		out[name] = true
	}
	return out
}
