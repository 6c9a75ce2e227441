package regions_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/keyspec"
	"antipode/regions/regionstest"
)

// openssl runs OpenSSL's command in a folder with these files, and returns what it prints.
func openssl(t *testing.T, files map[string][]byte, args ...string) ([]byte, error) {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatal("openssl is needed: apt-get install openssl")
	}
	if err != nil {
		return out, errors.Join(err, errors.New(stderr.String()))
	}
	return out, nil
}

func createSpec(t *testing.T, f *regionstest.Fixture, spec, usage string, multiRegion bool) regions.KeyMetadata {
	t.Helper()
	return regionstest.Must[regions.CreateKeyOutput](t, f, "CreateKey", &regions.CreateKeyInput{
		KeySpec: spec, KeyUsage: usage, MultiRegion: multiRegion,
	}).KeyMetadata
}

func publicKey(t *testing.T, f *regionstest.Fixture, key string) []byte {
	t.Helper()
	return regionstest.Must[regions.GetPublicKeyOutput](t, f, "GetPublicKey", &regions.GetPublicKeyInput{KeyID: key}).PublicKey
}

// opensslVerifies verifies the signature of a message.
func opensslVerifies(t *testing.T, algorithm string, public, message, signature []byte) error {
	t.Helper()
	files := map[string][]byte{"public": public, "message": message, "signature": signature}
	args := []string{"pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "public", "-sigfile", "signature", "-rawin", "-in", "message"}
	if algorithm != "ED25519_SHA_512" {
		args = append(args, "-digest", "sha"+algorithm[len(algorithm)-3:])
	}
	if strings.HasPrefix(algorithm, "RSASSA_PSS") {
		args = append(args, "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest")
	}
	_, err := openssl(t, files, args...)
	return err
}

// Each spec that signs, with each of its algorithms, by message and by digest: OpenSSL verifies, Verify agrees, and
// nothing else verifies. The key goes on after the Region was opened again, when its private key comes from the store.
func TestSign(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	keys := map[string]regions.KeyMetadata{}
	for _, spec := range keyspec.All() {
		if spec.Pair() && spec.Has(keyspec.SignVerify) {
			multi := spec.Wrapped(f.Token.Capabilities())
			keys[spec.Name] = createSpec(t, f, spec.Name, keyspec.SignVerify, multi)
		}
	}
	if len(keys) != 8 {
		t.Fatalf("%d specs sign", len(keys))
	}
	for _, again := range []bool{false, true} {
		if again {
			f.Reopen(t)
		}
		for spec, key := range keys {
			signsEverything(t, f, spec, key)
		}
	}
}

func signsEverything(t *testing.T, f *regionstest.Fixture, name string, key regions.KeyMetadata) {
	t.Helper()
	spec, _ := keyspec.Lookup(name)
	if len(key.SigningAlgorithms) == 0 || key.KeySpec != name || key.KeyUsage != keyspec.SignVerify || key.CurrentKeyMaterialID != "" {
		t.Errorf("%s: %+v", name, key)
	}
	public, message := publicKey(t, f, key.KeyID), []byte("a message for "+name)
	for _, algorithm := range key.SigningAlgorithms {
		a, _ := spec.Algorithm(keyspec.SignVerify, algorithm)
		in := &regions.SignInput{KeyID: key.KeyID, Message: message, SigningAlgorithm: algorithm}
		out := regionstest.Must[regions.SignOutput](t, f, "Sign", in)
		if out.KeyID != key.Arn || out.SigningAlgorithm != algorithm {
			t.Errorf("%s: %s %s", algorithm, out.KeyID, out.SigningAlgorithm)
		}
		if err := opensslVerifies(t, algorithm, public, message, out.Signature); err != nil {
			t.Errorf("%s %s: OpenSSL: %v", name, algorithm, err)
		}
		check := func(message []byte, messageType string, signature []byte) error {
			got, err := regionstest.Call[regions.VerifyOutput](t, f, "Verify", &regions.VerifyInput{
				KeyID: key.KeyID, Message: message, MessageType: messageType, Signature: signature, SigningAlgorithm: algorithm,
			})
			if err == nil && (!got.SignatureValid || got.KeyID != key.Arn || got.SigningAlgorithm != algorithm) {
				t.Errorf("%s: %+v", algorithm, got)
			}
			return err
		}
		if err := check(message, "RAW", out.Signature); err != nil {
			t.Errorf("%s %s: %v", name, algorithm, err)
		}
		if algorithm != "ED25519_SHA_512" {
			h := a.Hash.New()
			h.Write(message)
			digest := h.Sum(nil)
			byDigest := regionstest.Must[regions.SignOutput](t, f, "Sign", &regions.SignInput{
				KeyID: key.KeyID, Message: digest, MessageType: "DIGEST", SigningAlgorithm: algorithm,
			}).Signature
			if err := opensslVerifies(t, algorithm, public, message, byDigest); err != nil {
				t.Errorf("%s %s by digest: OpenSSL: %v", name, algorithm, err)
			}
			if err := check(digest, "DIGEST", out.Signature); err != nil {
				t.Errorf("%s %s: %v", name, algorithm, err)
			}
		}
		changed := bytes.Clone(out.Signature)
		changed[len(changed)-1] ^= 1
		for what, bad := range map[string]error{
			"another message":   check([]byte("b"), "", out.Signature),
			"another signature": check(message, "", changed),
			"a longer one":      check(message, "", append(bytes.Clone(out.Signature), 0)),
			"a shorter one":     check(message, "", out.Signature[1:]),
			"one byte":          check(message, "", []byte{0}),
		} {
			wantError(t, name+" "+algorithm+": "+what, bad, "KMSInvalidSignatureException", "")
		}
	}
}

// Each HMAC spec: a MAC is of the hash's length, verifies, and nothing else does.
func TestMAC(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	for spec, length := range map[string]int{"HMAC_224": 28, "HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64} {
		key := createSpec(t, f, spec, keyspec.GenerateVerifyMAC, true)
		algorithm := "HMAC_SHA_" + spec[5:]
		if !slices.Equal(key.MacAlgorithms, []string{algorithm}) {
			t.Errorf("%s: %v", spec, key.MacAlgorithms)
		}
		message := []byte("a message")
		in := &regions.GenerateMacInput{KeyID: key.KeyID, Message: message, MacAlgorithm: algorithm}
		first := regionstest.Must[regions.GenerateMacOutput](t, f, "GenerateMac", in)
		f.Reopen(t)
		again := regionstest.Must[regions.GenerateMacOutput](t, f, "GenerateMac", in)
		if len(first.Mac) != length || !bytes.Equal(first.Mac, again.Mac) || first.KeyID != key.Arn || first.MacAlgorithm != algorithm {
			t.Errorf("%s: %x and %x", spec, first.Mac, again.Mac)
		}
		check := func(message, mac []byte) error {
			got, err := regionstest.Call[regions.VerifyMacOutput](t, f, "VerifyMac", &regions.VerifyMacInput{
				KeyID: key.KeyID, Message: message, Mac: mac, MacAlgorithm: algorithm,
			})
			if err == nil && (!got.MacValid || got.KeyID != key.Arn) {
				t.Errorf("%s: %+v", spec, got)
			}
			return err
		}
		if err := check(message, first.Mac); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
		changed := bytes.Clone(first.Mac)
		changed[0] ^= 1
		for what, bad := range map[string]error{
			"another message": check([]byte("b"), first.Mac), "another MAC": check(message, changed),
			"truncated": check(message, first.Mac[:16]),
		} {
			wantError(t, spec+": "+what, bad, "KMSInvalidMacException", "")
		}
		_, err := regionstest.Call[regions.GetPublicKeyOutput](t, f, "GetPublicKey", &regions.GetPublicKeyInput{KeyID: key.KeyID})
		wantError(t, spec, err, "UnsupportedOperationException", key.Arn+" key spec is "+spec+" which is not valid for GetPublicKey.")
	}
}

// RSA: what the Region encrypts it decrypts, what OpenSSL encrypts to its public key too, up to AWS's limits.
func TestRSAEncryption(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	limits := map[string]map[string]int{
		"RSA_2048": {"RSAES_OAEP_SHA_1": 214, "RSAES_OAEP_SHA_256": 190},
		"RSA_3072": {"RSAES_OAEP_SHA_1": 342, "RSAES_OAEP_SHA_256": 318},
		"RSA_4096": {"RSAES_OAEP_SHA_1": 470, "RSAES_OAEP_SHA_256": 446},
	}
	symmetric := f.CreateKey(t, false)
	for spec, algorithms := range limits {
		key := createSpec(t, f, spec, keyspec.EncryptDecrypt, true)
		if !slices.Equal(key.EncryptionAlgorithms, []string{"RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"}) {
			t.Errorf("%s: %v", spec, key.EncryptionAlgorithms)
		}
		public := publicKey(t, f, key.KeyID)
		for algorithm, most := range algorithms {
			plaintext := make([]byte, most)
			_, _ = rand.Read(plaintext)
			out := regionstest.Must[regions.EncryptOutput](t, f, "Encrypt", &regions.EncryptInput{
				KeyID: key.KeyID, Plaintext: plaintext, EncryptionAlgorithm: algorithm,
			})
			hash := "sha1"
			if algorithm == "RSAES_OAEP_SHA_256" {
				hash = "sha256"
			}
			theirs, err := openssl(t, map[string][]byte{"public": public, "plaintext": plaintext}, "pkeyutl", "-encrypt", "-pubin",
				"-keyform", "DER", "-inkey", "public", "-in", "plaintext", "-pkeyopt", "rsa_padding_mode:oaep",
				"-pkeyopt", "rsa_oaep_md:"+hash, "-pkeyopt", "rsa_mgf1_md:"+hash)
			if err != nil {
				t.Fatal(err)
			}
			for who, blob := range map[string][]byte{"we": out.CiphertextBlob, "OpenSSL": theirs} {
				got, err := regionstest.Call[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{
					KeyID: key.KeyID, CiphertextBlob: blob, EncryptionAlgorithm: algorithm,
				})
				if err != nil || !bytes.Equal(got.Plaintext, plaintext) || got.EncryptionAlgorithm != algorithm || got.KeyMaterialID != "" {
					t.Errorf("%s %s, encrypted by %s: %v", spec, algorithm, who, err)
				}
			}
			moved := regionstest.Must[regions.ReEncryptOutput](t, f, "ReEncrypt", &regions.ReEncryptInput{
				CiphertextBlob: theirs, SourceKeyID: key.KeyID, SourceEncryptionAlgorithm: algorithm, DestinationKeyID: symmetric.KeyID,
			})
			if moved.SourceEncryptionAlgorithm != algorithm || moved.DestinationEncryptionAlgorithm != "SYMMETRIC_DEFAULT" ||
				moved.SourceKeyMaterialID != "" || moved.DestinationKeyMaterialID != symmetric.CurrentKeyMaterialID {
				t.Errorf("%+v", moved)
			}
			back := regionstest.Must[regions.ReEncryptOutput](t, f, "ReEncrypt", &regions.ReEncryptInput{
				CiphertextBlob: moved.CiphertextBlob, DestinationKeyID: key.KeyID, DestinationEncryptionAlgorithm: algorithm,
			})
			got := regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{
				KeyID: key.KeyID, CiphertextBlob: back.CiphertextBlob, EncryptionAlgorithm: algorithm,
			})
			if !bytes.Equal(got.Plaintext, plaintext) {
				t.Errorf("%s %s: another plaintext after ReEncrypt", spec, algorithm)
			}
			_, err = regionstest.Call[regions.EncryptOutput](t, f, "Encrypt", &regions.EncryptInput{
				KeyID: key.KeyID, Plaintext: make([]byte, most+1), EncryptionAlgorithm: algorithm,
			})
			wantError(t, "too long", err, "ValidationException", "Algorithm "+algorithm+" and key spec "+spec+
				" cannot encrypt data larger than "+itoa(most)+" bytes.")
			changed := bytes.Clone(theirs)
			changed[50] ^= 1
			for what, bad := range map[string][]byte{"changed": changed, "short": theirs[1:], "zero": make([]byte, len(theirs)), "symmetric": moved.CiphertextBlob} {
				_, err := regionstest.Call[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{
					KeyID: key.KeyID, CiphertextBlob: bad, EncryptionAlgorithm: algorithm,
				})
				wantError(t, spec+" "+what, err, "InvalidCiphertextException", "")
			}
		}
	}
}

