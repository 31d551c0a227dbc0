package main

import (
	"context"
	"sync"
	"time"
)

// downloads measures by how many MiB a server grows while n clients download the
// big file at once. Each has taken a MiB of it when the last look is taken, and
// none has come to the end.
func downloads(n int) func(context.Context, *running) (sample, error) {
	return func(ctx context.Context, r *running) (sample, error) {
		before, err := memory(r.pid)
		if err != nil {
			return sample{}, err
		}
		all := make([]*download, n)
		defer func() {
			for _, d := range all {
				if d != nil {
					d.conn.Close()
				}
			}
		}()
		most := before
		look := func() error {
			now, err := memory(r.pid)
			most = max(most, now)
			return err
		}
		done := make(chan struct{})
		var watch sync.WaitGroup
		watch.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(50 * time.Millisecond):
					_ = look() // the last one counts
				}
			}
		})
		err = together(n, func(i int) (err error) {
			if all[i], err = get(ctx, r.addr, bigName, 0, bigSize); err != nil {
				return err
			}
			return all[i].discard(1 << 20)
		})
		close(done)
		watch.Wait()
		if err == nil {
			err = look()
		}
		return sample{value: float64(most-before) / (1 << 20)}, err
	}
}

// idleNBD measures how many KiB of the server each of n connections takes that
// have negotiated the export, read some of it, and then say nothing.
func idleNBD(n int) func(context.Context, *running) (sample, error) {
	return func(ctx context.Context, r *running) (sample, error) {
		before, err := memory(r.pid)
		if err != nil {
			return sample{}, err
		}
		all := make([]*nbdClient, n)
		defer func() {
			for _, c := range all {
				if c != nil {
					c.conn.Close()
				}
			}
		}()
		// One after the other: how many servers take at once is not the question.
		for i := range all {
			if all[i], err = openNBD(ctx, r.addr); err != nil {
				return sample{}, err
			}
			if err := all[i].read(0, 64<<10); err != nil {
				return sample{}, err
			}
		}
		after, err := memory(r.pid)
		return sample{value: float64(after-before) / 1024 / float64(n)}, err
	}
}
