package telemetry

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/metric"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

// Figures is what the collector of the record asks.
type Figures interface {
	Figures(ctx context.Context) (store.Figures, error)
	Outcomes(ctx context.Context) ([]store.ClaimFigure, error)
	LastAuditCheck(ctx context.Context) (store.AuditCheck, error)
}

// NewRecord returns a collector of what stands in the record. It is read at a scrape, unless that was done within fresh: every worker
// is asked, and counting is not free. While PostgreSQL does not answer there are no values, rather than old ones.
func NewRecord(s Figures, log *slog.Logger, fresh time.Duration) prometheus.Collector {
	r := &record{store: s, log: log, fresh: fresh, descs: map[string]*prometheus.Desc{}}
	for _, name := range []string{
		"nphiesq_claims", "nphiesq_claims_oldest_pending_age_seconds", "nphiesq_work_oldest_waiting_age_seconds", "nphiesq_dead_letters", "nphiesq_dead_letters_oldest_age_seconds",
		"nphiesq_dead_letters_last_hour", "nphiesq_pauses", "nphiesq_workers", "nphiesq_record_read_timestamp_seconds", "nphies_poll_last_success_timestamp_seconds", "nphies_poll_failing_seconds",
		"nphies_poll_due_seconds", "nphies_mailbox_more_waiting", "nphies_mailbox_unprocessed", "nphies_mailbox_unmatched", "teams_notifications_unacknowledged",
		"teams_notifications_unacknowledged_oldest_age_seconds", "teams_outbox_waiting", "teams_outbox_oldest_age_seconds", "teams_outbox_given_up",
		"teams_outbox_given_up_last_hour", "pagerduty_events_given_up_last_hour",
		"audit_chain_valid", "audit_chain_checked_timestamp_seconds", "audit_chain_rows",
	} {
		r.descs[name] = metric.Desc(name)
	}
	return r
}

// recount is after how many readings claims with an outcome are counted again: each of them is looked at.
const recount = 20

// readWithin is how long the record has to answer.
const readWithin = 5 * time.Second

type record struct {
	store Figures
	log   *slog.Logger
	fresh time.Duration
	descs map[string]*prometheus.Desc

	mu       sync.Mutex
	read     time.Time
	values   []prometheus.Metric
	counted  time.Time
	outcomes []store.ClaimFigure
}

func (r *record) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range r.descs {
		ch <- d
	}
}

func (r *record) Collect(ch chan<- prometheus.Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.read) > r.fresh {
		ctx, cancel := context.WithTimeout(context.Background(), readWithin)
		defer cancel()
		f, err := r.store.Figures(ctx)
		var audit store.AuditCheck
		if err == nil {
			audit, err = r.store.LastAuditCheck(ctx)
		}
		if err == nil && time.Since(r.counted) > recount*r.fresh {
			r.outcomes, err = r.store.Outcomes(ctx)
			r.counted = time.Now()
		}
		r.read, r.values = time.Now(), nil // a failure counts as a reading, too: else each scrape would wait for a database that hangs
		if err != nil {
			r.log.WarnContext(ctx, "no figures of the record for the metrics", slog.String("error", err.Error()))
			return
		}
		r.values = r.all(f, audit)
	}
	for _, v := range r.values {
		ch <- v
	}
}

