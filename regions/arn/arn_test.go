package arn_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"antipode/regions/arn"
)

const (
	mrk   = "mrk-1234abcd12ab34cd56ef1234567890ab"
	uuid  = "1234abcd-12ab-34cd-56ef-1234567890ab"
	place = "arn:aws:kms:us-east-2:111122223333:"
)

func home() arn.Place {
	return arn.Place{Partition: "aws", Region: "us-east-2", Account: "111122223333"}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want arn.Name
	}{
		{mrk, arn.Name{Kind: arn.KeyID, ID: mrk}},
		{uuid, arn.Name{Kind: arn.KeyID, ID: uuid}},
		{"alias/a", arn.Name{Kind: arn.AliasName, ID: "alias/a"}},
		{"alias/aws/s3", arn.Name{Kind: arn.AliasName, ID: "alias/aws/s3"}},
		{"alias/A-Z_0/9", arn.Name{Kind: arn.AliasName, ID: "alias/A-Z_0/9"}},
		{place + "key/" + mrk, arn.Name{Kind: arn.KeyARN, Place: home(), ID: mrk}},
		{place + "key/" + uuid, arn.Name{Kind: arn.KeyARN, Place: home(), ID: uuid}},
		{place + "alias/x/y", arn.Name{Kind: arn.AliasARN, Place: home(), ID: "alias/x/y"}},
		{"arn:aws-cn:kms:cn-north-1:000000000000:alias/x", arn.Name{
			Kind:  arn.AliasARN,
			Place: arn.Place{Partition: "aws-cn", Region: "cn-north-1", Account: "000000000000"}, ID: "alias/x",
		}},
	} {
		got, err := arn.Parse(c.in)
		if err != nil || got != c.want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", c.in, got, err, c.want)
		}
		if got.String() != c.in {
			t.Errorf("Parse(%q).String() = %q", c.in, got.String())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", " ", "mrk-", "mrk-1234", strings.ToUpper(mrk), "MRK-" + mrk[4:], mrk + "0", mrk[:35], mrk + " ", " " + mrk,
		"mrk-" + uuid, strings.ToUpper(uuid), strings.ReplaceAll(uuid, "-", ""), "{" + uuid + "}", uuid[:35] + "g",
		"1234abcd-12ab-34cd-56ef+1234567890ab", "key/" + mrk, "alias", "alias/", "Alias/x", "alias/ä", "alias/a b",
		"alias/a:b", "alias/" + strings.Repeat("a", 251), "alias/a\x00",
		"arn:", "arn:aws:kms:us-east-2:111122223333", "arn:aws:kms:us-east-2:111122223333:", place + "key/",
		place + "key/" + mrk + "/", place + "key:" + mrk, place + mrk, place + "alias/", place + "alias/a:b",
		"ARN:aws:kms:us-east-2:111122223333:key/" + mrk, "arn:aws:s3:us-east-2:111122223333:key/" + mrk,
		"arn:aws:kms::111122223333:key/" + mrk, "arn:aws:kms:us-east-2::key/" + mrk, "arn::kms:us-east-2:111122223333:key/" + mrk,
		"arn:aws:kms:us-east-2:11112222333:key/" + mrk, "arn:aws:kms:us-east-2:11112222333x:key/" + mrk,
		"arn:aws:kms:-us:111122223333:key/" + mrk, "arn:aws:kms:US-EAST-2:111122223333:key/" + mrk,
		"arn:aws:kms:*:111122223333:key/" + mrk, "alias/" + strings.Repeat("a", 3000),
	} {
		got, err := arn.Parse(in)
		if !errors.Is(err, arn.ErrInvalidKeyID) || got != (arn.Name{}) {
			t.Errorf("Parse(%q) = %+v, %v", in, got, err)
		}
		if err != nil && err.Error() != "Invalid keyId '"+in+"'" {
			t.Errorf("Parse(%q): text %q", in, err)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	other := "arn:aws:kms:us-east-2:999988887777:key/" + mrk
	for in, want := range map[string]string{
		mrk:                   place + "key/" + mrk,
		uuid:                  place + "key/" + uuid,
		"alias/x":             place + "alias/x",
		place + "key/" + mrk:  place + "key/" + mrk,
		place + "alias/aws/x": place + "alias/aws/x",
		other:                 other,
	} {
		got, err := arn.Resolve(in, home())
		if err != nil || got.ARN() != want {
			t.Errorf("Resolve(%q) = %q, %v; want %q", in, got.ARN(), err, want)
		}
	}
	for in, text := range map[string]string{
		"arn:aws:kms:us-west-1:111122223333:key/" + mrk:    "Invalid arn us-west-1",
		"arn:aws:kms:us-west-1:111122223333:alias/x":       "Invalid arn us-west-1",
		"arn:aws-cn:kms:us-east-2:111122223333:key/" + mrk: "Invalid arn us-east-2",
	} {
		if _, err := arn.Resolve(in, home()); !errors.Is(err, arn.ErrOtherRegion) || err.Error() != text {
			t.Errorf("Resolve(%q): %v; want %q", in, err, text)
		}
	}
	if _, err := arn.Resolve("x", home()); !errors.Is(err, arn.ErrInvalidKeyID) || err.Error() != "Invalid keyId 'x'" {
		t.Errorf("Resolve(x): %v", err)
	}
}

func TestCheckNewAlias(t *testing.T) {
	t.Parallel()
	long := "alias/" + strings.Repeat("a", 250)
	pattern := "failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"
	for _, c := range []struct {
		in   string
		kind error
		text string
	}{
		{"alias/x", nil, ""},
		{"alias/awsome", nil, ""},
		{"alias/aws", nil, ""},
		{long, nil, ""},
		{long + "a", arn.ErrAliasLength, "1 validation error detected: Value '" + long + "a' at 'aliasName' failed to satisfy constraint: Member must have length less than or equal to 256"},
		{"", arn.ErrAliasLength, "1 validation error detected: Value '' at 'aliasName' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"alias/a b", arn.ErrAliasCharacters, "1 validation error detected: Value 'alias/a b' at 'aliasName' " + pattern},
		{"alias/a;b", arn.ErrAliasCharacters, "1 validation error detected: Value 'alias/a;b' at 'aliasName' " + pattern},
		{"alias/a.b:c", arn.ErrAliasCharacters, "1 validation error detected: Value 'alias/a.b:c' at 'aliasName' " + pattern},
		{"alias/a:b", arn.ErrAliasCharacters, "alias/a:b contains invalid characters for an alias"},
		{"x", arn.ErrAliasPrefix, ""},
		{"alias/", arn.ErrAliasPrefix, ""},
		{"Alias/x", arn.ErrAliasPrefix, ""},
		{"alias/aws/x", arn.ErrAliasReserved, ""},
	} {
		err := arn.CheckNewAlias(c.in)
		if !errors.Is(err, c.kind) {
			t.Errorf("CheckNewAlias(%q) = %v; want %v", c.in, err, c.kind)
		}
		if c.text != "" && err.Error() != c.text {
			t.Errorf("CheckNewAlias(%q): text %q", c.in, err)
		}
		if c.kind == nil && !arn.IsAliasName(c.in) {
			t.Errorf("IsAliasName(%q) is false", c.in)
		}
	}
}

func TestNewKeyIDs(t *testing.T) {
	t.Parallel()
	var zero [16]byte
	ones := [16]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}
	if got := arn.MultiRegionKeyID(ones); got != "mrk-ffffffffffffffffffffffffffffffff" {
		t.Error(got)
	}
	if got := arn.SingleRegionKeyID(zero); got != "00000000-0000-4000-8000-000000000000" {
		t.Error(got)
	}
	if got := arn.SingleRegionKeyID(ones); got != "ffffffff-ffff-4fff-bfff-ffffffffffff" {
		t.Error(got)
	}
	rapid.Check(t, func(t *rapid.T) {
		var r [16]byte
		copy(r[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "random"))
		m, s := arn.MultiRegionKeyID(r), arn.SingleRegionKeyID(r)
		if !arn.IsKeyID(m) || !arn.IsMultiRegionKeyID(m) || !arn.IsKeyID(s) || arn.IsMultiRegionKeyID(s) {
			t.Fatal(m, s)
		}
	})
}

func TestParseDoesNotAllocate(t *testing.T) {
	for _, in := range []string{mrk, uuid, "alias/x", place + "key/" + mrk, place + "alias/x"} {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := arn.Resolve(in, home()); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("Resolve(%q): %v allocations", in, n)
		}
	}
}

