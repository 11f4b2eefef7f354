// Package certwatch looks after the client certificates for NPHIES while a worker runs: it reads them anew when they change, and
// tells people in good time before one ends.
package certwatch

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/metric"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

// Certificates is what is watched.
type Certificates interface {
	Refresh(ctx context.Context)
	Certificates() []nphiesclient.CertificateState
}

// Notifier wishes for channels to be drained.
type Notifier interface {
	Notify(ctx context.Context, channels ...string) error
}

// Watch looks at the certificates again and again. Its fields are set before Run.
type Watch struct {
	Certificates Certificates
	Store        *store.Store
	Notify       Notifier
	Log          *slog.Logger
	// Endpoint is NPHIES' host, shown on cards.
	Endpoint string
	// Interval is the time between two looks.
	Interval time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	logged map[string]string // by licence, the problem in the log, so that it is there once
}

// thresholds are the days left at which people are told, each once for a certificate: 30 when no more than 30 days are left, 0
// is expired.
var thresholds = []int{0, 1, 3, 7, 14, 30}

// Run looks until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	tick := time.NewTicker(w.Interval)
	defer tick.Stop()
	for {
		w.Certificates.Refresh(ctx)
		if err := w.Tell(ctx); err != nil && ctx.Err() == nil {
			w.Log.WarnContext(ctx, "certificates: not told yet", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Tell writes the notifications that are due: "vault.certificate.expiring" when one more threshold is reached, "nphies.api.error" when
// something new cannot be used, "vault.secret.rotation.complete" when something new is in use. The record keeps each from being told twice, by whatever worker. One Watch
// is for one goroutine.
func (w *Watch) Tell(ctx context.Context) error {
	now := time.Now
	if w.Now != nil {
		now = w.Now
	}
	var events []store.Event
	for _, c := range w.Certificates.Certificates() {
		if c.Problem != nil && !fault.Is(c.Problem, fault.Unavailable) {
			events = append(events, store.Event{Key: "certificate/" + c.License + "/problem/" + c.ProblemID, Event: cards.Event{
				Type: cards.APIErrorEvent, CorrelationID: "certificate " + c.License, Details: cards.APIError{
					Operation: cards.OperationSubmission, ErrorType: cards.ErrorCertificate, License: c.License, Endpoint: w.Endpoint,
					Message: "The client certificate at " + c.Source + " cannot be used: " + fault.Of(c.Problem).Safe + kept(c),
				},
			}})
			w.log(ctx, c)
		}
		if c.Fingerprint == "" {
			continue
		}
		if c.Reloads > 0 { // it came in place of another while this worker ran
			events = append(events, store.Event{Key: "certificate/" + c.License + "/" + c.Fingerprint + "/in-use", Event: cards.Event{
				Type: cards.VaultSecretRotatedEvent, CorrelationID: "certificate " + c.License, Details: cards.SecretRotation{Path: c.Source, UsedBy: usedBy(c.License)},
			}})
		}
		days := int(math.Ceil(c.NotAfter.Sub(now()).Hours() / 24)) // the last day is 1: only 0 has expired
		for _, t := range thresholds {
			if days > t {
				continue
			}
			events = append(events, store.Event{Key: fmt.Sprintf("certificate/%s/%s/%d", c.License, c.Fingerprint, t), Event: cards.Event{
				Type: cards.VaultCertificateEvent, CorrelationID: "certificate " + c.License, Details: cards.Certificate{
					CommonName: c.CommonName, Serial: c.Serial, NotAfter: c.NotAfter, Issuer: c.Issuer, Mount: c.Source, UsedBy: usedBy(c.License), DaysLeft: days,
				},
			}})
			break
		}
	}
	if len(events) == 0 {
		return nil
	}
	channels, err := w.Store.Tell(ctx, events...)
	if err != nil || len(channels) == 0 {
		return err
	}
	return w.Notify.Notify(ctx, channels...)
}

// log writes a problem to the log, when it is another one than at the last look.
func (w *Watch) log(ctx context.Context, c nphiesclient.CertificateState) {
	if w.logged[c.License] == c.ProblemID {
		return
	}
	if w.logged == nil {
		w.logged = map[string]string{}
	}
	w.logged[c.License] = c.ProblemID
	w.Log.ErrorContext(ctx, "client certificate cannot be used", slog.String("license", c.License), slog.String("source", c.Source),
		slog.String("error", c.Problem.Error()), slog.Bool("old_one_in_use", c.Fingerprint != ""))
}

func usedBy(license string) string {
	if license == "default" {
		return "licences without a certificate of their own"
	}
	return "provider licence " + license
}

func kept(c nphiesclient.CertificateState) string {
	if c.Fingerprint == "" {
		return ""
	}
	return ". The one before stays in use until " + c.NotAfter.UTC().Format(time.RFC3339)
}

// collector shows the certificates as metrics.
type collector struct {
	of                                Certificates
	notAfter, left, reloads, failures *prometheus.Desc
}

// Collector returns metrics of the certificates. The label license is one of the configured ones or "default".
func Collector(of Certificates) prometheus.Collector {
	return &collector{
		of:       of,
		notAfter: metric.Desc("nphies_client_certificate_not_after_timestamp_seconds"),
		left:     metric.Desc("nphies_client_certificate_expires_in_seconds"),
		reloads:  metric.Desc("nphies_client_certificate_reloads_total"),
		failures: metric.Desc("nphies_client_certificate_failures_total"),
	}
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.notAfter, c.left, c.reloads, c.failures} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, x := range c.of.Certificates() {
		if x.Fingerprint != "" {
			ch <- prometheus.MustNewConstMetric(c.notAfter, prometheus.GaugeValue, float64(x.NotAfter.Unix()), x.License)
			ch <- prometheus.MustNewConstMetric(c.left, prometheus.GaugeValue, time.Until(x.NotAfter).Seconds(), x.License)
		}
		ch <- prometheus.MustNewConstMetric(c.reloads, prometheus.CounterValue, float64(x.Reloads), x.License)
		ch <- prometheus.MustNewConstMetric(c.failures, prometheus.CounterValue, float64(x.Failures), x.License)
	}
}
