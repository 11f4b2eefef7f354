package teams

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/store"
)

// Metrics counts what was posted.
type Metrics struct {
	sent     *prometheus.CounterVec
	failed   *prometheus.CounterVec
	duration prometheus.Histogram
}

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
	}
	r.MustRegister(m.sent, m.failed, m.duration)
	return m
}

func (m *Metrics) accepted(rows []store.Notification) {
	for _, n := range rows {
		m.sent.WithLabelValues(n.EventType, n.Priority).Inc()
	}
}

func (m *Metrics) refused(r notify.Result) {
	status := "none"
	if r.Status != 0 {
		status = strconv.Itoa(r.Status)
	}
	m.failed.WithLabelValues(status).Inc()
}

func (m *Metrics) took(d time.Duration) { m.duration.Observe(d.Seconds()) }
