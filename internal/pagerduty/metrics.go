package pagerduty

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/internal/store"
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

// NewMetrics registers the metrics with r. Every label is there from the start, so that an alarm on the first failure can see it.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{events: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pagerduty_events_total", Help: "Events sent to PagerDuty, by action and what became of them: accepted, retry, throttled, dead, unknown_to_pagerduty.",
	}, []string{"action", "outcome"})}
	for _, a := range []string{store.PageTrigger, store.PageAcknowledge, store.PageResolve} {
		for _, o := range []string{outcomeAccepted, outcomeRetry, outcomeThrottled, outcomeDead, outcomeUnknown} {
			m.events.WithLabelValues(a, o)
		}
	}
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
		waiting: prometheus.NewDesc("pagerduty_events_waiting", "Events that wait to be sent to PagerDuty.", nil, nil),
		dead:    prometheus.NewDesc("pagerduty_events_given_up", "Events that PagerDuty never took.", nil, nil),
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
