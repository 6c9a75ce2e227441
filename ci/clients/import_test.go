package clients

import (
	"crypto/rand"

	"antipode/hsmbackend/hsmtest"
)

// imports brings a key's material, wrapped by OpenSSL, deletes it and brings it again; another one is not taken.
func (j journey) imports() {
	j.Helper()
	created := j.must(replicaRegion, "CreateKey", members{"Origin": "EXTERNAL", "Description": "imported"}).sub("KeyMetadata")
	key := created.text("KeyId")
	j.is("PendingImport", replicaRegion, key)
	in := members{"KeyId": key, "Plaintext": []byte("x")}
	j.refused("KMSInvalidStateException", replicaRegion, "Encrypt", in)

	const wrapping = "RSA_AES_KEY_WRAP_SHA_256"
	p := j.must(replicaRegion, "GetParametersForImport", members{"KeyId": key, "WrappingAlgorithm": wrapping, "WrappingKeySpec": "RSA_3072"})
	load := func(material []byte) members {
		return members{
			"KeyId": key, "ImportToken": p.blob("ImportToken"), "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
			"EncryptedKeyMaterial": hsmtest.WrapByOpenSSL(j.T, p.blob("PublicKey"), wrapping, material),
		}
	}
	ours, other := make([]byte, 32), make([]byte, 32)
	for _, m := range [][]byte{ours, other} {
		if _, err := rand.Read(m); err != nil {
			j.Fatal(err)
		}
	}
	j.must(replicaRegion, "ImportKeyMaterial", load(ours))
	ciphertext := j.must(replicaRegion, "Encrypt", in).blob("CiphertextBlob")
	j.must(replicaRegion, "DeleteImportedKeyMaterial", members{"KeyId": key})
	j.refused("KMSInvalidStateException", replicaRegion, "Decrypt", members{"CiphertextBlob": ciphertext})
	j.refused("IncorrectKeyMaterialException", replicaRegion, "ImportKeyMaterial", load(other))
	j.must(replicaRegion, "ImportKeyMaterial", load(ours))
	if got := j.must(replicaRegion, "Decrypt", members{"CiphertextBlob": ciphertext}).blob("Plaintext"); string(got) != "x" {
		j.Errorf("decrypted %q", got)
	}
	j.must(replicaRegion, "ScheduleKeyDeletion", members{"KeyId": key, "PendingWindowInDays": 7})
}
