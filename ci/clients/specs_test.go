package clients

import (
	"bytes"
	"crypto"
	"crypto/rand"
	_ "crypto/sha256" // the algorithms' hashes
	_ "crypto/sha512"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// use is a key spec, and the algorithms that one of its usages has.
type use struct {
	spec, usage string
	algorithms  []string
	single      bool // SoftHSM 2.6.1 does not wrap such keys, so they have no replica
	brief       bool // the aws CLI, which is a process a call, does this one, with the first algorithm
}

// uses is every key spec but SYMMETRIC_DEFAULT that SoftHSM can do, with every algorithm.
func uses() []use {
	rsa := []string{
		"RSASSA_PSS_SHA_256", "RSASSA_PSS_SHA_384", "RSASSA_PSS_SHA_512",
		"RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PKCS1_V1_5_SHA_384", "RSASSA_PKCS1_V1_5_SHA_512",
	}
	oaep := []string{"RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1"}
	ecdh := []string{"ECDH"}
	return []use{
		{spec: "RSA_2048", usage: "SIGN_VERIFY", algorithms: rsa, brief: true},
		{spec: "RSA_3072", usage: "SIGN_VERIFY", algorithms: rsa[3:4]},
		{spec: "RSA_4096", usage: "SIGN_VERIFY", algorithms: rsa[:1]},
		{spec: "ECC_NIST_P256", usage: "SIGN_VERIFY", algorithms: []string{"ECDSA_SHA_256"}, brief: true},
		{spec: "ECC_NIST_P384", usage: "SIGN_VERIFY", algorithms: []string{"ECDSA_SHA_384"}},
		{spec: "ECC_NIST_P521", usage: "SIGN_VERIFY", algorithms: []string{"ECDSA_SHA_512"}},
		{spec: "ECC_SECG_P256K1", usage: "SIGN_VERIFY", algorithms: []string{"ECDSA_SHA_256"}},
		{spec: "ECC_NIST_EDWARDS25519", usage: "SIGN_VERIFY", algorithms: []string{"ED25519_SHA_512"}, single: true, brief: true},
		{spec: "HMAC_224", usage: "GENERATE_VERIFY_MAC", algorithms: []string{"HMAC_SHA_224"}},
		{spec: "HMAC_256", usage: "GENERATE_VERIFY_MAC", algorithms: []string{"HMAC_SHA_256"}, brief: true},
		{spec: "HMAC_384", usage: "GENERATE_VERIFY_MAC", algorithms: []string{"HMAC_SHA_384"}},
		{spec: "HMAC_512", usage: "GENERATE_VERIFY_MAC", algorithms: []string{"HMAC_SHA_512"}},
		{spec: "RSA_2048", usage: "ENCRYPT_DECRYPT", algorithms: oaep, brief: true},
		{spec: "RSA_3072", usage: "ENCRYPT_DECRYPT", algorithms: oaep},
		{spec: "ECC_NIST_P256", usage: "KEY_AGREEMENT", algorithms: ecdh},
		{spec: "ECC_NIST_P384", usage: "KEY_AGREEMENT", algorithms: ecdh, brief: true},
		{spec: "ECC_NIST_P521", usage: "KEY_AGREEMENT", algorithms: ecdh},
	}
}

// Every client does with keys of every spec what they are for: in one Region what the other began, and OpenSSL, which
// has the public key of the other Region, agrees.
func TestSpecs(t *testing.T) {
	t.Parallel()
	all := uses()
	keys := make([]members, len(all))
	for i, u := range all {
		keys[i] = journey{t, newGoSDK(t)}.makes(u)
	}
	wrapping := journey{t, newGoSDK(t)}.makes(use{spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT"}).text("KeyId")
	for name, open := range everyClient() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := journey{t, open(t)}
			pairs := []string{"ECC_NIST_P384", "RSA_2048", "ECC_NIST_EDWARDS25519"}
			if name == "aws-cli" {
				pairs = pairs[:1]
			}
			j.makesPairs(wrapping, pairs)
			for i, u := range all {
				if name == "aws-cli" {
					if !u.brief {
						continue
					}
					u.algorithms = u.algorithms[:1]
				}
				switch u.usage {
				case "SIGN_VERIFY":
					j.signs(u, keys[i])
				case "GENERATE_VERIFY_MAC":
					j.authenticates(u, keys[i])
				case "ENCRYPT_DECRYPT":
					j.opensOAEP(u, keys[i])
				default:
					j.agrees(u, keys[i])
				}
			}
		})
	}
}

