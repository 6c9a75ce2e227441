package keypair_test

import (
	"bytes"
	"errors"
	"testing"

	"antipode/hsmbackend"
	"antipode/regions/keypair"
	"antipode/regions/keyspec"
)

// pairs makes one key pair of every spec.
func pairs(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, spec := range keyspec.All() {
		if !spec.Pair() {
			if _, _, err := keypair.Generate(spec); !errors.Is(err, hsmbackend.ErrUnsupported) {
				t.Errorf("%s: %v", spec.Name, err)
			}
			continue
		}
		_, public, err := keypair.Generate(spec)
		if err != nil {
			t.Fatal(err)
		}
		all[spec.Name] = public
	}
	return all
}

// A public key is read as its own spec's and no other's, in one encoding.
func TestParse(t *testing.T) {
	t.Parallel()
	all := pairs(t)
	for name, der := range all {
		for _, spec := range keyspec.All() {
			p, err := keypair.Parse(spec, der)
			if spec.Name == name && (err != nil || !bytes.Equal(p.DER(), der)) {
				t.Errorf("%s: %v", name, err)
			}
			if spec.Name != name && !errors.Is(err, keypair.ErrPublicKey) {
				t.Errorf("%s as %s: %v", name, spec.Name, err)
			}
		}
		spec, _ := keyspec.Lookup(name)
		for i := range der {
			bad := bytes.Clone(der)
			bad[i] ^= 1
			if p, err := keypair.Parse(spec, bad); err == nil && !bytes.Equal(p.DER(), bad) {
				t.Errorf("%s with byte %d changed is taken for another", name, i)
			}
		}
		for what, bad := range map[string][]byte{"nothing": nil, "truncated": der[:len(der)-1], "trailing": append(bytes.Clone(der), 0)} {
			if _, err := keypair.Parse(spec, bad); !errors.Is(err, keypair.ErrPublicKey) {
				t.Errorf("%s %s: %v", name, what, err)
			}
		}
	}
}

// What parses is one encoding, and a signature that is no DER verifies nothing.
func FuzzParse(f *testing.F) {
	for _, der := range pairs(f) {
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		for _, spec := range keyspec.All() {
			p, err := keypair.Parse(spec, der)
			if err != nil {
				continue
			}
			if !bytes.Equal(p.DER(), der) {
				t.Errorf("%s: another encoding", spec.Name)
			}
			for _, a := range spec.Algorithms(keyspec.SignVerify) {
				if p.Verify(a, make([]byte, a.Hash.Size()), der) == nil {
					t.Errorf("%s: its encoding is a signature of zeros", spec.Name)
				}
			}
		}
	})
}
