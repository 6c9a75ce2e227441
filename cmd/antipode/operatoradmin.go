package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/gorilla/mux"

	"antipode/regions/audit"
	"antipode/regions/roster"
)

// operatorsRequest asks the Region to take operators.
type operatorsRequest struct {
	File        []byte   `json:"file"`        // roster.Request
	Fingerprint string   `json:"fingerprint"` // as it was read out; "" if approvals are to decide
	Approvals   [][]byte `json:"approvals"`   // roster.SignedApproval
}

// operatorsAnswer is the operators that a Region knows.
type operatorsAnswer struct {
	File []byte `json:"file"` // roster.Request of all sets, empty without any
}

func (a operatorsAnswer) sets() ([]roster.OperatorSet, error) {
	if len(a.File) == 0 {
		return nil, nil
	}
	req, err := roster.DecodeRequest(a.File)
	return req.Operators, err
}

func operatorRoutes(r *mux.Router, n *node) {
	r.HandleFunc("/v1/operators", func(w http.ResponseWriter, _ *http.Request) {
		out, err := listOperators(n)
		adminAnswer(w, n, out, err)
	}).Methods(http.MethodGet)
	r.HandleFunc("/v1/operators", func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 4*roster.MaxApprovalFile))
		var q operatorsRequest
		if err == nil {
			err = json.Unmarshal(body, &q, json.RejectUnknownMembers(true))
		}
		if err == nil {
			err = enrolOperators(req.Context(), n, q)
		}
		out, listErr := listOperators(n)
		adminAnswer(w, n, out, errors.Join(err, listErr))
	}).Methods(http.MethodPost)
}

func listOperators(n *node) (a operatorsAnswer, err error) {
	sets := n.region.Roster().Operators
	if len(sets) == 0 {
		return a, nil
	}
	req, err := roster.NewOperatorsRequest(sets)
	if err != nil {
		return a, err
	}
	a.File, err = req.Encode()
	return a, err
}

// enrolOperators gives the Region the operators of a file: the first ones by their fingerprint, others by the approvals of
// those before.
func enrolOperators(ctx context.Context, n *node, q operatorsRequest) error {
	req, err := roster.DecodeRequest(q.File)
	if err != nil {
		return err
	}
	sets := req.Operators
	if len(sets) == 0 {
		return errors.New("the file has no operators in it")
	}
	last := &sets[len(sets)-1]
	fingerprint, err := last.Fingerprint()
	if err != nil {
		return err
	}
	if q.Fingerprint != "" && plain(q.Fingerprint) != plain(fingerprint) {
		return errors.New("the operators' fingerprint is not the one given: they are not those that were read out. Nothing was changed")
	}
	if len(n.region.Roster().Operators) == 0 && q.Fingerprint == "" {
		return errors.New("this Region has no operators: --fingerprint is needed for its first ones, compared out of band")
	}
	if len(q.Approvals) > 0 {
		p, err := last.Proposal()
		if err != nil {
			return err
		}
		approvals, err := roster.CollectApprovals(p, q.Approvals)
		if err != nil {
			return err
		}
		*last = last.WithApprovals(approvals)
	}
	var f audit.Fields
	f.Int("version", int64(last.Version)) //nolint:gosec // at most roster.MaxSets
	f.Int("quorum", int64(last.Quorum))   //nolint:gosec // at most roster.MaxOperators
	f.Str("fingerprint", fingerprint)
	err = n.region.Audited(ctx, audit.Event{
		EventName: "EnrolOperators", EventType: audit.TypeServiceEvent, UserIdentity: audit.UserIdentity{InvokedBy: "operator"},
		ServiceEventDetails: f,
	}, func(*audit.Event) error { return n.region.EnrolOperators(ctx, sets) })
	if err != nil {
		return fmt.Errorf("operators %s: %w", fingerprint, err)
	}
	n.log.Info().Uint64("version", last.Version).Str("fingerprint", fingerprint).Msg("operators enrolled")
	return nil
}
