package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gorilla/mux"
	"golang.org/x/sys/unix"

	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/canon"
	"antipode/regions/roster"
	"antipode/replication/wire"
)

// adminSocket is the Region's socket for its operator, in the Region's folder.
const adminSocket = "admin.sock"

// maxAdminBody bounds a request on the admin socket.
const maxAdminBody = 1 << 20

// regionAnswer is what the operator is told of a Region's entry.
type regionAnswer struct {
	Region      string        `json:"region"`
	Entry       []byte        `json:"entry"` // canonical CBOR of roster.Entry
	Fingerprint string        `json:"fingerprint"`
	Endpoint    string        `json:"endpoint"`
	TLSKey      string        `json:"tls_key"` // SHA-256 of its SubjectPublicKeyInfo, hex
	Version     uint64        `json:"version"`
	Limits      roster.Limits `json:"limits"`
}

// recoveryAnswer is what the operator is told of a recovery.
type recoveryAnswer struct {
	Region     string   `json:"region"`
	Recovering bool     `json:"recovering"`
	Waits      []string `json:"waits"`   // what for
	Without    []string `json:"without"` // the Regions that are not waited for
}

func describeRecovery(n *node) recoveryAnswer {
	rec := n.region.Recovery()
	a := recoveryAnswer{Region: n.name, Recovering: n.region.Recovering(), Without: rec.Without}
	if a.Recovering {
		_, a.Waits = n.region.Waits()
	}
	return a
}

// trustRequest asks the Region to enrol another.
type trustRequest struct {
	Entry       []byte        `json:"entry"`       // the other Region's own, canonical CBOR
	Fingerprint string        `json:"fingerprint"` // as its operator read it out
	Limits      roster.Limits `json:"limits"`
}

// startAdmin serves the admin socket of n, which is one of the process's nodes: mode 0600, and only for the user that the process runs as, and root.
func (m *mesh) startAdmin(n *node, nodes []*node, dir string) error {
	path := filepath.Join(dir, adminSocket)
	// The folder's lock is ours, so a socket that is there was left by a process that was killed.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	short, done, err := shortPath(path)
	if err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(m.ctx, "unix", short)
	if err != nil {
		return errors.Join(fmt.Errorf("admin socket: %w", err), done())
	}
	// Nobody else gets at it meanwhile: the folder is its owner's alone.
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("admin socket: %w", err), l.Close(), done())
	}
	server := &http.Server{
		Handler: adminRoutes(n, nodes), ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: adminTime,
	}
	m.run(func() error {
		err := server.Serve(ownerListener{l})
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		return errors.Join(err, done())
	})
	m.run(func() error {
		<-m.ctx.Done()
		return server.Close() // operators' calls are short, and may be repeated
	})
	return nil
}

// maxSocketPath is how long the path of a Unix socket may be on Linux and elsewhere, with room to spare.
const maxSocketPath = 100

// shortPath returns a path to the same file that fits into a socket address, however deep its folder is. done is to be
// called when the path is not used any more.
func shortPath(path string) (short string, done func() error, err error) {
	if len(path) <= maxSocketPath {
		return path, func() error { return nil }, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), dir.Close, nil
}

// ownerListener takes connections only from processes of this user or root, by what the kernel says of them.
type ownerListener struct{ net.Listener }

func (l ownerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if uid, err := peerUID(c); err == nil && (uid == 0 || int(uid) == os.Getuid()) {
			return c, nil
		}
		if err := c.Close(); err != nil {
			return nil, err
		}
	}
}

