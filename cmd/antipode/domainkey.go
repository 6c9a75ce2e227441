package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// domainKeyCommand administers the versions of the domain key of a Region that runs, over its admin socket.
func domainKeyCommand() *cobra.Command {
	var socket string
	cmd := &cobra.Command{Use: "domain-key", Short: "Make, use and destroy versions of the Region's domain key"}
	cmd.PersistentFlags().StringVar(&socket, "socket", "", "admin socket of the running Region, DATA/admin.sock (required)")
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Args: cobra.NoArgs,
			Short: "Print the versions of the domain key, their state and the tokens that hold each",
			RunE: func(cmd *cobra.Command, _ []string) error {
				var all []domainKeyAnswer
				if err := adminCall(cmd.Context(), socket, http.MethodGet, "/v1/domain-keys", nil, &all); err != nil {
					return err
				}
				for _, a := range all {
					if err := printLines(cmd, versionLine(a)); err != nil {
						return err
					}
				}
				return nil
			},
		},
		&cobra.Command{
			Use: "new", Args: cobra.NoArgs,
			Short: "Make a version of the domain key",
			Long: `Makes a version of the domain key on the Region's token and loads it into the further tokens of the configuration file
that can be opened now. It is pending until every token of the Region holds it, and wraps what is new from then on; run
'antipode token add' for each token that it waits for. While one is pending no other is made: the command goes on with it.`,
			RunE: func(cmd *cobra.Command, _ []string) error {
				var a newKeyAnswer
				if err := adminCall(cmd.Context(), socket, http.MethodPost, "/v1/domain-keys", nil, &a); err != nil {
					return err
				}
				return printLines(cmd, append([]string{versionLine(a.domainKeyAnswer)}, a.Notes...)...)
			},
		},
		&cobra.Command{
			Use: "rewrap", Args: cobra.NoArgs,
			Short: "Wrap every key under the current version of the domain key",
			Long: `Wraps the material of every key that is under an older version of the domain key anew under the current one, on the
token, one key at a time, while the Region serves. It may be cut off and repeated.`,
			RunE: func(cmd *cobra.Command, _ []string) error {
				var a map[string]int
				if err := adminCall(cmd.Context(), socket, http.MethodPost, "/v1/domain-keys/rewrap", nil, &a); err != nil {
					return err
				}
				return printLines(cmd, fmt.Sprintf("rewrapped %d", a["rewrapped"]))
			},
		},
		&cobra.Command{
			Use: "destroy VERSION", Args: cobra.ExactArgs(1),
			Short: "Destroy a version of the domain key that nothing needs",
			Long: `Destroys a version of the domain key, if it is not the current one, no key is under it ('antipode domain-key rewrap')
and no backup that is on record carries it ('antipode backup list'). A copy of the store of before carries the version
still, wrapped under the token's own key: what was deleted since is gone only when those copies are.`,
			RunE: func(cmd *cobra.Command, args []string) error {
				var a domainKeyAnswer
				if err := adminCall(cmd.Context(), socket, http.MethodDelete, "/v1/domain-keys/"+url.PathEscape(args[0]), nil, &a); err != nil {
					return err
				}
				return printLines(cmd, fmt.Sprintf("destroyed %d", a.Version))
			},
		},
	)
	return cmd
}

func versionLine(a domainKeyAnswer) string {
	line := fmt.Sprintf("%d %s on %s", a.Version, a.State, strings.Join(a.Tokens, ","))
	if len(a.Waiting) > 0 {
		line += " waits for " + strings.Join(a.Waiting, ",")
	}
	return line
}

func backupListCommand(socket *string) *cobra.Command {
	return &cobra.Command{
		Use: "list", Args: cobra.NoArgs,
		Short: "Print the backups on record, with the versions of the domain key that each carries",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all []backupAnswer
			if err := adminCall(cmd.Context(), *socket, http.MethodGet, "/v1/backups", nil, &all); err != nil {
				return err
			}
			for _, b := range all {
				line := fmt.Sprintf("%s %s domain-keys %s %s", b.ID, b.Created, joinVersions(b.Versions), b.Path)
				if err := printLines(cmd, line); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func joinVersions(versions []uint32) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(versions), " ", ","), "[]")
}

func backupForgetCommand(socket *string) *cobra.Command {
	return &cobra.Command{
		Use: "forget ID", Args: cobra.ExactArgs(1),
		Short: "Take a backup off the record, after its file was destroyed",
		Long: `Takes a backup off the record. Destroy the file and all copies of it first: it carries the domain keys of its time,
wrapped under the token's own key, and nothing else keeps those from being destroyed.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var b backupAnswer
			if err := adminCall(cmd.Context(), *socket, http.MethodDelete, "/v1/backups/"+url.PathEscape(args[0]), nil, &b); err != nil {
				return err
			}
			return printLines(cmd, "forgot "+b.ID)
		},
	}
}
