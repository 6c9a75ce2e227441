package rest

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/gorilla/mux"

	"antipode/regions"
	"antipode/regions/edge"
)

const (
	jsonMedia = "application/json"
	rawMedia  = "application/octet-stream"
	// memberHeader begins the headers of a raw answer that have its other members.
	memberHeader = "Kms-"
)

// endpoint is a route with the operation that it leads to.
type endpoint struct {
	route  route
	bound  *binding
	output reflect.Type // nil if the operation is not built
}

// endpoints joins the routes with the table of operations.
func endpoints() ([]*endpoint, error) {
	var out []*endpoint
	routed := map[string]bool{}
	for _, r := range routes() {
		op, known := regions.OperationByName(r.operation)
		if !known {
			op, known = regions.OwnOperation(r.operation)
		}
		if !known {
			return nil, fmt.Errorf("route %s %s leads to no operation", r.method, r.path)
		}
		b, err := bind(r, op)
		if err != nil {
			return nil, err
		}
		e := &endpoint{route: r, bound: b}
		if op.Built() {
			e.output = reflect.TypeOf(op.NewOutput()).Elem()
		}
		if r.rawOut != "" && e.output != nil && e.rawOut() == nil {
			return nil, fmt.Errorf("route %s: the answer has no bytes %s", r.name(), r.rawOut)
		}
		out = append(out, e)
		routed[r.operation] = true
	}
	for _, op := range append(regions.Operations(), regions.OwnOperations()...) {
		if !routed[op.Name] {
			return nil, fmt.Errorf("operation %s has no route", op.Name)
		}
	}
	return out, nil
}

// empty reports whether the operation answers nothing.
func (e *endpoint) empty() bool { return e.output != nil && e.output.NumField() == 0 }

// rawOut is the member of the answer that may be sent as bytes alone, nil if there is none.
func (e *endpoint) rawOut() *member {
	if e.output == nil {
		return nil
	}
	for _, m := range members(e.output) {
		if m.name == e.route.rawOut && isBytes(m.typ) {
			return &m
		}
	}
	return nil
}

// status is that of a success.
func (e *endpoint) status() int {
	switch {
	case e.route.status != 0:
		return e.route.status
	case e.empty():
		return http.StatusNoContent
	}
	return http.StatusOK
}

// input makes the operation's input of a request.
func (e *endpoint) input(req *http.Request, body []byte) (any, error) {
	in := e.bound.op.NewInput()
	if !e.bound.op.Built() {
		return in, nil
	}
	into := reflect.ValueOf(in).Elem()
	var err error
	switch given := media(req); {
	case e.route.inQuery():
		if len(body) > 0 {
			return nil, refuse("%s takes no body: parameters are in the query", req.Method)
		}
		err = e.bound.fromQuery(into, req.URL.RawQuery)
	case given == rawMedia && e.bound.rawIn != nil:
		into.Field(e.bound.rawIn.index).SetBytes(body)
		err = e.bound.fromQuery(into, req.URL.RawQuery)
	case given != jsonMedia && (given != "" || len(body) > 0):
		return nil, regions.Errorf(codeMediaType, "The body must be %s.", e.bodyTypes())
	case req.URL.RawQuery != "":
		return nil, refuse("With a JSON body, or none, there are no parameters in the query")
	default:
		err = e.bound.fromBody(into, body)
	}
	if err != nil {
		return nil, err
	}
	return in, e.bound.fromPath(into, mux.Vars(req))
}

func (e *endpoint) bodyTypes() string {
	if e.bound.rawIn != nil {
		return jsonMedia + " or " + rawMedia
	}
	return jsonMedia
}

// answer gives the operation's answer its form: JSON, or the raw member with the others in headers.
func (e *endpoint) answer(region string, in, out any, raw bool) (edge.Answer, error) {
	a := edge.Answer{Status: e.status(), Header: http.Header{"Cache-Control": {"no-store"}}}
	if e.route.location != nil {
		a.Header.Set("Location", strings.Replace(regionPath, "{region}", region, 1)+e.route.location(in, out))
	}
	if out == nil || e.empty() {
		return a, nil
	}
	if m := e.rawOut(); raw && m != nil {
		value := reflect.ValueOf(out).Elem()
		for _, other := range members(e.output) {
			if f := value.Field(other.index); f.Kind() == reflect.String && f.Len() > 0 {
				a.Header.Set(memberHeader+other.name, f.String())
			}
		}
		a.ContentType, a.Body = rawMedia, value.Field(m.index).Bytes()
		return a, nil
	}
	var err error
	a.ContentType = jsonMedia
	a.Body, err = edge.Encode(out)
	return a, err
}
