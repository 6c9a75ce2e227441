package awsquery

import (
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"antipode/regions"
	"antipode/regions/identity"
)

// maxParameters bounds the parameters of a form: 50 tags of two each, and what else there is.
const maxParameters = 256

// form is the parameters of a request. What was read of it is taken out, so that what is left was not asked for.
type form map[string]string

// parseForm decodes a form. It refuses what is given twice.
func parseForm(body string) (form, error) {
	malformed := regions.Errorf("MalformedInput", "The request is not a form of distinct parameters.")
	if strings.Count(body, "&") >= maxParameters {
		return nil, malformed
	}
	values, err := url.ParseQuery(body)
	if err != nil {
		return nil, malformed
	}
	f := form{}
	for name, v := range values {
		if len(v) != 1 || !utf8.ValidString(name) || !utf8.ValidString(v[0]) {
			return nil, malformed
		}
		f[name] = v[0]
	}
	return f, nil
}

func (f form) take(name string) string {
	v := f[name]
	delete(f, name)
	return v
}

// takeSeconds takes DurationSeconds, 0 if it is absent.
func (f form) takeSeconds() (int, error) {
	text := f.take("DurationSeconds")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n == 0 {
		return 0, regions.Errorf(regions.CodeSTSValidation, "1 validation error detected: Value at 'durationSeconds' is not a number of seconds")
	}
	return n, nil
}

// takeTransitive takes TransitiveTagKeys.member.1 and so on.
func (f form) takeTransitive() (out []string) {
	for i := 1; ; i++ {
		name := "TransitiveTagKeys.member." + strconv.Itoa(i)
		v, there := f[name]
		if !there {
			return out
		}
		delete(f, name)
		out = append(out, v)
	}
}

// takeTags takes Tags.member.N.Key and .Value.
func (f form) takeTags() (out []identity.Tag) {
	for i := 1; ; i++ {
		name := "Tags.member." + strconv.Itoa(i)
		key, there := f[name+".Key"]
		if !there {
			return out
		}
		out = append(out, identity.Tag{Key: key, Value: f[name+".Value"]})
		delete(f, name+".Key")
		delete(f, name+".Value")
	}
}

// rest refuses what is left.
func (f form) rest() error {
	for name := range f {
		return regions.Errorf(regions.CodeSTSValidation, "The parameter %.64s is not supported.", name)
	}
	return nil
}
