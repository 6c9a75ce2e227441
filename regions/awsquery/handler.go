// Package awsquery is the wire of STS: AWS's Query protocol, forms in and XML out.
//
// Invariants:
//   - Nothing of a request is looked at before its signature is verified, by package signed.
//   - A parameter that is given twice, or that the action does not have, is refused: it might have narrowed what the rest
//     asks for.
//   - An answer with credentials is written to the client and nowhere else.
package awsquery

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"antipode/regions"
	"antipode/regions/edge"
	"antipode/regions/signed"
	"antipode/regions/sigv4"
)

const (
	service   = "sts"
	version   = "2011-06-15"
	namespace = "https://sts.amazonaws.com/doc/2011-06-15/"
	formType  = "application/x-www-form-urlencoded"
)

// Handler serves STS for one or more Regions; a request goes to the one whose name its signature is scoped to.
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

// IsQuery reports whether a request speaks this protocol: it is a form.
func IsQuery(req *http.Request) bool {
	media, _, _ := strings.Cut(req.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(media), formType)
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	call := func(requestID string) (edge.Answer, error) {
		out, err := h.serve(w, req, requestID)
		if err != nil {
			return edge.Answer{}, err
		}
		return encode(http.StatusOK, out)
	}
	edge.Serve(w, h.log, call, refusal)
}

func (h *Handler) serve(w http.ResponseWriter, req *http.Request, requestID string) (any, error) {
	r, err := h.auth.Authenticate(w, req, requestID)
	if err != nil {
		return nil, err
	}
	if req.Method != http.MethodPost || req.URL.Path != "/" || req.URL.RawQuery != "" || !IsQuery(req) {
		return nil, regions.Errorf("InvalidAction", "Could not find operation")
	}
	f, err := parseForm(string(r.Body))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(req.Context(), edge.CallTime)
	defer cancel()
	return call(ctx, r, f, requestID)
}

type errorAnswer struct {
	XMLName   xml.Name `xml:"ErrorResponse"`
	Namespace string   `xml:"xmlns,attr"`
	Error     struct {
		Type    string
		Code    string
		Message string
	}
	RequestID string `xml:"RequestId"`
}

// describe gives an error the code, text and status that STS has for it. Anything unknown is an internal error without
// detail.
func describe(err error) (status int, code, message string) {
	var signature *sigv4.Error
	if errors.As(err, &signature) {
		switch signature.Code {
		case sigv4.CodeMissing:
			return http.StatusForbidden, "MissingAuthenticationToken", signature.Message
		case sigv4.CodeIncomplete:
			return http.StatusBadRequest, "IncompleteSignature", signature.Message
		case sigv4.CodeUnknownKey:
			return http.StatusForbidden, "InvalidClientTokenId", signature.Message
		case sigv4.CodeTokenExpired:
			return http.StatusForbidden, "ExpiredToken", signature.Message
		default:
			return http.StatusForbidden, "SignatureDoesNotMatch", signature.Message
		}
	}
	var api *regions.Error
	switch {
	case !errors.As(err, &api), api.Code == regions.CodeInternal:
		return http.StatusInternalServerError, "InternalFailure", "The request failed because of an internal error. Try again."
	case api.Code == regions.CodeSTSAccessDenied:
		return http.StatusForbidden, api.Code, api.Message
	}
	return http.StatusBadRequest, api.Code, api.Message
}

func refusal(requestID string, err error) edge.Answer {
	var answer errorAnswer
	status, code, message := describe(err)
	answer.Namespace, answer.RequestID = namespace, requestID
	answer.Error.Type, answer.Error.Code, answer.Error.Message = "Sender", code, message
	if status == http.StatusInternalServerError {
		answer.Error.Type = "Receiver"
	}
	a, err := encode(status, answer)
	if err != nil { // not of a struct of strings
		return edge.Answer{Status: http.StatusInternalServerError}
	}
	return a
}

func encode(status int, answer any) (edge.Answer, error) {
	body, err := xml.Marshal(answer)
	if err != nil {
		return edge.Answer{}, fmt.Errorf("encode answer: %w", err)
	}
	return edge.Answer{Status: status, ContentType: "text/xml", Body: body}, nil
}
