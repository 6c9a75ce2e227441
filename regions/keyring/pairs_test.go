package keyring_test

import (
	"errors"
	"testing"

	"antipode/hsmbackend"
	"antipode/regions/keyring"
	"antipode/regions/keyspec"
)

// A key pair's token opens only with its own public key, as its own spec and usage; nothing of what is refused stays on
// the token.
func TestKeyPairRefused(t *testing.T) {
	t.Parallel()
	r, tok, h := newRing(t, 8)
	made := func(spec, usage string) keyring.Material {
		m := material(keyID)
		m.Spec, m.Usage = spec, usage
		m, err := r.Generate(t.Context(), m)
		if err != nil {
			t.Fatalf("%s for %s: %v", spec, usage, err)
		}
		return m
	}
	for _, c := range []struct{ spec, usage, otherSpec, otherUsage string }{
		{"ECC_NIST_P256", keyspec.SignVerify, "ECC_SECG_P256K1", keyspec.SignVerify},
		{"ECC_NIST_P384", keyspec.KeyAgreement, "ECC_NIST_P256", keyspec.KeyAgreement},
		{"RSA_2048", keyspec.EncryptDecrypt, "HMAC_512", keyspec.GenerateVerifyMAC},
		{"HMAC_384", keyspec.GenerateVerifyMAC, "SYMMETRIC_DEFAULT", keyspec.EncryptDecrypt},
	} {
		m, twin, other := made(c.spec, c.usage), made(c.spec, c.usage), made(c.otherSpec, c.otherUsage)
		r2 := openRing(t, tok, h, 8)
		w, err := r2.Acquire(t.Context(), m)
		if err != nil {
			t.Fatalf("%s as it is: %v", c.spec, err)
		}
		w.Release(t.Context())
		for what, alter := range map[string]func(*keyring.Material){
			"another key's private key": func(m *keyring.Material) { m.EKT = twin.EKT },
			"another key's id":          func(m *keyring.Material) { m.ID = twin.ID },
			"another spec's material":   func(m *keyring.Material) { m.EKT = other.EKT },
			"another spec's row":        func(m *keyring.Material) { m.Spec, m.Usage, m.Public = other.Spec, other.Usage, other.Public },
			"another key's public key": func(m *keyring.Material) {
				if m.Public = twin.Public; twin.Public == nil {
					m.ID = twin.ID
				}
			},
			"another key's public key and id": func(m *keyring.Material) { m.Public, m.ID = twin.Public, twin.ID },
		} {
			altered := m
			alter(&altered)
			before := r2.WorkingCopies()
			w, err := r2.Acquire(t.Context(), altered)
			if err == nil {
				if altered.ID == m.ID { // the copy that is there already, of the right material
					w.Lost()
					w.Release(t.Context())
					w, err = r2.Acquire(t.Context(), altered)
				}
				if err == nil {
					w.Release(t.Context())
				}
			}
			if !errors.Is(err, keyring.ErrRefused) {
				t.Errorf("%s with %s: %v", c.spec, what, err)
			}
			if now := r2.WorkingCopies(); now > before {
				t.Errorf("%s with %s: %d working copies, were %d", c.spec, what, now, before)
			}
		}
		if err := r2.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A private key that a peer sends must be that of the public key it sends: what is announced and proves to be another's is
// refused.
func TestAdoptsOnlyTheKeyOfThePublicKey(t *testing.T) {
	t.Parallel()
	r, tok, _ := newRing(t, 8)
	wrapping, err := tok.GenerateKey(t.Context(), hsmbackend.AES256, hsmbackend.Attributes{
		Usage: hsmbackend.UsageWrap | hsmbackend.UsageUnwrap, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP},
	})
	if err != nil {
		t.Fatal(err)
	}
	send := func(m keyring.Material, as keyring.Material) error {
		scope, err := tok.OpenScope(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ref, err := r.Transient(t.Context(), m, scope)
		if err != nil {
			t.Fatal(err)
		}
		blob, err := tok.Wrap(t.Context(), wrapping, ref)
		if err != nil {
			t.Fatal(err)
		}
		_, adopted := r.Adopt(t.Context(), as, wrapping, blob, scope)
		if err := tok.CloseScope(scope); err != nil {
			t.Fatal(err)
		}
		return adopted
	}
	for spec, usages := range map[string][]string{
		"ECC_NIST_P256": {keyspec.SignVerify, keyspec.KeyAgreement}, "RSA_2048": {keyspec.SignVerify, keyspec.EncryptDecrypt},
		"ECC_SECG_P256K1": {keyspec.SignVerify},
	} {
		for _, usage := range usages {
			var pair [2]keyring.Material
			for i := range pair {
				pair[i] = material(keyID)
				pair[i].Spec, pair[i].Usage = spec, usage
				if pair[i], err = r.Generate(t.Context(), pair[i]); err != nil {
					t.Fatal(err)
				}
				if err := r.Evict(t.Context(), pair[i].ID); err != nil {
					t.Fatal(err)
				}
			}
			if err := send(pair[0], pair[0]); err != nil {
				t.Errorf("%s for %s: %v", spec, usage, err)
			}
			if err := send(pair[1], pair[0]); !errors.Is(err, keyring.ErrRefused) {
				t.Errorf("%s for %s, the private key of another: %v", spec, usage, err)
			}
			swapped := pair[0]
			swapped.Public = pair[1].Public
			if err := send(pair[0], swapped); !errors.Is(err, keyring.ErrRefused) {
				t.Errorf("%s for %s, the public key of another: %v", spec, usage, err)
			}
		}
	}
}
