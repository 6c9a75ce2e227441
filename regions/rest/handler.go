package rest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/rs/zerolog"

	"antipode/regions"
	"antipode/regions/bearer"
	"antipode/regions/edge"
	"antipode/regions/signed"
	"antipode/regions/sigv4"
)

const regionPath = "/v1/regions/{region}"

// Authenticator tells who makes a request that is not signed by AWS Signature Version 4: by a bearer token or by the
// client certificate of its connection. It must not touch the body. It returns [bearer.ErrRefused],
// [bearer.ErrUnavailable], or a failure of the service. It is safe for concurrent use. [*bearer.Authenticator] is one.
type Authenticator interface {
	Authenticate(ctx context.Context, req *http.Request) (regions.Caller, error)
}

// Config is what a [Handler] serves.
type Config struct {
	Served []*regions.Region
	// Others authenticate requests to the Region of that name that carry no AWS signature. A Region that is not in it
	// takes signatures only.
	Others map[string]Authenticator
	// Now is the real clock, by which signatures are dated.
	Now func() time.Time
	Log zerolog.Logger
}

// Handler serves /v1 for one or more Regions; a request goes to the one in its path.
type Handler struct {
	cfg      Config
	regions  map[string]*regions.Region
	signed   *signed.Authenticator
	schemes  []string // of WWW-Authenticate
	router   *mux.Router
	document []byte
}

// NewHandler returns a handler. It fails if an operation of the table has no route, or one that does not fit its input.
func NewHandler(cfg Config) (*Handler, error) {
	auth, err := signed.New("kms", cfg.Served, cfg.Now)
	if err != nil {
		return nil, err
	}
	h := &Handler{
		cfg: cfg, regions: map[string]*regions.Region{}, signed: auth, schemes: []string{"AWS4-HMAC-SHA256"},
		router: mux.NewRouter().SkipClean(true).UseEncodedPath(),
	}
	if len(cfg.Others) > 0 {
		h.schemes = append(h.schemes, "Bearer")
	}
	for _, r := range cfg.Served {
		h.regions[r.Name()] = r
	}
	ends, err := endpoints()
	if err != nil {
		return nil, err
	}
	for _, e := range ends {
		h.router.Handle(template(e.route.path), h.serve(e)).Methods(e.route.method)
	}
	for _, b := range batches() {
		h.router.Handle(template(b.path()), h.serveBatch(b)).Methods(http.MethodPost)
	}
	if h.document, err = document(ends, len(cfg.Others) > 0); err != nil {
		return nil, err
	}
	h.router.HandleFunc("/v1/openapi.json", h.openAPI).Methods(http.MethodGet)
	h.router.NotFoundHandler = h.always(regions.Errorf(regions.CodeUnknownOperation, "There is nothing at this path."))
	h.router.MethodNotAllowedHandler = http.HandlerFunc(h.notAllowed)
	return h, nil
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) { h.router.ServeHTTP(w, req) }

// template is a route's path as the router wants it. A key's id has no colon, unless it is an ARN, which has five: so what
// follows the last colon is a verb or nothing, and no verb is taken for a part of an id.
func template(path string) string {
	const arn = `arn:[^/:]*:[^/:]*:[^/:]*:[^/:]*:[^/:]+`
	full := strings.ReplaceAll(regionPath, "{region}", `{region:[^/:]+}`)
	for _, name := range variables(path) {
		path = strings.Replace(path, "{"+name+"}", "{"+name+":(?:[^/:]+|"+arn+")}", 1)
	}
	return full + path
}

func (h *Handler) always(err error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		edge.Serve(w, h.cfg.Log, func(string) (edge.Answer, error) { return edge.Answer{}, err }, h.refusal)
	})
}

func (h *Handler) notAllowed(w http.ResponseWriter, req *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		try := req.Clone(req.Context())
		try.Method = method
		var m mux.RouteMatch
		if h.router.Match(try, &m) && m.MatchErr == nil {
			allowed = append(allowed, method)
		}
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	h.always(regions.Errorf(codeMethodNotAllowed, "The path does not take this method.")).ServeHTTP(w, req)
}

func (h *Handler) openAPI(w http.ResponseWriter, _ *http.Request) {
	edge.Serve(w, h.cfg.Log, func(string) (edge.Answer, error) {
		return edge.Answer{Status: http.StatusOK, ContentType: "application/json", Body: h.document}, nil
	}, h.refusal)
}

// caller is who makes a request, and the body that he sends.
func (h *Handler) caller(w http.ResponseWriter, req *http.Request, region *regions.Region, requestID string, limit int64) (regions.Caller, []byte, error) {
	other := h.cfg.Others[region.Name()]
	if other == nil || strings.HasPrefix(req.Header.Get("Authorization"), "AWS4-") {
		r, err := h.signed.AuthenticateUpTo(w, req, requestID, limit)
		if err == nil && r.Region != region {
			err = sigv4.Refusal(sigv4.ErrRegion)
		}
		return r.Caller, r.Body, err
	}
	ctx, cancel := context.WithTimeout(req.Context(), edge.CallTime)
	defer cancel()
	caller, err := other.Authenticate(ctx, req)
	switch {
	case errors.Is(err, bearer.ErrRefused): // why is for nobody without credentials
		return caller, nil, sigv4.Refusal(sigv4.ErrUnknownKey)
	case errors.Is(err, bearer.ErrUnavailable):
		return caller, nil, regions.Errorf(regions.CodeDependencyTimeout, "The keys of the token's issuer are not to be had. Try again.")
	case err != nil:
		return caller, nil, err
	}
	edge.Seen(&caller, req, requestID)
	body, err := edge.ReadBody(w, req, limit)
	return caller, body, err
}

// region finds the Region of a request.
func (h *Handler) region(req *http.Request) (*regions.Region, error) {
	r, served := h.regions[mux.Vars(req)["region"]]
	if !served {
		return nil, regions.Errorf(regions.CodeNotFound, "This Region is not served here.")
	}
	return r, nil
}

// serve answers the requests of one route.
func (h *Handler) serve(e *endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		edge.Serve(w, h.cfg.Log, func(requestID string) (edge.Answer, error) { return h.call(w, req, e, requestID) }, h.refusal)
	})
}

func (h *Handler) call(w http.ResponseWriter, req *http.Request, e *endpoint, requestID string) (edge.Answer, error) {
	region, err := h.region(req)
	if err != nil {
		return edge.Answer{}, err
	}
	caller, body, err := h.caller(w, req, region, requestID, edge.MaxBody)
	if err != nil {
		return edge.Answer{}, err
	}
	in, err := e.input(req, body)
	if err != nil {
		return edge.Answer{}, err
	}
	ctx, cancel := context.WithTimeout(req.Context(), edge.CallTime)
	defer cancel()
	key := ""
	if e.bound.op.Once() {
		if key, err = idempotencyKey(req); err != nil {
			return edge.Answer{}, err
		}
	}
	out, err := region.DoOnce(ctx, e.bound.op, caller, key, in)
	if err != nil {
		return edge.Answer{}, err
	}
	return e.answer(region.Name(), in, out, wantsRaw(req))
}

// media is the type of a request's body, without parameters.
func media(req *http.Request) string {
	name, _, _ := strings.Cut(req.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(name))
}

// wantsRaw reports whether the client asks for the bytes alone. Anything else gets JSON.
func wantsRaw(req *http.Request) bool {
	return slices.Equal(req.Header.Values("Accept"), []string{rawMedia})
}