func peerUID(c net.Conn) (uint32, error) {
	u, isUnix := c.(*net.UnixConn)
	if !isUnix {
		return 0, errors.New("not a Unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, credErr); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

func adminRoutes(n *node, nodes []*node) http.Handler {
	r := mux.NewRouter()
	r.HandleFunc("/v1/region", func(w http.ResponseWriter, _ *http.Request) {
		e, err := n.region.Roster().Entry(n.name)
		if err != nil {
			adminAnswer(w, n, nil, err)
			return
		}
		out, err := describeEntry(e)
		adminAnswer(w, n, out, err)
	}).Methods(http.MethodGet)
	r.HandleFunc("/v1/roster", func(w http.ResponseWriter, _ *http.Request) {
		out := []regionAnswer{}
		for _, e := range n.region.Roster().Regions {
			a, err := describeEntry(e)
			if err != nil {
				adminAnswer(w, n, nil, err)
				return
			}
			out = append(out, a)
		}
		adminAnswer(w, n, out, nil)
	}).Methods(http.MethodGet)
	r.HandleFunc("/v1/trust", func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxAdminBody))
		if err != nil {
			adminAnswer(w, n, nil, err)
			return
		}
		out, err := trust(req.Context(), n, body)
		adminAnswer(w, n, out, err)
	}).Methods(http.MethodPost)
	r.HandleFunc("/v1/identity", func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxAdminBody))
		if err != nil {
			adminAnswer(w, n, nil, err)
			return
		}
		out, err := identityAdmin{n, nodes}.serve(req.Context(), body)
		adminAnswer(w, n, out, err)
	}).Methods(http.MethodPost)
	identityFileRoutes(r, n, nodes)
	r.HandleFunc("/v1/explain", func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxAdminBody))
		var q regions.Question
		if err == nil {
			err = json.Unmarshal(body, &q, json.RejectUnknownMembers(true))
		}
		if err != nil {
			adminAnswer(w, n, nil, err)
			return
		}
		out, err := n.region.Explain(req.Context(), q)
		adminAnswer(w, n, out, err)
	}).Methods(http.MethodPost)
	r.HandleFunc("/v1/backup", func(w http.ResponseWriter, req *http.Request) {
		path := req.URL.Query().Get("path")
		if !filepath.IsAbs(path) {
			adminAnswer(w, n, nil, fmt.Errorf("%q is not an absolute path", path))
			return
		}
		var made regions.Backup
		err := n.asOperator(req.Context(), "BackupRegion", path, func(ctx context.Context) (err error) {
			made, err = n.region.Backup(ctx, filepath.Clean(path), func(ctx context.Context, path string) error {
				return durably("write a backup", func() error { return n.backup(ctx, path) })
			})
			return err
		})
		adminAnswer(w, n, describeBackup(made), err)
	}).Methods(http.MethodPost)
	r.HandleFunc("/v1/callers", func(w http.ResponseWriter, req *http.Request) {
		out, err := n.reloadCallers(req.Context())
		adminAnswer(w, n, out, err)
	}).Methods(http.MethodPost)
	keysRoutes(r, n)
	operatorRoutes(r, n)
	regionKeyRoutes(r, n)
	r.HandleFunc("/v1/recovery", func(w http.ResponseWriter, _ *http.Request) {
		adminAnswer(w, n, describeRecovery(n), nil)
	}).Methods(http.MethodGet)
	r.HandleFunc("/v1/recovered", func(w http.ResponseWriter, req *http.Request) {
		without := req.URL.Query()["without"]
		err := n.asOperator(req.Context(), "RecoverWithout", strings.Join(without, " "), func(ctx context.Context) error {
			return n.region.Excuse(ctx, without)
		})
		adminAnswer(w, n, describeRecovery(n), err)
	}).Methods(http.MethodPost)
	return r
}

// adminAnswer writes an answer, or why there is none; the operator is told everything.
func adminAnswer(w http.ResponseWriter, n *node, out any, err error) {
	status := http.StatusOK
	if err != nil {
		status, out = http.StatusBadRequest, map[string]string{"error": err.Error()}
	}
	body, err := json.Marshal(out)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer can't be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		n.log.Debug().Err(err).Msg("operator left before the answer")
	}
}

func describeEntry(e roster.Entry) (regionAnswer, error) {
	raw, err := canon.Marshal(e)
	if err != nil {
		return regionAnswer{}, err
	}
	fingerprint, err := e.Fingerprint()
	if err != nil {
		return regionAnswer{}, err
	}
	return regionAnswer{
		Region: e.Region, Entry: raw, Fingerprint: fingerprint, Endpoint: e.Endpoint,
		TLSKey: hex.EncodeToString(e.TLSKey[:]), Version: e.Version, Limits: e.Limits,
	}, nil
}

