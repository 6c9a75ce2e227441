package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// An operator's private key is a PEM file of PKCS #8, in clear ("PRIVATE KEY") or under a passphrase ("ENCRYPTED PRIVATE
// KEY": PBES2 of RFC 8018 with PBKDF2, HMAC-SHA-256 and AES-256-CBC), so that `openssl pkey` reads and writes it too.

const (
	pemKey       = "PRIVATE KEY"
	pemSealedKey = "ENCRYPTED PRIVATE KEY"
	// iterations of PBKDF2 for new files: OWASP's number of 2023 for HMAC-SHA-256.
	iterations = 600_000
	// mostIterations bounds what a file can make this program compute: about ten seconds.
	mostIterations  = 20_000_000
	leastPassphrase = 8
)

type pbes2 struct {
	Derive, Encrypt pkix.AlgorithmIdentifier
}

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

type sealedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

// oids of the one way in which files are encrypted.
func oids() (pbes2, kdf, hmac, aes256 asn1.ObjectIdentifier) {
	return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12},
		asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
}

// marshalOperatorKey returns the file of a key; an empty passphrase leaves it in clear.
func marshalOperatorKey(key ed25519.PrivateKey, passphrase []byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode operator key: %w", err)
	}
	defer clear(der)
	if len(passphrase) == 0 {
		return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
	}
	salt, iv := make([]byte, 16), make([]byte, aes.BlockSize)
	for _, random := range [][]byte{salt, iv} {
		if _, err := rand.Read(random); err != nil {
			return nil, err
		}
	}
	block, err := passphraseCipher(passphrase, salt, iterations)
	if err != nil {
		return nil, err
	}
	pad := aes.BlockSize - len(der)%aes.BlockSize
	data := append(bytes.Clone(der), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, data) //nolint:gosec // iv was filled from the random source above

	scheme, kdf, hmac, aes256 := oids()
	derive, errDerive := asn1.Marshal(pbkdf2Params{
		Salt: salt, Iterations: iterations, PRF: pkix.AlgorithmIdentifier{Algorithm: hmac, Parameters: asn1.NullRawValue},
	})
	vector, errVector := asn1.Marshal(iv)
	if err := errors.Join(errDerive, errVector); err != nil {
		return nil, err
	}
	params, err := asn1.Marshal(pbes2{
		Derive:  pkix.AlgorithmIdentifier{Algorithm: kdf, Parameters: asn1.RawValue{FullBytes: derive}},
		Encrypt: pkix.AlgorithmIdentifier{Algorithm: aes256, Parameters: asn1.RawValue{FullBytes: vector}},
	})
	if err != nil {
		return nil, err
	}
	out, err := asn1.Marshal(sealedKey{
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: scheme, Parameters: asn1.RawValue{FullBytes: params}}, Data: data,
	})
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemSealedKey, Bytes: out}), nil
}

// parseOperatorKey returns the key in a file. Errors hold nothing of it.
func parseOperatorKey(file, passphrase []byte) (ed25519.PrivateKey, error) {
	block, rest := pem.Decode(file)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("not a file with one PEM block")
	}
	der := block.Bytes
	switch block.Type {
	case pemKey:
	case pemSealedKey:
		if len(passphrase) == 0 {
			return nil, errors.New("the key is under a passphrase: --passphrase-file names the file that holds it")
		}
		var err error
		if der, err = openSealedKey(der, passphrase); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("PEM block %.40q is not a private key", block.Type)
	}
	defer clear(der)
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("wrong passphrase, or not a PKCS #8 key")
	}
	key, isEd25519 := parsed.(ed25519.PrivateKey)
	if !isEd25519 {
		return nil, errors.New("operators' keys are Ed25519")
	}
	return key, nil
}

func openSealedKey(der, passphrase []byte) ([]byte, error) {
	unknown := errors.New("encrypted in another way than PBES2 with PBKDF2, HMAC-SHA-256 and AES-256-CBC")
	var s sealedKey
	var scheme pbes2
	var derive pbkdf2Params
	var iv []byte
	oidScheme, oidKDF, oidHMAC, oidAES := oids()
	if !whole(der, &s) || !s.Algorithm.Algorithm.Equal(oidScheme) || !whole(s.Algorithm.Parameters.FullBytes, &scheme) ||
		!scheme.Derive.Algorithm.Equal(oidKDF) || !whole(scheme.Derive.Parameters.FullBytes, &derive) ||
		!derive.PRF.Algorithm.Equal(oidHMAC) || derive.KeyLength != 0 && derive.KeyLength != 32 ||
		!scheme.Encrypt.Algorithm.Equal(oidAES) || !whole(scheme.Encrypt.Parameters.FullBytes, &iv) || len(iv) != aes.BlockSize {
		return nil, unknown
	}
	if derive.Iterations < 1 || derive.Iterations > mostIterations {
		return nil, fmt.Errorf("%d iterations of PBKDF2; 1 to %d are allowed", derive.Iterations, mostIterations)
	}
	n := len(s.Data)
	if n == 0 || n%aes.BlockSize != 0 {
		return nil, unknown
	}
	block, err := passphraseCipher(passphrase, derive.Salt, derive.Iterations)
	if err != nil {
		return nil, err
	}
	data := bytes.Clone(s.Data)
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(data, data)
	pad := int(data[n-1])
	if pad == 0 || pad > aes.BlockSize || !bytes.Equal(data[n-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, errors.New("wrong passphrase")
	}
	return data[:n-pad], nil
}

func passphraseCipher(passphrase, salt []byte, rounds int) (cipher.Block, error) {
	key, err := pbkdf2.Key(sha256.New, string(passphrase), salt, rounds, 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return aes.NewCipher(key)
}

// whole reports whether der is exactly one value of the form of v.
func whole(der []byte, v any) bool {
	rest, err := asn1.Unmarshal(der, v)
	return err == nil && len(rest) == 0
}

// readOperatorKey reads a key file that only its owner can read, with the passphrase in another such file, if one is
// named.
func readOperatorKey(path, passphraseFile string) (ed25519.PrivateKey, error) {
	file, err := readSecretFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(file)
	passphrase, err := readPassphrase(passphraseFile)
	if err != nil {
		return nil, err
	}
	defer clear(passphrase)
	key, err := parseOperatorKey(file, passphrase)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// readPassphrase returns what a file holds without its line end; nothing if none is named.
func readPassphrase(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	raw, err := readSecretFile(path)
	if err != nil {
		return nil, err
	}
	raw = bytes.TrimRight(raw, "\r\n")
	if len(raw) < leastPassphrase {
		return nil, fmt.Errorf("%s: a passphrase of %d bytes; at least %d are needed", path, len(raw), leastPassphrase)
	}
	return raw, nil
}

// readSecretFile reads a small file that only its owner can read.
func readSecretFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o; it must not be readable by others: chmod 0600", path, info.Mode().Perm())
	}
	return readUpTo(path, 1<<16)
}
