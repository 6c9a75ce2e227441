package main

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/spf13/cobra"

	"antipode/regions"
)

// policyCommand asks a Region that runs about its policies, over its admin socket.
func policyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Ask who may do what"}
	cmd.AddCommand(explainCommand())
	return cmd
}

func explainCommand() *cobra.Command {
	var socket, data, region string
	var q regions.Question
	var context map[string]string
	cmd := &cobra.Command{
		Use: "explain", Short: "Say whether a call would be allowed, and by which statements", Args: cobra.NoArgs,
		Long: `Says whether a principal may do an action now, and which statements apply: those of the key policy and of the
principal's own policies, the outweighed ones too, and the grant that decides. Nothing is known of the call but what the
flags say: a condition on anything else, as aws:SourceIp, finds it absent. Session policies are not known either.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if socket == "" {
				if data == "" || region == "" {
					return errors.New("either --socket, or --data and --region are required")
				}
				socket = filepath.Join(data, region, adminSocket)
			}
			if q.Principal == "" || q.Action == "" {
				return errors.New("--principal and --action are required")
			}
			q.EncryptionContext = context
			var e regions.Explanation
			if err := adminCall(cmd.Context(), socket, http.MethodPost, "/v1/explain", q, &e); err != nil {
				return err
			}
			return printLines(cmd, explained(q, e)...)
		},
	}
	f := cmd.Flags()
	f.StringVar(&socket, "socket", "", "admin socket of the running Region, DATA/admin.sock")
	f.StringVar(&data, "data", "", "in place of --socket: the folder of 'antipode dev'")
	f.StringVar(&region, "region", "", "with --data: the Region")
	f.StringVar(&q.Principal, "principal", "", "ARN of a user or of a role's session (required)")
	f.StringVar(&q.Action, "action", "", "for example kms:Decrypt (required)")
	f.StringVar(&q.KeyID, "key", "", "key id, key ARN, alias or alias ARN; none for an action that is on no key")
	f.StringToStringVar(&context, "context", nil, "NAME=VALUE of the encryption context; may be repeated")
	f.StringArrayVar(&q.GrantTokens, "grant-token", nil, "a grant token; may be repeated")
	return cmd
}

func explained(q regions.Question, e regions.Explanation) []string {
	verdict := "denied"
	if e.Allowed {
		verdict = "allowed"
	}
	lines := []string{fmt.Sprintf("%s: %s by %s on %s: %s", verdict, q.Action, q.Principal, e.Resource, e.Why)}
	for _, s := range e.Statements {
		effect := "Allow"
		if s.Deny {
			effect = "Deny"
		}
		line := fmt.Sprintf("  %s  %s, statement %d", effect, s.Document, s.Statement)
		if s.Sid != "" {
			line += fmt.Sprintf(" (%q)", s.Sid)
		}
		if s.Delegates {
			line += ", to the account: an identity policy must allow it too"
		}
		lines = append(lines, line)
	}
	if len(e.Statements) == 0 {
		lines = append(lines, "  no statement applies")
	}
	if e.GrantID != "" {
		lines = append(lines, "  Allow  grant "+e.GrantID)
	}
	for _, t := range e.Tokens {
		lines = append(lines, "  token: "+t)
	}
	return lines
}
