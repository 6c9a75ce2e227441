package wire_test

import (
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"testing"

	"antipode/replication/wire"
)

// modulus returns a fixed odd number of 4096 bits. Nobody has the private key: it is not even a product of two primes.
func modulus() *big.Int {
	var b []byte
	for i := range byte(8) {
		part := sha512.Sum512(append([]byte("antipode golden modulus"), i))
		b = append(b, part[:]...)
	}
	b[0] |= 0x80
	b[len(b)-1] |= 1
	return new(big.Int).SetBytes(b)
}

func rsaKey(t testing.TB, n *big.Int, e int) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: e})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// newRSAExchange is newExchange between two tokens that have only the RSA suites in common.
func newRSAExchange(t testing.TB) *exchange {
	t.Helper()
	x := newExchange(t)
	x.offer.Suites = []wire.Suite{wire.SuiteX963, wire.SuiteRSASHA256, wire.SuiteRSASHA1}
	x.m1 = x.sign(t, x.east, x.offer)
	x.accept.Suites = []wire.Suite{wire.SuiteNullECB, wire.SuiteRSASHA256, wire.SuiteRSASHA1}
	x.accept.Suite, x.accept.RAKB, x.accept.Offer = wire.SuiteRSASHA256, rsaKey(t, modulus(), 65537), wire.Hash(x.m1)
	x.m2 = x.sign(t, x.west, x.accept)
	x.transfer.RAKA, x.transfer.RWK = nil, slices.Repeat([]byte{0x5a}, wire.RSAWrappedSize)
	x.transfer.Offer, x.transfer.Accept = wire.Hash(x.m1), wire.Hash(x.m2)
	x.m3 = x.sign(t, x.east, x.transfer)
	return x
}

func TestRSAExchange(t *testing.T) {
	t.Parallel()
	x := newRSAExchange(t)
	if len(x.accept.RAKB) != wire.RSAKeySize {
		t.Errorf("the key has %d bytes", len(x.accept.RAKB))
	}
	if err := x.accept.Answers(x.m1, x.offer, wire.SuiteRSASHA256); err != nil {
		t.Error(err)
	}
	if err := x.accept.Answers(x.m1, x.offer, wire.SuiteNullECB); !errors.Is(err, wire.ErrNoSuite) {
		t.Errorf("below the minimum: %v", err)
	}
	if err := x.transfer.Follows(x.m1, x.m2, x.offer, x.accept); err != nil {
		t.Error(err)
	}
	// The other kind of transfer does not fit, either way.
	y := x.copy()
	y.transfer.RAKA, y.transfer.RWK = point(t, "RAKA"), nil
	if err := y.transfer.Follows(x.m1, x.m2, x.offer, x.accept); !errors.Is(err, wire.ErrMismatch) {
		t.Errorf("RAKA in an RSA suite: %v", err)
	}
	e := newExchange(t)
	e.transfer.RAKA, e.transfer.RWK = nil, x.transfer.RWK
	if err := e.transfer.Follows(e.m1, e.m2, e.offer, e.accept); !errors.Is(err, wire.ErrMismatch) {
		t.Errorf("RWK in an ECDH suite: %v", err)
	}
	// A list from which the stronger suite was struck is another message, with another signature.
	x.accept.Suites, x.accept.Suite = []wire.Suite{wire.SuiteNullECB, wire.SuiteRSASHA256, wire.SuiteRSASHA1}, wire.SuiteRSASHA1
	if err := x.accept.Answers(x.m1, x.offer, ""); !errors.Is(err, wire.ErrMismatch) {
		t.Errorf("a weaker suite: %v", err)
	}
	// What the wrapping key is wrapped to is in the transcript.
	before, err := wire.Transcript(wire.SuiteRSASHA256, x.m1, x.m2, x.transfer)
	if err != nil {
		t.Fatal(err)
	}
	x.transfer.RWK = slices.Clone(x.transfer.RWK)
	x.transfer.RWK[0] ^= 1
	if after, err := wire.Transcript(wire.SuiteRSASHA256, x.m1, x.m2, x.transfer); err != nil || after == before {
		t.Errorf("RWK is not in the transcript (%v)", err)
	}
}

// One key has one form; everything that is not that is refused when it is signed and when it is opened.
func TestRSAKeyForms(t *testing.T) {
	t.Parallel()
	n := modulus()
	good := rsaKey(t, n, 65537)
	top := new(big.Int).Lsh(big.NewInt(1), 4095)
	type spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	var parts spki
	if _, err := asn1.Unmarshal(good, &parts); err != nil {
		t.Fatal(err)
	}
	build := func(change func(s *spki)) []byte {
		s := parts
		change(&s)
		der, err := asn1.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	// The length of the whole written in three bytes where two are enough: BER, not DER.
	long := slices.Concat([]byte{good[0], 0x83, 0}, good[2:])
	for name, bad := range map[string][]byte{
		"nothing but bytes": make([]byte, wire.RSAKeySize), "a point": point(t, "RAKB"), "short": good[:len(good)-1],
		"a byte more": append(slices.Clone(good), 0), "e = 3": rsaKey(t, n, 3), "e = 65539": rsaKey(t, n, 65539),
		"even modulus": rsaKey(t, new(big.Int).Add(n, big.NewInt(1)), 65537), "long length": long,
		"4095 bits": rsaKey(t, new(big.Int).Sub(top, big.NewInt(1)), 65537), "2048 bits": rsaKey(t, new(big.Int).Rsh(n, 2048), 65537),
		"4097 bits":     rsaKey(t, new(big.Int).Add(new(big.Int).Lsh(top, 1), big.NewInt(1)), 65537),
		"no parameters": build(func(s *spki) { s.Algorithm.Parameters = asn1.RawValue{} }),
		"another algorithm": build(func(s *spki) {
			s.Algorithm.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10} // RSASSA-PSS
		}),
		"unused bits": build(func(s *spki) { s.Key.BitLength-- }),
	} {
		if err := wire.CheckRSAKey(bad); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		x := newRSAExchange(t)
		x.accept.RAKB = bad
		checkContent(t, name, x, x.west, x.accept, wire.ErrMalformed)
	}
	if err := wire.CheckRSAKey(good); err != nil {
		t.Error(err)
	}
	x := newRSAExchange(t)
	x.accept.Suite = wire.SuiteNullECB
	checkContent(t, "RSA key in an ECDH suite", x, x.west, x.accept, wire.ErrMalformed)
	if err := wire.CheckKey("P521-NEW", good); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a suite that is not known: %v", err)
	}
}
