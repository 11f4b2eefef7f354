package actions

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/metric"
)

// Counts are the metrics of commands. Every label comes from a closed set: never an id, an address or a name.
type Counts struct {
	requests *prometheus.CounterVec
	failures *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	toAck    *prometheus.HistogramVec
}

// NewCounts registers the metrics with r.
func NewCounts(r prometheus.Registerer) *Counts {
	m := &Counts{
		requests: metric.NewCounter("action_requests_total"),
		failures: metric.NewCounter("action_auth_failures_total"),
		latency:  metric.NewHistogram("action_latency_seconds"),
		toAck:    metric.NewHistogram("action_time_to_ack_seconds"),
	}
	r.MustRegister(m.requests, m.failures, m.latency, m.toAck)
	return m
}

// Command counts a command.
func (m *Counts) Command(source Source, verb Verb, outcome Outcome, took time.Duration) {
	m.requests.WithLabelValues(string(source), string(verb), string(outcome)).Inc()
	m.latency.WithLabelValues(string(verb)).Observe(took.Seconds())
}

// Acknowledged notes how long an alert waited for a person.
func (m *Counts) Acknowledged(priority cards.Priority, after time.Duration) {
	m.toAck.WithLabelValues(string(priority)).Observe(max(0, after).Seconds())
}

// AuthFailure counts a call that was not let in. reason is a word of a closed set.
func (m *Counts) AuthFailure(source Source, reason string) {
	m.failures.WithLabelValues(string(source), reason).Inc()
}