// makes makes a key in the primary's Region, and its replica. It returns the primary's metadata.
func (j journey) makes(u use) members {
	j.Helper()
	key := j.must(primaryRegion, "CreateKey", members{"KeySpec": u.spec, "KeyUsage": u.usage, "MultiRegion": !u.single}).sub("KeyMetadata")
	if !u.single {
		j.must(primaryRegion, "ReplicateKey", members{"KeyId": key.text("KeyId"), "ReplicaRegion": replicaRegion})
		j.untilEnabled(key.text("KeyId"))
	}
	return key
}

// other returns the Region where something is done that was begun in the primary's.
func (u use) other() string {
	if u.single {
		return primaryRegion
	}
	return replicaRegion
}

// signs signs in one Region and verifies in the other, both ways; OpenSSL verifies with the public key of the other.
func (j journey) signs(u use, key members) {
	j.Helper()
	for i, algorithm := range u.algorithms {
		from, to := primaryRegion, u.other()
		if i%2 == 1 {
			from, to = to, from
		}
		public := j.publicKey(u, key, to)
		message := []byte("signed with " + algorithm + " in " + from)
		in := members{"KeyId": key.text("KeyId"), "SigningAlgorithm": algorithm, "Message": message}
		out := j.must(from, "Sign", in)
		if out.text("KeyId") != inRegion(key.text("Arn"), from) || out.text("SigningAlgorithm") != algorithm {
			j.Errorf("%s: %v", algorithm, out)
		}
		signature := out.blob("Signature")
		if err := opensslVerifies(j.T, algorithm, public, message, signature); err != nil {
			j.Errorf("%s %s: %v", u.spec, algorithm, err)
		}
		verify := members{"KeyId": key.text("KeyId"), "SigningAlgorithm": algorithm, "Message": message, "Signature": signature}
		if verified := j.must(to, "Verify", verify); verified["SignatureValid"] != true {
			j.Errorf("%s %s: %v", u.spec, algorithm, verified)
		}
		verify["Message"] = []byte("another message")
		j.refused("KMSInvalidSignatureException", to, "Verify", verify)
		if err := opensslVerifies(j.T, algorithm, public, []byte("another message"), signature); err == nil {
			j.Errorf("%s %s: OpenSSL takes another message", u.spec, algorithm)
		}
		if algorithm == "ED25519_SHA_512" { // which signs no digest
			continue
		}
		in["Message"], in["MessageType"] = digest(algorithm, message), "DIGEST"
		if err := opensslVerifies(j.T, algorithm, public, message, j.must(from, "Sign", in).blob("Signature")); err != nil {
			j.Errorf("%s %s by digest: %v", u.spec, algorithm, err)
		}
	}
}

// digest returns the hash of a message that an algorithm's name ends in.
func digest(algorithm string, message []byte) []byte {
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[algorithm[len(algorithm)-3:]].New()
	hash.Write(message)
	return hash.Sum(nil)
}

// publicKey returns the public key that a Region tells, and checks the rest of the answer.
func (j journey) publicKey(u use, key members, region string) []byte {
	j.Helper()
	out := j.must(region, "GetPublicKey", members{"KeyId": key.text("KeyId")})
	if out.text("KeyId") != inRegion(key.text("Arn"), region) || out.text("KeySpec") != u.spec || out.text("KeyUsage") != u.usage {
		j.Errorf("public key of %s in %s: %v", u.spec, region, out)
	}
	for _, list := range []string{"SigningAlgorithms", "EncryptionAlgorithms"} { // older clients know no others
		if got, want := out[list], key[list]; !reflect.DeepEqual(got, want) && (got != nil || len(list) == 0) {
			j.Errorf("%s of %s: %v, DescribeKey has %v", list, u.spec, got, want)
		}
	}
	return out.blob("PublicKey")
}

// authenticates makes a MAC in one Region and verifies it in the other, both ways; both make the same.
func (j journey) authenticates(u use, key members) {
	j.Helper()
	in := members{"KeyId": key.text("KeyId"), "MacAlgorithm": u.algorithms[0], "Message": []byte("authentic")}
	mac := j.must(primaryRegion, "GenerateMac", in).blob("Mac")
	if again := j.must(replicaRegion, "GenerateMac", in).blob("Mac"); len(mac) == 0 || !bytes.Equal(mac, again) {
		j.Errorf("%s: %x in one Region and %x in the other", u.spec, mac, again)
	}
	in["Mac"] = mac
	if out := j.must(replicaRegion, "VerifyMac", in); out["MacValid"] != true || out.text("MacAlgorithm") != u.algorithms[0] {
		j.Errorf("%s: %v", u.spec, out)
	}
	in["Message"] = []byte("altered")
	j.refused("KMSInvalidMacException", replicaRegion, "VerifyMac", in)
}

