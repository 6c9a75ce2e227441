package rest

import (
	"fmt"
	"reflect"

	"antipode/regions/awstime"
)

// object is a JSON object of the OpenAPI document.
type object map[string]any

// schemas collects the schemas of named Go types, each under its name.
type schemas struct {
	named object
	types map[string]reflect.Type
}

func newSchemas() *schemas { return &schemas{object{}, map[string]reflect.Type{}} }

func reference(name string) object { return object{"$ref": "#/components/schemas/" + name} }

// of gives the schema of what a Go type is in JSON. sent says that the client sends it: then it may have no other members.
func (s *schemas) of(t reflect.Type, sent bool) (object, error) {
	switch {
	case t.Kind() == reflect.Pointer:
		return s.of(t.Elem(), sent)
	case t == reflect.TypeFor[awstime.Timestamp]():
		return object{"type": "number", "format": "double", "description": "seconds since 1970-01-01T00:00:00Z, with up to three decimals"}, nil
	case isBytes(t):
		// format is what OpenAPI 3.0 said, and what generators of clients go by.
		return object{"type": "string", "format": "byte", "contentEncoding": "base64"}, nil
	}
	switch t.Kind() {
	case reflect.String:
		return object{"type": "string"}, nil
	case reflect.Bool:
		return object{"type": "boolean"}, nil
	case reflect.Int, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}, nil
	case reflect.Slice:
		items, err := s.of(t.Elem(), sent)
		return object{"type": "array", "items": items}, err
	case reflect.Map:
		values, err := s.of(t.Elem(), sent)
		return object{"type": "object", "additionalProperties": values}, err
	case reflect.Struct:
		if t.Name() == "" {
			return s.structure(t, sent)
		}
		return s.reference(t, sent)
	default:
		return nil, fmt.Errorf("no schema for a %s", t)
	}
}

// reference gives a reference to the schema of a named struct.
func (s *schemas) reference(t reflect.Type, sent bool) (object, error) {
	have, known := s.types[t.Name()]
	if known && have != t {
		return nil, fmt.Errorf("two types are called %s", t.Name())
	}
	if !known {
		s.types[t.Name()] = t
		var err error
		if s.named[t.Name()], err = s.structure(t, sent); err != nil {
			return nil, err
		}
	}
	return reference(t.Name()), nil
}

func (s *schemas) structure(t reflect.Type, sent bool) (object, error) {
	properties, required := object{}, []string{}
	for _, m := range members(t) {
		schema, err := s.of(m.typ, sent)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", t.Name(), m.name, err)
		}
		properties[m.name] = schema
		if !sent && !m.optional {
			required = append(required, m.name)
		}
	}
	out := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	if sent {
		out["additionalProperties"] = false
	}
	return out, nil
}
