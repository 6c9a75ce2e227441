package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"antipode/regions"
)

// Run sends what is due to other Regions, continues exchanges that wait, and ends RAKBs that have lived too long, until
// ctx ends.
func (n *Node) Run(ctx context.Context) {
	var sending sync.WaitGroup
	sending.Go(func() { n.runSending(ctx) })
	defer sending.Wait()
	tick := time.NewTicker(firstBackoff)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := n.step(ctx); err != nil && ctx.Err() == nil {
			n.log.Error().Err(err).Msg("replication in the background")
		}
	}
}

// Tick does all that is due now, once. What Run does is this, over and over.
func (n *Node) Tick(ctx context.Context) error {
	return errors.Join(n.step(ctx), n.sendAll(ctx))
}

// step goes on with exchanges, changes of primaries, and what the primaries of deleted replicas are to be told. Peers are
// served side by side, so that one that does not answer holds up no other; of one peer's exchanges, oldest first, those
// after one that could not go on wait for the next step.
func (n *Node) step(ctx context.Context) error {
	errs := []error{n.dropOverdue(ctx), n.requests.sweep()}
	if n.region.Recovering() {
		errs = append(errs, n.recoverMore(ctx))
	}
	var due []SourceExchange
	err := n.region.Store().View(ctx, func(rd regions.Reader) (err error) {
		due, err = regions.List[SourceExchange](ctx, rd, n.region.Ring(), regions.Query{
			Kind: regions.KindSourceEx, DueBy: n.region.Now().UnixMilli(), Limit: maxDue,
		})
		return err
	})
	errs = append(errs, err)
	slices.SortFunc(due, func(a, b SourceExchange) int { return cmp.Compare(a.Due, b.Due) })
	byPeer := map[string][]SourceExchange{}
	for _, e := range due {
		byPeer[e.Order.Region] = append(byPeer[e.Order.Region], e)
	}
	unsaid, err := n.unsaid(ctx)
	errs = append(errs, err)
	moving, err := n.handOvers(ctx)
	errs = append(errs, err)
	if n.region.Recovering() {
		unsaid, moving = nil, nil // what it says of its keys is old
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	beside := func(fn func() error) {
		wait.Go(func() {
			if err := fn(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	for _, list := range byPeer {
		beside(func() error { return n.driveAll(ctx, list) })
	}
	for _, list := range moving {
		beside(func() error { return n.handOverAll(ctx, list) })
	}
	for _, list := range unsaid {
		beside(func() error { return n.tellAll(ctx, list) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// maxDue is how many exchanges one Tick looks at.
const maxDue = 1024

// driveAll goes on with the exchanges of one peer until one can't.
func (n *Node) driveAll(ctx context.Context, list []SourceExchange) error {
	for _, e := range list {
		if n.region.Recovering() && !e.supply() {
			continue // it may change what is shared
		}
		if !e.lasting() {
			// Whoever waited for it is gone and could not give it up.
			if _, err := n.fail(ctx, e, regions.CodeDependencyTimeout, "The Region did not answer."); err != nil {
				return err
			}
			continue
		}
		wait := n.quick
		if e.Step == StepOffered {
			wait = n.slow // the answer may need an RSA key
		}
		one, cancel := context.WithTimeout(ctx, wait)
		_, err := n.drive(one, e)
		cancel()
		switch {
		case errors.Is(err, errLater):
			n.log.Warn().Err(err).Str("key", e.Order.KeyID).Str("peer", e.Order.Region).Str("step", string(e.Step)).
				Uint32("attempts", e.Attempts+1).Msg("an exchange can't go on yet")
			return nil
		case err != nil:
			return fmt.Errorf("replicate %s to %s: %w", e.Order.KeyID, e.Order.Region, err)
		}
	}
	return nil
}
