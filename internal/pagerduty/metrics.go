package pagerduty

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/internal/metric"
)

// Outcomes of sending an event, a closed set.
const (
	outcomeAccepted  = "accepted"
	outcomeRetry     = "retry"
	outcomeThrottled = "throttled"
	outcomeDead      = "dead"
	outcomeUnknown   = "unknown_to_pagerduty" // given up, for its trigger was
)

// Metrics counts events.
type Metrics struct{ events *prometheus.CounterVec }

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{events: metric.NewCounter("pagerduty_events_total")}
	r.MustRegister(m.events)
	return m
}

func (m *Metrics) count(action, outcome string) { m.events.WithLabelValues(action, outcome).Inc() }

// Counter counts what stands in the outbox.
type Counter interface {
	PageCounts(ctx context.Context) (waiting, dead int, err error)
}

type outbox struct {
	store         Counter
	waiting, dead *prometheus.Desc
}

// Collector shows how many events wait and how many were given up. Each scrape asks the record once.
func Collector(s Counter) prometheus.Collector {
	return &outbox{
		store:   s,
		waiting: metric.Desc("pagerduty_events_waiting"),
		dead:    metric.Desc("pagerduty_events_given_up"),
	}
}

func (o *outbox) Describe(ch chan<- *prometheus.Desc) { ch <- o.waiting; ch <- o.dead }

func (o *outbox) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	waiting, dead, err := o.store.PageCounts(ctx)
	if err != nil {
		return // the record is away: /readyz says so
	}
	ch <- prometheus.MustNewConstMetric(o.waiting, prometheus.GaugeValue, float64(waiting))
	ch <- prometheus.MustNewConstMetric(o.dead, prometheus.GaugeValue, float64(dead))
}
