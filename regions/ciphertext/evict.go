package ciphertext

import (
	"context"
	"errors"
	"slices"
)

func (c *keyCache) evict(ctx context.Context, material materialID) error {
	c.mu.Lock()
	c.evicted[material]++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.evicted[material]--; c.evicted[material] == 0 {
			delete(c.evicted, material)
		}
	}()
	return c.drain(ctx, func(d *derived) bool { return d.id.material == material })
}

func (c *keyCache) close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	return c.drain(ctx, func(*derived) bool { return true })
}

func (c *keyCache) sweep(ctx context.Context) error {
	now := c.clock()
	c.destroyAll(ctx, func(d *derived) bool { return d.retired || c.spent(d, now) })
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.orphanErrors(func(*derived) bool { return true })
}

// drain destroys the matching keys and waits until none is left but those that the token fails to destroy, whose errors
// it returns. match depends on the material alone.
func (c *keyCache) drain(ctx context.Context, match func(*derived) bool) error {
	c.destroyAll(ctx, match)
	for {
		c.mu.Lock()
		left := -c.countOrphans(match)
		for material, n := range c.live {
			if match(&derived{id: derivedID{material: material}}) {
				left += n
			}
		}
		changed, err := c.changed, c.orphanErrors(match)
		c.mu.Unlock()
		if left == 0 {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// destroyAll retires the matching keys, and destroys those of them that are not in use and the matching orphans. Keys in
// use are destroyed by their last users.
func (c *keyCache) destroyAll(ctx context.Context, match func(*derived) bool) {
	c.mu.Lock()
	var dead []*derived
	for _, d := range c.keys {
		if match(d) && c.retire(d) {
			dead = append(dead, d)
		}
	}
	c.orphans = slices.DeleteFunc(c.orphans, func(d *derived) bool {
		if match(d) {
			dead = append(dead, d)
			return true
		}
		return false
	})
	c.mu.Unlock()
	for _, d := range dead {
		c.destroy(ctx, d)
	}
}

func (c *keyCache) countOrphans(match func(*derived) bool) (n int) {
	for _, d := range c.orphans {
		if match(d) {
			n++
		}
	}
	return n
}

func (c *keyCache) orphanErrors(match func(*derived) bool) error {
	var errs []error
	for _, d := range c.orphans {
		if match(d) {
			errs = append(errs, d.err)
		}
	}
	return errors.Join(errs...)
}