func (r *record) all(f store.Figures, audit store.AuditCheck) (out []prometheus.Metric) {
	put := func(name string, v float64, labels ...string) {
		out = append(out, metric.Value(r.descs[name], name, v, labels...))
	}
	age := func(at *time.Time) float64 {
		if at == nil || at.IsZero() {
			return 0
		}
		return max(0, f.At.Sub(*at).Seconds())
	}
	put("nphiesq_record_read_timestamp_seconds", seconds(f.At))
	type use struct {
		use   string
		state store.State
	}
	claims := map[use]int{}
	for _, c := range slices.Concat(f.Open, r.outcomes) {
		claims[use{c.Use, c.State}] = c.Count
	}
	for _, u := range []string{store.UseClaim, store.UsePreauthorization} {
		for _, st := range store.States() {
			put("nphiesq_claims", float64(claims[use{u, st}]), u, string(st))
		}
		oldest := f.OldestPending[u]
		put("nphiesq_claims_oldest_pending_age_seconds", age(&oldest), u)
	}
	for _, q := range tasks.Queues() {
		since := f.Waiting[q]
		put("nphiesq_work_oldest_waiting_age_seconds", age(&since), q)
		put("nphiesq_dead_letters", float64(f.Letters[q]), q)
		put("nphiesq_dead_letters_last_hour", float64(f.WrittenLetters[q]), q)
	}
	put("nphiesq_dead_letters_oldest_age_seconds", age(&f.OldestLetter))
	licences, payers := map[string]float64{}, map[string]float64{}
	for _, p := range f.Paused {
		if p.Whole {
			licences[p.License] = 1
		}
		payers[p.License] = float64(p.Payers)
	}
	put("pagerduty_events_given_up_last_hour", float64(f.GivenUpPages))
	for _, m := range f.Mailboxes {
		put("nphiesq_pauses", licences[m.License], m.License, "license")
		put("nphiesq_pauses", payers[m.License], m.License, "payer")
		if m.LastSuccessAt != nil {
			put("nphies_poll_last_success_timestamp_seconds", seconds(*m.LastSuccessAt), m.License)
		}
		put("nphies_poll_failing_seconds", age(m.FirstFailedAt), m.License)
		put("nphies_poll_due_seconds", age(&m.NextPollAt), m.License)
		more := 0.0
		if m.MoreWaiting {
			more = 1
		}
		put("nphies_mailbox_more_waiting", more, m.License)
		put("nphies_mailbox_unprocessed", float64(m.Unprocessed), m.License)
	}
	put("nphies_mailbox_unmatched", float64(f.Unmatched))
	put("nphiesq_workers", float64(f.Alive), "alive")
	put("nphiesq_workers", float64(f.Lost), "lost")
	channel := func(name string) string { // one that is none any more counts as other
		if !cards.Stakeholder(name).Valid() {
			return metric.Other
		}
		return name
	}
	lately := map[string]int{}
	for name, n := range f.GivenUp {
		lately[channel(name)] += n
	}
	outbox := map[string]store.OutboxFigure{}
	for _, o := range f.Outbox {
		name := channel(o.Channel)
		x := outbox[name]
		x.Waiting, x.GaveUp = x.Waiting+o.Waiting, x.GaveUp+o.GaveUp
		if x.Oldest == nil || (o.Oldest != nil && o.Oldest.Before(*x.Oldest)) {
			x.Oldest = o.Oldest
		}
		outbox[name] = x
	}
	for _, s := range append(cards.Stakeholders(), metric.Other) {
		x := outbox[string(s)]
		put("teams_outbox_waiting", float64(x.Waiting), string(s))
		put("teams_outbox_given_up", float64(x.GaveUp), string(s))
		put("teams_outbox_given_up_last_hour", float64(lately[string(s)]), string(s))
		put("teams_outbox_oldest_age_seconds", age(x.Oldest), string(s))
	}
	for _, p := range []cards.Priority{cards.Critical, cards.High} {
		var u store.UnacknowledgedFigure
		for _, x := range f.Unacknowledged {
			if x.Priority == string(p) {
				u = x
			}
		}
		put("teams_notifications_unacknowledged", float64(u.Alerts), string(p))
		put("teams_notifications_unacknowledged_oldest_age_seconds", age(u.Oldest), string(p))
	}
	if !audit.At.IsZero() {
		valid := 0.0
		if audit.Valid {
			valid = 1
		}
		put("audit_chain_valid", valid)
		put("audit_chain_checked_timestamp_seconds", seconds(audit.At))
		put("audit_chain_rows", float64(audit.Rows))
	}
	return out
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
