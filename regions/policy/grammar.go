package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// rawDocument is a policy as the JSON policy grammar of IAM has it.
type rawDocument struct {
	Version   string        `json:"Version"`
	ID        string        `json:"Id"`
	Statement rawStatements `json:"Statement"`
}

type rawStatement struct {
	Sid          string        `json:"Sid"`
	Effect       string        `json:"Effect"`
	Principal    *rawPrincipal `json:"Principal"`
	NotPrincipal *rawPrincipal `json:"NotPrincipal"`
	Action       oneOrMore     `json:"Action"`
	NotAction    oneOrMore     `json:"NotAction"`
	Resource     oneOrMore     `json:"Resource"`
	NotResource  oneOrMore     `json:"NotResource"`
	Condition    rawConditions `json:"Condition"`
}

// rawConditions is operator, condition key, values.
type rawConditions map[string]map[string]rawValues

// oneOrMore is a string or a list of strings. It is nil only if the member is absent.
type oneOrMore []string

// rawValues is a string, a number, a boolean or a list of these, each as text.
type rawValues []string

// rawStatements is a statement or a list of them.
type rawStatements []rawStatement

// rawPrincipal is "*", or principals by type.
type rawPrincipal struct {
	everybody bool
	byType    map[string]oneOrMore
}

// UnmarshalJSONFrom reads a string or a list.
func (o *oneOrMore) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '[' {
		list := []string{}
		err := json.UnmarshalDecode(dec, &list)
		*o = list
		return err
	}
	var one string
	if err := json.UnmarshalDecode(dec, &one); err != nil {
		return err
	}
	*o = oneOrMore{one}
	return nil
}

// UnmarshalJSONFrom reads a value or a list.
func (v *rawValues) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*v = rawValues{}
	if dec.PeekKind() != '[' {
		return v.one(dec)
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		if err := v.one(dec); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

func (v *rawValues) one(dec *jsontext.Decoder) error {
	tok, err := dec.ReadToken()
	if err != nil {
		return err
	}
	switch tok.Kind() {
	case '"', '0', 't', 'f':
		*v = append(*v, tok.String())
		return nil
	default:
		return errors.New("a condition's value is a string, a number, a boolean or a list of these")
	}
}

// UnmarshalJSONFrom reads a statement or a list.
func (s *rawStatements) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '[' {
		return json.UnmarshalDecode(dec, (*[]rawStatement)(s))
	}
	var one rawStatement
	if err := json.UnmarshalDecode(dec, &one); err != nil {
		return err
	}
	*s = rawStatements{one}
	return nil
}

// UnmarshalJSONFrom reads "*" or an object.
func (r *rawPrincipal) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '{' {
		return json.UnmarshalDecode(dec, &r.byType)
	}
	var all string
	if err := json.UnmarshalDecode(dec, &all); err != nil {
		return err
	}
	if all != "*" {
		return errors.New(`a Principal is an object or "*"`)
	}
	r.everybody = true
	return nil
}

// parseGrammar checks characters, JSON and the types of members; it says nothing about what the policy means.
func parseGrammar(text string) (rawDocument, error) {
	for i, r := range text {
		// AWS's pattern for policies: tab, line feed, carriage return and the printable part of Latin-1.
		if (r < ' ' && r != '\t' && r != '\n' && r != '\r') || r > 0xff {
			return rawDocument{}, fmt.Errorf("character %q at byte %d", r, i)
		}
	}
	if err := refuseNull([]byte(text)); err != nil {
		return rawDocument{}, err
	}
	var d rawDocument
	if err := json.Unmarshal([]byte(text), &d, json.RejectUnknownMembers(true)); err != nil {
		return rawDocument{}, err
	}
	return d, nil
}

// refuseNull refuses null wherever it stands: the decoder would read it as an absent member.
func refuseNull(text []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	for {
		tok, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if tok.Kind() == 'n' {
			return errors.New("null in a policy")
		}
	}
}

// dense returns the number of characters of a JSON text without the white space between its tokens.
func dense(text string) int {
	n, inString, escaped := 0, false, false
	for _, r := range text {
		switch {
		case escaped:
			escaped = false
		case inString && r == '\\':
			escaped = true
		case r == '"':
			inString = !inString
		case !inString && (r == ' ' || r == '\t' || r == '\n' || r == '\r'):
			continue
		}
		n++
	}
	return n
}
