package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gorilla/mux"

	"antipode/hsmbackend"
	"antipode/hsmbackend/p11"
	"antipode/regions"
	"antipode/regions/cose"
	"antipode/regions/keyring"
	"antipode/replication"
)

// tokenAnswer is what the operator is told of one of the Region's tokens.
type tokenAnswer struct {
	Serial string `json:"serial"`
	Label  string `json:"label"`
	InUse  bool   `json:"in_use"` // the Region runs on it
	Begun  bool   `json:"begun"`  // its addition was begun and not finished
	RSK    string `json:"rsk"`    // key id of its replication signing key, hex
	// DomainKeys are the versions that it holds, oldest first.
	DomainKeys []heldVersion `json:"domain_keys"`
}

type heldVersion struct {
	Version      uint32 `json:"version"`
	Acknowledged string `json:"acknowledged"` // RFC 3339, "" for what was made with the Region
}

// domainKeyAnswer is what the operator is told of one version of the domain key.
type domainKeyAnswer struct {
	Version uint32   `json:"version"`
	State   string   `json:"state"`   // pending, current or old
	Tokens  []string `json:"tokens"`  // serial numbers of those that hold it
	Waiting []string `json:"waiting"` // of those that do not
}

// newKeyAnswer is what `antipode domain-key new` did.
type newKeyAnswer struct {
	domainKeyAnswer
	Notes []string `json:"notes"` // why a further token was not given it
}

// backupAnswer is one backup on record.
type backupAnswer struct {
	ID       string   `json:"id"`
	Path     string   `json:"path"`
	Created  string   `json:"created"`
	Versions []uint32 `json:"versions"` // of the domain key, that it carries
}

func describeBackup(b regions.Backup) backupAnswer {
	return backupAnswer{ID: b.ID, Path: b.Path, Created: timeText(b.Created), Versions: b.Versions}
}

func timeText(millis int64) string {
	if millis == 0 {
		return ""
	}
	return time.UnixMilli(millis).UTC().Format(time.RFC3339)
}

// keysRoutes are the operator's calls about the Region's own keys: its tokens, its domain key and its backups.
func keysRoutes(r *mux.Router, n *node) {
	handle := func(method, path string, do func(ctx context.Context, req *http.Request) (any, error)) {
		r.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) {
			out, err := do(req.Context(), req)
			adminAnswer(w, n, out, err)
		}).Methods(method)
	}
	handle(http.MethodGet, "/v1/tokens", func(ctx context.Context, _ *http.Request) (any, error) { return n.listTokens(ctx) })
	handle(http.MethodPost, "/v1/tokens", func(ctx context.Context, req *http.Request) (any, error) {
		var t tokenConfig
		body, err := io.ReadAll(io.LimitReader(req.Body, maxAdminBody))
		if err == nil {
			err = json.Unmarshal(body, &t, json.RejectUnknownMembers(true))
		}
		if err != nil {
			return nil, err
		}
		return n.addToken(ctx, t)
	})
	handle(http.MethodDelete, "/v1/tokens/{serial}", func(ctx context.Context, req *http.Request) (any, error) {
		serial := mux.Vars(req)["serial"]
		err := n.asOperator(ctx, "RemoveToken", serial, func(ctx context.Context) error { return n.region.RemoveToken(ctx, serial) })
		return tokenAnswer{Serial: serial}, err
	})
	handle(http.MethodGet, "/v1/domain-keys", func(ctx context.Context, _ *http.Request) (any, error) { return n.listDomainKeys(ctx) })
	handle(http.MethodPost, "/v1/domain-keys", func(ctx context.Context, _ *http.Request) (any, error) { return n.newDomainKey(ctx) })
	handle(http.MethodPost, "/v1/domain-keys/rewrap", func(ctx context.Context, _ *http.Request) (any, error) {
		done := 0
		err := n.asOperator(ctx, "RewrapKeyTokens", n.name, func(ctx context.Context) (err error) {
			done, err = n.region.Rewrap(ctx)
			return err
		})
		return map[string]int{"rewrapped": done}, err
	})
	handle(http.MethodDelete, "/v1/domain-keys/{version}", func(ctx context.Context, req *http.Request) (any, error) {
		text := mux.Vars(req)["version"]
		version, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is not a version of the domain key", text)
		}
		err = n.asOperator(ctx, "DestroyDomainKey", text, func(ctx context.Context) error {
			return n.region.DestroyDomainKey(ctx, uint32(version)) //nolint:gosec // parsed as 32 bits
		})
		return domainKeyAnswer{Version: uint32(version)}, err
	})
	handle(http.MethodGet, "/v1/backups", func(ctx context.Context, _ *http.Request) (any, error) {
		out := []backupAnswer{}
		all, err := n.region.Backups(ctx)
		for _, b := range all {
			out = append(out, describeBackup(b))
		}
		return out, err
	})
	handle(http.MethodDelete, "/v1/backups/{id}", func(ctx context.Context, req *http.Request) (any, error) {
		id := mux.Vars(req)["id"]
		err := n.asOperator(ctx, "ForgetBackup", id, func(ctx context.Context) error { return n.region.ForgetBackup(ctx, id) })
		return backupAnswer{ID: id}, err
	})
}

