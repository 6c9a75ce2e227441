package awsjson_test

import (
	"reflect"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/regionstest"
)

// FuzzHandler: whatever body a caller signs, for whatever operation, is answered, never by an internal error, and the
// keys that are there stay as they were: their ids are random, so no body of the fuzzer's names one.
func FuzzHandler(f *testing.F) {
	s := newFront(f)
	key := s.CreateKey(f, true)
	regionstest.Must[struct{}](f, s.Fixture, "CreateAlias", &regions.AliasInput{AliasName: "alias/kept-by-the-fuzzer", TargetKeyID: key.KeyID})
	before := s.Key(f, key.KeyID)
	sealed := s.Encrypt(f, key.KeyID, []byte("kept"))
	operations := regions.Operations()
	for i := range operations {
		for _, body := range []string{
			``, `{}`, `null`, `[]`, `{"KeyId":"x"}`, `{"KeyId":"alias/a","Plaintext":"aGk=","EncryptionContext":{"a":"b"}}`,
			`{"CiphertextBlob":"AQICAHg=","KeyId":null}`, `{"AliasName":"alias/a","TargetKeyId":"arn:aws:kms:us-east-2:111122223333:alias/a"}`,
			`{"KeyId":"arn:aws:kms:us-east-2:111122223333:key/mrk-00000000000000000000000000000000","ReplicaRegion":"us-west-1"}`,
			`{"NumberOfBytes":1,"Limit":1,"Marker":"AA"}`, "{\"KeyId\":\"\xff\"}", `{"Tags":[{"TagKey":"k"}],"MultiRegion":true}`,
		} {
			f.Add(uint8(i), []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, operation uint8, body []byte) {
		op := operations[int(operation)%len(operations)]
		if strings.Contains(string(body), key.KeyID) || strings.Contains(string(body), "kept-by-the-fuzzer") {
			t.Skip("names a key that is there")
		}
		a := s.send(t, ordinary(op.Name, string(body))) // which checks status and form of the answer
		if !op.Built() && a.Type != regions.CodeUnsupportedOperation {
			t.Errorf("%s is not built: %s", op.Name, a.refusal())
		}
		if after := s.Key(t, key.KeyID); !reflect.DeepEqual(after, before) {
			t.Fatalf("the key has changed from %+v to %+v", before, after)
		}
		out, err := regionstest.Call[regions.DecryptOutput](t, s.Fixture, "Decrypt", &regions.DecryptInput{
			CiphertextBlob: sealed, KeyID: "alias/kept-by-the-fuzzer",
		})
		if err != nil || string(out.Plaintext) != "kept" {
			t.Fatalf("decrypt: %v", err)
		}
	})
}
