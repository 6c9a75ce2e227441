package awsjson_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/awstime"
)

// jsonKinds are values of each JSON type, null apart.
var jsonKinds = map[string][]string{
	"string": {`""`, `"a"`, `"!"`},
	"number": {`0`, `-1`, `1.5`, `1e400`, `9223372036854775808`},
	"bool":   {`true`, `false`},
	"array":  {`[]`, `[1]`, `[null]`},
	"object": {`{}`, `{"a":1}`, `{"a":{"a":{}}}`},
}

// jsonKind is the JSON type that a member of this Go type has.
func jsonKind(t *testing.T, typ reflect.Type) string {
	t.Helper()
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ == reflect.TypeFor[awstime.Timestamp]() {
		return "number"
	}
	switch typ.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "bool"
	case reflect.Int:
		return "number"
	case reflect.Map, reflect.Struct:
		return "object"
	case reflect.Slice:
		if typ.Elem().Kind() == reflect.Uint8 {
			return "string"
		}
		return "array"
	default:
		t.Fatalf("a member of type %s: say what its JSON type is", typ)
		return ""
	}
}

// member is one place in a request body: body is the request with %s where its value goes.
type member struct {
	path string
	typ  reflect.Type
	body string
}

// members are all members of an input, with those inside lists, maps and structures.
func members(typ reflect.Type, path, body string) []member {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ == reflect.TypeFor[awstime.Timestamp]() {
		return nil // what is inside is its own
	}
	var all []member
	add := func(name string, typ reflect.Type, inner string) {
		at := strings.Replace(body, "%s", inner, 1)
		all = append(append(all, member{path + name, typ, at}), members(typ, path+name, at)...)
	}
	switch typ.Kind() {
	case reflect.Struct:
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			add("."+name, typ.Field(i).Type, `{"`+name+`":%s}`)
		}
	case reflect.Slice:
		if typ.Elem().Kind() != reflect.Uint8 {
			add("[]", typ.Elem(), `[%s]`)
		}
	case reflect.Map:
		add("{}", typ.Elem(), `{"a":%s}`)
	default: // has nothing inside
	}
	return all
}

// Each member of each operation's input is given every JSON type that it does not have. That is always a
// SerializationException with one of its texts; null counts as absent, and nothing is ever an internal error.
func TestWrongTypes(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	tried := 0
	for _, op := range regions.Operations() {
		if !op.Built() {
			continue
		}
		found := members(reflect.TypeOf(op.NewInput()), op.Name, "%s")
		if len(found) == 0 {
			t.Errorf("%s has no members", op.Name)
		}
		for _, m := range found {
			has := jsonKind(t, m.typ)
			for kind, values := range jsonKinds {
				for _, value := range values {
					tried++
					a := f.send(t, ordinary(op.Name, strings.Replace(m.body, "%s", value, 1)))
					if kind == has {
						continue // send has seen that it is an ordinary answer
					}
					if want := wrongTypeText(m.typ, kind, value); a.refusal() != "SerializationException: "+want {
						t.Errorf("%s = %s: got %s, want %s", m.path, value, a.refusal(), want)
					}
				}
			}
			a := f.send(t, ordinary(op.Name, strings.Replace(m.body, "%s", "null", 1)))
			if inContext := m.typ.Kind() == reflect.String && strings.Contains(m.path, "Context") && strings.HasSuffix(m.path, "{}"); (a.Type == "SerializationException") != inContext {
				t.Errorf("%s = null: %d %s", m.path, a.status, a.refusal())
			}
		}
	}
	if tried < 1000 {
		t.Errorf("only %d values tried", tried)
	}
}

// wrongTypeText is the text for a value of this JSON kind in a member of this type, in the words of AWS.
func wrongTypeText(typ reflect.Type, kind, value string) string {
	switch kind {
	case "array":
		return "Start of list found where not expected"
	case "object":
		return "Start of structure or map found where not expected."
	}
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	got := map[string]string{"string": "STRING_VALUE", "number": "NUMBER_VALUE"}[kind]
	if kind == "bool" {
		got = strings.ToUpper(value) + "_VALUE"
	}
	if typ == reflect.TypeFor[awstime.Timestamp]() {
		return got + " can not be converted to a Timestamp"
	}
	switch typ.Kind() {
	case reflect.String:
		return got + " can not be converted to a String"
	case reflect.Bool:
		return got + " can not be converted to a Boolean"
	case reflect.Int:
		return got + " can not be converted to an Integer"
	case reflect.Map:
		return "Expected map or null"
	case reflect.Struct:
		return "Expected null"
	default:
		if typ.Elem().Kind() == reflect.Uint8 {
			return got + " can not be converted to a Blob"
		}
		return "Expected list or null"
	}
}

// A member of the right type that this program does not know is ignored, as newer clients need it.
func TestUnknownMembers(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	for _, body := range []string{
		`{"NumberOfBytes":8,"Future":{"a":[1,null,"x"]}}`, `{"NumberOfBytes":8,"numberofbytes":"x"}`,
		`{"NumberOfBytes":8,"":1}`, `{"NumberOfBytes":8,"CustomKeyStoreId":null,"Recipient":null}`,
	} {
		if a := f.send(t, ordinary("GenerateRandom", body)); a.status != http.StatusOK {
			t.Errorf("%s: %s", body, a.refusal())
		}
	}
}
