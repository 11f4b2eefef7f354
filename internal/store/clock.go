package store

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Clock tells the database's time, so that all workers agree on what is due whatever their own clocks say, and a step of one of them
// moves nothing. Between two readings it goes by the machine's monotonic clock. It is safe for concurrent use.
type Clock struct {
	pool *pgxpool.Pool
	mu   sync.Mutex
	// at is the database's time at the local moment.
	at    time.Time
	local time.Time
}

// NewClock reads the database's clock.
func NewClock(ctx context.Context, pool *pgxpool.Pool) (*Clock, error) {
	c := &Clock{pool: pool}
	return c, c.Read(ctx)
}

// Read reads the database's clock anew. On an error the former reading stays.
func (c *Clock) Read(ctx context.Context) error {
	before := time.Now()
	var at time.Time
	if err := c.pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&at); err != nil {
		return wrap("read clock", err)
	}
	half := time.Since(before) / 2
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.local = at, before.Add(half)
	return nil
}

// Now is the database's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at.Add(time.Since(c.local))
}

// clockInterval is the time between two readings: clocks of machines drift apart by seconds in a day.
const clockInterval = 30 * time.Second

// Run reads the clock now and then until ctx ends.
func (c *Clock) Run(ctx context.Context) {
	tick := time.NewTicker(clockInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			rctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			_ = c.Read(rctx) // the former reading will do
			cancel()
		}
	}
}