func itoa(n int) string {
	return strings.TrimLeft(string([]byte{'0' + byte(n/100), '0' + byte(n/10%10), '0' + byte(n%10)}), "0")
}

// DeriveSharedSecret agrees with OpenSSL on each curve.
func TestDeriveSharedSecret(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	for spec, curve := range map[string]string{"ECC_NIST_P256": "P-256", "ECC_NIST_P384": "P-384", "ECC_NIST_P521": "P-521"} {
		key := createSpec(t, f, spec, keyspec.KeyAgreement, true)
		if !slices.Equal(key.KeyAgreementAlgorithms, []string{"ECDH"}) {
			t.Errorf("%s: %v", spec, key.KeyAgreementAlgorithms)
		}
		private, err := openssl(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:"+curve, "-outform", "DER")
		if err != nil {
			t.Fatal(err)
		}
		peer, err := openssl(t, map[string][]byte{"private": private}, "pkey", "-inform", "DER", "-in", "private", "-pubout", "-outform", "DER")
		if err != nil {
			t.Fatal(err)
		}
		want, err := openssl(t, map[string][]byte{"private": private, "public": publicKey(t, f, key.KeyID)}, "pkeyutl", "-derive",
			"-keyform", "DER", "-inkey", "private", "-peerform", "DER", "-peerkey", "public")
		if err != nil {
			t.Fatal(err)
		}
		in := &regions.DeriveSharedSecretInput{KeyID: key.KeyID, KeyAgreementAlgorithm: "ECDH", PublicKey: peer}
		f.Reopen(t)
		got := regionstest.Must[regions.DeriveSharedSecretOutput](t, f, "DeriveSharedSecret", in)
		if !bytes.Equal(got.SharedSecret, want) || got.KeyID != key.Arn || got.KeyOrigin != "AWS_KMS" || got.KeyAgreementAlgorithm != "ECDH" {
			t.Errorf("%s: %x, OpenSSL has %x", spec, got.SharedSecret, want)
		}
		offCurve := bytes.Clone(peer)
		offCurve[len(offCurve)-1] ^= 1
		for what, bad := range map[string][]byte{
			"off the curve": offCurve, "trailing": append(bytes.Clone(peer), 0), "no DER": {1}, "the private key": private,
		} {
			in.PublicKey = bad
			_, err := regionstest.Call[regions.DeriveSharedSecretOutput](t, f, "DeriveSharedSecret", in)
			wantError(t, spec+" "+what, err, "ValidationException",
				"PublicKey is not the DER-encoded SubjectPublicKeyInfo of a key with key spec "+spec+".")
		}
	}
}

// Data key pairs of each spec: the plaintext private key is that of the public key, and what the blob opens to.
func TestDataKeyPairs(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, false)
	for _, spec := range []string{
		"RSA_2048", "RSA_3072", "RSA_4096", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519",
	} {
		ec := map[string]string{"purpose": spec}
		out := regionstest.Must[regions.GenerateDataKeyPairOutput](t, f, "GenerateDataKeyPair", &regions.GenerateDataKeyPairWithPlaintextInput{
			KeyID: key.KeyID, KeyPairSpec: spec, EncryptionContext: ec,
		})
		if out.KeyPairSpec != spec || out.KeyID != key.Arn || out.KeyMaterialID != key.CurrentKeyMaterialID {
			t.Errorf("%s: %+v", spec, out)
		}
		public, err := openssl(t, map[string][]byte{"private": out.PrivateKeyPlaintext}, "pkey", "-inform", "DER", "-in", "private", "-check", "-pubout", "-outform", "DER")
		if _, after, found := bytes.Cut(public, []byte("Key is valid\n")); found {
			public = after
		}
		if err != nil || !bytes.Equal(public, out.PublicKey) {
			t.Errorf("%s: OpenSSL finds another public key: %v", spec, err)
		}
		hidden := regionstest.Must[regions.GenerateDataKeyPairWithoutPlaintextOutput](t, f, "GenerateDataKeyPairWithoutPlaintext",
			&regions.GenerateDataKeyPairInput{KeyID: key.KeyID, KeyPairSpec: spec, EncryptionContext: ec})
		opened := regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{
			CiphertextBlob: hidden.PrivateKeyCiphertextBlob, EncryptionContext: ec,
		}).Plaintext
		public, err = openssl(t, map[string][]byte{"private": opened}, "pkey", "-inform", "DER", "-in", "private", "-pubout", "-outform", "DER")
		if err != nil || !bytes.Equal(public, hidden.PublicKey) || bytes.Equal(public, out.PublicKey) {
			t.Errorf("%s without plaintext: %v", spec, err)
		}
		opened = regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{
			CiphertextBlob: out.PrivateKeyCiphertextBlob, EncryptionContext: ec,
		}).Plaintext
		if !bytes.Equal(opened, out.PrivateKeyPlaintext) {
			t.Errorf("%s: the blob opens to something else", spec)
		}
	}
}
