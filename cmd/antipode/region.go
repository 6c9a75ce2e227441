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
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"antipode/replication/wire"
)

// regionCommand administers a Region that runs, over its admin socket.
func regionCommand() *cobra.Command {
	var socket string
	cmd := &cobra.Command{Use: "region", Short: "Enrol Regions with each other, replace their keys, remove them"}
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
				err := printLines(cmd, "region "+a.Region, "endpoint "+a.Endpoint, "fingerprint "+a.Fingerprint, "tls_key "+a.TLSKey,
					"entry "+base64.StdEncoding.EncodeToString(a.Entry))
				if err != nil {
					return err
				}
				var rec recoveryAnswer
				if err := adminCall(cmd.Context(), socket, http.MethodGet, "/v1/recovery", nil, &rec); err != nil || !rec.Recovering {
					return err
				}
				return printLines(cmd, rec.lines()...)
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
		rotateRSKCommand(&socket),
		removeRegionCommand(&socket),
		recoveredCommand(&socket),
	)
	return cmd
}

// recoveredCommand asks whether a recovery has ended, and excuses Regions from it.
func recoveredCommand(socket *string) *cobra.Command {
	var without []string
	cmd := &cobra.Command{
		Use: "recovered", Args: cobra.NoArgs,
		Short: "Say whether a Region's recovery has ended, or go on without another Region",
		Long: `A Region that was restored from a backup asks every Region that it trusts what it knows, fetches what it lacks, and takes
part in shared changes of multi-Region keys again when all have answered and nothing is missing. This command succeeds
if that is so, and otherwise says what the recovery waits for.

--without REGION goes on without that Region, for good: what only it knows is given up. Keys that were made here since
the backup and replicated there only stay unknown here; if it has seen a later state of a key whose primary is here, the
two will contradict each other. Do it only for a Region that will not come back.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var rec recoveryAnswer
			if len(without) > 0 {
				query := url.Values{"without": without}
				if err := adminCall(cmd.Context(), *socket, http.MethodPost, "/v1/recovered?"+query.Encode(), nil, &rec); err != nil {
					return err
				}
			} else if err := adminCall(cmd.Context(), *socket, http.MethodGet, "/v1/recovery", nil, &rec); err != nil {
				return err
			}
			switch {
			case !rec.Recovering:
				return printLines(cmd, "recovered "+rec.Region)
			case len(without) > 0:
				return printLines(cmd, rec.Region+" goes on without "+strings.Join(rec.Without, ", "))
			}
			return fmt.Errorf("%s\n--without REGION goes on without a Region", strings.Join(rec.lines(), "\n"))
		},
	}
	cmd.Flags().StringSliceVar(&without, "without", nil, "a Region not to wait for; may be repeated")
	return cmd
}

// lines tell people of a recovery.
func (r recoveryAnswer) lines() []string {
	lines := []string{"recovering " + r.Region}
	for _, w := range r.Waits {
		lines = append(lines, "waits "+w)
	}
	for _, w := range r.Without {
		lines = append(lines, "without "+w)
	}
	return lines
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
	f.StringVar(&req.Limits.MinSuite, "min-suite", "", "the weakest key-exchange suite to accept, of "+suiteNames()+", strongest first; empty for any")
	f.Uint64Var(&req.Limits.MaxOpenExchanges, "max-open", req.Limits.MaxOpenExchanges, "exchanges that it may have open here")
	return cmd
}

// suiteNames lists the key-exchange suites, strongest first.
func suiteNames() string {
	var names []string
	for _, s := range wire.Strength() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

func printLines(cmd *cobra.Command, lines ...string) error {
	_, err := io.WriteString(cmd.OutOrStdout(), strings.Join(lines, "\n")+"\n")
	return err
}

// adminCall makes one call on an admin socket.
func adminCall(ctx context.Context, socket, method, path string, in, out any) error {
	return adminCallUpTo(ctx, maxAdminBody, socket, method, path, in, out)
}

// adminCallUpTo is adminCall for answers of up to limit bytes.
func adminCallUpTo(ctx context.Context, limit int64, socket, method, path string, in, out any) error {
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
	raw, err := io.ReadAll(io.LimitReader(resp.Body, limit))
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
