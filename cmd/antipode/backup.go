package main

import (
	"errors"
	"net/http"
	"net/url"
	"path/filepath"

	"github.com/spf13/cobra"
)

func backupCommand() *cobra.Command {
	var socket, out string
	cmd := &cobra.Command{
		Use: "backup", Args: cobra.NoArgs,
		Short: "Save a Region's store while it serves",
		Long: `Writes a consistent copy of the store of a Region that runs to a new file. The copy holds every key with storage
'wrapped', as a wrapping that only this Region's token can open; it is of no use without the token. It does not hold what
is on the token, nor the audit log, nor the identity for other Regions (peer.pem): save those by their own means.

Each backup is on record in the Region ('antipode backup list'), with the versions of the domain key that it carries: none
of them is destroyed as long as the backup is kept.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return errors.New("--out is required: the new file")
			}
			path, err := filepath.Abs(out)
			if err != nil {
				return err
			}
			var answer backupAnswer
			if err := adminCall(cmd.Context(), socket, http.MethodPost, "/v1/backup?path="+url.QueryEscape(path), nil, &answer); err != nil {
				return err
			}
			return printLines(cmd, "saved "+answer.Path, "backup "+answer.ID)
		},
	}
	cmd.PersistentFlags().StringVar(&socket, "socket", "", "admin socket of the running Region, DATA/admin.sock (required)")
	cmd.AddCommand(backupListCommand(&socket), backupForgetCommand(&socket))
	cmd.Flags().StringVar(&out, "out", "", "the new file, which the Region's own user must be able to make (required)")
	return cmd
}