// FuzzParse compares Parse with AWS's published patterns, and checks that what parses is written back unchanged.
func FuzzParse(f *testing.F) {
	const key, alias = `(mrk-[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})`, `alias/[a-zA-Z0-9/_-]{1,250}`
	const label = `[a-z0-9]([a-z0-9-]*[a-z0-9])?`
	model := regexp.MustCompile(`^(` + key + `|` + alias + `|arn:` + label + `:kms:` + label + `:[0-9]{12}:(key/` + key + `|` + alias + `))$`)
	for _, s := range []string{"", mrk, uuid, "alias/x", place + "key/" + mrk, place + "alias/x", place, "arn:aws:kms", "alias/a\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := arn.Parse(s)
		if err == nil && n.String() != s {
			t.Fatalf("%q came back as %q", s, n.String())
		}
		// The model knows nothing of the lengths of labels.
		if len(s) < 300 && !strings.Contains(s, "arn:") || err == nil {
			if (err == nil) != (model.MatchString(s) && !strings.HasSuffix(s, "\n")) {
				t.Fatalf("Parse(%q): %v, the model disagrees", s, err)
			}
		}
		if err == nil && n.Kind == arn.AliasName && arn.CheckNewAlias(s) != nil && !strings.HasPrefix(s, "alias/aws/") {
			t.Fatalf("alias %q can be named but not made", s)
		}
	})
}

func BenchmarkResolve(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := arn.Resolve(place+"key/"+mrk, home()); err != nil {
			b.Fatal(err)
		}
	}
}
