package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"antipode/regions/bearer"
)

// callersCommand is about those who call the REST API without an AWS signature.
func callersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "callers",
		Short: "Administer bearer tokens, client certificates and OpenID Connect issuers",
		Long: `The file that 'callers' of the configuration of serve, or --callers of dev, names says who may call the REST API with a
bearer token, a client certificate or a token of an OpenID Connect issuer, and as which user or role.`,
	}
	cmd.AddCommand(newTokenCommand(), checkCallersCommand(), reloadCallersCommand())
	return cmd
}

func newTokenCommand() *cobra.Command {
	var principal, session string
	var days int
	cmd := &cobra.Command{
		Use: "token", Args: cobra.NoArgs,
		Short: "Make a static bearer token",
		Long: `Makes a static bearer token and prints it, once, and then the entry with its hash for 'tokens' of the file of callers.
The token is kept nowhere. It works when the entry is in the file and the file was read again, 'antipode callers reload',
until it expires or its entry is taken out, or its principal is disabled.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if days < 0 {
				return errors.New("--days must not be negative")
			}
			token, hash, err := bearer.NewToken(rand.Reader)
			if err != nil {
				return err
			}
			entry := bearer.Token{SHA256: hash, Principal: principal, Session: session}
			lines := []string{"token " + token, "", "  - sha256: " + hash, "    principal: " + principal}
			if session != "" {
				lines = append(lines, "    session: "+session)
			}
			if days > 0 {
				entry.Expires = time.Now().UTC().AddDate(0, 0, days).Truncate(time.Second)
				lines = append(lines, "    expires: "+entry.Expires.Format(time.RFC3339))
			}
			if err := (bearer.Config{Tokens: []bearer.Token{entry}}).Validate(); err != nil {
				return err
			}
			return printLines(cmd, lines...)
		},
	}
	f := cmd.Flags()
	f.StringVar(&principal, "principal", "", "ARN of the user, or role, that the token is (required)")
	f.StringVar(&session, "session", "", "with a role: the name of the sessions, 2 to 64 letters, digits and +=,.@_-")
	f.IntVar(&days, "days", 90, "after how many days it expires; 0 for never")
	return cmd
}

func checkCallersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE", Args: cobra.ExactArgs(1),
		Short: "Check a file of callers, without a Region",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := readCallers(args[0], true)
			if err != nil {
				return err
			}
			a := callersAnswer{File: args[0], Tokens: len(cfg.Tokens), Certificates: len(cfg.Certificates), Issuers: len(cfg.OIDC)}
			return printLines(cmd, a.line())
		},
	}
}

func reloadCallersCommand() *cobra.Command {
	var socket string
	cmd := &cobra.Command{
		Use: "reload", Args: cobra.NoArgs,
		Short: "Let a running Region read its file of callers again",
		Long: `Lets a running Region read its file of callers again. It counts from the answer on: a token whose entry is gone is
refused by the next call. If the file has a fault nothing is changed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var a callersAnswer
			if err := adminCall(cmd.Context(), socket, http.MethodPost, "/v1/callers", nil, &a); err != nil {
				return err
			}
			return printLines(cmd, a.line())
		},
	}
	cmd.Flags().StringVar(&socket, "socket", "", "admin socket of the running Region, DATA/admin.sock (required)")
	return cmd
}

func (a callersAnswer) line() string {
	return fmt.Sprintf("%s: %d tokens, %d certificates, %d issuers", a.File, a.Tokens, a.Certificates, a.Issuers)
}
