// Command client makes a round trip with the client that oapi-codegen has made from the OpenAPI document.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const region = "us-east-2"

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := roundTrip(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// sign signs a request of the generated client.
func sign(ctx context.Context, req *http.Request) error {
	body := []byte{}
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return err
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	sum := sha256.Sum256(body)
	creds := aws.Credentials{AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY")}
	return v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), "kms", region, time.Now())
}

func roundTrip(ctx context.Context) error {
	c, err := NewClientWithResponses(os.Getenv("ANTIPODE_URL"), WithRequestEditorFn(sign))
	if err != nil {
		return err
	}
	description, plaintext := "by a generated client", []byte("attack at dawn\x00\xff")
	made, err := c.CreateKeyWithResponse(ctx, region, nil, CreateKeyJSONRequestBody{Description: &description})
	if err != nil {
		return err
	}
	if made.JSON201 == nil {
		return fmt.Errorf("create key: %s %s", made.Status(), made.Body)
	}
	key := made.JSON201.KeyMetadata
	if key.Description != description || key.KeyState != "Enabled" {
		return fmt.Errorf("created %+v", key)
	}

	pairs := map[string]string{"case": "7"}
	sealed, err := c.EncryptWithResponse(ctx, region, key.KeyId, nil, EncryptJSONRequestBody{Plaintext: &plaintext, EncryptionContext: &pairs})
	if err != nil {
		return err
	}
	if sealed.JSON200 == nil {
		return fmt.Errorf("encrypt: %s %s", sealed.Status(), sealed.Body)
	}
	opened, err := c.DecryptAnyWithBodyWithResponse(ctx, region, &DecryptAnyParams{EncryptionContext: &pairs},
		"application/octet-stream", bytes.NewReader(sealed.JSON200.CiphertextBlob))
	if err != nil {
		return err
	}
	if opened.JSON200 == nil || !bytes.Equal(opened.JSON200.Plaintext, plaintext) {
		return fmt.Errorf("decrypt: %s %s", opened.Status(), opened.Body)
	}

	refused, err := c.DescribeKeyWithResponse(ctx, region, "alias/none", nil)
	if err != nil {
		return err
	}
	if refused.StatusCode() != http.StatusNotFound || refused.ApplicationproblemJSONDefault == nil ||
		refused.ApplicationproblemJSONDefault.Code != "NotFoundException" {
		return fmt.Errorf("describe an alias that is not there: %s %s", refused.Status(), refused.Body)
	}
	ended, err := c.ScheduleKeyDeletionWithResponse(ctx, region, key.KeyId, nil)
	if err != nil {
		return err
	}
	if ended.JSON202 == nil {
		return errors.New("schedule deletion: " + ended.Status())
	}
	return nil
}
