package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"antipode/regions"
	"antipode/regions/awsjson"
	"antipode/regions/awsquery"
	"antipode/regions/rest"
)

// How long clients may take, and how long calls in flight have when the process ends.
const (
	headerTime   = 10 * time.Second
	readTime     = 30 * time.Second
	writeTime    = 60 * time.Second
	idleTime     = 120 * time.Second
	shutdownTime = 15 * time.Second
)

// routes puts the fronts on one address.
func routes(nodes []*node, others *callers, log zerolog.Logger) (http.Handler, error) {
	served := make([]*regions.Region, 0, len(nodes))
	for _, n := range nodes {
		served = append(served, n.region)
	}
	r := mux.NewRouter().SkipClean(true)
	r.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { answerText(w, http.StatusOK, "ok", log) }).Methods(http.MethodGet)
	r.HandleFunc("/readyz", func(w http.ResponseWriter, req *http.Request) {
		for _, n := range nodes {
			if err := n.region.Ready(req.Context()); err != nil {
				n.log.Error().Err(err).Msg("not ready")
				answerText(w, http.StatusServiceUnavailable, n.name+" is not ready: "+reason(err), log)
				return
			}
		}
		answerText(w, http.StatusOK, readyText(nodes), log)
	}).Methods(http.MethodGet)
	kms, err := awsjson.NewHandler(served, time.Now, log)
	if err != nil {
		return nil, err
	}
	sts, err := awsquery.NewHandler(served, time.Now, log)
	if err != nil {
		return nil, err
	}
	plain, err := rest.NewHandler(rest.Config{Served: served, Others: others.authenticators(), Now: time.Now, Log: log})
	if err != nil {
		return nil, err
	}
	r.PathPrefix("/v1/").Handler(plain)
	aws := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if awsquery.IsQuery(req) {
			sts.ServeHTTP(w, req)
			return
		}
		kms.ServeHTTP(w, req)
	})
	r.NotFoundHandler = aws // unsigned and unknown requests get AWS's errors, whatever their path
	r.MethodNotAllowedHandler = aws
	r.Handle("/", aws)
	return r, nil
}

// readyText is "ok", and which Regions recover. They are ready: they encrypt and decrypt with what they have.
func readyText(nodes []*node) string {
	text := "ok"
	for _, n := range nodes {
		if !n.region.Recovering() {
			continue
		}
		text += "\n" + n.name + " recovers"
		if short, _ := n.region.Waits(); short != "" {
			text += ", waiting for " + short
		}
	}
	return text
}

// reason says to anybody why a Region is not ready; the log has the rest.
func reason(err error) string {
	for _, known := range []error{regions.ErrAuditLog, regions.ErrToken} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "its log says why"
}

func answerText(w http.ResponseWriter, status int, text string, log zerolog.Logger) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	if _, err := fmt.Fprintln(w, text); err != nil {
		log.Debug().Err(err).Msg("client left before the answer")
	}
}

// apiConfig says where and how the API is served.
type apiConfig struct {
	listen           string
	certificate, key string // PEM files; "" speaks plain HTTP
	others           *callers
}

// readyLine prints the one line that says that all Regions serve.
func readyLine(cmd *cobra.Command, scheme string) func(net.Addr) error {
	return func(addr net.Addr) error {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "ready %s://%s\n", scheme, addr)
		return err
	}
}

// isLoopback reports whether a host, as in an address to listen on, is this machine only.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// serveAPI answers until ctx ends, then lets calls in flight end. When it returns no call runs any more.
func serveAPI(ctx context.Context, cfg apiConfig, nodes []*node, log zerolog.Logger, ready func(net.Addr) error) error {
	handler, err := routes(nodes, cfg.others, log)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.listen)
	if err != nil {
		return err
	}
	var calls sync.RWMutex // held for reading by each call
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if !calls.TryRLock() { // the server is ending
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			defer calls.RUnlock()
			handler.ServeHTTP(w, req)
		}),
		ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime,
		IdleTimeout: idleTime, MaxHeaderBytes: 32 << 10,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if cfg.others != nil {
		// Who has no certificate, or another one, may still sign or bring a token: what it is worth is judged at each call.
		server.TLSConfig.ClientAuth = tls.RequestClientCert
	}
	ended := make(chan error, 1)
	go func() {
		if cfg.certificate != "" {
			ended <- server.ServeTLS(l, cfg.certificate, cfg.key)
			return
		}
		ended <- server.Serve(l)
	}()
	fault := ready(l.Addr())
	if fault == nil {
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
		}
		log.Info().Msg("shutting down")
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	err = fault
	if late := server.Shutdown(stopCtx); late != nil {
		// Some client does not send the rest of its request, or read its answer; that is no fault of the server.
		log.Warn().Err(late).Msg("connections that do not end are cut off")
		err = errors.Join(err, server.Close())
	}
	calls.Lock() // what the calls use is closed next
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
