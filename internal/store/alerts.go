package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
)

// AlertState says what was done about an alert. It is a closed set.
type AlertState string

// States of an alert. A new notification of one that is acknowledged, retrying or over makes it open again.
const (
	AlertOpen         AlertState = "open"
	AlertAcknowledged AlertState = "acknowledged"
	AlertEscalated    AlertState = "escalated"
	AlertRetrying     AlertState = "retrying"
	AlertDiscarded    AlertState = "discarded"
	AlertResolved     AlertState = "resolved"
)

// AlertNotice is the state of notifications that only tell of a decision or of an end. No alert has it.
const AlertNotice AlertState = "notice"

// AlertStates lists the states that an alert can have.
func AlertStates() []AlertState {
	return []AlertState{AlertOpen, AlertAcknowledged, AlertEscalated, AlertRetrying, AlertDiscarded, AlertResolved}
}

// Over reports whether nothing is to be done any more.
func (s AlertState) Over() bool { return s == AlertDiscarded || s == AlertResolved }

// Alert is what one or more notifications are about, and what was done about it.
type Alert struct {
	// ID is the same for ever; decisions are on record under it.
	ID  uuid.UUID
	Key string
	// Notification is the one that was asked for; Channel and EventType are its own.
	Notification uuid.UUID
	Channel      string
	EventType    cards.EventType
	Summary      string
	// The rest is that of the alert's newest notification.
	Priority cards.Priority
	State    AlertState
	Version  int
	// Told are all stakeholders that hear of it, in the order in which they were told.
	Told     []cards.Stakeholder
	ClaimID  *uuid.UUID
	LetterID *uuid.UUID
	// License is the provider licence it is about, "" for none.
	License        string
	AcknowledgedBy string
	AcknowledgedAt *time.Time
	// Taken is the last verb that was applied, TakenBy and TakenAt who did it and when.
	Taken, TakenBy string
	TakenAt        *time.Time
	Since          time.Time
	// Event is what its card was made from; nil for one that was written before events were kept.
	Event *cards.Event
	// Paged holds, by the name of the integration key, what PagerDuty was told last while it knows of the alert: trigger or acknowledge.
	Paged map[string]string
	// Shown are those of Told whose cards the bot posted: they are changed, so that nobody needs to be told again.
	Shown []cards.Stakeholder
}

// AlertID is the id of the alert with a key.
func AlertID(key string) uuid.UUID { return notificationID(key, "") }

// AlertOf returns the alert that a notification is about, or a fault of Kind NotFound.
func (s *Store) AlertOf(ctx context.Context, notification uuid.UUID) (Alert, error) {
	a, err := alertOf(ctx, s.pool, notification, "")
	return a, wrap("read alert", err)
}

type alertRow struct {
	ID             uuid.UUID
	Key            string
	Channel        string
	EventType      string
	Summary        string
	Priority       string
	State          string
	Version        int
	Stakeholders   []string
	ClaimID        *uuid.UUID
	LetterID       *uuid.UUID
	AcknowledgedBy *string
	AcknowledgedAt *time.Time
	CreatedAt      time.Time
	Activity       *string
	Event          []byte
	Taken          *string
	TakenBy        *string
	TakenAt        *string
}

