package awsjson

import (
	"context"
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
)

// callTime bounds a call from its authentication to its answer.
const callTime = 30 * time.Second

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
	requestID := uuid.NewString()
	w.Header().Set("X-Amzn-Requestid", requestID)
	defer func() {
		// A fault of ours in one call is that call's internal error, not a dropped connection.
		if p := recover(); p != nil {
			h.writeError(w, requestID, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	out, err := h.serve(w, req, requestID)
	if err != nil {
		h.writeError(w, requestID, err)
		return
	}
	body := []byte{}
	if out != nil {
		if body, err = Encode(out); err != nil {
			h.writeError(w, requestID, err)
			return
		}
	}
	h.write(w, requestID, http.StatusOK, body)
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
		if err := Decode(r.Body, input); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(req.Context(), callTime)
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

func (h *Handler) write(w http.ResponseWriter, requestID string, status int, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		h.log.Debug().Err(err).Str("request", requestID).Msg("client left before the answer")
	}
}
