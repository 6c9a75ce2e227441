package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"

	"github.com/spf13/cobra"
)

// tokenCommand administers the tokens of a Region that runs, over its admin socket.
func tokenCommand() *cobra.Command {
	var socket string
	cmd := &cobra.Command{Use: "token", Short: "Give further tokens the Region's keys"}
	cmd.PersistentFlags().StringVar(&socket, "socket", "", "admin socket of the running Region, DATA/admin.sock (required)")
	cmd.AddCommand(
		tokenAddCommand(&socket),
		&cobra.Command{
			Use: "list", Args: cobra.NoArgs,
			Short: "Print the Region's tokens, the versions of the domain key that each holds, and since when",
			RunE: func(cmd *cobra.Command, _ []string) error {
				var all []tokenAnswer
				if err := adminCall(cmd.Context(), socket, http.MethodGet, "/v1/tokens", nil, &all); err != nil {
					return err
				}
				for _, a := range all {
					if err := printLines(cmd, tokenLine(a)); err != nil {
						return err
					}
				}
				return nil
			},
		},
		&cobra.Command{
			Use: "remove SERIAL", Args: cobra.ExactArgs(1),
			Short: "Forget a token that the Region does not run on",
			Long: `Forgets a token: its wrapped keys leave the store, and its replication signing key is retired in the Region's entry,
which the other Regions are to trust again. The token itself is not touched, and may be lost. Whoever has it, its PIN and a
copy of the store of before can open every key: initialise it anew (zeroise it), or destroy it.`,
			RunE: func(cmd *cobra.Command, args []string) error {
				var a tokenAnswer
				if err := adminCall(cmd.Context(), socket, http.MethodDelete, "/v1/tokens/"+url.PathEscape(args[0]), nil, &a); err != nil {
					return err
				}
				return printLines(cmd, "removed "+a.Serial,
					"The token still holds its keys: zeroise it (initialise it anew), or destroy it.",
					"Its signing key is retired: give the other Regions this one's entry again (region show, region trust).")
			},
		},
	)
	return cmd
}

func tokenLine(a tokenAnswer) string {
	if a.Begun {
		return fmt.Sprintf("%s begun: run token add for it again, or token remove", a.Serial)
	}
	line := fmt.Sprintf("%s label %q rsk %s", a.Serial, a.Label, a.RSK)
	for _, d := range a.DomainKeys {
		line += fmt.Sprintf(" domain-key %d", d.Version)
		if d.Acknowledged != "" {
			line += " acknowledged " + d.Acknowledged
		}
	}
	if a.InUse {
		line += " in use"
	}
	return line
}

func tokenAddCommand(socket *string) *cobra.Command {
	var t tokenConfig
	cmd := &cobra.Command{
		Use: "add", Args: cobra.NoArgs,
		Short: "Give a further token the Region's keys, or the versions of the domain key that it lacks",
		Long: `Gives a further token the Region's domain, record and sealing keys, so that the Region can go on with it if the first
one dies. The keys move from token to token as in a replication: no key is readable outside a token. The new token makes a
key-encryption key, a replication signing key and an audit key of its own. It must exist and its PIN be set. The command may
be repeated after a failure, and for a token that was added before it loads what has been made since.

The other Regions don't know the new token's signing key until they are given this Region's entry again: 'antipode region
show' here, 'antipode region trust' there. Do it now, not when the first token is dead.`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if t.PINFile == "" || t.Module == "" {
				return errors.New("--module and --pin-file are required")
			}
			for _, path := range []*string{&t.Module, &t.PINFile} {
				if *path, err = filepath.Abs(*path); err != nil {
					return err
				}
			}
			var a tokenAnswer
			if err := adminCall(cmd.Context(), *socket, http.MethodPost, "/v1/tokens", t, &a); err != nil {
				return err
			}
			return printLines(cmd, "added "+tokenLine(a))
		},
	}
	f := cmd.Flags()
	f.StringVar(&t.Module, "module", "", "the vendor's PKCS#11 library (required)")
	f.StringVar(&t.Label, "label", "", "the token's label; label or serial is required")
	f.StringVar(&t.Serial, "serial", "", "the token's serial number")
	f.StringVar(&t.PINFile, "pin-file", "", "file with the token's user PIN, which the Region's own user can read and no other (required)")
	f.StringVar(&t.Profile, "profile", "softhsm", "what is particular to the vendor: softhsm")
	f.StringArrayVar(&t.Env, "env", nil, "NAME=VALUE, set while the library starts; may be repeated")
	return cmd
}
