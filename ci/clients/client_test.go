package clients

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
)

// members are an operation's input or output by the names of the API. Input blobs are []byte; output blobs are base64.
type members map[string]any

// refusal is an error that the service answered, under the class that the client gave it.
type refusal struct {
	Class, Message string
}

func (r *refusal) Error() string { return r.Class + ": " + r.Message }

// errUnknown is the error of a client that is older than the operation.
var errUnknown = errors.New("the client does not know the operation")

// client makes one call. It returns a *refusal if the service refused, errUnknown if the client can't ask for it, another
// error if the client broke.
type client interface {
	call(ctx context.Context, region, operation string, in members) (members, error)
}

// installed fails the test unless path is there.
func installed(t *testing.T, path string) string {
	t.Helper()
	if _, err := exec.LookPath(path); err != nil {
		t.Fatalf("%v: a client that the tests need is missing; run 'make install-tools'", err)
	}
	return path
}

// awsCLI is the aws CLI of the system, never one that comes earlier on PATH.
func awsCLI(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("AWS_CLI"); path != "" {
		return installed(t, path)
	}
	return installed(t, "/usr/bin/aws")
}

// cli runs one aws process a call.
type cli struct {
	program  string
	endpoint string
	env      []string
	scratch  string
}

func newCLI(t *testing.T) client {
	return &cli{program: awsCLI(t), endpoint: dev.endpoint, env: dev.environment(t), scratch: t.TempDir()}
}

var (
	wordStart = regexp.MustCompile(`([a-z])([A-Z])`)
	cliError  = regexp.MustCompile(`An error occurred \((\w+)\) when calling the \w+ operation(?: \(.*\))?: ?(.*)`)
)

func (c *cli) call(ctx context.Context, region, operation string, in members) (members, error) {
	kebab := func(name string) string { return strings.ToLower(wordStart.ReplaceAllString(name, "$1-$2")) }
	args := []string{"--endpoint-url", c.endpoint, "--region", region, "--output", "json", "kms", kebab(operation)}
	for name, value := range in {
		flag := "--" + kebab(name)
		switch v := value.(type) {
		case bool:
			if v {
				args = append(args, flag)
			}
		case []byte:
			path := filepath.Join(c.scratch, name)
			if err := os.WriteFile(path, v, 0o600); err != nil {
				return nil, err
			}
			args = append(args, flag, "fileb://"+path)
		case map[string]string, map[string]any, []string, []map[string]string:
			encoded, err := json.Marshal(v)
			if err != nil {
				return nil, err
			}
			args = append(args, flag, string(encoded))
		default:
			args = append(args, flag, fmt.Sprint(v))
		}
	}
	cmd := exec.CommandContext(ctx, c.program, args...)
	cmd.Env = c.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if found := cliError.FindStringSubmatch(stderr.String()); found != nil {
		return nil, &refusal{Class: found[1], Message: found[2]}
	}
	if strings.Contains(stderr.String(), "argument operation: Invalid choice") {
		return nil, errUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	answer := members{}
	if len(bytes.TrimSpace(out)) == 0 {
		return answer, nil
	}
	return answer, json.Unmarshal(out, &answer)
}

// driver is a process that makes the calls that lines on its stdin ask for, with an SDK of another language.
type driver struct {
	in  io.Writer
	out *bufio.Scanner
	err *bytes.Buffer
}

// newDriver starts a driver; it ends with the test, when its stdin closes, and must exit 0.
func newDriver(t *testing.T, program string, args ...string) *driver {
	t.Helper()
	return newDriverIn(t, dev.environment(t), program, args...)
}

// newDriverIn is newDriver with another environment.
func newDriverIn(t *testing.T, env []string, program string, args ...string) *driver {
	t.Helper()
	// The test's own context ends before its clean-up, which is where the driver is let go.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	d := &driver{err: &bytes.Buffer{}}
	cmd.Env = env
	cmd.Stderr = d.err
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil {
			t.Errorf("%s %v: %v\n%s", program, args, err, d.err)
		}
	})
	d.in, d.out = stdin, bufio.NewScanner(stdout)
	d.out.Buffer(nil, 1<<20)
	return d
}

func (d *driver) call(_ context.Context, region, operation string, in members) (members, error) {
	var answer struct {
		Output  members  `json:"output"`
		Error   *refusal `json:"error"`
		Unknown bool     `json:"unknown"`
	}
	if err := d.ask(members{"region": region, "operation": operation, "input": in}, &answer); err != nil {
		return nil, err
	}
	if answer.Unknown {
		return nil, errUnknown
	}
	if answer.Error != nil {
		return nil, answer.Error
	}
	return answer.Output, nil
}

// ask writes one line and reads the answer.
func (d *driver) ask(request, answer any) error {
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := d.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("ask the driver: %w\n%s", err, d.err)
	}
	if !d.out.Scan() {
		return fmt.Errorf("the driver gave no answer: %w\n%s", errors.Join(io.ErrUnexpectedEOF, d.out.Err()), d.err)
	}
	return json.Unmarshal(d.out.Bytes(), answer)
}

// goSDK is aws-sdk-go-v2. Its inputs and outputs have the API's names and so go through JSON as they are.
type goSDK struct {
	endpoint string
	config   config.LoadOptionsFunc
}

func newGoSDK(*testing.T) client {
	return goSDK{endpoint: dev.endpoint, config: func(o *config.LoadOptions) error {
		o.SharedCredentialsFiles, o.SharedConfigFiles = []string{dev.credentials}, []string{}
		return nil
	}}
}

func (g goSDK) call(ctx context.Context, region, operation string, in members) (members, error) {
	cfg, err := config.LoadDefaultConfig(ctx, g.config, config.WithRegion(region))
	if err != nil {
		return nil, err
	}
	method := reflect.ValueOf(kms.NewFromConfig(cfg, func(o *kms.Options) { o.BaseEndpoint = &g.endpoint })).MethodByName(operation)
	if !method.IsValid() {
		return nil, errUnknown
	}
	input := reflect.New(method.Type().In(1).Elem())
	if err := through(in, input.Interface()); err != nil {
		return nil, err
	}
	results := method.Call([]reflect.Value{reflect.ValueOf(ctx), input})
	if err, failed := results[1].Interface().(error); failed {
		var api smithy.APIError
		if errors.As(err, &api) {
			return nil, &refusal{Class: reflect.TypeOf(api).Elem().Name(), Message: api.ErrorMessage()}
		}
		return nil, err
	}
	answer := members{}
	return answer, through(results[0].Interface(), &answer)
}

// through copies from into to by way of JSON.
func through(from, to any) error {
	encoded, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(encoded, to)
}
