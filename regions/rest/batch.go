package rest

import (
	"context"
	"net/http"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"antipode/regions"
	"antipode/regions/edge"
)

const (
	// maxItems is how many calls a batch may hold.
	maxItems = 100
	// maxBatch is the largest body of a batch in bytes: 100 ciphertexts of 6,144 bytes in base64 take 819,200.
	maxBatch = 1 << 20
)

// batch makes up to 100 calls of one operation for one authentication. Each call is authorised and audited by itself, one
// after the other, and its failure is its own.
type batch struct {
	op     regions.Operation
	input  reflect.Type
	output reflect.Type
}

// batches are the operations that have a batch form. Those that are not built have none yet.
func batches() []*batch {
	var out []*batch
	for _, name := range []string{"Encrypt", "Decrypt", "Sign", "GenerateMac"} {
		if op, known := regions.OperationByName(name); known && op.Built() {
			out = append(out, &batch{op, reflect.TypeOf(op.NewInput()).Elem(), reflect.TypeOf(op.NewOutput()).Elem()})
		}
	}
	return out
}

func (b *batch) name() string { return "Batch" + b.op.Name }

// path is below the Region's.
func (b *batch) path() string { return "/batch:" + strings.ToLower(b.op.Name[:1]) + b.op.Name[1:] }

type batchRequest struct {
	Items []jsontext.Value `json:"Items"`
}

type batchAnswer struct {
	Results []batchResult `json:"Results"`
}

// batchResult is the outcome of the item at the same place of the request.
type batchResult struct {
	Status  int      `json:"Status"`
	Answer  any      `json:"Answer,omitzero"`
	Problem *problem `json:"Problem,omitzero"`
}

func (h *Handler) serveBatch(b *batch) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		edge.Serve(w, h.cfg.Log, func(requestID string) (edge.Answer, error) { return h.callBatch(w, req, b, requestID) }, h.refusal)
	})
}

func (h *Handler) callBatch(w http.ResponseWriter, req *http.Request, b *batch, requestID string) (edge.Answer, error) {
	region, err := h.region(req)
	if err != nil {
		return edge.Answer{}, err
	}
	caller, body, err := h.caller(w, req, region, requestID, maxBatch)
	if err != nil {
		return edge.Answer{}, err
	}
	if media(req) != jsonMedia {
		return edge.Answer{}, regions.Errorf(codeMediaType, "The body must be %s.", jsonMedia)
	}
	if req.URL.RawQuery != "" {
		return edge.Answer{}, refuse("With a JSON body there are no parameters in the query")
	}
	var items batchRequest
	if err := edge.DecodeExactly(body, &items); err != nil {
		return edge.Answer{}, err
	}
	if n := len(items.Items); n < 1 || n > maxItems {
		return edge.Answer{}, regions.Errorf(regions.CodeValidation, "A batch holds 1 to %d items, not %d.", maxItems, n)
	}
	ctx, cancel := context.WithTimeout(req.Context(), edge.CallTime)
	defer cancel()
	var out batchAnswer
	for _, item := range items.Items {
		answer, err := b.do(ctx, region, caller, item)
		if err != nil { // which Region.Do has logged
			p := problemOf(requestID, err)
			out.Results = append(out.Results, batchResult{Status: p.Status, Problem: &p})
			continue
		}
		out.Results = append(out.Results, batchResult{Status: http.StatusOK, Answer: answer})
	}
	text, err := edge.Encode(out)
	return edge.Answer{Status: http.StatusOK, ContentType: jsonMedia, Body: text, Header: http.Header{"Cache-Control": {"no-store"}}}, err
}

func (b *batch) do(ctx context.Context, region *regions.Region, caller regions.Caller, item jsontext.Value) (any, error) {
	in := b.op.NewInput()
	if err := edge.DecodeExactly(item, in); err != nil {
		return nil, err
	}
	return region.Do(ctx, b.op, caller, in)
}

// describe describes the batch for the OpenAPI document.
func (b *batch) describe(s *schemas) (object, error) {
	item, err := s.structure(b.input, true)
	if err != nil {
		return nil, err
	}
	answer, err := s.of(b.output, false)
	if err != nil {
		return nil, err
	}
	s.named[b.name()+"Item"] = item
	s.named[b.name()+"Result"] = object{
		"type": "object", "required": []string{"Status"}, "description": "the outcome of the item at the same place",
		"properties": object{"Status": object{"type": "integer"}, "Answer": answer, "Problem": reference("problem")},
	}
	list := func(name, of string, more object) object {
		array := object{"type": "array", "items": reference(of)}
		for k, v := range more {
			array[k] = v
		}
		return object{"type": "object", "required": []string{name}, "properties": object{name: array}}
	}
	s.named[b.name()+"Request"] = list("Items", b.name()+"Item", object{"minItems": 1, "maxItems": maxItems})
	s.named[b.name()+"Request"].(object)["additionalProperties"] = false
	s.named[b.name()+"Answer"] = list("Results", b.name()+"Result", nil)
	return object{
		"operationId": b.name(), "summary": "kms:" + b.op.Name + ", up to 100 times; a call that fails is that item's problem",
		"parameters":  []object{regionParameter()},
		"requestBody": object{"required": true, "content": object{jsonMedia: object{"schema": reference(b.name() + "Request")}}},
		"responses": object{
			"200":     object{"description": "each item's outcome", "content": object{jsonMedia: object{"schema": reference(b.name() + "Answer")}}},
			"default": refusals(),
		},
	}, nil
}
