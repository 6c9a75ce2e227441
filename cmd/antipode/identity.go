package main

import (
	"net/http"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// identityCommand administers the identities of a Region that runs, over its admin socket.
func identityCommand() *cobra.Command {
	var socket string
	cmd := &cobra.Command{
		Use:   "identity",
		Short: "Administer accounts, users, roles, access keys and policies",
		Long: `Administers the identities of a running Region over its admin socket; in 'antipode dev', of all its Regions at once.
Answers are JSON. The secret of a new access key is shown once, by 'access-key create'. To rotate a user's access key
make a second one, give it to the application, disable the first, see that nothing fails, and delete the first.`,
	}
	cmd.PersistentFlags().StringVar(&socket, "socket", "", "admin socket of the running Region, DATA/admin.sock (required)")
	for _, g := range []struct {
		use, short string
		verbs      []identityVerb
	}{
		{"account", "Accounts", []identityVerb{
			{"create", "Make an account", []string{"account", "name"}},
			{"list", "List accounts", nil},
			{"delete", "Delete an account that has no users, roles and keys", []string{"account"}},
		}},
		{"user", "Users", []identityVerb{
			{"create", "Make a user, who has no access key and no policy yet", []string{"account", "name", "path", "tag"}},
			{"list", "List users with their access keys and policies", []string{"account"}},
			{"tag", "Replace a user's tags", []string{"account", "name", "tag"}},
			{"disable", "Refuse all credentials of a user", []string{"account", "name"}},
			{"enable", "Accept a disabled user's credentials again", []string{"account", "name"}},
			{"delete", "Delete a user with the access keys", []string{"account", "name"}},
		}},
		{"role", "Roles", []identityVerb{
			{"create", "Make a role", []string{"account", "name", "path", "tag", "trust", "max-session"}},
			{"list", "List roles with their policies", []string{"account"}},
			{"tag", "Replace a role's tags", []string{"account", "name", "tag"}},
			{"trust", "Replace a role's trust policy", []string{"account", "name", "trust"}},
			{"revoke-sessions", "Refuse all sessions of a role that were issued until now", []string{"account", "name"}},
			{"disable", "Refuse a role's sessions, and to assume it", []string{"account", "name"}},
			{"enable", "Let a disabled role be assumed again", []string{"account", "name"}},
			{"delete", "Delete a role; its sessions end", []string{"account", "name"}},
		}},
		{"access-key", "Access keys of users", []identityVerb{
			{"create", "Make an access key, at most two a user, and show its secret, once", []string{"account", "user"}},
			{"list", "List users with their access keys", []string{"account", "user"}},
			{"disable", "Refuse an access key", []string{"account", "user", "key"}},
			{"enable", "Accept a disabled access key again", []string{"account", "user", "key"}},
			{"delete", "Delete an access key", []string{"account", "user", "key"}},
		}},
		{"policy", "Policies of users and roles", []identityVerb{
			{"put", "Give a user or role a policy, or replace the one of that name", []string{"account", "user", "role", "policy", "document"}},
			{"delete", "Take a policy from a user or role", []string{"account", "user", "role", "policy"}},
		}},
	} {
		group := &cobra.Command{Use: g.use, Short: g.short}
		for _, v := range g.verbs {
			group.AddCommand(v.command(g.use, &socket))
		}
		cmd.AddCommand(group)
	}
	cmd.AddCommand(identityRequestCommand(&socket), identityExportCommand(&socket), identityImportCommand(&socket))
	return cmd
}

// identityVerb is one command with the flags that it takes.
type identityVerb struct {
	verb, short string
	flags       []string
}

func (v identityVerb) command(group string, socket *string) *cobra.Command {
	req := identityRequest{Command: group + " " + v.verb}
	var documentFile string
	cmd := &cobra.Command{
		Use: v.verb, Short: v.short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if documentFile != "" {
				document, err := os.ReadFile(filepath.Clean(documentFile))
				if err != nil {
					return err
				}
				req.Document = string(document)
			}
			var out jsontext.Value
			if err := adminCall(cmd.Context(), *socket, http.MethodPost, "/v1/identity", req, &out); err != nil {
				return err
			}
			text, err := json.Marshal(out, jsontext.WithIndent("  "))
			if err != nil {
				return err
			}
			return printLines(cmd, string(text))
		},
	}
	f := cmd.Flags()
	for _, name := range v.flags {
		switch name {
		case "account":
			f.StringVar(&req.Account, name, "", "the account, 12 digits")
		case "name":
			f.StringVar(&req.Name, name, "", "the name")
		case "path":
			f.StringVar(&req.Path, name, "", "the path, as /division/team/ (default /)")
		case "tag":
			f.StringToStringVar(&req.Tags, name, nil, "KEY=VALUE; may be repeated")
		case "user":
			f.StringVar(&req.User, name, "", "the user's name")
		case "role":
			f.StringVar(&req.Role, name, "", "the role's name")
		case "key":
			f.StringVar(&req.Key, name, "", "the access key id")
		case "policy":
			f.StringVar(&req.Policy, name, "", "the policy's name")
		case "document":
			f.StringVar(&documentFile, name, "", "file of the policy document")
		case "trust":
			f.StringVar(&documentFile, name, "", "file of the trust policy document")
		case "max-session":
			f.Int64Var(&req.MaxSession, name, 0, "the longest session in seconds, 3600 to 43200 (default 3600)")
		}
	}
	return cmd
}
