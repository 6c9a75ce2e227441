package replication

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/identity"
	"antipode/regions/keyring"
	"antipode/replication/wire"
)

// ImportIdentities takes over what an export of [Node.ExportIdentities] has that is newer than what is held; keep and
// replace are regions.Import's. The whole file is verified, opened and compared before anything is changed. When all is
// taken over the request is answered, and its key is destroyed; until then the import may be repeated. Errors are those of
// [wire.Open], wire.ErrMismatch, [ErrNoRequest], [ErrIncomplete], keyring.ErrRefused and those of
// regions.Region.ImportIdentities.
func (n *Node) ImportIdentities(ctx context.Context, file []byte, keep, replace []string) (out regions.Imported, list []identity.Bundle, err error) {
	hash := sha512.Sum384(file)
	event := identitiesEvent("ImportIdentities", details("sha384", hex.EncodeToString(hash[:])))
	err = n.region.Audited(ctx, event, func(e *audit.Event) (err error) {
		defer func() { noteReason(e, err) }()
		pages, err := n.openExport(file)
		if err != nil {
			return err
		}
		from := pages[0].From
		e.ServiceEventDetails.Str("peer", from)
		err = n.requests.use(pages[0].ExchangeID, func(r *openRequest) error {
			if list, err = n.openPages(ctx, r, pages); err != nil {
				return err
			}
			out, err = n.region.ImportIdentities(ctx, regions.Import{From: from, Identities: list, Keep: keep, Replace: replace})
			return err
		})
		e.ServiceEventDetails.Int("applied", int64(len(out.Applied)))
		e.ServiceEventDetails.Int("same", int64(len(out.Same)))
		e.ServiceEventDetails.Int("newerHere", int64(len(out.Newer)))
		e.ServiceEventDetails.Str("kept", strings.Join(out.Kept, " "))
		return err
	})
	return out, list, err
}

// openExport verifies the signature and the addressee of every page, and that all pages of one export are there.
func (n *Node) openExport(file []byte) ([]*wire.IdentityExport, error) {
	signed, err := wire.SplitPages(file)
	if err != nil {
		return nil, err
	}
	var pages []*wire.IdentityExport
	for _, data := range signed {
		m, err := wire.Open(data, n.region.Name(), n.region.Roster())
		if err != nil {
			return nil, err
		}
		x, isExport := m.(*wire.IdentityExport)
		if !isExport {
			return nil, fmt.Errorf("%w: %s is no export of identities", wire.ErrMalformed, m.Type())
		}
		pages = append(pages, x)
	}
	first := pages[0]
	for i, x := range pages {
		if x.Export != first.Export || x.ExchangeID != first.ExchangeID || x.From != first.From || x.Pages != first.Pages ||
			x.Page != uint64(i)+1 {
			return nil, fmt.Errorf("%w: page %d is not what follows", ErrIncomplete, i+1)
		}
	}
	if uint64(len(pages)) != first.Pages {
		return nil, fmt.Errorf("%w: %d of %d pages", ErrIncomplete, len(pages), first.Pages)
	}
	return pages, nil
}

// openPages opens all pages of an export on the token.
func (n *Node) openPages(ctx context.Context, r *openRequest, pages []*wire.IdentityExport) (all []identity.Bundle, err error) {
	entry, err := n.region.Roster().Entry(pages[0].From)
	if err != nil {
		return nil, err
	}
	for _, x := range pages {
		if err := x.Answers(r.message, r.asked, wire.Suite(entry.Limits.MinSuite)); err != nil {
			return nil, err
		}
		list, err := n.openPage(ctx, r, x)
		if err != nil {
			return nil, fmt.Errorf("open identities: %w", err)
		}
		all = append(all, list...)
	}
	return all, nil
}

func (n *Node) openPage(ctx context.Context, r *openRequest, x *wire.IdentityExport) (list []identity.Bundle, err error) {
	token := n.region.Ring().Token()
	scope, err := token.OpenScope(ctx) // the request's own outlives this page
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, token.CloseScope(scope)) }()
	key, transcript, err := n.pageKey(ctx, r.message, x, r.ref, x.Point, scope)
	if err != nil {
		return nil, err
	}
	plaintext := make([]byte, 0, len(x.Sealed)*wire.SealedPart) // so that no copy is left behind by growing
	defer func() { clear(plaintext[:cap(plaintext)]) }()
	for i, sealed := range x.Sealed {
		part, err := keyring.OpenUnder(ctx, token, key, wire.SealedAAD(transcript, i, len(x.Sealed)), sealed)
		if err != nil {
			return nil, err
		}
		plaintext = append(plaintext, part...)
		clear(part)
	}
	return wire.DecodeIdentities(plaintext)
}
