// Command antipode is Antipode: multi-Region keys on an organisation's own HSMs. It is the only place that wires the
// packages together; each subcommand is a file.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := forbidDumps()
	if err == nil {
		err = root().ExecuteContext(ctx)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "antipode:", err)
		// os.Exit runs no C destructors, which crash in some PKCS#11 modules.
		os.Exit(1)
	}
	os.Exit(0)
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "antipode",
		Short:         "AWS-KMS-style multi-Region keys on your own HSMs",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(devCommand(), initCommand(), serveCommand(), regionCommand(), identityCommand(), callersCommand(), keyCommand(), policyCommand(), tokenCommand(),
		domainKeyCommand(), operatorCommand(), relayCommand(), backupCommand(), restoreCommand())
	return cmd
}

// newLog writes JSON to stderr.
func newLog(level string) (zerolog.Logger, error) {
	l, err := zerolog.ParseLevel(level)
	if err != nil {
		return zerolog.Logger{}, fmt.Errorf("--log-level: %w", err)
	}
	return zerolog.New(os.Stderr).Level(l).With().Timestamp().Logger(), nil
}
