package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Identity is a Region's TLS key (ECDSA P-256) with a self-signed certificate. It prints nothing of the key.
type Identity struct {
	cert tls.Certificate
	pin  [32]byte
}

// NewIdentity makes a new identity. region is only what a person sees who looks at the certificate.
func NewIdentity(region string) (*Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make TLS key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make TLS certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "antipode " + region},
		// The key is pinned, so dates decide nothing; these are RFC 5280's for "no well-defined expiration".
		NotBefore:   time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:    time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make TLS certificate: %w", err)
	}
	return newIdentity(der, key)
}

func newIdentity(der []byte, key *ecdsa.PrivateKey) (*Identity, error) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read TLS certificate: %w", err)
	}
	if pub, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(key.Public()) {
		return nil, errors.New("read TLS identity: the certificate is not of this key")
	}
	return &Identity{
		cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		pin:  Pin(leaf),
	}, nil
}

// Pin returns SHA-256 of a certificate's SubjectPublicKeyInfo, which is what rosters hold.
func Pin(cert *x509.Certificate) [32]byte { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// Pin returns the pin of the identity.
func (i *Identity) Pin() [32]byte { return i.pin }

// String names the identity by its pin.
func (i *Identity) String() string { return fmt.Sprintf("TLS identity %x", i.pin) }

// GoString is String, so that no format prints the key.
func (i *Identity) GoString() string { return i.String() }

// MarshalPEM returns certificate and private key (PKCS #8). It is a secret: keep it in a file of mode 0600 or less.
func (i *Identity) MarshalPEM() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(i.cert.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("encode TLS key: %w", err)
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Certificate[0]})
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), nil
}

// ParsePEM returns the identity that MarshalPEM made data of. Errors hold nothing of data.
func ParsePEM(data []byte) (*Identity, error) {
	cert, rest := pem.Decode(data)
	if cert == nil || cert.Type != "CERTIFICATE" {
		return nil, errors.New("read TLS identity: no certificate")
	}
	block, rest := pem.Decode(rest)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) != 0 {
		return nil, errors.New("read TLS identity: no private key, or more than one")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("read TLS identity: private key is not PKCS #8")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("read TLS identity: private key is not ECDSA P-256")
	}
	return newIdentity(cert.Bytes, key)
}

// config returns the TLS settings of both sides. check decides on the pin of the other side; with TLS 1.3 it has proved
// that it holds that key. Sessions are not resumed: each connection is checked.
func (i *Identity) config(check func(pin [32]byte) error) *tls.Config {
	return i.TLS("http/1.1", check)
}

// TLS returns the same settings for another protocol than that of this package, by its ALPN name: TLS
// ends a connection whose sides name different ones, so that one that is meant for one protocol does not pass for another.
func (i *Identity) TLS(protocol string, check func(pin [32]byte) error) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{i.cert},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, //nolint:gosec // VerifyConnection below checks the key itself, against the roster
		SessionTicketsDisabled: true,
		NextProtos:             []string{protocol},
		VerifyConnection: func(s tls.ConnectionState) error {
			if s.Version != tls.VersionTLS13 || len(s.PeerCertificates) != 1 {
				return ErrWrongPeer
			}
			return check(Pin(s.PeerCertificates[0]))
		},
	}
}
