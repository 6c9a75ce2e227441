package keyset

import (
	"bytes"
	"crypto/ecdsa"
	"fmt"
)

// MaxChain is the largest number of certificates of one key.
const MaxChain = 256

// Head is what a chain of certificates says.
type Head struct {
	Account, KeyID string
	Epoch          Epoch
	Primary        string
	// Certificate is [Hash] of the last certificate.
	Certificate [HashSize]byte
}

// VerifyChain returns the head of a whole chain, genesis first. held is the chain that this Region holds already, nil
// if it has none: it is what makes two claims to one place visible.
//
// held is trusted: it was verified when it was accepted, and kept where nobody can alter it since. So a certificate that is
// in it is not verified again, whatever became of its signer's key. One
// that extends or contradicts held must be signed by an active key: a key that is out of use introduces nothing, so
// before a Region retires a key its peers must have what that key signed. A Region that holds nothing of the key takes
// the chain as it is, whatever became of the signers' keys; what it rests on then is the active key of the head's
// primary, by which [OpenState] has the state signed that names the chain's last hash.
//
// The newest generation must be approved by the present operators, older ones by those of any time, as must all of them
// where nothing of the key is held.
//
// It returns [ErrInvalid], [ErrUncertified], [ErrFork], or [ErrStale] if certs leads to a lower generation than held.
// A chain that is only shorter than held is no error.
func VerifyChain(certs, held [][]byte, trust Trust) (Head, error) {
	if len(certs) == 0 || len(certs) > MaxChain {
		return Head{}, fmt.Errorf("%w: chain of %d certificates", ErrInvalid, len(certs))
	}
	known := commonPrefix(certs, held)
	var unapproved []Certificate // of generations that are new here
	var prev Certificate
	for i, data := range certs {
		open := decodeCertificate
		switch {
		case len(held) == 0:
			open = opened(trust.HistoricKey)
		case i >= known:
			open = opened(trust.VerifyKey)
		}
		c, err := openNext(data, prev, i, open)
		if err != nil {
			return Head{}, err
		}
		if i > 0 && !bytes.Equal(c.Previous, hashOf(certs[i-1])) {
			return Head{}, fmt.Errorf("%w: certificate of %v follows another one", ErrInvalid, c.To)
		}
		if c.kind() == generation && i >= known {
			unapproved = append(unapproved, c)
		}
		prev = c
	}
	for i, c := range unapproved {
		if err := checkQuorum(c, trust, i < len(unapproved)-1 || len(held) == 0); err != nil {
			return Head{}, err
		}
	}
	if known < len(held) && known < len(certs) {
		if err := compareForks(prev, held[len(held)-1]); err != nil {
			return Head{}, err
		}
	}
	return Head{
		Account: prev.Account, KeyID: prev.KeyID, Epoch: prev.To, Primary: prev.Primary,
		Certificate: Hash(certs[len(certs)-1]),
	}, nil
}

// opened verifies a certificate with the keys that one of the methods of [Trust] gives.
func opened(key func(string, []byte) (*ecdsa.PublicKey, error)) func([]byte) (Certificate, error) {
	return func(data []byte) (Certificate, error) { return openCertificate(data, key) }
}

// openNext opens the i-th certificate and checks that it follows prev.
func openNext(data []byte, prev Certificate, i int, open func([]byte) (Certificate, error)) (Certificate, error) {
	c, err := open(data)
	if err != nil {
		return Certificate{}, err
	}
	if (i == 0) != (c.kind() == genesis) {
		return Certificate{}, fmt.Errorf("%w: genesis is the first certificate, and only that", ErrInvalid)
	}
	if i > 0 && (c.Account != prev.Account || c.KeyID != prev.KeyID || c.From != prev.To || c.PreviousPrimary != prev.Primary) {
		return Certificate{}, fmt.Errorf("%w: certificate of %v does not follow that of %v", ErrInvalid, c.To, prev.To)
	}
	return c, nil
}

// compareForks decides between two valid chains that part: the operators' later decision stands.
func compareForks(got Certificate, heldData []byte) error {
	held, err := decodeCertificate(heldData)
	if err != nil {
		return fmt.Errorf("read the chain held: %w", err)
	}
	switch {
	case got.Account != held.Account || got.KeyID != held.KeyID:
		return fmt.Errorf("%w: chain of another key", ErrInvalid)
	case got.To.Generation > held.To.Generation:
		return nil
	case got.To.Generation < held.To.Generation:
		return fmt.Errorf("%w: generation %d, held is %d", ErrStale, got.To.Generation, held.To.Generation)
	}
	return fmt.Errorf("%w: %s has two of generation %d", ErrFork, got.KeyID, got.To.Generation)
}

func hashOf(certificate []byte) []byte {
	sum := Hash(certificate)
	return sum[:]
}
