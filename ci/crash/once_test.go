package crash

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	stdjson "encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// onceDescription is that of the one key that createOnce makes, however often it is repeated.
const onceDescription = "made once"

// createOnce makes the journey's multi-Region key by REST, under an idempotency key.
func (j *journey) createOnce(t *testing.T, p *pair) error {
	t.Helper()
	var out struct {
		KeyMetadata struct{ KeyId string }
	}
	if err := postOnce(t, p, "/keys", "create", map[string]any{"MultiRegion": true, "Description": onceDescription}, &out); err != nil {
		return err
	}
	j.mrk = out.KeyMetadata.KeyId
	return nil
}

// replicateOnce replicates it, under another.
func (j *journey) replicateOnce(t *testing.T, p *pair) error {
	t.Helper()
	return postOnce(t, p, "/keys/"+j.mrk+"/replicas", fmt.Sprintf("replicate-%d", j.replicas), map[string]any{"ReplicaRegion": away}, nil)
}

// verifyOnce repeats the creation: there is one such key, whether the crash was before or after its commit, and it is the
// one that was answered, if one was.
func (j *journey) verifyOnce(t *testing.T, p *pair, point string) {
	t.Helper()
	answered := j.mrk
	if err := j.createOnce(t, p); err != nil {
		t.Fatalf("%s: CreateKey can't be repeated under its idempotency key: %v", point, err)
	}
	if answered != "" && answered != j.mrk {
		t.Errorf("%s: %s was answered, and repeated it is %s", point, answered, j.mrk)
	}
	h := p.client(t, home)
	list, err := h.ListKeys(t.Context(), &kms.ListKeysInput{})
	if err != nil {
		t.Fatalf("%s: %v", point, err)
	}
	made := 0
	for _, k := range list.Keys {
		d, err := h.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: k.KeyId})
		if err != nil {
			t.Fatalf("%s: %v", point, err)
		}
		if d.KeyMetadata.Description != nil && *d.KeyMetadata.Description == onceDescription {
			made++
		}
	}
	if made != 1 {
		t.Errorf("%s: under one idempotency key %d keys were made", point, made)
	}
	j.mrk = answered
}

// postOnce makes a signed call by REST to the home Region.
func postOnce(t *testing.T, p *pair, path, key string, body, out any) error {
	t.Helper()
	o := p.client(t, home).Options()
	raw, err := stdjson.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, *o.BaseEndpoint+"/v1/regions/"+home+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	creds, err := o.Credentials.Retrieve(t.Context())
	if err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	if err := v4.NewSigner().SignHTTP(t.Context(), creds, req, hex.EncodeToString(sum[:]), "kms", home, time.Now()); err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if raw, err = io.ReadAll(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("%s: %d %s", path, resp.StatusCode, raw)
	}
	if out == nil {
		return nil
	}
	return stdjson.Unmarshal(raw, out)
}