// alertOf reads an alert; lock is "" or FOR UPDATE.
func alertOf(ctx context.Context, q querier, notification uuid.UUID, lock string) (Alert, error) {
	rows, err := q.Query(ctx, `SELECT id, alert_key, channel, event_type, summary, priority, state, version, stakeholders, claim_id, dead_letter_id, acknowledged_by,
		acknowledged_at, created_at, activity_id, event, action_taken, action_data->>'by', action_data->>'at' FROM teams_notifications WHERE alert_key = (SELECT alert_key FROM teams_notifications WHERE id = $1)
		ORDER BY created_at, id `+lock, notification)
	if err != nil {
		return Alert{}, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[alertRow])
	if err != nil {
		return Alert{}, err
	}
	at := slices.IndexFunc(list, func(r alertRow) bool { return r.ID == notification })
	if at < 0 {
		return Alert{}, pgx.ErrNoRows
	}
	asked := list[at]
	a := Alert{
		ID: AlertID(asked.Key), Key: asked.Key, Notification: asked.ID, Channel: asked.Channel, EventType: cards.EventType(asked.EventType), Summary: asked.Summary,
		State: AlertResolved, Since: list[0].CreatedAt,
	}
	priorities := map[string]cards.Priority{} // the newest of each event type: an alert may have cards of two, and the more urgent one counts
	for _, r := range list {
		for _, who := range r.Stakeholders {
			if !slices.Contains(a.Told, cards.Stakeholder(who)) {
				a.Told = append(a.Told, cards.Stakeholder(who))
			}
		}
		if AlertState(r.State) != AlertNotice {
			for _, who := range r.Stakeholders { // a card of theirs that went through a webhook cannot be changed
				a.Shown = slices.DeleteFunc(a.Shown, func(s cards.Stakeholder) bool { return string(s) == who })
				if r.Activity != nil {
					a.Shown = append(a.Shown, cards.Stakeholder(who))
				}
			}
		}
		if r.AcknowledgedAt != nil && (a.AcknowledgedAt == nil || r.AcknowledgedAt.After(*a.AcknowledgedAt)) {
			a.AcknowledgedAt, a.AcknowledgedBy = r.AcknowledgedAt, value(r.AcknowledgedBy)
		}
		if AlertState(r.State) == AlertNotice {
			continue
		}
		if at, err := time.Parse(time.RFC3339, value(r.TakenAt)); err == nil && (a.TakenAt == nil || !at.Before(*a.TakenAt)) {
			a.Taken, a.TakenBy, a.TakenAt = value(r.Taken), value(r.TakenBy), &at
		}
		a.State, a.Version, a.ClaimID = AlertState(r.State), max(a.Version, r.Version), r.ClaimID
		priorities[r.EventType] = cards.Priority(r.Priority)
		if r.LetterID != nil {
			a.LetterID = r.LetterID
		}
		if len(r.Event) > 0 && (a.Event == nil || r.EventType == asked.EventType) {
			a.Event = nil
			var e cards.Event
			if err := json.Unmarshal(r.Event, &e); err == nil { // else an event of another version: its card is all there is
				a.Event = &e
			}
		}
	}
	for _, p := range priorities {
		if a.Priority == "" || p.Rank() < a.Priority.Rank() {
			a.Priority = p
		}
	}
	a.License = licenseOf(a.Event)
	if a.Paged, err = paged(ctx, q, a.Key); err != nil {
		return Alert{}, err
	}
	if a.License == "" {
		err = q.QueryRow(ctx, `SELECT coalesce((SELECT license FROM claims WHERE id = $1), (SELECT license FROM dead_letters WHERE id = $2), '')`, a.ClaimID, a.LetterID).Scan(&a.License)
	}
	return a, err
}

