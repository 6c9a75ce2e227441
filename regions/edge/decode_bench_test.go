package edge_test

import (
	"encoding/base64"
	stdjson "encoding/json"
	"testing"

	"antipode/regions/edge"
	"antipode/regions/encctx"
)

type encryptRequest struct {
	KeyID               string         `json:"KeyId"`
	Plaintext           []byte         `json:"Plaintext"`
	EncryptionContext   encctx.Context `json:"EncryptionContext"`
	GrantTokens         []string       `json:"GrantTokens"`
	EncryptionAlgorithm string         `json:"EncryptionAlgorithm"`
	DryRun              *bool          `json:"DryRun"`
}

// BenchmarkDecode decodes an Encrypt request with 4 KiB of plaintext and two pairs of context, ours against
// encoding/json, which is given a plain map.
func BenchmarkDecode(b *testing.B) {
	body := []byte(`{"KeyId":"mrk-1234abcd12ab34cd56ef1234567890ab","Plaintext":"` +
		base64.StdEncoding.EncodeToString(make([]byte, 4096)) + `","EncryptionContext":{"tenant":"blue","purpose":"backup"}}`)
	b.Run("antipode", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			var r encryptRequest
			if err := edge.Decode(body, &r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			var r struct {
				KeyID               string `json:"KeyId"`
				Plaintext           []byte
				EncryptionContext   map[string]string
				GrantTokens         []string
				EncryptionAlgorithm string
				DryRun              *bool
			}
			if err := stdjson.Unmarshal(body, &r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
