package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/claimlinc/nphiesq/internal/metric"
)

// answerWithin is how long a server has to answer a scrape.
const answerWithin = 2 * time.Second

// NewDependencies returns a collector that asks each server, by name, at each scrape whether it answers. Names are those of the
// catalogue: postgresql, redis, vault.
func NewDependencies(ask map[string]func(context.Context) error) prometheus.Collector {
	return &dependencies{ask, metric.Desc("nphiesq_dependency_up")}
}

type dependencies struct {
	ask map[string]func(context.Context) error
	up  *prometheus.Desc
}

func (d *dependencies) Describe(ch chan<- *prometheus.Desc) { ch <- d.up }

func (d *dependencies) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	var wg sync.WaitGroup
	for name, ask := range d.ask {
		wg.Go(func() {
			answered := make(chan error, 1) // not every client minds its context
			go func() { answered <- ask(ctx) }()
			up := 0.0
			select {
			case err := <-answered:
				if err == nil {
					up = 1
				}
			case <-ctx.Done():
			}
			ch <- prometheus.MustNewConstMetric(d.up, prometheus.GaugeValue, up, name)
		})
	}
	wg.Wait()
}

// NewPools returns a collector of the connections that this process holds to PostgreSQL and Redis.
func NewPools(db *pgxpool.Pool, rc redis.UniversalClient) prometheus.Collector {
	return &pools{
		db: db, rc: rc,
		conns: metric.Desc("nphiesq_db_connections"), most: metric.Desc("nphiesq_db_connections_max"), acquires: metric.Desc("nphiesq_db_acquires_total"),
		wait: metric.Desc("nphiesq_db_acquire_seconds_total"), waited: metric.Desc("nphiesq_db_acquires_waited_total"),
		redis: metric.Desc("nphiesq_redis_connections"), timeouts: metric.Desc("nphiesq_redis_pool_timeouts_total"),
	}
}

type pools struct {
	db                                                   *pgxpool.Pool
	rc                                                   redis.UniversalClient
	conns, most, acquires, wait, waited, redis, timeouts *prometheus.Desc
}

func (p *pools) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{p.conns, p.most, p.acquires, p.wait, p.waited, p.redis, p.timeouts} {
		ch <- d
	}
}

func (p *pools) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	s := p.db.Stat()
	gauge(p.conns, float64(s.IdleConns()), "idle")
	gauge(p.conns, float64(s.TotalConns()-s.IdleConns()), "in_use")
	gauge(p.most, float64(s.MaxConns()))
	count(p.acquires, float64(s.AcquireCount()))
	count(p.wait, s.AcquireDuration().Seconds())
	count(p.waited, float64(s.EmptyAcquireCount()))
	r := p.rc.PoolStats()
	gauge(p.redis, float64(r.IdleConns), "idle")
	gauge(p.redis, float64(r.TotalConns-min(r.IdleConns, r.TotalConns)), "in_use")
	count(p.timeouts, float64(r.Timeouts))
}
