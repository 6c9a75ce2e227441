package rest

import (
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"antipode/regions"
	"antipode/regions/edge"
)

// document makes the OpenAPI document of the operations that are built.
func document(ends []*endpoint, others bool) ([]byte, error) {
	s := newSchemas()
	if _, err := s.of(reflect.TypeFor[problem](), false); err != nil {
		return nil, err
	}
	paths := object{}
	for _, e := range ends {
		if !e.bound.op.Built() {
			continue
		}
		described, err := e.describe(s)
		if err != nil {
			return nil, err
		}
		path := regionPath + e.route.path
		item, is := paths[path].(object)
		if !is {
			item = object{}
			paths[path] = item
		}
		item[strings.ToLower(e.route.method)] = described
	}
	for _, b := range batches() {
		described, err := b.describe(s)
		if err != nil {
			return nil, err
		}
		paths[regionPath+b.path()] = object{"post": described}
	}
	schemes := object{"signature": object{
		"type": "apiKey", "in": "header", "name": "Authorization",
		"description": "AWS Signature Version 4, service kms, in the Region of the path",
	}}
	security := []object{{"signature": []string{}}}
	if others {
		schemes["bearer"] = object{"type": "http", "scheme": "bearer"}
		schemes["certificate"] = object{"type": "mutualTLS"}
		security = append(security, object{"bearer": []string{}}, object{"certificate": []string{}})
	}
	return edge.Encode(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Antipode", "version": "1",
			"description": "Multi-Region keys on HSMs. Each operation is the one of the AWS KMS API of the same name, and its " +
				"members have the names that they have there; those that AWS has not say so.",
		},
		"paths":      paths,
		"security":   security,
		"components": object{"schemas": s.named, "securitySchemes": schemes},
	})
}

func (e *endpoint) describe(s *schemas) (object, error) {
	parameters := []object{regionParameter()}
	for _, name := range variables(e.route.path) { // in the path's order
		parameters = append(parameters, object{
			"name": name, "in": "path", "required": true, "schema": object{"type": "string"}, "description": inPath(name),
		})
	}
	out := object{"operationId": e.route.name(), "summary": "kms:" + e.bound.op.Name}
	if _, own := regions.OwnOperation(e.bound.op.Name); own {
		out["summary"] = e.bound.op.Name + " (not of the AWS KMS API), allowed by " + e.bound.op.Action
	}
	raw := e.bound.rawIn != nil
	if e.route.inQuery() || raw {
		more, err := e.parameters(s, raw)
		if err != nil {
			return nil, err
		}
		parameters = append(parameters, more...)
	}
	if e.bound.op.Once() {
		parameters = append(parameters, object{
			"name": keyHeader, "in": "header", "schema": object{"type": "string", "minLength": 1, "maxLength": maxKey + 2},
			"description": "a key of the client's choice: for a day the same request under the same key is answered as the first one, and not made again",
		})
	}
	out["parameters"] = parameters
	if !e.route.inQuery() {
		body, err := e.requestBody(s)
		if err != nil {
			return nil, err
		}
		out["requestBody"] = body
	}
	success, err := e.success(s)
	if err != nil {
		return nil, err
	}
	out["responses"] = object{
		strconv.Itoa(e.status()): success,
		"default":                refusals(),
	}
	return out, nil
}

func regionParameter() object {
	return object{
		"name": "region", "in": "path", "required": true, "schema": object{"type": "string"},
		"description": "the Region that is to answer, us-east-2",
	}
}

func refusals() object {
	return object{
		"description": "a refusal or a failure, RFC 9457; code is AWS's error code",
		"content":     object{problemMedia: object{"schema": reference("problem")}},
	}
}

func inPath(name string) string {
	switch name {
	case "KeyId":
		return "a key's id or ARN, or an alias name or alias ARN where the operation takes one, percent-encoded (alias%2Fname)"
	case "AliasName":
		return "the alias's name without alias/, percent-encoded"
	}
	return name
}

// parameters describes what can be in the query.
func (e *endpoint) parameters(s *schemas, raw bool) ([]object, error) {
	var out []object
	for _, m := range e.bound.other {
		if e.bound.parameter(m.name) == nil {
			continue
		}
		schema, err := s.of(m.typ, true)
		if err != nil {
			return nil, err
		}
		p := object{"name": m.name, "in": "query", "schema": schema}
		if m.typ == contextType {
			p["style"], p["explode"] = "deepObject", true
		}
		if raw {
			p["description"] = "with a body of " + rawMedia + " only"
		}
		out = append(out, p)
	}
	return out, nil
}

func (e *endpoint) requestBody(s *schemas) (object, error) {
	schema, err := s.structure(e.bound.body, true)
	if err != nil {
		return nil, err
	}
	name := e.route.name() + "Request"
	s.named[name] = schema
	content := object{jsonMedia: object{"schema": reference(name)}}
	if e.bound.rawIn != nil {
		content[rawMedia] = object{"schema": object{"type": "string", "format": "binary", "description": e.bound.rawIn.name}}
	}
	return object{"content": content, "required": false}, nil // none is one without members
}

func (e *endpoint) success(s *schemas) (object, error) {
	out := object{"description": http.StatusText(e.status())}
	if e.route.location != nil {
		out["headers"] = object{"Location": object{"schema": object{"type": "string"}, "description": "the path of what was made"}}
	}
	if e.empty() {
		return out, nil
	}
	schema, err := s.of(e.output, false)
	if err != nil {
		return nil, err
	}
	content := object{jsonMedia: object{"schema": schema}}
	if m := e.rawOut(); m != nil {
		content[rawMedia] = object{"schema": object{
			"type": "string", "format": "binary",
			"description": m.name + " alone, if the client accepts nothing else; the other members are in headers " + memberHeader + "NAME",
		}}
	}
	out["content"] = content
	return out, nil
}