// trust enrols another Region, if its entry is the one whose fingerprint the operator was told.
func trust(ctx context.Context, n *node, body []byte) (regionAnswer, error) {
	var req trustRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return regionAnswer{}, err
	}
	var e roster.Entry
	if err := canon.Unmarshal(req.Entry, &e); err != nil {
		return regionAnswer{}, fmt.Errorf("entry: %w", err)
	}
	fingerprint, err := e.Fingerprint()
	if err != nil {
		return regionAnswer{}, fmt.Errorf("entry: %w", err)
	}
	if plain(fingerprint) != plain(req.Fingerprint) {
		return regionAnswer{}, errors.New("the entry's fingerprint is not the one given: it is not the entry that the other " +
			"operator read out. Nothing was changed")
	}
	if e.Region == n.name {
		return regionAnswer{}, errors.New("a Region does not enrol itself")
	}
	if e.Removed {
		return regionAnswer{}, errors.New("the entry says that its Region was removed; that is not for it to say. Nothing was changed")
	}
	// A name that nobody knows would refuse every exchange, and say so only then.
	if least := wire.Suite(req.Limits.MinSuite); least != "" && !slices.Contains(wire.Strength(), least) {
		return regionAnswer{}, fmt.Errorf("no key-exchange suite %.64q: the suites are %s", least, suiteNames())
	}
	e.Limits = req.Limits
	n.numberEntry(&e)
	err = n.region.Audited(ctx, audit.Event{
		EventName: "EnrolRegion", EventType: audit.TypeServiceEvent,
		UserIdentity:        audit.UserIdentity{InvokedBy: "operator"},
		ServiceEventDetails: enrolment(e, fingerprint),
	}, func(*audit.Event) error { return n.region.Enrol(ctx, e) })
	if err != nil {
		return regionAnswer{}, err
	}
	n.log.Info().Str("peer", e.Region).Str("fingerprint", fingerprint).Time("at", n.region.Now()).Msg("region enrolled")
	return describeEntry(e)
}

// numberEntry gives an entry, and the keys that are new in it, this Region's own next version. The version that came
// along is not covered by the fingerprint, and limits are this Region's own, so their change counts too.
func (n *node) numberEntry(e *roster.Entry) {
	held, err := n.region.Roster().Entry(e.Region)
	if err != nil {
		held = roster.Entry{}
	}
	e.Version = held.Version + 1
	// A key that the entry does not have any more introduces nothing from now on: the operator vouches for what there is.
	for _, have := range held.RSKs {
		if !slices.ContainsFunc(e.RSKs, func(k roster.RSK) bool { return bytes.Equal(k.SPKI, have.SPKI) }) {
			if have.State == roster.Active {
				have.State = roster.Retired
			}
			e.RSKs = append(e.RSKs, have)
		}
	}
	inOrderOf(held, e)
	for i := range e.RSKs {
		e.RSKs[i].Since = e.Version
		for _, have := range held.RSKs {
			if bytes.Equal(have.SPKI, e.RSKs[i].SPKI) && have.State == e.RSKs[i].State {
				e.RSKs[i].Since = have.Since
			}
		}
	}
}

// inOrderOf puts the keys that an entry held before has had first, in their order, as a roster demands, and leaves none of
// them less far than it was.
func inOrderOf(held roster.Entry, e *roster.Entry) {
	var out []roster.RSK
	for _, have := range held.RSKs {
		at := slices.IndexFunc(e.RSKs, func(k roster.RSK) bool { return bytes.Equal(k.SPKI, have.SPKI) })
		k := e.RSKs[at]
		if have.State != roster.Active && k.State == roster.Active || have.State == roster.Removed {
			k.State = have.State
		}
		k.Proof = have.Proof
		out = append(out, k)
		e.RSKs = slices.Delete(e.RSKs, at, at+1)
	}
	e.RSKs = append(out, e.RSKs...)
}

func enrolment(e roster.Entry, fingerprint string) (f audit.Fields) {
	f.Str("region", e.Region)
	f.Str("endpoint", e.Endpoint)
	f.Str("fingerprint", fingerprint)
	f.Strs("accounts", e.Limits.Accounts)
	return f
}

// plain is a fingerprint without what people put between its groups.
func plain(fingerprint string) string {
	return strings.ToUpper(strings.NewReplacer(" ", "", "-", "", "\n", "", "\t", "").Replace(fingerprint))
}

// adminTime bounds a call of an operator's command. A backup of a large store takes long.
const adminTime = time.Hour

// asOperator does something for the Region's operator, with its intent and outcome in the audit log.
func (n *node) asOperator(ctx context.Context, name, what string, do func(context.Context) error) error {
	var f audit.Fields
	f.Str("subject", what)
	return n.region.Audited(ctx, audit.Event{
		EventName: name, EventType: audit.TypeServiceEvent, UserIdentity: audit.UserIdentity{InvokedBy: "operator"},
		ServiceEventDetails: f,
	}, func(*audit.Event) error { return do(ctx) })
}
