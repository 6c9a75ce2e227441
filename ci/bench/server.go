package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
)

const home, away = "us-east-2", "us-west-1"

// client makes signed requests without an SDK, so that the client costs little beside the server.
type client struct {
	url    string
	http   *http.Client
	creds  aws.Credentials
	signer *v4.Signer
}

func (c *client) call(ctx context.Context, region, op string, in any) (map[string]any, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "TrentService."+op)
	sum := sha256.Sum256(body)
	if err := c.signer.SignHTTP(ctx, c.creds, req, hex.EncodeToString(sum[:]), "kms", region, time.Now()); err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", op, resp.Status, raw)
	}
	var out map[string]any
	return out, json.Unmarshal(raw, &out)
}

// start runs the server on dir and returns a client, and a function that ends it.
func start(ctx context.Context, binary, dir string) (c *client, pid int, stop func() error, err error) {
	//nolint:gosec // the binary is the one to measure, named by whoever runs this
	cmd := exec.CommandContext(ctx, binary, "dev", "--listen", "127.0.0.1:0", "--data", dir, "--regions", home+","+away, "--log-level", "error")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, 0, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, 0, nil, err
	}
	stop = func() error { return errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()) }
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url, ready := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ready {
		return nil, 0, nil, errors.Join(fmt.Errorf("the server said %q", line), err, stop())
	}
	cfg, err := config.LoadSharedConfigProfile(ctx, "default", func(o *config.LoadSharedConfigOptions) {
		o.CredentialsFiles, o.ConfigFiles = []string{filepath.Join(dir, "credentials")}, []string{}
	})
	if err != nil {
		return nil, 0, nil, errors.Join(err, stop())
	}
	return &client{
		url: url + "/", creds: cfg.Credentials, signer: v4.NewSigner(),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}},
	}, cmd.Process.Pid, stop, nil
}

// benchServer measures the API of a server whose data is in dir. place names it in the report.
func benchServer(ctx context.Context, binary, dir, place string, each time.Duration, token []result) (out []result, err error) {
	c, pid, stop, err := start(ctx, binary, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	made, err := c.call(ctx, home, "CreateKey", map[string]any{})
	if err != nil {
		return nil, err
	}
	id := made["KeyMetadata"].(map[string]any)["KeyId"]
	sealed, err := c.call(ctx, home, "Encrypt", map[string]any{"KeyId": id, "Plaintext": plaintext})
	if err != nil {
		return nil, err
	}
	for _, op := range []struct {
		name  string
		token string // the raw operation it is compared with
		in    map[string]any
	}{
		{"Encrypt", "token: GCM seal 32 B", map[string]any{"KeyId": id, "Plaintext": plaintext}},
		{"Decrypt", "token: GCM open 32 B", map[string]any{"CiphertextBlob": sealed["CiphertextBlob"]}},
		{"GenerateDataKey", "token: GCM seal 32 B", map[string]any{"KeyId": id, "KeySpec": "AES_256"}},
	} {
		for _, callers := range concurrencies {
			r, err := load(op.name+" 32 B, "+place, callers, each, 0, pid, func() error {
				_, err := c.call(ctx, home, op.name, op.in)
				return err
			})
			if err != nil {
				return nil, err
			}
			r.Ratio = r.CPUUS / cpuAt(token, op.token, callers)
			out = append(out, r)
		}
	}
	keys, err := benchKeys(ctx, c, pid, place)
	return append(out, keys...), err
}

// benchKeys measures what makes keys: a fixed number of calls, one after the other.
func benchKeys(ctx context.Context, c *client, pid int, place string) (out []result, err error) {
	const calls = 100
	create, err := load("CreateKey, "+place, 1, 0, calls, pid, func() error {
		_, err := c.call(ctx, home, "CreateKey", map[string]any{})
		return err
	})
	if err != nil {
		return nil, err
	}
	var ids []any
	createMRK, err := load("CreateKey multi-Region, "+place, 1, 0, calls, pid, func() error {
		made, err := c.call(ctx, home, "CreateKey", map[string]any{"MultiRegion": true})
		if err == nil {
			ids = append(ids, made["KeyMetadata"].(map[string]any)["KeyId"])
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	replicate, err := load("ReplicateKey to Enabled, "+place, 1, 0, calls, pid, func() error {
		id := ids[0]
		ids = ids[1:]
		if _, err := c.call(ctx, home, "ReplicateKey", map[string]any{"KeyId": id, "ReplicaRegion": away}); err != nil {
			return err
		}
		// Through to Enabled: the replica encrypts.
		_, err := c.call(ctx, away, "Encrypt", map[string]any{"KeyId": id, "Plaintext": plaintext})
		return err
	})
	if err != nil {
		return nil, err
	}
	return []result{create, createMRK, replicate}, nil
}

func cpuAt(results []result, name string, callers int) float64 {
	for _, r := range results {
		if r.Name == name && r.Concurrency == callers {
			return r.CPUUS
		}
	}
	return 0
}
