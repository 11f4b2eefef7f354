package actions

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/cards"
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
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "action_requests_total", Help: "Commands about alerts by the way they came and what came of them: applied, already, refused.",
		}, []string{"source", "verb", "outcome"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "action_auth_failures_total", Help: "Calls and links that were not let in, by reason.",
		}, []string{"source", "reason"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "action_latency_seconds", Help: "Time one command took.", Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"verb"}),
		toAck: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "action_time_to_ack_seconds", Help: "Time from the first notification of an alert to its acknowledgement by a person.",
			Buckets: []float64{30, 60, 120, 300, 600, 1800, 3600, 14400, 43200, 86400},
		}, []string{"priority"}),
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
