package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gorilla/mux"
	"github.com/spf13/cobra"

	"antipode/regions"
	"antipode/replication"
)

// maxIdentityFile bounds a file of identities, and maxIdentityBody what carries one on the admin socket, where it is in
// base64.
const (
	maxIdentityFile = 64 << 20
	maxIdentityBody = 90 << 20
)

// identityFileRequest asks a running node to make a request for identities, to answer one, or to import an answer.
type identityFileRequest struct {
	Peer     string   `json:"peer,omitzero"`     // the Region to ask, or the one to answer
	File     []byte   `json:"file,omitzero"`     // the request, or the export
	Accounts []string `json:"accounts,omitzero"` // to be exported; none means all that the roster allows
	Keep     []string `json:"keep,omitzero"`     // ARNs
	Replace  []string `json:"replace,omitzero"`  // ARNs
}

// identityFileAnswer is what it makes.
type identityFileAnswer struct {
	File       []byte   `json:"file"`
	Accounts   []string `json:"accounts,omitzero"`
	Identities int      `json:"identities,omitzero"`
}

// importAnswer says what became of each identity of an import.
type importAnswer struct {
	Applied []string `json:"applied"`
	Same    []string `json:"same"`
	Newer   []string `json:"newerHere"`
	Kept    []string `json:"kept"`
}

func identityFileRoutes(r *mux.Router, n *node, nodes []*node) {
	for path, do := range map[string]func(context.Context, identityFileRequest) (any, error){
		"/v1/identities/request": func(ctx context.Context, req identityFileRequest) (any, error) {
			file, err := n.exchange.RequestIdentities(ctx, req.Peer)
			return identityFileAnswer{File: file}, err
		},
		"/v1/identities/export": func(ctx context.Context, req identityFileRequest) (any, error) {
			out, err := n.exchange.ExportIdentities(ctx, req.Peer, req.File, req.Accounts)
			return identityFileAnswer{File: out.File, Accounts: out.Accounts, Identities: out.Identities}, err
		},
		"/v1/identities/import": func(ctx context.Context, req identityFileRequest) (any, error) {
			return importIdentities(ctx, n, nodes, req)
		},
	} {
		r.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) {
			body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxIdentityBody))
			var in identityFileRequest
			if err == nil {
				err = json.Unmarshal(body, &in, json.RejectUnknownMembers(true))
			}
			var out any
			if err == nil {
				out, err = do(req.Context(), in)
			}
			adminAnswer(w, n, out, err)
		}).Methods(http.MethodPost)
	}
}

// importIdentities takes over an export in the Region, and then in the others of the process.
func importIdentities(ctx context.Context, n *node, nodes []*node, req identityFileRequest) (any, error) {
	got, list, err := n.exchange.ImportIdentities(ctx, req.File, req.Keep, req.Replace)
	defer func() {
		for _, b := range list {
			for _, k := range b.Keys {
				k.Secret.Zero()
			}
		}
	}()
	if errors.Is(err, replication.ErrNoRequest) || err != nil && len(got.Applied) == 0 {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%d identities were taken over, then it failed; import the file again: %w", len(got.Applied), err)
	}
	for _, b := range list {
		held, err := n.region.Identity(ctx, regions.NameOf(b)) // what is newer here goes to the others too
		if errors.Is(err, regions.ErrNoRecord) {
			continue // one that is kept away
		}
		if err != nil {
			return nil, err
		}
		for _, other := range nodes {
			if other == n {
				continue
			}
			change := regions.IdentityChange{Event: "ImportIdentity", By: n.name, Base: regions.AnyVersion}
			if _, err := other.region.ApplyIdentity(ctx, held, change); err != nil {
				return nil, fmt.Errorf("done in %s, but not in %s: %w", n.name, other.name, err)
			}
		}
	}
	return importAnswer{got.Applied, got.Same, got.Newer, got.Kept}, nil
}

