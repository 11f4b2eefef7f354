package main

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/store"
)

type notificationsCmd struct {
	List   notificationListCmd   `cmd:"" help:"List notifications, newest first, with the proof of their delivery."`
	Resend notificationResendCmd `cmd:"" help:"Send notifications again: those given up with a fresh budget, those sent as a copy."`
}

type notificationListCmd struct {
	State   string `default:"all" enum:"waiting,sent,dead,all" help:"waiting, sent, dead (given up) or all."`
	Channel string `help:"Only of this channel, named by its first stakeholder (SRE)."`
	Event   string `help:"Only of this event type (nphies.claim.rejected)."`
	Limit   int    `default:"100" help:"Most notifications to list, 0 for all."`
}

type notificationResendCmd struct {
	Reason string      `required:"" help:"Why. It goes on record with your name."`
	IDs    []uuid.UUID `arg:"" name:"id" help:"Ids of notifications."`
}

// notificationView is a notification as JSON.
type notificationView struct {
	ID            uuid.UUID  `json:"id"`
	EventType     string     `json:"event_type"`
	Priority      string     `json:"priority"`
	Channel       string     `json:"channel"`
	Stakeholders  []string   `json:"stakeholders"`
	CorrelationID string     `json:"correlation_id"`
	Summary       string     `json:"summary"`
	State         string     `json:"state"`
	CreatedAt     time.Time  `json:"created_at"`
	SentAt        *time.Time `json:"sent_at"`
	StatusCode    *int       `json:"status_code"`
	RetryCount    int        `json:"retry_count"`
	Error         *string    `json:"error,omitempty"`
	Digest        *string    `json:"digest,omitempty"`
	Result        string     `json:"result,omitempty"`
}

func viewNotification(n store.Notification) notificationView {
	v := notificationView{
		ID: n.ID, EventType: n.EventType, Priority: n.Priority, Channel: n.Channel, Stakeholders: n.Stakeholders, CorrelationID: n.CorrelationID, Summary: n.Summary,
		State: "waiting", CreatedAt: n.CreatedAt, SentAt: n.SentAt, StatusCode: n.StatusCode, RetryCount: n.RetryCount, Error: n.ErrorMessage, Digest: n.DigestID,
	}
	switch {
	case n.SentAt != nil:
		v.State = "sent"
	case n.DeadAt != nil:
		v.State = "dead"
	}
	return v
}

func (e *env) printNotification(v notificationView) error {
	fields := []string{v.ID.String(), v.State, v.Priority, v.EventType, v.Channel, v.CreatedAt.Format(time.RFC3339), v.Summary}
	if v.Error != nil {
		fields = append(fields, *v.Error)
	}
	if v.Result != "" {
		fields = append(fields, v.Result)
	}
	return e.print(v, fields...)
}

// Run lists notifications.
func (c *notificationListCmd) Run(e *env) error {
	if c.Event != "" && !slices.ContainsFunc(cards.Table(), func(r cards.Row) bool { return string(r.Type) == c.Event }) {
		return wrongUsage("--event: %q is not allowed; want an event type such as %s", c.Event, cards.ClaimRejectedEvent)
	}
	if c.Channel != "" && !cards.Stakeholder(c.Channel).Valid() {
		return wrongUsage("--channel: %q is not allowed; want one of %v", c.Channel, cards.Stakeholders())
	}
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	f := store.NotificationFilter{Channel: c.Channel, EventType: c.Event, Limit: max(c.Limit, 0)}
	if c.State != "all" {
		f.Status = c.State
	}
	list, err := a.Store.ListNotifications(e.ctx, f)
	if err != nil {
		return err
	}
	for _, n := range list {
		if err := e.printNotification(viewNotification(n)); err != nil {
			return err
		}
	}
	return nil
}

// Run sends notifications again.
func (c *notificationResendCmd) Run(e *env) error {
	if oneLine(c.Reason) == "" {
		return wrongUsage("--reason: is empty; say why")
	}
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	core := &actions.Core{Store: a.Store, Queue: a.Queue}
	for _, id := range c.IDs {
		out, err := core.Resend(e.ctx, store.Decision{ID: id, Actor: actor(), Source: "cli", Reason: oneLine(c.Reason)})
		if store.IsNotFound(err) {
			e.failed = true
			e.warn("%s: no such notification", id)
			continue
		}
		if err != nil && !out.Applied {
			return err
		}
		if err != nil {
			e.unscheduled(err)
		}
		v := viewNotification(out.Notification)
		v.Result = "queued"
		if !out.Applied {
			v.Result = "waits to be sent anyway"
		}
		if err := e.printNotification(v); err != nil {
			return err
		}
	}
	return nil
}
