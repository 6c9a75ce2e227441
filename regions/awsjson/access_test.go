package awsjson_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/regionstest"
)

// Who is allowed nothing is told so, in AWS's words, by every operation that is built; and nothing happens.
func TestAccessDenied(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	key := f.CreateKey(t, true)
	regionstest.Must[struct{}](t, f.Fixture, "CreateAlias", &regions.AliasInput{AliasName: "alias/a", TargetKeyID: key.KeyID})
	sealed := base64.StdEncoding.EncodeToString(f.Encrypt(t, key.KeyID, []byte("x")))
	f.AddUser(t, "clerk", "AKIACCCCCCCCCCCCCCCC", nil)
	const clerk = "arn:aws:iam::111122223333:user/clerk"
	body := `{"KeyId":"` + key.KeyID + `","TargetKeyId":"` + key.KeyID + `","SourceKeyId":"` + key.KeyID + `","DestinationKeyId":"` + key.KeyID + `","Plaintext":"eA==",` +
		`"CiphertextBlob":"` + sealed + `","NumberOfBytes":8,"ReplicaRegion":"us-west-1","PrimaryRegion":"us-west-1","Tags":[],"TagKeys":[],"Description":"d","Policy":"{}",` +
		`"WrappingAlgorithm":"RSAES_OAEP_SHA_256","WrappingKeySpec":"RSA_2048","ImportToken":"eA==","EncryptedKeyMaterial":"eA==",` +
		`"ExpirationModel":"KEY_MATERIAL_DOES_NOT_EXPIRE",` +
		`"GranteePrincipal":"` + clerk + `","RetiringPrincipal":"` + clerk + `","Operations":["Encrypt"],"GrantId":"` + strings.Repeat("0", 64) + `",` +
		`"Message":"eA==","MessageType":"RAW","SigningAlgorithm":"ECDSA_SHA_256","Signature":"eA==","MacAlgorithm":"HMAC_SHA_256",` +
		`"Mac":"eA==","KeyAgreementAlgorithm":"ECDH","PublicKey":"eA==","KeyPairSpec":"ECC_NIST_P256","EncapsulationAlgorithm":"ML_KEM","SharedSecretCiphertextBlob":"eA==","AliasName":"alias/`
	for _, op := range regions.Operations() {
		if !op.Built() {
			continue
		}
		action, resource, alias := op.Name, key.Arn, "a"
		switch op.Name {
		case "CreateKey", "GenerateRandom", "ListKeys", "ListAliases", "ConnectCustomKeyStore", "CreateCustomKeyStore",
			"DeleteCustomKeyStore", "DescribeCustomKeyStores", "DisconnectCustomKeyStore", "UpdateCustomKeyStore":
			resource = "*"
		case "ListRetirableGrants":
			resource = clerk
		case "CreateAlias":
			alias = "b"
		case "ReEncrypt":
			action = "ReEncryptFrom"
		}
		r := ordinary(op.Name, body+alias+`"}`)
		if strings.HasSuffix(op.Name, "CustomKeyStore") {
			r = ordinary(op.Name, `{"CustomKeyStoreId":"cks-1","CustomKeyStoreName":"n"}`)
		}
		r.accessKey = "AKIACCCCCCCCCCCCCCCC"
		f.refused(t, r, "AccessDeniedException", "User: arn:aws:iam::111122223333:user/clerk is not authorized to perform: kms:"+
			action+" on resource: "+resource+" because no identity-based policy allows the kms:"+action+" action")
	}
	if k := f.Key(t, key.KeyID); k.State != regions.StateEnabled {
		t.Errorf("the key is %s", k.State)
	}
	aliases := regionstest.Must[regions.ListAliasesOutput](t, f.Fixture, "ListAliases", nil).Aliases
	keys := regionstest.Must[regions.ListKeysOutput](t, f.Fixture, "ListKeys", nil).Keys
	if len(aliases) != 1 || len(keys) != 1 {
		t.Errorf("aliases %+v, keys %+v", aliases, keys)
	}
}

// A ciphertext says which key it needs. That this Region has no such key is told without saying whether any has.
func TestCiphertextOfAnotherRegion(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	key := p.CreateKey(t, false)
	sealed := base64.StdEncoding.EncodeToString(p.Encrypt(t, key.KeyID, []byte("x")))
	const text = "The ciphertext refers to a customer master key that does not exist, does not exist in this region, " +
		"or you are not allowed to access."
	r := ordinary("Decrypt", `{"CiphertextBlob":"`+sealed+`"}`)
	r.region = away
	p.refused(t, r, "AccessDeniedException", text)
	own := p.other.CreateKey(t, false).KeyID
	r = ordinary("ReEncrypt", `{"CiphertextBlob":"`+sealed+`","DestinationKeyId":"`+own+`"}`)
	r.region = away
	p.refused(t, r, "AccessDeniedException", text)
	// A re-encryption into another Region is asked of none of the two.
	r = ordinary("ReEncrypt", `{"CiphertextBlob":"`+sealed+`","DestinationKeyId":"`+p.other.Region.KeyARN(regionstest.Account, own)+`"}`)
	p.refused(t, r, "NotFoundException", "Invalid arn "+away)
}