func identityRequestCommand(socket *string) *cobra.Command {
	var from, out string
	cmd := &cobra.Command{
		Use: "request", Args: cobra.NoArgs,
		Short: "Begin an import: make a request for another Region's identities",
		Long: `Writes a request for the identities of another enrolled Region, for its operator, who answers it with 'antipode
identity export'; the answer is imported here with 'antipode identity import'. The request is signed by this Region and has
nothing secret in it. The key that opens the answer is on this Region's token only: it ends with the Region's process,
after a day, with the next request to the same Region, and when the answer was imported.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from == "" || out == "" {
				return errors.New("--from and --out are required: the Region whose identities are wanted, and the new file")
			}
			var a identityFileAnswer
			if err := adminCall(cmd.Context(), *socket, http.MethodPost, "/v1/identities/request", identityFileRequest{Peer: from}, &a); err != nil {
				return err
			}
			if err := writeNew(out, a.File); err != nil {
				return err
			}
			return printLines(cmd, "wrote "+out+", for the operator of "+from)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the Region whose identities are wanted (required)")
	cmd.Flags().StringVar(&out, "out", "", "the new file of the request (required)")
	return cmd
}

func identityExportCommand(socket *string) *cobra.Command {
	var to, in, out string
	var accounts []string
	cmd := &cobra.Command{
		Use: "export", Args: cobra.NoArgs,
		Short: "Answer another Region's request for this Region's identities",
		Long: `Writes accounts, users with the secrets of their access keys, roles and their policies to a file that only the Region
that asked can open: signed by this Region and sealed for the key on that Region's token. Exported are the accounts that
this Region lets that one hold ('antipode region trust --accounts'), or those of them that --account names.

Whoever runs that Region can then sign calls to this one as any of those users. That is what it is for; it is also why it
is done on this operator's word only, and never because another Region asks for it over the network.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to == "" || in == "" || out == "" {
				return errors.New("--to, --request and --out are required: the Region that asked, its file, and the new file")
			}
			request, err := readUpTo(in, maxAdminBody/2)
			if err != nil {
				return err
			}
			var a identityFileAnswer
			req := identityFileRequest{Peer: to, File: request, Accounts: accounts}
			if err := adminCallUpTo(cmd.Context(), maxIdentityBody, *socket, http.MethodPost, "/v1/identities/export", req, &a); err != nil {
				return err
			}
			if err := writeNew(out, a.File); err != nil {
				return err
			}
			lines := []string{fmt.Sprintf("wrote %s, for %s: %d identities", out, to, a.Identities)}
			for _, account := range a.Accounts {
				lines = append(lines, "account "+account)
			}
			return printLines(cmd, lines...)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the Region that asked (required)")
	cmd.Flags().StringVar(&in, "request", "", "its request (required)")
	cmd.Flags().StringVar(&out, "out", "", "the new file (required)")
	cmd.Flags().StringSliceVar(&accounts, "account", nil, "an account to export; may be repeated (default: all that the roster allows)")
	return cmd
}

func identityImportCommand(socket *string) *cobra.Command {
	var in string
	var req identityFileRequest
	cmd := &cobra.Command{
		Use: "import", Args: cobra.NoArgs,
		Short: "Take over another Region's identities from its answer",
		Long: `Takes over what the file has that is newer than what is held here: new and changed identities, and deletions. What is
older rolls nothing back. The whole file is checked before anything is changed.

A user or role that is another one here than there, of the same name, is named, and nothing is changed, until you say which
of the two it is to be: --keep ARN leaves the one here alone, --replace ARN puts the other in its place.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if in == "" {
				return errors.New("--in is required: the file that 'antipode identity export' wrote")
			}
			var err error
			if req.File, err = readUpTo(in, maxIdentityFile); err != nil {
				return err
			}
			var a jsontext.Value
			if err := adminCallUpTo(cmd.Context(), maxIdentityBody, *socket, http.MethodPost, "/v1/identities/import", req, &a); err != nil {
				return err
			}
			text, err := json.Marshal(a, jsontext.WithIndent("  "))
			if err != nil {
				return err
			}
			return printLines(cmd, string(text))
		},
	}
	cmd.Flags().StringVar(&in, "in", "", "the file (required)")
	cmd.Flags().StringSliceVar(&req.Keep, "keep", nil, "ARN of an identity that stays as it is here; may be repeated")
	cmd.Flags().StringSliceVar(&req.Replace, "replace", nil, "ARN of an identity that takes the place of another of its name here; may be repeated")
	return cmd
}

// readUpTo reads a file of at most limit bytes.
func readUpTo(path string, limit int64) (_ []byte, err error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return raw, err
}

// writeNew writes a file that must not be there yet, for its owner only.
func writeNew(path string, data []byte) error {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s is there already", path), err)
	}
	return writeFile(path, data)
}
