package awsjson

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"antipode/regions"
	"antipode/regions/identity"
	"antipode/regions/sigv4"
)

// Limits of one request.
const (
	// MaxBody is the largest request body in bytes; the largest real one is a key policy of 32 KiB in JSON.
	MaxBody = 256 << 10
	// callTime bounds a call from its last byte to its answer.
	callTime = 30 * time.Second
)

const (
	contentType  = "application/x-amz-json-1.1"
	targetPrefix = "TrentService."
	service      = "kms"
)

// Handler serves the AWS JSON 1.1 protocol of KMS for one or more Regions; a request goes to the one whose name its
// signature is scoped to. It is the only way in: nothing of a request is looked at before its signature is verified.
type Handler struct {
	regions  map[string]*regions.Region
	verifier *sigv4.Verifier
	log      zerolog.Logger
}

// NewHandler returns a handler. now is the real clock, by which signatures are dated.
func NewHandler(served []*regions.Region, now func() time.Time, log zerolog.Logger) (*Handler, error) {
	verifier, err := sigv4.NewVerifier(sigv4.Config{Service: service, Now: now})
	if err != nil {
		return nil, err
	}
	h := &Handler{regions: map[string]*regions.Region{}, log: log, verifier: verifier}
	for _, r := range served {
		h.regions[r.Name()] = r
	}
	return h, nil
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
	signed, err := sigv4.Parse(req)
	if err != nil {
		return nil, err
	}
	region, served := h.regions[signed.Region]
	if !served {
		return nil, sigv4.Refusal(sigv4.ErrRegion)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, MaxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, regions.Errorf("RequestEntityTooLargeException", "The request is larger than %d bytes.", MaxBody)
		}
		return nil, regions.Errorf(regions.CodeSerialization, "The request could not be read.")
	}
	ctx, cancel := context.WithTimeout(req.Context(), callTime)
	defer cancel()
	caller, err := h.authenticate(ctx, region, signed, body)
	if err != nil {
		return nil, err
	}
	caller.SourceIP, caller.UserAgent, caller.RequestID = remoteIP(req), req.UserAgent(), requestID
	op, err := operation(req)
	if err != nil {
		return nil, err
	}
	input := op.NewInput()
	if op.Built() {
		if err := Decode(body, input); err != nil {
			return nil, err
		}
	}
	return region.Do(ctx, op, caller, input)
}

func (h *Handler) authenticate(ctx context.Context, region *regions.Region, signed *sigv4.Request, body []byte) (regions.Caller, error) {
	principal, err := region.Directory().Resolve(ctx, signed.AccessKeyID)
	if errors.Is(err, identity.ErrUnknownKey) {
		return regions.Caller{}, sigv4.Refusal(sigv4.ErrUnknownKey)
	}
	if err != nil {
		return regions.Caller{}, err
	}
	key := sigv4.Key{Secret: principal.Secret.Reveal(), Generation: principal.Generation}
	if err := h.verifier.Verify(signed, body, key); err != nil {
		return regions.Caller{}, err
	}
	return regions.Caller{
		ARN: principal.ARN, Account: principal.User.Account, UserName: principal.User.Name,
		AccessKeyID: principal.AccessKeyID, Administrator: principal.Administrator,
	}, nil
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

func remoteIP(req *http.Request) string {
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

func (h *Handler) write(w http.ResponseWriter, requestID string, status int, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		h.log.Debug().Err(err).Str("request", requestID).Msg("client left before the answer")
	}
}
