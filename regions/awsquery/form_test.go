package awsquery

import (
	"errors"
	"strings"
	"testing"

	"antipode/regions"
)

func TestForm(t *testing.T) {
	t.Parallel()
	f, err := parseForm("Action=A&Tags.member.1.Key=k&Tags.member.1.Value=v%20w&Tags.member.2.Key=q&TransitiveTagKeys.member.1=k&DurationSeconds=900")
	if err != nil {
		t.Fatal(err)
	}
	tags, keys := f.takeTags(), f.takeTransitive()
	seconds, err := f.takeSeconds()
	if len(tags) != 2 || tags[0].Value != "v w" || tags[1].Value != "" || len(keys) != 1 || seconds != 900 || err != nil || f.take("Action") != "A" {
		t.Errorf("%v %v %d %v", tags, keys, seconds, err)
	}
	if err := f.rest(); err != nil {
		t.Errorf("left: %v", f)
	}
	for _, body := range []string{
		"a=1&a=2", "a=1;b=2", "a=%zz", "a=%ff", strings.Repeat("a&", maxParameters),
	} {
		if _, err := parseForm(body); err == nil {
			t.Errorf("%.20s is taken", body)
		}
	}
	for _, body := range []string{"Tags.member.2.Key=k", "Tags.member.1.Value=v", "TransitiveTagKeys.member.0=k", "Q=1"} {
		f, err := parseForm(body)
		if err != nil {
			t.Fatal(err)
		}
		f.takeTags()
		f.takeTransitive()
		if err := f.rest(); err == nil {
			t.Errorf("%s is ignored", body)
		}
	}
	for _, text := range []string{"x", "0", "9999999999999999999", "1.5", " 900"} {
		if _, err := (form{"DurationSeconds": text}).takeSeconds(); err == nil {
			t.Errorf("%q is a number", text)
		}
	}
}

// FuzzForm: every error is one that a client may see.
func FuzzForm(f *testing.F) {
	f.Add("Action=GetCallerIdentity&Version=2011-06-15")
	f.Fuzz(func(t *testing.T, body string) {
		form, err := parseForm(body)
		if err == nil {
			form.takeTags()
			form.takeTransitive()
			err = form.rest()
		}
		var api *regions.Error
		if err != nil && !errors.As(err, &api) {
			t.Errorf("%v", err)
		}
	})
}
