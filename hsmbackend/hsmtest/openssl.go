package hsmtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// PrivateByOpenSSL makes a private key with the openssl program, and returns it as PKCS #8 and its public half as
// SubjectPublicKeyInfo, both DER. kind is "RSA" with a modulus length, or "EC" with the name of a curve.
func PrivateByOpenSSL(t testing.TB, kind, parameter string) (private, public []byte) {
	t.Helper()
	option := "ec_paramgen_curve:" + parameter
	if kind == "RSA" {
		option = "rsa_keygen_bits:" + parameter
	}
	dir := t.TempDir()
	run := func(args ...string) []byte {
		c := exec.CommandContext(context.WithoutCancel(t.Context()), "openssl", args...)
		c.Dir = dir
		out, err := c.Output()
		if err != nil {
			t.Fatalf("openssl %s: %v", args[0], err)
		}
		return out
	}
	run("genpkey", "-algorithm", kind, "-pkeyopt", option, "-out", "pem")
	run("pkcs8", "-topk8", "-nocrypt", "-in", "pem", "-outform", "DER", "-out", "key")
	private, err := os.ReadFile(filepath.Clean(filepath.Join(dir, "key")))
	if err != nil {
		t.Fatal(err)
	}
	return private, run("pkey", "-in", "pem", "-pubout", "-outform", "DER")
}

// WrapByOpenSSL wraps material to an RSA public key (DER SubjectPublicKeyInfo) with the openssl program, as who imports
// key material into a KMS does. algorithm is AWS's: RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, RSA_AES_KEY_WRAP_SHA_1 or
// RSA_AES_KEY_WRAP_SHA_256.
func WrapByOpenSSL(t testing.TB, public []byte, algorithm string, material []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	hash := "sha256"
	if strings.HasSuffix(algorithm, "_SHA_1") {
		hash = "sha1"
	}
	run := func(in []byte, args ...string) []byte {
		if err := os.WriteFile(filepath.Join(dir, "in"), in, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-in", "in", "-out", "out")
		c := exec.CommandContext(context.WithoutCancel(t.Context()), "openssl", args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v\n%s", args[0], err, out)
		}
		out, err := os.ReadFile(filepath.Clean(filepath.Join(dir, "out")))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if err := os.WriteFile(filepath.Join(dir, "public.der"), public, 0o600); err != nil {
		t.Fatal(err)
	}
	oaep := func(in []byte) []byte {
		return run(in, "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", "public.der",
			"-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:"+hash, "-pkeyopt", "rsa_mgf1_md:"+hash)
	}
	if strings.HasPrefix(algorithm, "RSAES_OAEP") {
		return oaep(material)
	}
	over := make([]byte, 32)
	if _, err := rand.Read(over); err != nil {
		t.Fatal(err)
	}
	// RFC 5649; OpenSSL wants to be told its initial value.
	return append(oaep(over), run(material, "enc", "-id-aes256-wrap-pad", "-iv", "A65959A6", "-K", hex.EncodeToString(over))...)
}
