package replication

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"antipode/hsmbackend"
	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/identity"
	"antipode/regions/keyring"
	"antipode/replication/wire"
)

// What [Node.ImportIdentities] refuses beside what wire and regions do.
var (
	// ErrNoRequest says that an export answers no request that this process has open.
	ErrNoRequest = errors.New("no request of this Region is open that the file answers: it was answered already, is too old, " +
		"or was made before the process started; make a new one")
	// ErrIncomplete says that pages of an export are missing, or of another export.
	ErrIncomplete = errors.New("the export is not whole")
)

// pagePlaintext is how much the identities of a page have together, in bytes, unless a single one has more.
const pagePlaintext = 128 << 10

// ExportedIdentities says what an export has.
type ExportedIdentities struct {
	File       []byte   // of [wire.JoinPages]
	Accounts   []string // whose identities are in it
	Identities int      // accounts, users and roles, deleted ones too
}

// RequestIdentities makes a signed request for another Region's identities, for its operator. The key that opens the answer
// is on this Region's token, can't leave it, and ends with the process, after a day, or with the next request to the same
// Region. It returns [wire.ErrNoSuite] if this token has no ECDH suite.
func (n *Node) RequestIdentities(ctx context.Context, from string) (message []byte, err error) {
	if _, err := n.region.Roster().Entry(from); err != nil {
		return nil, err
	}
	if from == n.region.Name() {
		return nil, fmt.Errorf("%w: a region has its own identities", wire.ErrMisrouted)
	}
	err = n.region.Audited(ctx, identitiesEvent("RequestIdentities", details("peer", from)), func(*audit.Event) error {
		message, err = n.requestIdentities(ctx, from)
		return err
	})
	return message, err
}

func (n *Node) requestIdentities(ctx context.Context, from string) (_ []byte, err error) {
	token := n.region.Ring().Token()
	q := &wire.IdentityRequest{Suites: wire.WithoutRSA(Suites(token.Capabilities()))}
	if len(q.Suites) == 0 {
		return nil, fmt.Errorf("%w: this token has no ECDH suite, which identities are sealed by", wire.ErrNoSuite)
	}
	if q.Route, err = n.newRoute(ctx, from); err != nil {
		return nil, err
	}
	nonce, err := token.Random(ctx, wire.NonceSize)
	if err != nil {
		return nil, err
	}
	q.Nonce = [wire.NonceSize]byte(nonce)
	r := &openRequest{id: q.ExchangeID, asked: q}
	if r.scope, err = token.OpenScope(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, token.CloseScope(r.scope))
		}
	}()
	if r.ref, q.Point, err = agreementKey(ctx, token, r.scope); err != nil {
		return nil, err
	}
	if r.message, err = wire.Sign(ctx, n.region.Ring().RSK(), q); err != nil {
		return nil, err
	}
	return r.message, n.requests.add(r)
}

// ExportIdentities answers a request of the Region to, which must be its, with this Region's accounts, users and roles,
// deleted ones as what is left of them, and the secrets of their access keys, sealed for that Region's token. Exported are
// the accounts given, each of which the roster must let that Region hold, or all that it lets it hold. Errors are those of
// [wire.Open], [wire.ErrNoSuite] and refusals of the roster.
func (n *Node) ExportIdentities(ctx context.Context, to string, request []byte, accounts []string) (out ExportedIdentities, err error) {
	event := identitiesEvent("ExportIdentities", details("peer", to, "accounts", strings.Join(accounts, " ")))
	err = n.region.Audited(ctx, event, func(e *audit.Event) (err error) {
		defer func() { noteReason(e, err) }()
		if out, err = n.exportIdentities(ctx, to, request, accounts); err != nil {
			return err
		}
		hash := sha512.Sum384(out.File)
		e.ServiceEventDetails = details("peer", to, "accounts", strings.Join(out.Accounts, " "), "sha384", hex.EncodeToString(hash[:]))
		e.ServiceEventDetails.Int("identities", int64(out.Identities))
		return nil
	})
	if err != nil {
		return ExportedIdentities{}, err
	}
	return out, nil
}

func identitiesEvent(name string, f audit.Fields) audit.Event {
	return audit.Event{
		EventName: name, EventType: audit.TypeServiceEvent, UserIdentity: audit.UserIdentity{InvokedBy: "operator"},
		ServiceEventDetails: f,
	}
}

// noteReason says in the audit log why an export or import was refused; the errors have nothing of a secret.
func noteReason(e *audit.Event, err error) {
	if err != nil {
		e.ServiceEventDetails.Str("reason", err.Error())
	}
}

