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
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"antipode/regions"
	"antipode/regions/signed"
	"antipode/regions/sigv4"
)

const (
	service   = "sts"
	version   = "2011-06-15"
	namespace = "https://sts.amazonaws.com/doc/2011-06-15/"
	formType  = "application/x-www-form-urlencoded"
	// callTime bounds a call from its authentication to its answer.
	callTime = 30 * time.Second
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
	requestID := uuid.NewString()
	w.Header().Set("X-Amzn-Requestid", requestID)
	defer func() {
		if p := recover(); p != nil {
			h.writeError(w, requestID, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	out, err := h.serve(w, req, requestID)
	if err != nil {
		h.writeError(w, requestID, err)
		return
	}
	h.write(w, requestID, http.StatusOK, out)
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
	ctx, cancel := context.WithTimeout(req.Context(), callTime)
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

func (h *Handler) writeError(w http.ResponseWriter, requestID string, err error) {
	var answer errorAnswer
	status, code, message := describe(err)
	answer.Namespace, answer.RequestID = namespace, requestID
	answer.Error.Type, answer.Error.Code, answer.Error.Message = "Sender", code, message
	if status == http.StatusInternalServerError {
		answer.Error.Type = "Receiver"
		h.log.Error().Err(err).Str("request", requestID).Msg("call failed")
	}
	h.write(w, requestID, status, answer)
}

func (h *Handler) write(w http.ResponseWriter, requestID string, status int, answer any) {
	body, err := xml.Marshal(answer)
	if err != nil {
		h.log.Error().Err(err).Str("request", requestID).Msg("answer can't be encoded")
		status, body = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil { //nolint:gosec // XML, escaped by its encoder, and never a page
		h.log.Debug().Err(err).Str("request", requestID).Msg("client left before the answer")
	}
}
