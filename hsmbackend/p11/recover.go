package p11

import (
	"context"
	"crypto/elliptic"
	"crypto/x509"
	"math/big"
	"slices"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// RecoverPublic implements [hsmbackend.Importer].
func (t *Token) RecoverPublic(ctx context.Context, key hsmbackend.KeyRef) ([]byte, error) {
	const op = "recover public key"
	if key.Class != hsmbackend.ClassPrivate {
		return nil, invalid(op, "not a private key")
	}
	var kt hsmbackend.KeyType
	var der []byte
	err := t.run(ctx, op, nil, true, func(k *call) error {
		o, err := k.use(key)
		if err != nil {
			return err
		}
		kt = o.kt
		switch kd := mustKind(kt); kd.ckk {
		case pkcs11.CKK_RSA:
			pub, err := k.readRSA(kd.bits, o.h)
			if err != nil {
				return err
			}
			der, err = x509.MarshalPKIXPublicKey(pub)
			return err
		case pkcs11.CKK_EC:
			return nil
		}
		return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrUnsupported, Info: string(kt)}
	})
	if err != nil || der != nil {
		return der, err
	}
	return t.recoverPoint(ctx, key, kt)
}

// recoverPoint has the key sign two digests, and takes the one point that both signatures verify with.
func (t *Token) recoverPoint(ctx context.Context, key hsmbackend.KeyRef, kt hsmbackend.KeyType) ([]byte, error) {
	kd, c := mustKind(kt), newCurve(kt)
	var candidates [][]byte
	for i := range 2 {
		digest, err := t.Random(ctx, kd.digest)
		if err != nil {
			return nil, err
		}
		sig, err := t.SignECDSA(ctx, key, digest)
		if err != nil {
			return nil, err
		}
		points := c.recover(digest, new(big.Int).SetBytes(sig[:kd.field]), new(big.Int).SetBytes(sig[kd.field:]))
		if i == 0 {
			candidates = points
			continue
		}
		candidates = slices.DeleteFunc(candidates, func(p []byte) bool {
			return !slices.ContainsFunc(points, func(q []byte) bool { return slices.Equal(p, q) })
		})
	}
	if len(candidates) != 1 {
		return nil, lies("signatures are of no one key")
	}
	return pointSPKI(kt, candidates[0])
}

// curve is y^2 = x^3 + ax + b over the integers modulo p, with a generator of order n. All values are public here, so
// nothing is done in constant time.
type curve struct {
	p, n, a, b *big.Int
	g          point
	field      int // bytes of a coordinate
}

// point is affine; the zero value is the point at infinity.
type point struct{ x, y *big.Int }

func newCurve(kt hsmbackend.KeyType) curve {
	params := elliptic.P384().Params()
	a := big.NewInt(-3)
	switch kt {
	case hsmbackend.ECP256:
		params = elliptic.P256().Params()
	case hsmbackend.ECP521:
		params = elliptic.P521().Params()
	case hsmbackend.ECSecp256k1:
		params, a = secp256k1.S256().Params(), big.NewInt(0)
	default: // P-384
	}
	return curve{params.P, params.N, a, params.B, point{params.Gx, params.Gy}, mustKind(kt).field}
}

// recover returns the uncompressed points of all public keys with which (r, s) is a signature of the digest (SEC 1,
// section 4.1.6). Digests are not longer than n, so none is cut.
func (c curve) recover(digest []byte, r, s *big.Int) (out [][]byte) {
	inverse := new(big.Int).ModInverse(r, c.n)
	if inverse == nil || s.Sign() == 0 {
		return nil
	}
	z := new(big.Int).SetBytes(digest)
	u := z.Mod(z.Neg(z.Mul(z, inverse)), c.n)
	v := new(big.Int).Mul(s, inverse)
	v.Mod(v, c.n)
	fixed := c.multiply(c.g, u)
	for x := new(big.Int).Set(r); x.Cmp(c.p) < 0; x.Add(x, c.n) {
		y := new(big.Int).ModSqrt(c.right(x), c.p)
		if y == nil {
			continue
		}
		for _, y := range []*big.Int{y, new(big.Int).Sub(c.p, y)} {
			q := c.add(fixed, c.multiply(point{new(big.Int).Set(x), y}, v))
			if q.x == nil {
				continue
			}
			encoded := make([]byte, 1+2*c.field)
			encoded[0] = 4
			q.x.FillBytes(encoded[1 : 1+c.field])
			q.y.FillBytes(encoded[1+c.field:])
			out = append(out, encoded)
		}
	}
	return out
}

// right is x^3 + ax + b.
func (c curve) right(x *big.Int) *big.Int {
	v := new(big.Int).Mul(x, x)
	v.Mul(v.Add(v, c.a), x)
	return v.Mod(v.Add(v, c.b), c.p)
}

func (c curve) multiply(p point, k *big.Int) (sum point) {
	for i := k.BitLen() - 1; i >= 0; i-- {
		sum = c.add(sum, sum)
		if k.Bit(i) == 1 {
			sum = c.add(sum, p)
		}
	}
	return sum
}

func (c curve) add(p, q point) point {
	switch {
	case p.x == nil:
		return q
	case q.x == nil:
		return p
	}
	slope, under := new(big.Int), new(big.Int)
	if p.x.Cmp(q.x) == 0 {
		if p.y.Cmp(q.y) != 0 || p.y.Sign() == 0 {
			return point{}
		}
		slope.Mul(p.x, p.x)
		slope.Add(slope.Mul(slope, big.NewInt(3)), c.a)
		under.Lsh(p.y, 1)
	} else {
		slope.Sub(q.y, p.y)
		under.Sub(q.x, p.x)
	}
	under.ModInverse(under.Mod(under, c.p), c.p)
	slope.Mod(slope.Mul(slope, under), c.p)
	x := new(big.Int).Mul(slope, slope)
	x.Mod(x.Sub(x.Sub(x, p.x), q.x), c.p)
	y := new(big.Int).Sub(p.x, x)
	y.Mod(y.Sub(y.Mul(y, slope), p.y), c.p)
	return point{x, y}
}
