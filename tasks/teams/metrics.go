package teams

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/store"
)

// Metrics counts what was posted. Every label comes from a closed set.
type Metrics struct {
	sent          *prometheus.CounterVec
	failed        *prometheus.CounterVec
	duration      prometheus.Histogram
	notifications *prometheus.CounterVec
	attempts      *prometheus.CounterVec
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
	other      = "other"
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
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "teams_notifications_sent_total", Help: "Notifications that Teams accepted, alone or in a digest.",
		}, []string{"event_type", "priority"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "teams_notifications_failed_total", Help: "Posts that failed, by HTTP status; none: there was no answer or no webhook.",
		}, []string{"status_code"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "teams_notification_send_duration_seconds", Help: "Time of one post, whatever became of it.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		notifications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "teams_notifications_total", Help: "Notifications by what became of them: sent, sent_in_digest, given_up, copied_to_fallback.",
		}, []string{"channel", "event_type", "priority", "outcome"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "teams_delivery_attempts_total", Help: "Posts by the class of their answer and its HTTP status; none: there was no answer.",
		}, []string{"channel", "class", "status"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "teams_delivery_latency_seconds", Help: "Time from the writing of a notification until Teams accepted it.",
			Buckets: []float64{.1, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400},
		}, []string{"channel"}),
		retryAfter: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "teams_retry_after_seconds", Help: "How long Teams last asked to leave the channel alone.",
		}, []string{"channel"}),
		bytes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "teams_card_bytes", Help: "Size of the accepted messages.", Buckets: []float64{1024, 2048, 4096, 8192, 16384, 24576, 28000},
		}, []string{"event_type"}),
		truncations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "teams_card_truncations_total", Help: "Cards that were sent smaller than they were made. minimal: Teams found them too large.",
		}, []string{"event_type", "step"}),
		deferrals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "teams_rate_limit_deferrals_total",
			Help: "Drains that had to wait: burst and period are our limit, pause is Teams' wish, circuit is a webhook that a person must mend, webhook is Vault that has never answered.",
		}, []string{"channel", "window"}),
		lastAccepted: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "teams_channel_last_accepted_timestamp_seconds", Help: "When this worker's last post to the channel was accepted, as Unix time.",
		}, []string{"channel"}),
	}
	m.changes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "teams_card_changes_total", Help: "Changes of cards that the bot posted: changed, failed (tried again), given_up, gone (there is no such message any more).",
	}, []string{"channel", "outcome"})
	r.MustRegister(m.changes, m.sent, m.failed, m.duration, m.notifications, m.attempts, m.latency, m.retryAfter, m.bytes, m.truncations, m.deferrals, m.lastAccepted)
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
	m.duration.Observe(took.Seconds())
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
	return &circuits{d, b, prometheus.NewDesc("teams_circuit_state",
		"The channel's circuit: 0 closed, 1 half open, 2 open: nothing is posted, a person must mend the webhook.", []string{"channel"}, nil)}
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
