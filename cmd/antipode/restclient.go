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
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/go-json-experiment/json"

	"antipode/regions/identity"
)

const (
	// restTime is how long one call of the REST API may take.
	restTime = time.Minute
	// maxRESTAnswer bounds an answer of the REST API.
	maxRESTAnswer = 16 << 20
)

// environmentCredentials are those of the AWS environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN,
// or the profile AWS_PROFILE of the file AWS_SHARED_CREDENTIALS_FILE, as AWS's clients have it.
func environmentCredentials() (aws.Credentials, error) {
	c := aws.Credentials{
		AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		SessionToken: os.Getenv("AWS_SESSION_TOKEN"),
	}
	if c.AccessKeyID != "" && c.SecretAccessKey != "" {
		return c, nil
	}
	path, profile := os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), os.Getenv("AWS_PROFILE")
	if path == "" {
		dir, err := os.UserHomeDir()
		if err != nil {
			return c, err
		}
		path = filepath.Join(dir, ".aws", "credentials")
	}
	if profile == "" {
		profile = defaultProfile
	}
	profiles, err := identity.ReadCredentials(path)
	if err != nil {
		return c, err
	}
	for _, p := range profiles {
		if p.Name == profile {
			return aws.Credentials{AccessKeyID: p.AccessKeyID, SecretAccessKey: string(p.Secret.Reveal())}, nil
		}
	}
	return c, fmt.Errorf("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SHARED_CREDENTIALS_FILE "+
		"(the profile %q is not in %s)", profile, path)
}

// restError is a refusal of the REST API.
type restError struct{ code, detail string }

// Error implements error.
func (e *restError) Error() string { return e.code + ": " + e.detail }

// restGet makes one signed GET of the REST API, of what is at path below the Region's, and decodes the answer into out.
func restGet(ctx context.Context, endpoint, region, path string, out any) error {
	credentials, err := environmentCredentials()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, restTime)
	defer cancel()
	where := strings.TrimSuffix(endpoint, "/") + "/v1/regions/" + url.PathEscape(region) + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return fmt.Errorf("--endpoint: %w", err)
	}
	if req.URL.Scheme != "https" && req.URL.Scheme != "http" || req.URL.Host == "" {
		return fmt.Errorf("--endpoint: %q is not https://HOST:PORT or http://HOST:PORT", endpoint)
	}
	empty := sha256.Sum256(nil)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(empty[:]), "kms", region, time.Now()); err != nil {
		return fmt.Errorf("sign request: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxRESTAnswer+1))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var why struct {
			Code   string `json:"code"`
			Detail string `json:"detail"`
		}
		if err := json.Unmarshal(raw, &why); err != nil || why.Code == "" {
			return fmt.Errorf("%s answers %s", endpoint, resp.Status)
		}
		return &restError{why.Code, why.Detail}
	}
	return json.UnmarshalRead(bytes.NewReader(raw), out)
}
