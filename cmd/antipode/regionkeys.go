package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/gorilla/mux"
	"github.com/spf13/cobra"

	"antipode/regions"
	"antipode/regions/cose"
	"antipode/regions/roster"
)

// rskAnswer is what the operator is told of a rotation of the Region's signing key.
type rskAnswer struct {
	Signs    string   `json:"signs"`    // key id of the key that signs, hex
	Rotating bool     `json:"rotating"` // a rotation is under way
	Old      string   `json:"old"`
	New      string   `json:"new"`
	Without  []string `json:"without"` // the peers that are not waited for
	Waits    []string `json:"waits"`   // what for
}

// removeRequest asks the Region to remove another, or a key of it.
type removeRequest struct {
	Region    string   `json:"region"`
	Key       string   `json:"key"`       // key id, hex; "" for the whole Region
	Approvals [][]byte `json:"approvals"` // roster.SignedApproval; none: the word of this Region's operator
}

func (q removeRequest) removal() (m roster.Removal, err error) {
	m = roster.Removal{Region: q.Region}
	if m.Key, err = hex.DecodeString(q.Key); err != nil || len(m.Key) != 0 && len(m.Key) != 32 {
		return m, errors.New("--key: not a key id of 64 hex digits")
	}
	if !roster.ValidRegion(q.Region) {
		return m, fmt.Errorf("%.40q is not a Region's name", q.Region)
	}
	return m, nil
}

func regionKeyRoutes(r *mux.Router, n *node) {
	r.HandleFunc("/v1/rsk", func(w http.ResponseWriter, req *http.Request) {
		out, err := describeRSK(req.Context(), n)
		adminAnswer(w, n, out, err)
	}).Methods(http.MethodGet)
	r.HandleFunc("/v1/rsk", func(w http.ResponseWriter, req *http.Request) {
		without := req.URL.Query()["without"]
		err := n.asOperator(req.Context(), "RotateSigningKey", strings.Join(without, " "), func(ctx context.Context) error {
			_, err := n.region.RotateRSK(ctx, without)
			return err
		})
		out, describeErr := describeRSK(req.Context(), n)
		adminAnswer(w, n, out, errors.Join(err, describeErr))
	}).Methods(http.MethodPost)
	r.HandleFunc("/v1/remove", func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxAdminBody))
		var q removeRequest
		if err == nil {
			err = json.Unmarshal(body, &q, json.RejectUnknownMembers(true))
		}
		if err == nil {
			err = removeRegion(req.Context(), n, q)
		}
		adminAnswer(w, n, map[string]string{"removed": q.Region}, err)
	}).Methods(http.MethodPost)
}

func removeRegion(ctx context.Context, n *node, q removeRequest) error {
	m, err := q.removal()
	if err != nil {
		return err
	}
	if len(q.Approvals) > 0 {
		if m.Approvals, err = roster.CollectApprovals(m.Proposal(), q.Approvals); err != nil {
			return err
		}
	}
	return n.asOperator(ctx, "RemoveRegion", m.Proposal().Scope, func(ctx context.Context) error { return n.region.Remove(ctx, m) })
}

func describeRSK(ctx context.Context, n *node) (a rskAnswer, err error) {
	a.Signs = hex.EncodeToString(n.region.Ring().RSK().KeyID())
	rot, err := n.region.RotationOfRSK(ctx)
	if errors.Is(err, regions.ErrNotRotating) {
		return a, nil
	}
	if err != nil {
		return a, err
	}
	a.Rotating, a.Without = true, rot.Without
	a.Old = hex.EncodeToString(cose.KeyID(rot.Old))
	if len(rot.New) > 0 {
		a.New = hex.EncodeToString(cose.KeyID(rot.New))
	}
	if n.exchange != nil {
		a.Waits, err = n.exchange.RosterWaits(ctx)
	}
	return a, err
}

func (a rskAnswer) lines() []string {
	lines := []string{"signs " + a.Signs}
	if !a.Rotating {
		return lines
	}
	lines = append(lines, "rotating "+a.Old+" to "+a.New)
	for _, name := range a.Without {
		lines = append(lines, "without "+name)
	}
	for _, w := range a.Waits {
		lines = append(lines, "waits "+w)
	}
	return lines
}

func rotateRSKCommand(socket *string) *cobra.Command {
	var without []string
	var status bool
	cmd := &cobra.Command{
		Use: "rotate-rsk", Args: cobra.NoArgs,
		Short: "Replace the key with which the Region signs what it says to others",
		Long: `Makes a new signing key on the token in use and tells the other Regions, in a message that the old key signs. When all have
acknowledged it, the new key signs; when they have all that the old one signed, the old one is retired: what it signed still
counts, it introduces nothing any more. This goes on by itself, also after a restart. --status shows how far it is.

--without REGION does not wait for a Region that will not come back: it refuses this one until its operator enrols it anew
with 'antipode region trust'.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			method, path := http.MethodPost, "/v1/rsk?"+url.Values{"without": without}.Encode()
			if status {
				method, path = http.MethodGet, "/v1/rsk"
			}
			var a rskAnswer
			if err := adminCall(cmd.Context(), *socket, method, path, nil, &a); err != nil {
				return err
			}
			return printLines(cmd, a.lines()...)
		},
	}
	cmd.Flags().StringSliceVar(&without, "without", nil, "a Region not to wait for; may be repeated")
	cmd.Flags().BoolVar(&status, "status", false, "only show how far a rotation is")
	return cmd
}

func removeRegionCommand(socket *string) *cobra.Command {
	var q removeRequest
	var request string
	var approvals []string
	cmd := &cobra.Command{
		Use: "remove REGION", Args: cobra.ExactArgs(1),
		Short: "Take another Region, or one of its signing keys, out of the roster for ever",
		Long: `From the answer on this Region refuses every message of REGION, and sends it nothing more; a Region that was removed never
comes back under its name. With --key only what that signing key signs is refused (a stolen one); the other keys of REGION go
on, or its operator makes a new one and has it enrolled with 'antipode region trust'.

Alone it is this operator's word, and counts in this Region. With --approval, once for each of a quorum of the operators, it
counts in every Region that has the same operators: this one tells them. --request FILE writes what they are to approve, and
changes nothing.`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			q.Region = args[0]
			if request != "" {
				m, err := q.removal()
				if err != nil {
					return err
				}
				req, err := roster.NewRequest(m.Proposal())
				if err != nil {
					return err
				}
				file, err := req.Encode()
				if err != nil {
					return err
				}
				return errors.Join(writeNew(request, file), printLines(cmd, "wrote "+request+", for the operators: "+m.Proposal().Scope))
			}
			if q.Approvals, err = readApprovals(approvals); err != nil {
				return err
			}
			if err := adminCall(cmd.Context(), *socket, http.MethodPost, "/v1/remove", q, &map[string]string{}); err != nil {
				return err
			}
			return printLines(cmd, "removed "+strings.TrimSpace(q.Region+" "+q.Key))
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Key, "key", "", "key id of a signing key, 64 hex digits: only that one is removed")
	f.StringVar(&request, "request", "", "a new file to write the request to, for 'antipode operator approve'")
	f.StringArrayVar(&approvals, "approval", nil, "file of an approval; once for each")
	return cmd
}