// opensOAEP decrypts in one Region what was encrypted in the other, and what OpenSSL encrypted to its public key.
func (j journey) opensOAEP(u use, key members) {
	j.Helper()
	plaintext := []byte(rand.Text())
	for _, algorithm := range u.algorithms {
		in := members{"KeyId": key.text("KeyId"), "EncryptionAlgorithm": algorithm, "Plaintext": plaintext}
		for who, blob := range map[string][]byte{
			"the primary": j.must(primaryRegion, "Encrypt", in).blob("CiphertextBlob"),
			"OpenSSL":     opensslEncrypts(j.T, algorithm, j.publicKey(u, key, primaryRegion), plaintext),
		} {
			out := j.must(replicaRegion, "Decrypt", members{"KeyId": key.text("KeyId"), "EncryptionAlgorithm": algorithm, "CiphertextBlob": blob})
			if !bytes.Equal(out.blob("Plaintext"), plaintext) || out.text("EncryptionAlgorithm") != algorithm {
				j.Errorf("%s, encrypted by %s: %v", algorithm, who, out)
			}
			blob[9] ^= 1
			j.refused("InvalidCiphertextException", replicaRegion, "Decrypt",
				members{"KeyId": key.text("KeyId"), "EncryptionAlgorithm": algorithm, "CiphertextBlob": blob})
		}
	}
}

// agrees agrees on a secret with a key that OpenSSL made, in both Regions.
func (j journey) agrees(u use, key members) {
	j.Helper()
	public, secret := opensslPeer(j.T, "P-"+strings.TrimPrefix(u.spec, "ECC_NIST_P"), j.publicKey(u, key, replicaRegion))
	for _, region := range []string{primaryRegion, replicaRegion} {
		out, known := j.mayKnow(region, "DeriveSharedSecret", members{
			"KeyId": key.text("KeyId"), "KeyAgreementAlgorithm": "ECDH", "PublicKey": public,
		})
		if known && !bytes.Equal(out.blob("SharedSecret"), secret) {
			j.Errorf("%s in %s: %v, OpenSSL has another secret", u.spec, region, out)
		}
	}
}

// makesPairs makes data key pairs in one Region that the other opens, and OpenSSL finds to be pairs.
func (j journey) makesPairs(key string, specs []string) {
	j.Helper()
	for _, spec := range specs {
		in := members{"KeyId": key, "KeyPairSpec": spec}
		pair := j.must(primaryRegion, "GenerateDataKeyPair", in)
		hidden := j.must(replicaRegion, "GenerateDataKeyPairWithoutPlaintext", in)
		opened := j.must(replicaRegion, "Decrypt", members{"CiphertextBlob": pair.blob("PrivateKeyCiphertextBlob")}).blob("Plaintext")
		if !bytes.Equal(opened, pair.blob("PrivateKeyPlaintext")) || !bytes.Equal(opensslPublic(j.T, opened), pair.blob("PublicKey")) {
			j.Errorf("%s: the private key is not that of the public key", spec)
		}
		opened = j.must(primaryRegion, "Decrypt", members{"CiphertextBlob": hidden.blob("PrivateKeyCiphertextBlob")}).blob("Plaintext")
		if _, shown := hidden["PrivateKeyPlaintext"]; shown || !bytes.Equal(opensslPublic(j.T, opened), hidden.blob("PublicKey")) {
			j.Errorf("%s without plaintext: the private key is not that of the public key", spec)
		}
	}
}

// mayKnow is must for operations that came after the oldest clients which the tests run: it reports whether the client
// knows it. Only the aws CLI and boto3, which Debian ships as they were in 2022, may not.
func (j journey) mayKnow(region, operation string, in members) (members, bool) {
	j.Helper()
	out, err := j.client.call(j.Context(), region, operation, in)
	if errors.Is(err, errUnknown) {
		if name := j.Name(); !strings.HasSuffix(name, "/aws-cli") && !strings.HasSuffix(name, "/boto3") {
			j.Errorf("the client does not know %s", operation)
		}
		return nil, false
	}
	if err != nil {
		j.Fatalf("%s in %s: %v", operation, region, err)
	}
	return out, true
}