func licenseOf(e *cards.Event) string {
	if e == nil {
		return ""
	}
	if d, ok := e.Details.(cards.APIError); ok {
		return d.License
	}
	return ""
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Page is something that PagerDuty is to be told.
type Page struct {
	// Action is one of PageTrigger, PageAcknowledge and PageResolve. The last two are written only while PagerDuty knows of the alert.
	Action string
	// DedupKey and Routing (the name of an integration key) are needed for a trigger; what follows takes them from there.
	DedupKey, Routing string
	Payload           any
}

// Transition is what a command does to an alert. Nothing but Action is written unless Apply is set.
type Transition struct {
	Apply bool
	// State is the new one.
	State AlertState
	// Acknowledge fills in acknowledged_by and acknowledged_at.
	Acknowledge bool
	// Taken and Data are action_taken and action_data of the notifications.
	Taken string
	Data  map[string]string
	// Letter decides about the dead letter: "retry", "discard", or "" for nothing. If somebody decided before, nothing is written
	// and LetterAlready says what goes on record instead.
	Letter        string
	LetterAlready func(DeadLetter) Transition
	// Poll wishes for the mailbox of this licence to be asked now.
	Poll   string
	Events []Event
	Pages  []Page
	// With are alerts that are escalated together with this one, as one.
	With   *AlertFilter
	Action Action
	// Result is kept for a repetition of the command.
	Result any
}

// Acted says what a command did.
type Acted struct {
	Alert Alert // as it was before
	// Repeated: the command came before; Result is what was answered then, and nothing was done now.
	Repeated bool
	Result   json.RawMessage
	Decided  *Decided // about the dead letter
	Channels []string // that have something new to post
	Paged    bool     // PagerDuty has something new to hear
	With     int      // other alerts that were escalated with it
}

// ErrReused says that a command's key came before with another content.
var ErrReused = &fault.Error{Op: "act", Kind: fault.Conflict, Safe: "the id was used before for another command", Permanent: true}

// Act applies a command to an alert, once: what decide says for the alert as it stands is written in one transaction, under a lock on
// all notifications of the alert. key makes a repetition known, "" for none; fingerprint is what it stands for. actor and reason are
// for the dead letter.
//
// Errors: a fault of Kind NotFound, ErrReused, what decide returns, Unavailable.
func (s *Store) Act(ctx context.Context, notification uuid.UUID, key, fingerprint string, by Decision, decide func(Alert) (Transition, error)) (out Acted, err error) {
	for range 3 { // cards of the alert may be marked as sent meanwhile, in another order
		if out, err = s.act(ctx, notification, key, fingerprint, by, decide); !deadlocked(err) {
			break
		}
	}
	return out, err
}

// deadlocked reports whether PostgreSQL ended a transaction because it and another one waited for each other.
func deadlocked(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "40P01"
}

func (s *Store) act(ctx context.Context, notification uuid.UUID, key, fingerprint string, by Decision, decide func(Alert) (Transition, error)) (out Acted, err error) {
	err = s.tx(ctx, "act", func(tx pgx.Tx) error {
		out = Acted{}
		if key != "" {
			if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('act/' || $1, 0))`, key); err != nil {
				return err
			}
			var before string
			err := tx.QueryRow(ctx, `SELECT fingerprint, result FROM action_commands WHERE key = $1`, key).Scan(&before, &out.Result)
			switch {
			case err == nil && before != fingerprint:
				return ErrReused
			case err == nil:
				out.Repeated = true
				out.Alert, err = alertOf(ctx, tx, notification, "")
				return err
			case !IsNotFound(err):
				return err
			}
		}
		// An answer locks the claim, then its letters, then their notifications: so does a decision.
		before, err := alertOf(ctx, tx, notification, "")
		if err != nil {
			return err
		}
		if before.ClaimID != nil {
			if _, err := tx.Exec(ctx, `SELECT 1 FROM claims WHERE id = $1 FOR UPDATE`, before.ClaimID); err != nil {
				return err
			}
		}
		if before.LetterID != nil {
			if err := lockLetter(ctx, tx, *before.LetterID); err != nil {
				return err
			}
		}
		if out.Alert, err = alertOf(ctx, tx, notification, "FOR UPDATE"); err != nil {
			return err
		}
		t, err := decide(out.Alert)
		if err != nil {
			return err
		}
		if t.Apply && t.Letter != "" {
			by.ID = *out.Alert.LetterID
			by.Command = t.Action.CommandID
			d, err := s.decideLetter(ctx, tx, t.Letter, by)
			if err != nil {
				return err
			}
			if out.Decided = &d; !d.Applied {
				t = t.LetterAlready(d.Letter)
			}
		}
		if t.Apply {
			if err := s.transit(ctx, tx, &out, t, by); err != nil {
				return err
			}
		}
		if err := s.appendAction(ctx, tx, &t.Action); err != nil {
			return err
		}
		if key == "" {
			return nil
		}
		if out.Result, err = json.Marshal(t.Result); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO action_commands (key, fingerprint, result, at) VALUES ($1, $2, $3, $4)`, key, fingerprint, out.Result, s.opt.Now())
		return err
	})
	return out, err
}

