package audit

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Fields is a JSON object that is built member by member, in order, without reflection. The zero value is null; the
// first call of a method makes it an object. Give each name once. A Fields may be copied when it is complete, and not
// changed through two copies.
type Fields struct {
	open []byte // the object without its closing brace; empty for null
}

// FieldsOf makes Fields of a map, slower than by the methods. Names are sorted. It answers [ErrEvent] for a value that
// has no JSON form.
func FieldsOf(m map[string]any) (Fields, error) {
	if m == nil {
		return Fields{}, nil
	}
	b, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		return Fields{}, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	return parseFields(b)
}

// parseFields takes a JSON object without white space, or null. It keeps b.
func parseFields(b []byte) (Fields, error) {
	v := jsontext.Value(b)
	switch {
	case string(v) == "null":
		return Fields{}, nil
	case !v.IsValid(jsontext.AllowDuplicateNames(true)) || v.Kind() != '{':
		return Fields{}, fmt.Errorf("%w: not a JSON object", ErrEvent)
	}
	c := v.Clone()
	if err := c.Compact(); err != nil || string(c) != string(b) {
		return Fields{}, fmt.Errorf("%w: a JSON object with white space", ErrEvent)
	}
	return Fields{open: b[: len(b)-1 : len(b)-1]}, nil
}

// IsZero reports whether f is null.
func (f *Fields) IsZero() bool { return len(f.open) == 0 }

// Str adds a string.
func (f *Fields) Str(name, value string) { f.open = appendString(f.name(name), value) }

// Int adds a number.
func (f *Fields) Int(name string, value int64) { f.open = strconv.AppendInt(f.name(name), value, 10) }

// Bool adds a truth value.
func (f *Fields) Bool(name string, value bool) { f.open = appendBool(f.name(name), value) }

// Null adds a null.
func (f *Fields) Null(name string) { f.open = append(f.name(name), "null"...) }

// Strs adds an array of strings.
func (f *Fields) Strs(name string, values []string) {
	b := append(f.name(name), '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, v)
	}
	f.open = append(b, ']')
}

// Map adds an object of strings, its names sorted; an encryption context, say.
func (f *Fields) Map(name string, values map[string]string) {
	var m Fields
	m.open = append(m.open, '{')
	for _, k := range slices.Sorted(maps.Keys(values)) {
		m.Str(k, values[k])
	}
	f.Object(name, m)
}

// Object adds an object, or null if value is zero.
func (f *Fields) Object(name string, value Fields) { f.open = value.appendTo(f.name(name)) }

// Text returns the string that was given under this name. It reads the whole object.
func (f *Fields) Text(name string) (value string, found bool) {
	if f.IsZero() {
		return "", false
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(f.appendTo(nil), &members, jsontext.AllowDuplicateNames(true)); err != nil {
		return "", false
	}
	if err := json.Unmarshal(members[name], &value); err != nil {
		return "", false
	}
	return value, true
}

func (f *Fields) name(name string) []byte {
	b := f.open
	switch len(b) {
	case 0:
		b = append(make([]byte, 0, 256), '{')
	case 1: // an object without members yet
	default:
		b = append(b, ',')
	}
	return append(appendString(b, name), ':')
}

func (f *Fields) appendTo(b []byte) []byte {
	if f.IsZero() {
		return append(b, "null"...)
	}
	return append(append(b, f.open...), '}')
}
