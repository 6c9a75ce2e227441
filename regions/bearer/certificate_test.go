package bearer_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"antipode/regions/bearer"
)

// Client certificates over real TLS: the server only asks for one, the authenticator verifies it.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) {
		c, err := w.a.Authenticate(req.Context(), req)
		if err != nil {
			c.ARN = "refused"
			if !errors.Is(err, bearer.ErrRefused) {
				t.Error(err)
			}
		} else if !c.SecureTransport || c.SourceIP != "127.0.0.1" {
			t.Errorf("%+v", c)
		}
		out.Header().Set("Who", c.ARN)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	app, err := url.Parse("spiffe://example/app")
	if err != nil {
		t.Fatal(err)
	}
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for name, c := range map[string]struct {
		cert    *x509.Certificate
		foreign bool
		header  string
		want    string
	}{
		"role by URI":    {&x509.Certificate{URIs: []*url.URL{app}, ExtKeyUsage: client}, false, "", sessionARN + "app"},
		"user by DNS":    {&x509.Certificate{DNSNames: []string{"app.example"}, ExtKeyUsage: client}, false, "", userARN},
		"both":           {&x509.Certificate{URIs: []*url.URL{app}, DNSNames: []string{"app.example"}, ExtKeyUsage: client}, false, "", "refused"},
		"neither":        {&x509.Certificate{DNSNames: []string{"x.example"}, ExtKeyUsage: client}, false, "", "refused"},
		"a server's":     {&x509.Certificate{DNSNames: []string{"app.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, false, "", "refused"},
		"of another CA":  {&x509.Certificate{DNSNames: []string{"app.example"}, ExtKeyUsage: client}, true, "", "refused"},
		"beside a token": {&x509.Certificate{DNSNames: []string{"app.example"}, ExtKeyUsage: client}, false, "Bearer x", "refused"},
		"none":           {nil, false, "", "refused"},
	} {
		transport := server.Client().Transport.(*http.Transport).Clone()
		if c.cert != nil {
			parent, by := w.ca, w.caKey
			if c.foreign {
				by, parent = w.certificate(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
			}
			key, cert := w.certificate(t, c.cert, parent, by)
			var private crypto.PrivateKey = key
			transport.TLSClientConfig.Certificates = []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: private}}
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.header != "" {
			req.Header.Set("Authorization", c.header)
		}
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		transport.CloseIdleConnections()
		if got := resp.Header.Get("Who"); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