// CommandResult returns what was answered to the command with a key, or a fault of Kind NotFound.
func (s *Store) CommandResult(ctx context.Context, key string) (json.RawMessage, error) {
	var raw json.RawMessage
	err := s.pool.QueryRow(ctx, `SELECT result FROM action_commands WHERE key = $1`, key).Scan(&raw)
	return raw, wrap("read the answer to a command", err)
}

// DeleteOldCommands deletes at most limit answers that were kept for repetitions of commands of before a time. What was done stays in the
// audit trail. It returns how many; fewer than limit means that it is done.
func (s *Store) DeleteOldCommands(ctx context.Context, before time.Time, limit int) (int64, error) {
	tag, err := s.pool.Exec(ctx, `DELETE FROM action_commands WHERE key IN (SELECT key FROM action_commands WHERE at < $1 ORDER BY at LIMIT $2)`, before, limit)
	return tag.RowsAffected(), wrap("delete old commands", err)
}

// transit writes what an applied command changes.
func (s *Store) transit(ctx context.Context, tx pgx.Tx, out *Acted, t Transition, by Decision) error {
	now := s.opt.Now()
	if t.Data == nil {
		t.Data = map[string]string{}
	}
	if _, err := tx.Exec(ctx, `UPDATE teams_notifications SET state = $2, version = version + 1, action_taken = $3, action_data = $4,
		acknowledged_by = CASE WHEN $5 AND acknowledged_at IS NULL THEN left($6, 255) ELSE acknowledged_by END,
		acknowledged_at = CASE WHEN $5 THEN coalesce(acknowledged_at, $7) ELSE acknowledged_at END
		WHERE alert_key = $1 AND state NOT IN ('notice', 'resolved', 'discarded')`,
		out.Alert.Key, string(t.State), t.Taken, t.Data, t.Acknowledge, by.Actor, now); err != nil {
		return err
	}
	if t.Poll != "" {
		if _, err := tx.Exec(ctx, schedulePoll, t.Poll, now); err != nil {
			return err
		}
	}
	for _, p := range t.Pages {
		wrote, err := s.page(ctx, tx, out.Alert.Key, p)
		if err != nil {
			return err
		}
		out.Paged = out.Paged || wrote
	}
	if t.With != nil {
		var err error
		if out.With, err = s.escalateWith(ctx, tx, out.Alert, *t.With, t.Data); err != nil {
			return err
		}
	}
	channels, err := s.insertEvents(ctx, tx, t.Events)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `SELECT DISTINCT channel FROM teams_notifications WHERE alert_key = $1 AND `+unshown, out.Alert.Key)
	if err != nil {
		return err
	}
	changed, err := pgx.CollectRows(rows, pgx.RowTo[string])
	out.Channels = append(channels, slices.DeleteFunc(changed, func(c string) bool { return slices.Contains(channels, c) })...)
	return err
}

// Nobody stands in acknowledged_by for alerts that ended before a person saw to them.
const Nobody = "nobody: it ended by itself"

// endAlerts says that alerts are over by themselves: nobody needs to acknowledge them any more, and PagerDuty hears of it. where chooses
// notifications by $1.
func (s *Store) endAlerts(ctx context.Context, tx pgx.Tx, where string, arg any) error {
	rows, err := tx.Query(ctx, `UPDATE teams_notifications SET state = 'resolved', version = version + 1, action_taken = coalesce(action_taken, 'resolved'),
		acknowledged_by = CASE WHEN acknowledged_at IS NULL THEN $2 ELSE acknowledged_by END, acknowledged_at = coalesce(acknowledged_at, $3)
		WHERE state NOT IN ('notice', 'resolved', 'discarded') AND `+where+` RETURNING alert_key`, arg, Nobody, s.opt.Now())
	if err != nil {
		return err
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		if _, err := s.page(ctx, tx, key, Page{Action: PageResolve}); err != nil {
			return err
		}
	}
	return nil
}