func (n *node) listTokens(ctx context.Context) ([]tokenAnswer, error) {
	h, err := n.region.Hierarchy(ctx)
	if err != nil {
		return nil, err
	}
	out := []tokenAnswer{}
	for _, k := range h.Tokens {
		out = append(out, n.describeToken(k))
	}
	begun, err := n.region.TokenPlans(ctx)
	for _, serial := range begun {
		out = append(out, tokenAnswer{Serial: serial, Begun: true})
	}
	return out, err
}

func (n *node) describeToken(k keyring.TokenKeys) tokenAnswer {
	a := tokenAnswer{
		Serial: k.Serial, Label: k.Label, RSK: fmt.Sprintf("%x", cose.KeyID(k.RSKPublic)),
		InUse: k.Serial == n.region.Ring().Token().Info().Serial,
	}
	for _, d := range k.DomainKeys {
		a.DomainKeys = append(a.DomainKeys, heldVersion{Version: d.Version, Acknowledged: timeText(d.Acknowledged)})
	}
	return a
}

func (n *node) listDomainKeys(ctx context.Context) ([]domainKeyAnswer, error) {
	h, err := n.region.Hierarchy(ctx)
	out := []domainKeyAnswer{}
	for _, v := range h.Versions() {
		out = append(out, describeVersion(h, v))
	}
	return out, err
}

func describeVersion(h keyring.Hierarchy, version uint32) domainKeyAnswer {
	a := domainKeyAnswer{Version: version, State: "old"}
	switch {
	case version == h.Current:
		a.State = "current"
	case version > h.Current:
		a.State = "pending"
	}
	for _, k := range h.Tokens {
		if k.Holds(version) {
			a.Tokens = append(a.Tokens, k.Serial)
		} else {
			a.Waiting = append(a.Waiting, k.Serial)
		}
	}
	return a
}

// openFurther opens a token beside the one that the Region runs on. The caller closes it.
func (n *node) openFurther(ctx context.Context, t tokenConfig) (hsmbackend.Token, error) {
	if err := t.validate("token"); err != nil {
		return nil, err
	}
	// A SoftHSM2 token must not be open twice in one process.
	mine := n.region.Ring().Token().Info()
	if t.Serial == mine.Serial {
		return nil, regions.ErrTokenInUse
	}
	if t.Serial == "" && t.Label == mine.Label {
		return nil, errors.New("the token in use has this label too: the serial number is needed")
	}
	token, err := p11.Open(ctx, t.further(n.fips, n.log))
	if err != nil {
		return nil, fmt.Errorf("open token: %w", err)
	}
	_, stepped := withSteps(nil, token)
	return stepped, nil
}

// addToken gives a further token the Region's keys.
func (n *node) addToken(ctx context.Context, t tokenConfig) (a tokenAnswer, err error) {
	token, err := n.openFurther(ctx, t)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, token.Close()) }()
	serial := token.Info().Serial
	err = n.asOperator(ctx, "AddToken", serial, func(ctx context.Context) error {
		h, err := n.region.AddToken(ctx, token, replication.TokenLoader{})
		if err == nil {
			keys, _ := h.Token(serial)
			a = n.describeToken(keys)
		}
		return err
	})
	return a, err
}

// newDomainKey makes a version of the domain key and gives it to those further tokens that the configuration names and
// that can be opened now. The others acknowledge it when they are added again.
func (n *node) newDomainKey(ctx context.Context) (a newKeyAnswer, err error) {
	err = n.asOperator(ctx, "CreateDomainKey", n.name, func(ctx context.Context) error {
		a.Version, err = n.region.NewDomainKey(ctx)
		return err
	})
	if err != nil {
		return a, err
	}
	for _, t := range n.further {
		if err := n.loadFurther(ctx, t, a.Version); err != nil {
			a.Notes = append(a.Notes, fmt.Sprintf("token %s: %v", t.Serial, err))
		}
	}
	h, err := n.region.Hierarchy(ctx)
	a.domainKeyAnswer = describeVersion(h, a.Version)
	return a, err
}

func (n *node) loadFurther(ctx context.Context, t tokenConfig, version uint32) (err error) {
	if t.Serial == n.region.Ring().Token().Info().Serial {
		return nil // it is the one that the Region runs on
	}
	token, err := n.openFurther(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, token.Close()) }()
	h, err := n.region.Hierarchy(ctx)
	if err != nil {
		return err
	}
	serial := token.Info().Serial
	if keys, known := h.Token(serial); !known {
		return fmt.Errorf("%w: `antipode token add` first", keyring.ErrUnknownToken)
	} else if keys.Holds(version) {
		return nil
	}
	return n.asOperator(ctx, "AddToken", serial, func(ctx context.Context) error {
		_, err := n.region.AddToken(ctx, token, replication.TokenLoader{})
		return err
	})
}
