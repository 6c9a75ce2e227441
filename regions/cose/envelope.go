package cose

import (
	"crypto/elliptic"
	"fmt"
	"math/big"

	gocose "github.com/veraison/go-cose"

	"antipode/regions/canon"
)

// envelope is COSE_Sign1. The empty struct stands for the empty unprotected header: any member in it is unknown.
type envelope struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected struct{}
	Payload     []byte
	Signature   []byte
}

// header is the protected header.
type header struct {
	Alg   int64  `cbor:"1,keyasint"`
	KeyID []byte `cbor:"4,keyasint"`
	Type  string `cbor:"16,keyasint"`
}

// parse checks all of a message but its signature.
func parse(data []byte) (envelope, header, error) {
	if len(data) > MaxSize {
		return envelope{}, header{}, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(data), MaxSize)
	}
	var env envelope
	if err := canon.Unmarshal(data, &env); err != nil {
		return envelope{}, header{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	head, err := parseHeader(env.Protected)
	if err != nil {
		return envelope{}, header{}, err
	}
	if len(env.Payload) == 0 {
		return envelope{}, header{}, fmt.Errorf("%w: empty payload", ErrMalformed)
	}
	if len(env.Signature) != SignatureSize {
		return envelope{}, header{}, fmt.Errorf("%w: signature of %d bytes", ErrMalformed, len(env.Signature))
	}
	if !isLowS(env.Signature[SignatureSize/2:]) {
		return envelope{}, header{}, fmt.Errorf("%w: s beyond half the order", ErrMalformed)
	}
	return env, head, nil
}

func parseHeader(data []byte) (header, error) {
	var head header
	if err := canon.Unmarshal(data, &head); err != nil {
		return header{}, fmt.Errorf("%w: protected header: %w", ErrMalformed, err)
	}
	if head.Alg != int64(gocose.AlgorithmES384) {
		return header{}, fmt.Errorf("%w: algorithm %d", ErrMalformed, head.Alg)
	}
	if len(head.KeyID) != KeyIDSize {
		return header{}, fmt.Errorf("%w: key id of %d bytes", ErrMalformed, len(head.KeyID))
	}
	if len(head.Type) == 0 || len(head.Type) > maxType {
		return header{}, fmt.Errorf("%w: type of %d bytes", ErrMalformed, len(head.Type))
	}
	for _, c := range []byte(head.Type) {
		if c < '!' || c > '~' {
			return header{}, fmt.Errorf("%w: type is not printable ASCII", ErrMalformed)
		}
	}
	return head, nil
}

// order returns the order of P-384's base point.
func order() *big.Int { return new(big.Int).Set(elliptic.P384().Params().N) }

// isLowS reports whether s is at most half the order. A signature is public: no constant time is needed.
func isLowS(s []byte) bool {
	half := order()
	half.Rsh(half, 1)
	return new(big.Int).SetBytes(s).Cmp(half) <= 0
}

// lowS returns the one of a token's signature and its twin (r, n-s) whose s is low. Both are right; RFC 9053 leaves
// the choice open.
func lowS(rs []byte) ([]byte, error) {
	if len(rs) != SignatureSize {
		return nil, fmt.Errorf("%w: the token's signature has %d bytes", ErrMalformed, len(rs))
	}
	n, s := order(), new(big.Int).SetBytes(rs[SignatureSize/2:])
	if s.Sign() == 0 || s.Cmp(n) >= 0 {
		return nil, fmt.Errorf("%w: the token's signature is out of range", ErrMalformed)
	}
	out := make([]byte, SignatureSize)
	copy(out, rs)
	if !isLowS(rs[SignatureSize/2:]) {
		n.Sub(n, s).FillBytes(out[SignatureSize/2:])
	}
	return out, nil
}