// alertsFollow gives the alerts of a dead letter the state that a decision about it has, wherever it was made. PagerDuty hears of it.
func (s *Store) alertsFollow(ctx context.Context, tx pgx.Tx, d Decision, state LetterState) error {
	rows, err := tx.Query(ctx, `UPDATE teams_notifications SET state = $2, version = version + 1, action_taken = $3, action_data = jsonb_build_object('by', $4::text, 'reason', $5::text, 'source', $6::text, 'at', $8::text),
		acknowledged_by = CASE WHEN acknowledged_at IS NULL THEN left($4, 255) ELSE acknowledged_by END, acknowledged_at = coalesce(acknowledged_at, $7)
		WHERE alert_key IN (SELECT alert_key FROM teams_notifications WHERE dead_letter_id = $1) AND state NOT IN ('notice', 'resolved', 'discarded') RETURNING alert_key`,
		d.ID, string(state), map[LetterState]string{LetterRetrying: "retry", LetterDiscarded: "discard"}[state], d.Actor, d.Reason, d.Source, s.opt.Now(), s.opt.Now().UTC().Format(time.RFC3339))
	if err != nil {
		return err
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		if _, err := s.page(ctx, tx, key, Page{Action: map[LetterState]string{LetterRetrying: PageAcknowledge, LetterDiscarded: PageResolve}[state]}); err != nil {
			return err
		}
	}
	return nil
}

