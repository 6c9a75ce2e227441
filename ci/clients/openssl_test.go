package clients

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// openssl runs OpenSSL's command in a folder of its own with these files, and returns what it prints.
func openssl(t *testing.T, files map[string][]byte, args ...string) ([]byte, error) {
	t.Helper()
	program := installed(t, "openssl")
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("openssl %s: %w\n%s%s", strings.Join(args, " "), err, out, &stderr)
	}
	return out, nil
}

// opensslVerifies verifies the signature of a message under a DER public key.
func opensslVerifies(t *testing.T, algorithm string, public, message, signature []byte) error {
	t.Helper()
	files := map[string][]byte{"public": public, "message": message, "signature": signature}
	args := []string{"pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "public", "-sigfile", "signature", "-rawin", "-in", "message"}
	if algorithm != "ED25519_SHA_512" { // which has its own hash
		args = append(args, "-digest", "sha"+algorithm[len(algorithm)-3:])
	}
	if strings.HasPrefix(algorithm, "RSASSA_PSS") {
		args = append(args, "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest")
	}
	_, err := openssl(t, files, args...)
	return err
}

// opensslEncrypts encrypts to a DER public key by RSAES_OAEP_SHA_1 or _256.
func opensslEncrypts(t *testing.T, algorithm string, public, plaintext []byte) []byte {
	t.Helper()
	hash := map[string]string{"RSAES_OAEP_SHA_1": "sha1", "RSAES_OAEP_SHA_256": "sha256"}[algorithm]
	return opensslMust(t, map[string][]byte{"public": public, "plaintext": plaintext}, "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER",
		"-inkey", "public", "-in", "plaintext", "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:"+hash,
		"-pkeyopt", "rsa_mgf1_md:"+hash)
}

// opensslPublic checks a private key of DER, and returns its public key.
func opensslPublic(t *testing.T, private []byte) []byte {
	t.Helper()
	out := opensslMust(t, map[string][]byte{"private": private}, "pkey", "-inform", "DER", "-in", "private", "-check", "-pubout", "-outform", "DER")
	_, public, found := bytes.Cut(out, []byte("Key is valid\n"))
	if !found {
		t.Errorf("OpenSSL does not say that the private key is valid: %.40q", out)
	}
	return public
}

// opensslPeer makes a key on a curve, and returns its public key and what it agrees on with theirs.
func opensslPeer(t *testing.T, curve string, theirs []byte) (public, secret []byte) {
	t.Helper()
	private := opensslMust(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:"+curve, "-outform", "DER")
	secret = opensslMust(t, map[string][]byte{"private": private, "theirs": theirs}, "pkeyutl", "-derive", "-keyform", "DER",
		"-inkey", "private", "-peerform", "DER", "-peerkey", "theirs")
	return opensslPublic(t, private), secret
}

func opensslMust(t *testing.T, files map[string][]byte, args ...string) []byte {
	t.Helper()
	out, err := openssl(t, files, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
