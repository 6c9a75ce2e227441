package rest

import (
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"antipode/regions"
	"antipode/regions/edge"
	"antipode/regions/encctx"
)

// member is a member of an operation's input or answer.
type member struct {
	name  string // AWS's, as in JSON
	index int    // of the struct's field
	typ   reflect.Type
	// optional members of an answer are left out when there is nothing to say.
	optional bool
}

// members lists the members of a struct in order.
func members(t reflect.Type) []member {
	var out []member
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if !t.Field(i).IsExported() || name == "" || name == "-" {
			continue
		}
		out = append(out, member{name, i, t.Field(i).Type, strings.Contains(options, "omit")})
	}
	return out
}

// binding says where each member of a route's input comes from.
type binding struct {
	op    regions.Operation
	path  []member
	other []member // in the body or in the query
	// body has the fields of other, and is what a body is decoded into.
	body reflect.Type
	// rawIn is one of other, or nil.
	rawIn *member
}

// bind finds the places of the members. An operation that is not built has none.
func bind(r route, op regions.Operation) (*binding, error) {
	b := &binding{op: op, body: reflect.TypeFor[struct{}]()}
	if !op.Built() {
		return b, nil
	}
	input := reflect.TypeOf(op.NewInput()).Elem()
	inPath := map[string]bool{}
	for _, name := range variables(r.path) {
		inPath[name] = true
	}
	var fields []reflect.StructField
	for _, m := range members(input) {
		if inPath[m.name] {
			if m.typ.Kind() != reflect.String {
				return nil, fmt.Errorf("route %s: %s is a %s and can't be in the path", r.name(), m.name, m.typ)
			}
			b.path = append(b.path, m)
			delete(inPath, m.name)
			continue
		}
		if m.name == r.rawIn && isBytes(m.typ) {
			b.rawIn = &m
		}
		b.other = append(b.other, m)
		fields = append(fields, input.Field(m.index))
	}
	for name := range inPath {
		return nil, fmt.Errorf("route %s: the input has no member %s", r.name(), name)
	}
	if r.rawIn != "" && b.rawIn == nil {
		return nil, fmt.Errorf("route %s: the input has no bytes %s", r.name(), r.rawIn)
	}
	if len(fields) > 0 {
		b.body = reflect.StructOf(fields)
	}
	return b, nil
}

// variables are the names in braces in a path.
func variables(path string) []string {
	var out []string
	for {
		_, rest, more := strings.Cut(path, "{")
		if !more {
			return out
		}
		var name string
		name, path, _ = strings.Cut(rest, "}")
		out = append(out, name)
	}
}

func refuse(format string, args ...any) error {
	return regions.Errorf(regions.CodeSerialization, format, args...)
}

// fromPath sets the members that are in the path; vars are still percent-encoded.
func (b *binding) fromPath(into reflect.Value, vars map[string]string) error {
	for _, m := range b.path {
		value, err := url.PathUnescape(vars[m.name])
		if err != nil || !utf8.ValidString(value) {
			return refuse("%s in the path is not valid UTF-8, percent-encoded", m.name)
		}
		if m.name == "AliasName" {
			value = aliasPrefix + value
		}
		into.Field(m.index).SetString(value)
	}
	return nil
}

// fromBody sets the other members from a JSON object; no body at all is an object without members.
func (b *binding) fromBody(into reflect.Value, body []byte) error {
	if len(body) == 0 {
		return nil
	}
	decoded := reflect.New(b.body)
	if err := edge.DecodeExactly(body, decoded.Interface()); err != nil {
		return err
	}
	for i, m := range b.other {
		into.Field(m.index).Set(decoded.Elem().Field(i))
	}
	return nil
}

// fromQuery sets the other members from the query: EncryptionContext[name]=value for a map, a name more than once for a
// list.
func (b *binding) fromQuery(into reflect.Value, raw string) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return refuse("The query is malformed")
	}
	for name, values := range query {
		name, key, isMap := strings.Cut(name, "[")
		m := b.parameter(name)
		if m == nil || isMap != (m.typ == contextType) {
			return refuse("The query has a parameter that the operation does not know")
		}
		for _, v := range values {
			if !utf8.ValidString(v) || !utf8.ValidString(key) {
				return refuse("The query is not valid UTF-8")
			}
		}
		field := into.Field(m.index)
		if isMap {
			key, closed := strings.CutSuffix(key, "]")
			if !closed || len(values) != 1 {
				return refuse("%s in the query is %s[name]=value, once for each name", name, name)
			}
			if field.IsNil() {
				field.Set(reflect.ValueOf(encctx.Context{}))
			}
			field.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(values[0]))
			continue
		}
		if err := setParameter(field, name, values); err != nil {
			return err
		}
	}
	return nil
}

var contextType = reflect.TypeFor[encctx.Context]()

// parameter returns the member that a parameter of the query sets, nil if there is none.
func (b *binding) parameter(name string) *member {
	for i := range b.other {
		if m := &b.other[i]; m.name == name && inQuery(m.typ) && (b.rawIn == nil || b.rawIn.name != name) {
			return m
		}
	}
	return nil
}

// inQuery reports whether a member of this type can be given in a query.
func inQuery(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int:
		return true
	case reflect.Slice:
		return t.Elem().Kind() == reflect.String
	default:
		return t == contextType
	}
}

// setParameter sets a field from the values of one parameter.
func setParameter(field reflect.Value, name string, values []string) error {
	if field.Kind() == reflect.Slice {
		list := reflect.MakeSlice(field.Type(), len(values), len(values))
		for i, v := range values {
			list.Index(i).SetString(v)
		}
		field.Set(list)
		return nil
	}
	if len(values) != 1 {
		return refuse("%s is in the query more than once", name)
	}
	if field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	switch field.Kind() {
	case reflect.Bool:
		if values[0] != "true" && values[0] != "false" {
			return refuse("%s in the query is true or false", name)
		}
		field.SetBool(values[0] == "true")
	case reflect.Int:
		n, err := strconv.Atoi(values[0])
		if err != nil {
			return refuse("%s in the query is not an integer", name)
		}
		field.SetInt(int64(n))
	default:
		field.SetString(values[0])
	}
	return nil
}

func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}
