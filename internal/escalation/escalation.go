// Package escalation passes alerts on by itself that nobody acknowledged in time. It runs in every worker and is done by one.
package escalation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/metric"
	"github.com/claimlinc/nphiesq/internal/store"
)

// Interval is the time between two looks of all workers together.
const Interval = 15 * time.Second

// Exempt are the event types that are never escalated: nobody on call can mend a rejected claim, and a sign of life is no trouble.
func Exempt() []cards.EventType {
	return []cards.EventType{cards.ClaimRejectedEvent, cards.HeartbeatEvent}
}

// Options are the settings.
type Options struct {
	// Critical and High are how long such an alert may be open before it is escalated; 0 for ever.
	Critical, High time.Duration
	// Interval is the time between two looks: that above.
	Interval time.Duration
	// Now is the clock: time.Now.
	Now func() time.Time
}

// Escalation looks for alerts that nobody acknowledged. Each worker has one.
type Escalation struct {
	store   *store.Store
	core    *actions.Core
	log     *slog.Logger
	opt     Options
	metrics *prometheus.CounterVec
}

// New returns an Escalation whose metric is registered with r.
func New(s *store.Store, core *actions.Core, r prometheus.Registerer, log *slog.Logger, o Options) *Escalation {
	if o.Interval <= 0 {
		o.Interval = Interval
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	e := &Escalation{store: s, core: core, log: log, opt: o, metrics: metric.NewCounter("nphiesq_escalations_total")}
	r.MustRegister(e.metrics)
	return e
}

// Run looks until ctx ends.
func (e *Escalation) Run(ctx context.Context) {
	tick := time.NewTicker(e.opt.Interval)
	defer tick.Stop()
	for {
		if err := e.duty(ctx); err != nil && ctx.Err() == nil {
			e.log.WarnContext(ctx, "looking for unacknowledged alerts was cut short", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (e *Escalation) duty(ctx context.Context) error {
	ctx, release, ok, err := e.store.Duty(ctx, "escalate", e.opt.Interval)
	if err != nil || !ok {
		return err
	}
	defer release()
	return e.Once(ctx)
}

// Once does one look: of each event type at most one alert is escalated, and stands for all others of the type that are overdue, too.
func (e *Escalation) Once(ctx context.Context) error {
	return errors.Join(e.look(ctx, cards.Critical, e.opt.Critical), e.look(ctx, cards.High, e.opt.High))
}

func (e *Escalation) look(ctx context.Context, p cards.Priority, after time.Duration) error {
	if after <= 0 {
		return nil
	}
	f := store.AlertFilter{Priority: p, Before: e.opt.Now().Add(-after), Except: Exempt()}
	list, err := e.store.Overdue(ctx, f)
	if err != nil {
		return err
	}
	var errs []error
	for _, o := range list {
		errs = append(errs, e.escalate(ctx, o, f, after))
	}
	return errors.Join(errs...)
}

// ringAgain is how long an escalated alert that nobody acknowledges stands for later ones of its type, too.
const ringAgain = time.Hour

func (e *Escalation) escalate(ctx context.Context, o store.OverdueAlert, f store.AlertFilter, after time.Duration) error {
	f.Type = o.Type
	n, joined, err := e.store.JoinEscalation(ctx, f, e.opt.Now().Add(-ringAgain), "nphiesq", "nobody acknowledged it within "+say(after)+"; one like it was escalated before")
	if err != nil {
		return err
	}
	if joined {
		e.metrics.WithLabelValues(string(f.Priority)).Add(float64(n))
		return nil
	}
	a, err := e.store.AlertOf(ctx, o.Notification)
	if err != nil {
		return err
	}
	reason := "nobody acknowledged it within " + say(after)
	if o.More > 0 {
		reason += fmt.Sprintf(", and %d more like it", o.More)
	}
	r, err := e.core.Do(ctx, actions.Command{
		Key: fmt.Sprintf("escalate/%s/%d", a.ID, a.Version), Notification: o.Notification, Verb: actions.Escalate, Reason: reason, With: &f,
		Actor: actions.Actor{Type: actions.System, ID: "nphiesq", Name: "nphiesq"}, Source: actions.FromSystem,
	})
	if err != nil {
		return err
	}
	if r.Outcome == actions.Refused {
		return &fault.Error{Op: "escalate", Kind: fault.Conflict, Safe: r.Message}
	}
	if r.Outcome == actions.Applied {
		e.metrics.WithLabelValues(string(f.Priority)).Add(float64(1 + r.With))
		e.log.WarnContext(ctx, "escalated, nobody acknowledged it", slog.String("alert_id", a.ID.String()), slog.String("event_type", string(o.Type)),
			slog.String("priority", string(f.Priority)), slog.Int("with", r.With))
	}
	return nil
}

// say writes a duration for people: "5 minutes".
func say(d time.Duration) string {
	unit := func(n int64, what string) string {
		if n == 1 {
			return "1 " + what
		}
		return fmt.Sprintf("%d %ss", n, what)
	}
	switch {
	case d%time.Hour == 0:
		return unit(int64(d/time.Hour), "hour")
	case d%time.Minute == 0:
		return unit(int64(d/time.Minute), "minute")
	case d%time.Second == 0:
		return unit(int64(d/time.Second), "second")
	}
	return d.String()
}