func (n *Node) exportIdentities(ctx context.Context, to string, request []byte, accounts []string) (out ExportedIdentities, err error) {
	ro := n.region.Roster()
	m, err := wire.Open(request, n.region.Name(), ro)
	if err != nil {
		return out, err
	}
	q, isRequest := m.(*wire.IdentityRequest)
	if !isRequest {
		return out, fmt.Errorf("%w: %s is no request for identities", wire.ErrMalformed, m.Type())
	}
	if q.From != to {
		return out, fmt.Errorf("%w: the request is %s's, not %s's", wire.ErrMisrouted, q.From, to)
	}
	entry, err := ro.Entry(to)
	if err != nil {
		return out, err
	}
	own := Suites(n.region.Ring().Token().Capabilities())
	suite, err := wire.Choose(wire.WithoutRSA(own), q.Suites, wire.Suite(entry.Limits.MinSuite))
	if err != nil {
		return out, err
	}
	list, err := n.exported(ctx, to, accounts, &out)
	if err != nil {
		return out, err
	}
	pages, err := splitIdentities(list)
	defer func() {
		for _, p := range pages {
			clear(p)
		}
	}()
	if err != nil {
		return out, err
	}
	id, err := n.region.Ring().Token().Random(ctx, 16)
	if err != nil {
		return out, err
	}
	var signed [][]byte
	for i, plaintext := range pages {
		x := &wire.IdentityExport{
			Route: q.Answer(ro.Version), Request: wire.Hash(request), Suites: own, Suite: suite, Export: [16]byte(id),
			Page: uint64(i) + 1, Pages: uint64(len(pages)),
		}
		page, err := n.sealPage(ctx, request, q, x, plaintext)
		if err != nil {
			return out, fmt.Errorf("seal identities: %w", err)
		}
		signed = append(signed, page)
	}
	out.File = wire.JoinPages(signed)
	return out, nil
}

// exported reads the identities of the accounts that the other Region may have.
func (n *Node) exported(ctx context.Context, to string, accounts []string, out *ExportedIdentities) (list []identity.Bundle, err error) {
	ro := n.region.Roster()
	for _, a := range accounts {
		if !ro.AllowsAccount(to, a) {
			return nil, regions.Errorf(regions.CodeAccessDenied, "Identities of account %.20s may not be sent to %s.", a, to)
		}
	}
	names, err := n.region.Identities(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if len(accounts) > 0 && !slices.Contains(accounts, name.Account) || !ro.AllowsAccount(to, name.Account) {
			continue
		}
		b, err := n.region.Identity(ctx, name)
		if err != nil {
			return nil, err
		}
		list = append(list, b)
		if !slices.Contains(out.Accounts, name.Account) {
			out.Accounts = append(out.Accounts, name.Account)
		}
	}
	slices.Sort(out.Accounts)
	out.Identities = len(list)
	return list, nil
}

// splitIdentities encodes identities into pages. There is at least one, which may have none of them.
func splitIdentities(list []identity.Bundle) (pages [][]byte, err error) {
	for first := true; first || len(list) > 0; first = false {
		count, size := 0, 0
		for count < len(list) && size < pagePlaintext {
			one, err := wire.EncodeIdentities(list[count : count+1])
			if err != nil {
				return pages, err
			}
			if count > 0 && size+len(one) > pagePlaintext {
				clear(one)
				break
			}
			size += len(one)
			clear(one)
			count++
		}
		page, err := wire.EncodeIdentities(list[:count])
		if err != nil {
			return pages, err
		}
		pages, list = append(pages, page), list[count:]
		if len(pages) > wire.MaxIdentityPages {
			return pages, fmt.Errorf("%w: too many identities for one export: name accounts", wire.ErrUnsupported)
		}
	}
	return pages, nil
}

// sealPage makes the exporter's ephemeral key of a page, agrees on the page's key and seals the page under it, all on the
// token, in a session that ends with it.
func (n *Node) sealPage(ctx context.Context, request []byte, q *wire.IdentityRequest, x *wire.IdentityExport, plaintext []byte) (_ []byte, err error) {
	token := n.region.Ring().Token()
	scope, err := token.OpenScope(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, token.CloseScope(scope)) }()
	own, point, err := agreementKey(ctx, token, scope)
	if err != nil {
		return nil, err
	}
	x.Point = point
	key, transcript, err := n.pageKey(ctx, request, x, own, q.Point, scope)
	if err != nil {
		return nil, err
	}
	parts := (len(plaintext) + wire.SealedPart - 1) / wire.SealedPart
	for i := range parts {
		part := plaintext[i*wire.SealedPart : min((i+1)*wire.SealedPart, len(plaintext))]
		sealed, err := keyring.SealUnder(ctx, token, key, wire.SealedAAD(transcript, i, parts), part)
		if err != nil {
			return nil, err
		}
		x.Sealed = append(x.Sealed, sealed)
	}
	return wire.Sign(ctx, n.region.Ring().RSK(), x)
}

// pageKey makes the key of a page: it can derive message keys, and nothing else.
func (n *Node) pageKey(ctx context.Context, request []byte, x *wire.IdentityExport, own hsmbackend.KeyRef, peer []byte, scope hsmbackend.Scope) (
	key hsmbackend.KeyRef, transcript [wire.HashSize]byte, err error,
) {
	if transcript, err = wire.IdentityTranscript(request, x); err != nil {
		return key, transcript, err
	}
	token := n.region.Ring().Token()
	attr := keyring.SealingAttributes(token.Capabilities())
	attr.Label, attr.Scope = "antipode/identities", scope
	key, err = agree(ctx, token, x.Suite, own, peer, transcript, attr)
	return key, transcript, err
}
