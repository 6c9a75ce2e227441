package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// OpenSSL reads what is written here, and what OpenSSL writes is read here, with and without a passphrase.
func TestOperatorKeyWithOpenSSL(t *testing.T) {
	t.Parallel()
	dir, phrase := t.TempDir(), []byte("correct horse battery")
	phraseFile := filepath.Join(dir, "phrase")
	write(t, phraseFile, append(bytes.Clone(phrase), '\n'))
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, with := range map[string][]byte{"clear": nil, "sealed": phrase} {
		file, err := marshalOperatorKey(key, with)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(file, []byte("ENCRYPTED")) != (with != nil) {
			t.Errorf("%s: %s", name, file)
		}
		path := filepath.Join(dir, name)
		write(t, path, file)
		pub := openssl(t, "pkey", "-in", path, "-passin", "file:"+phraseFile, "-pubout", "-outform", "DER")
		if !bytes.HasSuffix(pub, public) {
			t.Errorf("%s: openssl reads another key", name)
		}
		got, err := readOperatorKey(path, phraseFile)
		if err != nil || !got.Equal(key) {
			t.Errorf("%s: %v", name, err)
		}
	}
	theirs := filepath.Join(dir, "theirs")
	openssl(t, "genpkey", "-algorithm", "ed25519", "-aes-256-cbc", "-pass", "file:"+phraseFile, "-out", theirs)
	if err := os.Chmod(theirs, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readOperatorKey(theirs, phraseFile)
	if err != nil {
		t.Fatal(err)
	}
	pub := openssl(t, "pkey", "-in", theirs, "-passin", "file:"+phraseFile, "-pubout", "-outform", "DER")
	if mine, isEd := got.Public().(ed25519.PublicKey); !isEd || !bytes.HasSuffix(pub, mine) {
		t.Error("a key of OpenSSL's is read as another one")
	}
}

func openssl(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "openssl", args...).Output()
	if err != nil {
		t.Fatalf("openssl %v: %v", args, err)
	}
	return out
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOperatorKeyRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := marshalOperatorKey(key, []byte("a long passphrase"))
	if err != nil {
		t.Fatal(err)
	}
	rsa := openssl(t, "genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
	scrypt := openssl(t, "genpkey", "-algorithm", "ed25519", "-aes-128-cbc", "-pass", "pass:a long passphrase")
	for name, c := range map[string]struct {
		file   []byte
		phrase string
		want   string
	}{
		"no passphrase":      {sealed, "", "--passphrase-file"},
		"wrong passphrase":   {sealed, "another passphrase", "wrong passphrase"},
		"short passphrase":   {sealed, "short", "at least 8"},
		"another algorithm":  {rsa, "", "Ed25519"},
		"another encryption": {scrypt, "a long passphrase", "encrypted in another way"},
		"no PEM":             {[]byte("secret"), "", "PEM"},
		"a certificate":      {[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "", "not a private key"},
	} {
		path, phrase := filepath.Join(dir, "key "+name), ""
		write(t, path, c.file)
		if c.phrase != "" {
			phrase = filepath.Join(dir, "phrase "+name)
			write(t, phrase, []byte(c.phrase))
		}
		if _, err := readOperatorKey(path, phrase); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	open := filepath.Join(dir, "open")
	write(t, open, sealed)
	if err := os.Chmod(open, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := readOperatorKey(open, ""); err == nil || !strings.Contains(err.Error(), "mode 0640") {
		t.Errorf("a file that others read: %v", err)
	}
}

// FuzzOperatorKey: no file makes the reader panic, or work for long.
func FuzzOperatorKey(f *testing.F) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for _, phrase := range []string{"", "a long passphrase"} {
		file, err := marshalOperatorKey(key, []byte(phrase))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := parseOperatorKey(file, nil)
		if err != nil {
			return
		}
		again, err := marshalOperatorKey(got, nil)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := parseOperatorKey(again, nil); err != nil || !back.Equal(got) {
			t.Fatal(err)
		}
	})
}
