// Package encctx is the encryption context of a request, as JSON brings it.
//
// Invariants: a [Context] that was decoded holds exactly the pairs of the JSON object, each a string of valid UTF-8 under
// a name that was there once; so two different objects never become the same additional authenticated data. What is
// ambiguous (a name twice, null as a value, invalid UTF-8, an unpaired surrogate escape) is refused, never repaired, and
// whichever JSON package decodes.
package encctx

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ErrNull says that a pair has null for a value.
var ErrNull = errors.New("null value in an encryption context")

// Context is an encryption context. Absent, null and empty mean the same. Names and values are not normalised and their
// lengths not limited here. It is no secret: it is written to the audit log in clear.
type Context map[string]string

// UnmarshalJSONFrom decodes an object of strings, or null for none. It is strict even when the decoder's options are
// not. The error is a *[json.SemanticError] with the JSON kind that was found and the Go type that it does not fit, or a
// *[jsontext.SyntacticError]; neither holds a value.
func (c *Context) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*c = nil
	if lax(dec) {
		value, err := dec.ReadValue()
		if err != nil {
			return err
		}
		dec = jsontext.NewDecoder(bytes.NewBuffer(value))
	}
	open, err := dec.ReadToken()
	if err != nil {
		return err
	}
	switch kind := open.Kind(); kind {
	case jsontext.KindNull:
		return nil
	case jsontext.KindBeginObject:
	default:
		return &json.SemanticError{JSONKind: kind, GoType: reflect.TypeFor[Context]()}
	}
	pairs := make(Context)
	for dec.PeekKind() != jsontext.KindEndObject {
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		if token, err = dec.ReadToken(); err != nil {
			return err
		}
		switch kind := token.Kind(); kind {
		case jsontext.KindString:
			pairs[name] = token.String()
		case jsontext.KindNull:
			return &json.SemanticError{JSONKind: kind, GoType: reflect.TypeFor[string](), Err: ErrNull}
		default:
			return &json.SemanticError{JSONKind: kind, GoType: reflect.TypeFor[string]()}
		}
	}
	if _, err := dec.ReadToken(); err != nil { // the closing brace
		return err
	}
	if len(pairs) > 0 {
		*c = pairs
	}
	return nil
}

// lax reports whether the decoder lets duplicate names or invalid UTF-8 through.
func lax(dec *jsontext.Decoder) bool {
	options := dec.Options()
	duplicates, _ := json.GetOption(options, jsontext.AllowDuplicateNames)
	utf8, _ := json.GetOption(options, jsontext.AllowInvalidUTF8)
	return duplicates || utf8
}

// UnmarshalJSON is UnmarshalJSONFrom for encoding/json, which would merge duplicates and repair UTF-8.
func (c *Context) UnmarshalJSON(text []byte) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(text))
	if err := c.UnmarshalJSONFrom(dec); err != nil {
		return fmt.Errorf("decode encryption context: %w", err)
	}
	return nil
}
