// Package awsjson is the AWS JSON 1.1 wire of the operations of a Region: what a client sends and what it is answered.
package awsjson

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"antipode/regions"
	"antipode/regions/edge"
	"antipode/regions/signed"
)

const (
	contentType  = "application/x-amz-json-1.1"
	targetPrefix = "TrentService."
	service      = "kms"
)

// Handler serves the AWS JSON 1.1 protocol of KMS for one or more Regions; a request goes to the one whose name its
// signature is scoped to. It is the only way in: nothing of a request is looked at before its signature is verified.
type Handler struct {
	auth *signed.Authenticator
	log  zerolog.Logger
}

// NewHandler returns a handler. now is the real clock, by which signatures are dated.
func NewHandler(served []*regions.Region, now func() time.Time, log zerolog.Logger) (*Handler, error) {
	auth, err := signed.New(service, served, now)
	if err != nil {
		return nil, err
	}
	return &Handler{auth: auth, log: log}, nil
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	call := func(requestID string) (edge.Answer, error) {
		out, err := h.serve(w, req, requestID)
		if err != nil {
			return edge.Answer{}, err
		}
		body := []byte{}
		if out != nil {
			if body, err = edge.Encode(out); err != nil {
				return edge.Answer{}, err
			}
		}
		return edge.Answer{Status: http.StatusOK, ContentType: contentType, Body: body}, nil
	}
	edge.Serve(w, h.log, call, refusal)
}

func (h *Handler) serve(w http.ResponseWriter, req *http.Request, requestID string) (any, error) {
	r, err := h.auth.Authenticate(w, req, requestID)
	if err != nil {
		return nil, err
	}
	op, err := operation(req)
	if err != nil {
		return nil, err
	}
	input := op.NewInput()
	if op.Built() {
		if err := edge.Decode(r.Body, input); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(req.Context(), edge.CallTime)
	defer cancel()
	return r.Region.Do(ctx, op, r.Caller, input)
}

// operation finds the operation that a request names.
func operation(req *http.Request) (regions.Operation, error) {
	unknown := &regions.Error{Code: regions.CodeUnknownOperation}
	if req.Method != http.MethodPost || req.URL.Path != "/" || req.URL.RawQuery != "" {
		return regions.Operation{}, unknown
	}
	if media, _, _ := strings.Cut(req.Header.Get("Content-Type"), ";"); strings.TrimSpace(media) != contentType {
		return regions.Operation{}, unknown
	}
	name, ours := strings.CutPrefix(req.Header.Get("X-Amz-Target"), targetPrefix)
	if !ours {
		return regions.Operation{}, unknown
	}
	op, known := regions.OperationByName(name)
	if !known {
		return regions.Operation{}, unknown
	}
	return op, nil
}
