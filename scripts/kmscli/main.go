// Command kmscli makes one AWS KMS call through aws-sdk-go-v2 with the flags of the aws CLI. The demo uses it where that
// CLI is missing, or is older than the operation.
//
// Invariants:
//
//   - It knows no operation by name: what the SDK's client has, it can call.
//
//   - A flag it can't take is refused, never ignored.
//
//     kmscli --endpoint-url URL --region us-east-2 kms create-key --multi-region --query KeyMetadata.Arn --output text
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
)

// errUsage is a command line that asks for nothing the SDK has; its exit code is the aws CLI's own.
var errUsage = errors.New("usage: kmscli [--endpoint-url URL] [--region REGION] kms OPERATION [--MEMBER VALUE]... [--query PATH] [--output json|text]")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, describe(err))
	if errors.Is(err, errUsage) {
		os.Exit(252)
	}
	os.Exit(254)
}

// describe words an API error as the aws CLI does, so that scripts can look for its name.
func describe(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return fmt.Sprintf("An error occurred (%s): %s", api.ErrorCode(), api.ErrorMessage())
	}
	return err.Error()
}

// run parses args, makes the call and writes the answer to out.
func run(ctx context.Context, args []string, out io.Writer) error {
	cmd, err := parse(args)
	if err != nil {
		return err
	}
	cfg, err := config.LoadDefaultConfig(ctx, func(o *config.LoadOptions) error {
		o.Region = cmd.region
		return nil
	})
	if err != nil {
		return fmt.Errorf("read AWS configuration: %w", err)
	}
	client := kms.NewFromConfig(cfg, func(o *kms.Options) {
		if cmd.endpoint != "" {
			o.BaseEndpoint = &cmd.endpoint
		}
	})
	answer, err := call(ctx, client, cmd)
	if err != nil {
		return err
	}
	return render(out, answer, cmd.query, cmd.output)
}
