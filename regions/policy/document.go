package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// document is a policy as the JSON policy grammar of IAM has it.
type document struct {
	Version   string     `json:"Version"`
	ID        string     `json:"Id"`
	Statement statements `json:"Statement"`
}

type statement struct {
	Sid          string         `json:"Sid"`
	Effect       string         `json:"Effect"`
	Principal    *principal     `json:"Principal"`
	NotPrincipal *principal     `json:"NotPrincipal"`
	Action       oneOrMore      `json:"Action"`
	NotAction    oneOrMore      `json:"NotAction"`
	Resource     oneOrMore      `json:"Resource"`
	NotResource  oneOrMore      `json:"NotResource"`
	Condition    conditionBlock `json:"Condition"`
}

// conditionBlock is operator, condition key, values. Conditions are kept as written until they are evaluated.
type conditionBlock map[string]map[string]jsontext.Value

// oneOrMore is a string or a list of strings.
type oneOrMore []string

// statements is a statement or a list of them.
type statements []statement

// principal is "*", or principals by type: "AWS", "Service", "Federated" or "CanonicalUser".
type principal struct {
	everybody bool
	byType    map[string]oneOrMore
}

func (o oneOrMore) has(match func(string) bool) bool {
	for _, s := range o {
		if match(s) {
			return true
		}
	}
	return false
}

// UnmarshalJSONFrom reads a string or a list.
func (o *oneOrMore) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '[' {
		return json.UnmarshalDecode(dec, (*[]string)(o))
	}
	var one string
	if err := json.UnmarshalDecode(dec, &one); err != nil {
		return err
	}
	*o = oneOrMore{one}
	return nil
}

// UnmarshalJSONFrom reads a statement or a list.
func (s *statements) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '[' {
		return json.UnmarshalDecode(dec, (*[]statement)(s))
	}
	var one statement
	if err := json.UnmarshalDecode(dec, &one); err != nil {
		return err
	}
	*s = statements{one}
	return nil
}

// UnmarshalJSONFrom reads "*" or an object.
func (p *principal) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '{' {
		return json.UnmarshalDecode(dec, &p.byType)
	}
	var all string
	if err := json.UnmarshalDecode(dec, &all); err != nil {
		return err
	}
	if all != "*" {
		return errors.New(`a Principal is an object or "*"`)
	}
	p.everybody = true
	return nil
}

// parseDocument checks size, characters, JSON and grammar; it says nothing about what the policy means.
func parseDocument(text string) (document, error) {
	if len(text) > MaxSize {
		return document{}, ErrTooLarge
	}
	for i, r := range text {
		// AWS's pattern for policies: tab, line feed, carriage return and the printable part of Latin-1.
		if (r < ' ' && r != '\t' && r != '\n' && r != '\r') || r > 0xff {
			return document{}, fmt.Errorf("%w: character %q at byte %d", ErrMalformed, r, i)
		}
	}
	if err := refuseNull([]byte(text)); err != nil {
		return document{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var d document
	if err := json.Unmarshal([]byte(text), &d, json.RejectUnknownMembers(true)); err != nil {
		return document{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := d.check(); err != nil {
		return document{}, fmt.Errorf("%w: %w", ErrMalformed, err)
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

// check applies the rules of the grammar that the Go types don't.
func (d document) check() error {
	if d.Version != "" && d.Version != "2012-10-17" && d.Version != "2008-10-17" {
		return errors.New("unknown Version")
	}
	if len(d.Statement) == 0 {
		return errors.New("no Statement")
	}
	for i, s := range d.Statement {
		switch {
		case s.Effect != "Allow" && s.Effect != "Deny":
			return fmt.Errorf("statement %d: Effect is neither Allow nor Deny", i+1)
		case (s.Principal == nil) == (s.NotPrincipal == nil):
			return fmt.Errorf("statement %d: needs a Principal or a NotPrincipal", i+1)
		case s.Action != nil && s.NotAction != nil:
			return fmt.Errorf("statement %d: has both Action and NotAction", i+1)
		case s.Resource != nil && s.NotResource != nil:
			return fmt.Errorf("statement %d: has both Resource and NotResource", i+1)
		}
	}
	return nil
}
