package teams

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/metric"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/store"
)

// Metrics counts what was posted. Every label comes from a closed set.
type Metrics struct {
	sent          *prometheus.CounterVec
	failed        *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	notifications *prometheus.CounterVec
	attempts      *prometheus.CounterVec
	posts         *prometheus.CounterVec
	latency       *prometheus.HistogramVec
	retryAfter    *prometheus.GaugeVec
	bytes         *prometheus.HistogramVec
	truncations   *prometheus.CounterVec
	deferrals     *prometheus.CounterVec
	lastAccepted  *prometheus.GaugeVec
	changes       *prometheus.CounterVec
}

// digestType stands in the label event_type for a card that names several events, other for a value that is not in its set.
const (
	digestType = "digest"
	other      = metric.Other
)

// Outcomes of a notification.
const (
	outcomeSent     = "sent"
	outcomeDigest   = "sent_in_digest"
	outcomeGivenUp  = "given_up"
	outcomeFallback = "copied_to_fallback"
)

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		sent:          metric.NewCounter("teams_notifications_sent_total"),
		failed:        metric.NewCounter("teams_notifications_failed_total"),
		duration:      metric.NewHistogram("teams_notification_send_duration_seconds"),
		notifications: metric.NewCounter("teams_notifications_total"),
		attempts:      metric.NewCounter("teams_delivery_attempts_total"),
		posts:         metric.NewCounter("teams_posts_total"),
		latency:       metric.NewHistogram("teams_delivery_latency_seconds"),
		retryAfter:    metric.NewGauge("teams_retry_after_seconds"),
		bytes:         metric.NewHistogram("teams_card_bytes"),
		truncations:   metric.NewCounter("teams_card_truncations_total"),
		deferrals:     metric.NewCounter("teams_rate_limit_deferrals_total"),
		lastAccepted:  metric.NewGauge("teams_channel_last_accepted_timestamp_seconds"),
	}
	m.changes = metric.NewCounter("teams_card_changes_total")
	r.MustRegister(m.changes, m.posts, m.sent, m.failed, m.duration, m.notifications, m.attempts, m.latency, m.retryAfter, m.bytes, m.truncations, m.deferrals, m.lastAccepted)
	return m
}

// channelLabel keeps the label to the channels there can be: a task's payload may hold anything.
func channelLabel(channel string) string {
	if cards.Stakeholder(channel).Valid() {
		return channel
	}
	return other
}

var eventTypes = func() map[string]bool {
	m := map[string]bool{digestType: true}
	for _, r := range cards.Table() {
		m[string(r.Type)] = true
	}
	return m
}()

func typeLabel(eventType string) string {
	if eventTypes[eventType] {
		return eventType
	}
	return other
}

func statusLabel(status int) string {
	switch {
	case status == 0:
		return "none"
	case status < 100 || status > 599:
		return other
	}
	return strconv.Itoa(status)
}

func (m *Metrics) accepted(channel string, o outcome) {
	channel = channelLabel(channel)
	became := outcomeSent
	if o.digest != "" {
		became = outcomeDigest
	}
	for _, n := range o.rows {
		m.sent.WithLabelValues(typeLabel(n.EventType), n.Priority).Inc()
		m.notifications.WithLabelValues(channel, typeLabel(n.EventType), n.Priority, became).Inc()
		m.latency.WithLabelValues(channel).Observe(max(0, o.at.Sub(n.CreatedAt).Seconds()))
	}
	m.bytes.WithLabelValues(typeLabel(o.eventType())).Observe(float64(o.bytes))
	m.lastAccepted.WithLabelValues(channel).Set(float64(o.at.Unix()))
}

func (m *Metrics) failure(r notify.Result) {
	m.failed.WithLabelValues(statusLabel(r.Status)).Inc()
}

func (m *Metrics) givenUp(channel string, n store.Notification) {
	m.notifications.WithLabelValues(channelLabel(channel), typeLabel(n.EventType), n.Priority, outcomeGivenUp).Inc()
}

// copied counts notifications of several types at once.
func (m *Metrics) copied(channel string, n int) {
	m.notifications.WithLabelValues(channelLabel(channel), other, string(cards.Critical), outcomeFallback).Add(float64(n))
}

func (m *Metrics) attempt(channel string, r notify.Result, took time.Duration) {
	m.attempts.WithLabelValues(channelLabel(channel), string(r.Class), statusLabel(r.Status)).Inc()
	m.posts.WithLabelValues(channelLabel(channel), string(r.Class)).Inc()
	m.duration.WithLabelValues().Observe(took.Seconds())
}

func (m *Metrics) asked(channel string, retryAfter time.Duration) {
	if retryAfter > 0 {
		m.retryAfter.WithLabelValues(channelLabel(channel)).Set(retryAfter.Seconds())
	}
}

func (m *Metrics) shrunk(eventType string) {
	m.truncations.WithLabelValues(typeLabel(eventType), "minimal").Inc()
}

func (m *Metrics) deferred(channel, window string) {
	m.deferrals.WithLabelValues(channelLabel(channel), window).Inc()
}

// circuits shows the circuits of all channels as Redis has them now.
type circuits struct {
	directory interface {
		Directory
		Names() []string
	}
	breaker Breaker
	state   *prometheus.Desc
}

// Circuits returns the metric of the circuits.
func Circuits(d interface {
	Directory
	Names() []string
}, b Breaker,
) prometheus.Collector {
	return &circuits{d, b, metric.Desc("teams_circuit_state")}
}

func (c *circuits) Describe(ch chan<- *prometheus.Desc) { ch <- c.state }

func (c *circuits) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, name := range c.directory.Names() {
		h, ok := c.directory.Hook(name)
		if !ok {
			continue
		}
		s, err := c.breaker.Look(ctx, h.URL.Key())
		if err != nil {
			return // Redis is away: no value rather than a wrong one
		}
		v := 0.0
		switch s.State {
		case ratelimit.HalfOpen:
			v = 1
		case ratelimit.Open:
			v = 2
		case ratelimit.Closed:
		}
		ch <- prometheus.MustNewConstMetric(c.state, prometheus.GaugeValue, v, name)
	}
}
