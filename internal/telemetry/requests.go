package telemetry

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/claimlinc/nphiesq/internal/metric"
)

// Requests times the requests of the monitor's listeners.
type Requests struct{ durations *prometheus.HistogramVec }

// NewRequests registers the metric on r.
func NewRequests(r prometheus.Registerer) *Requests {
	q := &Requests{metric.NewHistogram("http_request_duration_seconds")}
	r.MustRegister(q.durations)
	return q
}

// Of returns h with its requests timed, for a listener: pages or actions.
func (q *Requests) Of(listener string, h http.Handler) http.Handler {
	return promhttp.InstrumentHandlerDuration(q.durations.MustCurryWith(prometheus.Labels{"listener": listener}), h)
}
