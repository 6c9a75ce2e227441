package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
)

// regionCommand administers a Region that runs, over its admin socket.
func regionCommand() *cobra.Command {
	var socket string
	cmd := &cobra.Command{Use: "region", Short: "Enrol Regions with each other"}
	cmd.PersistentFlags().StringVar(&socket, "socket", "", "admin socket of the running Region, DATA/admin.sock (required)")
	cmd.AddCommand(
		&cobra.Command{
			Use: "show", Args: cobra.NoArgs,
			Short: "Print this Region's entry and its fingerprint, for the operators of the others",
			RunE: func(cmd *cobra.Command, _ []string) error {
				var a regionAnswer
				if err := adminCall(cmd.Context(), socket, http.MethodGet, "/v1/region", nil, &a); err != nil {
					return err
				}
				return printLines(cmd, "region "+a.Region, "endpoint "+a.Endpoint, "fingerprint "+a.Fingerprint,
					"entry "+base64.StdEncoding.EncodeToString(a.Entry))
			},
		},
		&cobra.Command{
			Use: "list", Args: cobra.NoArgs,
			Short: "Print the Regions that this one knows",
			RunE: func(cmd *cobra.Command, _ []string) error {
				var all []regionAnswer
				if err := adminCall(cmd.Context(), socket, http.MethodGet, "/v1/roster", nil, &all); err != nil {
					return err
				}
				for _, a := range all {
					line := fmt.Sprintf("%s endpoint %s accounts %s fingerprint %s", a.Region, a.Endpoint,
						strings.Join(a.Limits.Accounts, ","), a.Fingerprint)
					if err := printLines(cmd, line); err != nil {
						return err
					}
				}
				return nil
			},
		},
		trustCommand(&socket),
		&cobra.Command{
			Use: "recovered", Args: cobra.NoArgs,
			Short: "End the recovery of a Region that was restored from a backup",
			Long: `Ends the recovery of a Region that was restored from a backup: it takes part in shared changes of multi-Region keys
again. Do it when you know what the backup lacks: keys made since are lost unless another Region has them, and replicas
that were made from here since are in their Regions' lists, and not in this one's.`,
			RunE: func(cmd *cobra.Command, _ []string) error {
				var out map[string]string
				if err := adminCall(cmd.Context(), socket, http.MethodPost, "/v1/recovered", nil, &out); err != nil {
					return err
				}
				return printLines(cmd, "recovered "+out["region"])
			},
		},
	)
	return cmd
}

func trustCommand(socket *string) *cobra.Command {
	var req trustRequest
	var entry string
	req.Limits.MaxOpenExchanges = defaultLimits().MaxOpenExchanges
	cmd := &cobra.Command{
		Use: "trust", Args: cobra.NoArgs,
		Short: "Enrol another Region by its entry and fingerprint",
		Long: `Enrols another Region, so that keys can be replicated to and from it. Its operator gives you the entry line of
'antipode region show' by any way, and reads the fingerprint to you by a way that nobody can alter, such as a call. The
other side must do the same with this Region's. To trust a Region is to trust those who have its PIN with every key that
is replicated there.`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if entry == "" || req.Fingerprint == "" || len(req.Limits.Accounts) == 0 {
				return errors.New("--entry, --fingerprint and --accounts are required")
			}
			if req.Entry, err = base64.StdEncoding.DecodeString(entry); err != nil {
				return fmt.Errorf("--entry: %w", err)
			}
			var a regionAnswer
			if err := adminCall(cmd.Context(), *socket, http.MethodPost, "/v1/trust", req, &a); err != nil {
				return err
			}
			return printLines(cmd, fmt.Sprintf("trusted %s version %d", a.Region, a.Version))
		},
	}
	f := cmd.Flags()
	f.StringVar(&entry, "entry", "", "the other Region's entry, base64, as its 'region show' prints it (required)")
	f.StringVar(&req.Fingerprint, "fingerprint", "", "its fingerprint, as its operator read it to you (required)")
	f.StringSliceVar(&req.Limits.Accounts, "accounts", req.Limits.Accounts, "accounts whose keys may go there and come from there; * for all (required)")
	f.StringVar(&req.Limits.MinSuite, "min-suite", "", "the weakest key-exchange suite to accept, empty for any")
	f.Uint64Var(&req.Limits.MaxOpenExchanges, "max-open", req.Limits.MaxOpenExchanges, "exchanges that it may have open here")
	return cmd
}

func printLines(cmd *cobra.Command, lines ...string) error {
	_, err := io.WriteString(cmd.OutOrStdout(), strings.Join(lines, "\n")+"\n")
	return err
}

// adminCall makes one call on an admin socket.
func adminCall(ctx context.Context, socket, method, path string, in, out any) error {
	if socket == "" {
		return errors.New("--socket is required: DATA/" + adminSocket + " of the running Region")
	}
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, adminTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://admin"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		short, done, err := shortPath(filepath.Clean(socket))
		if err != nil {
			return nil, err
		}
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", short)
		return c, errors.Join(err, done())
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no Region runs at %s", socket)
	}
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminBody))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var fault struct {
			Error string `json:"error"`
		}
		if err := json.Unmarshal(raw, &fault); err != nil || fault.Error == "" {
			return fmt.Errorf("the Region answered %s", resp.Status)
		}
		return errors.New(fault.Error)
	}
	return json.Unmarshal(raw, out)
}
