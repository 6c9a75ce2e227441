package replication_test

import (
	"bytes"
	"testing"

	"antipode/regions"
	"antipode/regions/keyspec"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// create makes a multi-Region key of this spec and usage.
func create(t *testing.T, r *simtest.Region, spec, usage string) (string, error) {
	t.Helper()
	out, err := r.Do(t.Context(), "CreateKey", &regions.CreateKeyInput{KeySpec: spec, KeyUsage: usage, MultiRegion: true})
	if err != nil {
		return "", err
	}
	return out.(*regions.CreateKeyOutput).KeyMetadata.KeyID, nil
}

// call calls an operation and returns its answer.
func call[Out any](t *testing.T, r *simtest.Region, operation string, in any) *Out {
	t.Helper()
	out, err := r.Do(t.Context(), operation, in)
	if err != nil {
		t.Fatalf("%s in %s: %v", operation, r.Name, err)
	}
	return out.(*Out)
}

// Every spec that the token wraps is replicated, for each usage: what one Region makes of it the other takes, and the
// other way. The receiver has had the private key proven to belong to the public key.
func TestReplicatesEverySpec(t *testing.T) {
	t.Parallel()
	_, a, b := twoRegions(t)
	type made struct {
		spec       keyspec.Spec
		usage, key string
	}
	var keys []made
	for _, spec := range keyspec.All() {
		if spec.KeyType == "" || !spec.Wrapped(a.Region.Ring().Token().Capabilities()) {
			continue
		}
		for _, usage := range spec.Usages {
			key, err := create(t, a, spec.Name, usage)
			if err != nil {
				t.Fatalf("%s for %s: %v", spec.Name, usage, err)
			}
			if err := a.Replicate(t.Context(), key, ireland); err != nil {
				t.Fatalf("%s for %s: %v", spec.Name, usage, err)
			}
			keys = append(keys, made{spec, usage, key})
			if spec.Pair() {
				in := &regions.GetPublicKeyInput{KeyID: key}
				one, two := call[regions.GetPublicKeyOutput](t, a, "GetPublicKey", in), call[regions.GetPublicKeyOutput](t, b, "GetPublicKey", in)
				if !bytes.Equal(one.PublicKey, two.PublicKey) {
					t.Errorf("%s: two public keys", spec.Name)
				}
			}
		}
	}
	if len(keys) != 18 {
		t.Errorf("%d pairs of spec and usage", len(keys))
	}
	checkClean(t, a, b)
	for _, k := range keys {
		worksAcross(t, a, b, k.spec, k.usage, k.key)
		worksAcross(t, b, a, k.spec, k.usage, k.key)
	}
}

func worksAcross(t *testing.T, a, b *simtest.Region, spec keyspec.Spec, usage, key string) {
	t.Helper()
	message := []byte("made in " + a.Name)
	for _, algorithm := range spec.NamesOn(a.Region.Ring().Token().Capabilities(), usage) {
		switch usage {
		case keyspec.SignVerify:
			signature := call[regions.SignOutput](t, a, "Sign", &regions.SignInput{KeyID: key, Message: message, SigningAlgorithm: algorithm}).Signature
			call[regions.VerifyOutput](t, b, "Verify", &regions.VerifyInput{KeyID: key, Message: message, Signature: signature, SigningAlgorithm: algorithm})
		case keyspec.GenerateVerifyMAC:
			mac := call[regions.GenerateMacOutput](t, a, "GenerateMac", &regions.GenerateMacInput{KeyID: key, Message: message, MacAlgorithm: algorithm}).Mac
			call[regions.VerifyMacOutput](t, b, "VerifyMac", &regions.VerifyMacInput{KeyID: key, Message: message, Mac: mac, MacAlgorithm: algorithm})
		case keyspec.EncryptDecrypt:
			blob := call[regions.EncryptOutput](t, a, "Encrypt", &regions.EncryptInput{KeyID: key, Plaintext: message, EncryptionAlgorithm: algorithm}).CiphertextBlob
			got := call[regions.DecryptOutput](t, b, "Decrypt", &regions.DecryptInput{KeyID: key, CiphertextBlob: blob, EncryptionAlgorithm: algorithm})
			if !bytes.Equal(got.Plaintext, message) {
				t.Errorf("%s: another plaintext", algorithm)
			}
		case keyspec.KeyAgreement:
			peer := call[regions.GetPublicKeyOutput](t, a, "GetPublicKey", &regions.GetPublicKeyInput{KeyID: key}).PublicKey
			in := &regions.DeriveSharedSecretInput{KeyID: key, KeyAgreementAlgorithm: algorithm, PublicKey: peer}
			one := call[regions.DeriveSharedSecretOutput](t, a, "DeriveSharedSecret", in)
			two := call[regions.DeriveSharedSecretOutput](t, b, "DeriveSharedSecret", in)
			if !bytes.Equal(one.SharedSecret, two.SharedSecret) {
				t.Errorf("%s: two secrets", spec.Name)
			}
		default:
			t.Errorf("usage %s", usage)
		}
	}
}

// A spec that the token can't wrap is refused before anything is made.
func TestUnwrappableSpecIsNotMultiRegion(t *testing.T) {
	t.Parallel()
	_, a, b := twoRegions(t)
	before := a.Extra()
	_, err := create(t, a, "ECC_NIST_EDWARDS25519", keyspec.SignVerify)
	wantCode(t, err, regions.CodeUnsupportedOperation)
	if now := a.Extra(); now != before {
		t.Errorf("%d session objects, were %d", now, before)
	}
	checkClean(t, a, b)
}

// An m3 with another key pair's public key, or none, or with one that does not belong there, is refused for good.
func TestWrongPublicKey(t *testing.T) {
	t.Parallel()
	w, a, b := twoRegions(t)
	begun := func(spec, usage string) []byte {
		key, err := create(t, a, spec, usage)
		if err != nil {
			t.Fatal(err)
		}
		w.Net.Carry(simtest.LoseRequests(wire.TypeTransfer))
		if err := a.Replicate(t.Context(), key, ireland); err != nil {
			t.Fatal(err)
		}
		w.Net.Carry(nil)
		return held(t, a, key).M3
	}
	other, err := wire.Parse(begun("ECC_NIST_P256", keyspec.SignVerify))
	if err != nil {
		t.Fatal(err)
	}
	foreign := other.(*wire.Transfer).Materials[0]
	for name, c := range map[string]struct {
		spec, usage, code string
		change            func(m *wire.Wrapped)
	}{
		"another's public key":       {"ECC_NIST_P256", keyspec.SignVerify, wire.CodeMaterialMismatch, func(m *wire.Wrapped) { m.Public = foreign.Public }},
		"no public key":              {"ECC_NIST_P256", keyspec.SignVerify, wire.CodeNotCertified, func(m *wire.Wrapped) { m.Public = nil }},
		"a blob of another exchange": {"ECC_NIST_P256", keyspec.SignVerify, wire.CodeMaterialMismatch, func(m *wire.Wrapped) { m.Blob = foreign.Blob }},
		"a MAC key with one":         {"HMAC_256", keyspec.GenerateVerifyMAC, wire.CodeNotCertified, func(m *wire.Wrapped) { m.Public = foreign.Public }},
		"another curve's":            {"ECC_NIST_P384", keyspec.SignVerify, wire.CodeMaterialMismatch, func(m *wire.Wrapped) { m.Public = foreign.Public }},
		"another curve's length":     {"ECC_NIST_P384", keyspec.SignVerify, wire.CodeNotCertified, func(m *wire.Wrapped) { m.Blob = foreign.Blob }},
	} {
		bad := resign(t, a, begun(c.spec, c.usage), func(m *wire.Transfer) { c.change(&m.Materials[0]) })
		copies := b.Region.Ring().WorkingCopies()
		if r := wantRefusal(t, send(t, w, bad), c.code); !r.Final {
			t.Errorf("%s: the refusal is not final", name)
		}
		if now := b.Region.Ring().WorkingCopies(); now != copies {
			t.Errorf("%s: %d working copies, were %d", name, now, copies)
		}
	}
}
