package clients

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"testing"

	"antipode/hsmbackend/hsmtest"
)

// OpenSSL makes the same MACs as the token with every HMAC spec: with imported keys, which it knows too.
func TestMACsOfImportedKeys(t *testing.T) {
	t.Parallel()
	j := journey{t, newGoSDK(t)}
	message := []byte("a message that both authenticate")
	for spec, length := range map[string]int{"HMAC_224": 28, "HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64} {
		material := make([]byte, length)
		if _, err := rand.Read(material); err != nil {
			t.Fatal(err)
		}
		key := j.must(primaryRegion, "CreateKey", members{"Origin": "EXTERNAL", "KeySpec": spec, "KeyUsage": "GENERATE_VERIFY_MAC"}).sub("KeyMetadata").text("KeyId")
		const wrapping = "RSAES_OAEP_SHA_256"
		p := j.must(primaryRegion, "GetParametersForImport", members{"KeyId": key, "WrappingAlgorithm": wrapping, "WrappingKeySpec": "RSA_2048"})
		j.must(primaryRegion, "ImportKeyMaterial", members{
			"KeyId": key, "ImportToken": p.blob("ImportToken"), "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
			"EncryptedKeyMaterial": hsmtest.WrapByOpenSSL(t, p.blob("PublicKey"), wrapping, material),
		})
		hash := strings.TrimPrefix(spec, "HMAC_")
		theirs := opensslMust(t, map[string][]byte{"message": message}, "mac", "-digest", "SHA"+hash,
			"-macopt", "hexkey:"+hex.EncodeToString(material), "-binary", "-in", "message", "HMAC")
		in := members{"KeyId": key, "MacAlgorithm": "HMAC_SHA_" + hash, "Message": message}
		if ours := j.must(primaryRegion, "GenerateMac", in).blob("Mac"); len(ours) != length || !bytes.Equal(ours, theirs) {
			t.Errorf("%s: %x, OpenSSL makes %x", spec, ours, theirs)
		}
		in["Mac"] = theirs
		if out := j.must(primaryRegion, "VerifyMac", in); out["MacValid"] != true {
			t.Errorf("%s: OpenSSL's MAC: %v", spec, out)
		}
		theirs[0] ^= 1
		j.refused("KMSInvalidMacException", primaryRegion, "VerifyMac", in)
	}
}