// reopen makes an alert wait for people again, for a new notification of it is about to be written. It returns the state and the
// version of that one.
func reopen(ctx context.Context, tx pgx.Tx, alertKey string) (state AlertState, version int, err error) {
	var escalated bool
	err = tx.QueryRow(ctx, `SELECT coalesce((SELECT state = 'escalated' FROM teams_notifications WHERE alert_key = $1 AND state <> 'notice' ORDER BY created_at DESC, id DESC LIMIT 1), false)`, alertKey).Scan(&escalated)
	if err != nil {
		return "", 0, err
	}
	state = AlertEscalated
	if !escalated {
		state = AlertOpen
		if _, err = tx.Exec(ctx, `UPDATE teams_notifications SET state = 'open', version = version + 1 WHERE alert_key = $1 AND state IN ('acknowledged', 'retrying')`, alertKey); err != nil {
			return "", 0, err
		}
	}
	err = tx.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM teams_notifications WHERE alert_key = $1 AND state <> 'notice'`, alertKey).Scan(&version)
	return state, version, err
}

// AlertFilter chooses alerts that wait for an acknowledgement.
type AlertFilter struct {
	Priority cards.Priority
	// Before: Teams has had the card of the newest event since before this.
	Before time.Time
	// Type is the only event type; "" for all.
	Type cards.EventType
	// Except are event types that are left out.
	Except []cards.EventType
}

// overdue finds, by $1 to $4, the open alerts whose newest event of its type has a priority and was with Teams before a time, in whichever
// channel was first (materialized, lest a condition on the type is pushed into it and looks its index up for each alert). One whose newest card has not left yet is not among them, nor one that was written before events were kept.
const overdue = `WITH open AS MATERIALIZED (
	SELECT id, alert_key, event_type, sent_at, priority, split_part(coalesce(event_key, id::text), '/again/', 1) AS happened,
		first_value(split_part(coalesce(event_key, id::text), '/again/', 1)) OVER (PARTITION BY alert_key, event_type ORDER BY created_at DESC, id DESC) AS newest
	FROM teams_notifications WHERE state = 'open' AND event IS NOT NULL AND alert_key IN (
		SELECT alert_key FROM teams_notifications WHERE state = 'open' AND priority IN ('CRITICAL', 'HIGH') AND priority = $1 AND sent_at < $2
			AND ($3 = '' OR event_type = $3) AND NOT event_type = ANY ($4))
), overdue AS (
	SELECT alert_key, event_type, min(sent_at) AS sent_at, (array_agg(id ORDER BY sent_at, id))[1] AS id FROM open
	WHERE happened = newest AND priority = $1 AND sent_at IS NOT NULL AND ($3 = '' OR event_type = $3) AND NOT event_type = ANY ($4) GROUP BY 1, 2 HAVING min(sent_at) < $2
)`

func (f AlertFilter) args() []any {
	except := make([]string, 0, len(f.Except))
	for _, t := range f.Except {
		except = append(except, string(t))
	}
	return []any{string(f.Priority), f.Before, string(f.Type), except}
}

// OverdueAlert stands for all overdue alerts of one event type.
type OverdueAlert struct {
	// Notification is one of the alert that has waited longest; Since is when Teams took it.
	Notification uuid.UUID
	Type         cards.EventType
	Since        time.Time
	// More are further alerts of the type.
	More int
}

// Overdue returns, for each event type, the alert that has been open for longest though Teams has had it since before a time.
func (s *Store) Overdue(ctx context.Context, f AlertFilter) ([]OverdueAlert, error) {
	rows, err := s.pool.Query(ctx, overdue+` SELECT (array_agg(id ORDER BY sent_at, id))[1], event_type, min(sent_at) AS since, count(*)::int - 1 FROM overdue GROUP BY event_type ORDER BY since, event_type`, f.args()...)
	if err != nil {
		return nil, wrap("read overdue alerts", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[OverdueAlert])
	return out, wrap("read overdue alerts", err)
}

// escalateWith marks the other overdue alerts as escalated together with a, which stands for them. It returns how many. An alert that
// somebody has in hand is left alone, whole.
func (s *Store) escalateWith(ctx context.Context, tx pgx.Tx, a Alert, f AlertFilter, data map[string]string) (n int, err error) {
	data = maps.Clone(data)
	data["escalated_with"] = a.ID.String()
	err = tx.QueryRow(ctx, overdue+`, locked AS MATERIALIZED (
		SELECT id, alert_key FROM teams_notifications WHERE state = 'open' AND alert_key IN (SELECT alert_key FROM overdue WHERE alert_key <> $5) FOR UPDATE SKIP LOCKED
	), whole AS (
		SELECT l.id FROM (SELECT id, alert_key, count(*) OVER (PARTITION BY alert_key) AS n FROM locked) l
		WHERE l.n = (SELECT count(*) FROM teams_notifications t WHERE t.alert_key = l.alert_key AND t.state = 'open')
	), marked AS (
		UPDATE teams_notifications SET state = 'escalated', version = version + 1, action_taken = 'escalate', action_data = $6 WHERE id IN (SELECT id FROM whole) RETURNING alert_key
	) SELECT count(DISTINCT alert_key) FROM marked`, append(f.args(), a.Key, data)...).Scan(&n)
	return n, err
}

// JoinEscalation marks all overdue alerts of f.Type as escalated together with one of the type that was escalated by itself since a time and
// waits for people still, if there is one: they have been called, and of a trouble that goes on they need no more calls. joined is false
// when there is none. What was joined is on record, once for all of them.
func (s *Store) JoinEscalation(ctx context.Context, f AlertFilter, since time.Time, actor, reason string) (n int, joined bool, err error) {
	err = s.tx(ctx, "join an escalation", func(tx pgx.Tx) error {
		n, joined = 0, false
		var key string
		err := tx.QueryRow(ctx, `SELECT alert_key FROM teams_notifications WHERE event_type = $1 AND state = 'escalated' AND action_taken = 'escalate'
			AND action_data->>'source' = 'system' AND NOT action_data ? 'escalated_with' AND action_data->>'at' > $2 ORDER BY action_data->>'at' DESC LIMIT 1`,
			string(f.Type), since.UTC().Format(time.RFC3339)).Scan(&key)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		joined = true
		a := Alert{Key: key, ID: AlertID(key)}
		data := map[string]string{"by": actor, "reason": reason, "source": "system", "at": s.opt.Now().UTC().Format(time.RFC3339)}
		if n, err = s.escalateWith(ctx, tx, a, f, data); err != nil || n == 0 {
			return err
		}
		return s.appendAction(ctx, tx, &Action{
			Actor: actor, Source: "system", Verb: "escalate", TargetKind: "alert", Target: a.ID.String(), Reason: reason, Outcome: "applied",
			Detail: map[string]string{"joined": fmt.Sprint(n), "event_type": string(f.Type), "actor_type": "system"},
		})
	})
	return n, joined, err
}
