package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimlinc/nphiesq/cards"
)

// RedisMaster is the identity of our own Redis among the conditions.
const RedisMaster = "redis"

// Condition is a trouble of the system that lasts, such as a sealed Vault: seen again and again, told now and then, resolved once.
type Condition struct {
	Type cards.EventType
	// Identity tells it from others of its type: the node, the queue, the serial number.
	Identity string
	// Priority overrides the one that the type and the details have.
	Priority cards.Priority
	// Details are those of the event.
	Details any
	// Lapse is how long it holds without being raised again; 0 for a quarter of an hour.
	Lapse time.Duration
}

// ConditionRow is a condition as it stands.
type ConditionRow struct {
	Type        cards.EventType
	Identity    string
	Firing      bool
	Priority    cards.Priority
	Details     json.RawMessage
	Since       time.Time
	LastSeen    time.Time
	Seen        int
	Told        int
	ToldAt      *time.Time
	ToldAs      *cards.Priority
	InhibitedBy string
	ResolvedAt  *time.Time // when its end was told last, perhaps before it began anew
	Suppressed  int        // events that were not told because of it, since it began
}

const conditionColumns = `event_type, identity, firing, priority, details, since, last_seen, seen, told, told_at, told_priority, inhibited_by, resolved_at, suppressed`

// How often people hear of a condition that lasts.
const (
	// groupWait is how long one that is not urgent must last before it is told at all.
	groupWait = 30 * time.Second
	// groupInterval is the least time between two cards of one condition that does not get worse.
	groupInterval = 5 * time.Minute
	// repeatCritical and repeatOther are when it is told again, unless somebody acknowledged it.
	repeatCritical, repeatOther = time.Hour, 4 * time.Hour
	// ackCritical and ackHigh are how long an acknowledgement keeps it quiet. Others stay quiet until they change.
	ackCritical, ackHigh = 30 * time.Minute, 4 * time.Hour
	// lapse is how long a condition holds that nobody sees any more.
	lapse = 15 * time.Minute
)

// inhibits lists what is not told while something worse explains it. Of Redis only our own master does: a replica explains nothing.
var inhibits = map[cards.EventType][]cards.EventType{
	cards.RedisNodeDownEvent:       {cards.RedisReplicaLagEvent, cards.QueueBacklogEvent, cards.TaskRetryEvent, cards.TaskTimeoutEvent},
	cards.VaultSealEvent:           {cards.VaultTokenRenewalFailedEvent},
	cards.PostgresConnectionsEvent: {cards.QueueBacklogEvent, cards.TaskRetryEvent, cards.TaskTimeoutEvent},
	cards.WorkerOfflineEvent:       {cards.QueueBacklogEvent},
}

// inhibitors lists what keeps an event type from being told.
func inhibitors(t cards.EventType) []string {
	var out []string
	for by, what := range inhibits {
		if slices.Contains(what, t) {
			out = append(out, string(by))
		}
	}
	slices.Sort(out)
	return out
}

// Suppress returns the firing condition that explains an event of this type, "" when there is none. If there is one the event is not to be
// told; it is counted there.
func (s *Store) Suppress(ctx context.Context, t cards.EventType) (by string, err error) {
	err = s.tx(ctx, "read conditions", func(tx pgx.Tx) error {
		if by, err = inhibitedBy(ctx, tx, t); err != nil || by == "" {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE conditions SET suppressed = suppressed + 1 WHERE event_type = $1 AND firing AND (event_type <> $2 OR identity = $3)`,
			by, string(cards.RedisNodeDownEvent), RedisMaster)
		return err
	})
	return by, err
}

func inhibitedBy(ctx context.Context, q querier, t cards.EventType) (string, error) {
	from := inhibitors(t)
	if len(from) == 0 {
		return "", nil
	}
	rows, err := q.Query(ctx, `SELECT event_type FROM conditions WHERE firing AND event_type = ANY ($1)
		AND (event_type <> $2 OR identity = $3) ORDER BY since LIMIT 1`, from, string(cards.RedisNodeDownEvent), RedisMaster)
	if err != nil {
		return "", err
	}
	by, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(by) == 0 {
		return "", err
	}
	return by[0], nil
}

// Raise says that a condition holds now. It begins if it did not hold before. It is told as its kind and age demand; while an
// inhibitor holds it is only counted.
func (s *Store) Raise(ctx context.Context, c Condition) (channels []string, err error) {
	priority, _, err := cards.Event{Type: c.Type, Priority: c.Priority, Details: c.Details}.Resolve()
	if err != nil {
		return nil, err
	}
	details, err := json.Marshal(c.Details)
	if err != nil {
		return nil, err
	}
	err = s.tx(ctx, "raise condition", func(tx pgx.Tx) error {
		now := s.opt.Now()
		lasts := lapse
		if c.Lapse > 0 {
			lasts = c.Lapse
		}
		rows, err := tx.Query(ctx, `INSERT INTO conditions AS c (event_type, identity, priority, details, since, last_seen, lapses_at) VALUES ($1, $2, $3, $4, $5, $5, $6)
			ON CONFLICT (event_type, identity) DO UPDATE SET firing = true, priority = $3, details = $4, last_seen = $5, lapses_at = $6,
			since = CASE WHEN c.firing THEN c.since ELSE $5 END, seen = CASE WHEN c.firing THEN c.seen + 1 ELSE 1 END, suppressed = CASE WHEN c.firing THEN c.suppressed ELSE 0 END, told = CASE WHEN c.firing THEN c.told ELSE 0 END,
			told_at = CASE WHEN c.firing THEN c.told_at END, told_priority = CASE WHEN c.firing THEN c.told_priority END
			RETURNING `+conditionColumns, string(c.Type), c.Identity, string(priority), details, now, now.Add(lasts))
		if err != nil {
			return err
		}
		row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[ConditionRow])
		if err != nil {
			return err
		}
		channels, err = s.tellCondition(ctx, tx, row)
		return err
	})
	return channels, err
}

// TellConditions looks at all that holds and tells what is due: what was waited with, repetitions, what an acknowledgement no longer
// keeps quiet, what nothing explains any more.
func (s *Store) TellConditions(ctx context.Context) (channels []string, err error) {
	err = s.tx(ctx, "tell conditions", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT `+conditionColumns+` FROM conditions WHERE firing ORDER BY since FOR UPDATE SKIP LOCKED`)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ConditionRow])
		if err != nil {
			return err
		}
		for _, row := range list {
			told, err := s.tellCondition(ctx, tx, row)
			if err != nil {
				return err
			}
			channels = append(channels, told...)
		}
		return nil
	})
	slices.Sort(channels)
	return slices.Compact(channels), err
}

// key names what a condition's cards have in common: who acknowledges one of them acknowledges the condition.
func (r ConditionRow) key() string {
	return fmt.Sprintf("condition/%s/%s/%d", r.Type, r.Identity, r.Since.UnixMilli())
}

// acknowledged returns when and by whom one of the cards was acknowledged last.
func (r ConditionRow) acknowledged(ctx context.Context, tx pgx.Tx) (at *time.Time, by string, err error) {
	err = tx.QueryRow(ctx, `SELECT acknowledged_at, coalesce(acknowledged_by, '') FROM teams_notifications WHERE alert_key = $1 AND acknowledged_at IS NOT NULL
		ORDER BY acknowledged_at DESC LIMIT 1`, r.key()).Scan(&at, &by)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, "", nil
	}
	return at, by, err
}

// tellCondition writes the card of a condition if one is due.
func (s *Store) tellCondition(ctx context.Context, tx pgx.Tx, r ConditionRow) ([]string, error) {
	by, err := inhibitedBy(ctx, tx, r.Type)
	if err != nil {
		return nil, err
	}
	if by != r.InhibitedBy {
		if _, err := tx.Exec(ctx, `UPDATE conditions SET inhibited_by = $3 WHERE event_type = $1 AND identity = $2`, string(r.Type), r.Identity, by); err != nil {
			return nil, err
		}
	}
	if by != "" {
		return nil, nil
	}
	acknowledged, _, err := r.acknowledged(ctx, tx)
	if err != nil {
		return nil, err
	}
	now := s.opt.Now()
	if !r.due(now, acknowledged) {
		return nil, nil
	}
	if _, err := tx.Exec(ctx, `UPDATE conditions SET told = told + 1, told_at = $3, told_priority = priority WHERE event_type = $1 AND identity = $2`,
		string(r.Type), r.Identity, now); err != nil {
		return nil, err
	}
	e, err := r.event()
	if err != nil {
		return nil, err
	}
	e.Seen, e.SeenSince = r.Seen, r.Since
	return s.insertEvents(ctx, tx, []Event{{Event: e, Key: fmt.Sprintf("%s/%d", r.key(), r.Told+1), Alert: r.key()}})
}

// due reports whether people hear of a condition now.
func (r ConditionRow) due(now time.Time, acknowledged *time.Time) bool {
	if r.ToldAt == nil {
		if r.ResolvedAt != nil && now.Sub(*r.ResolvedAt) < groupInterval {
			return false // it comes and goes
		}
		return r.Priority.Urgent() || now.Sub(r.Since) >= groupWait
	}
	if r.ToldAs != nil && r.Priority.Rank() < r.ToldAs.Rank() {
		return true // it got worse
	}
	since := now.Sub(*r.ToldAt)
	if since < groupInterval {
		return false
	}
	if acknowledged != nil {
		quiet := map[cards.Priority]time.Duration{cards.Critical: ackCritical, cards.High: ackHigh}[r.Priority]
		end := acknowledged.Add(quiet)
		if quiet == 0 || now.Before(end) {
			return false
		}
		if r.ToldAt.Before(end) {
			return true
		}
	}
	if r.Priority == cards.Critical {
		return since >= repeatCritical
	}
	return since >= repeatOther
}

// event rebuilds the event of a condition.
func (r ConditionRow) event() (cards.Event, error) {
	raw, err := json.Marshal(map[string]any{"type": r.Type, "priority": r.Priority, "details": r.Details, "at": r.LastSeen})
	if err != nil {
		return cards.Event{}, err
	}
	var e cards.Event
	err = json.Unmarshal(raw, &e)
	e.CorrelationID = r.Identity
	return e, err
}

// Lapsed returns the conditions that still hold in the record though nobody has seen them for so long that they must be over, or their
// watcher gone. Only a caller that has just looked itself should clear them.
func (s *Store) Lapsed(ctx context.Context) ([]ConditionRow, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+conditionColumns+` FROM conditions WHERE firing AND lapses_at < $1 ORDER BY since`, s.opt.Now())
	if err != nil {
		return nil, wrap("list lapsed conditions", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ConditionRow])
	return out, wrap("list lapsed conditions", err)
}

// Clear says that a condition no longer holds. If people heard of it they hear of its end, once.
func (s *Store) Clear(ctx context.Context, t cards.EventType, identity string) (channels []string, err error) {
	err = s.tx(ctx, "clear condition", func(tx pgx.Tx) error {
		now := s.opt.Now()
		rows, err := tx.Query(ctx, `UPDATE conditions SET firing = false, resolved_at = CASE WHEN told > 0 THEN $3::timestamptz ELSE resolved_at END, inhibited_by = '' WHERE event_type = $1 AND identity = $2 AND firing RETURNING `+conditionColumns,
			string(t), identity, now)
		if err != nil {
			return err
		}
		r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[ConditionRow])
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil || r.Told == 0 {
			return err
		}
		_, by, err := r.acknowledged(ctx, tx)
		if err != nil {
			return err
		}
		e, err := r.event()
		if err != nil {
			return err
		}
		e.At = now
		e.Resolved = &cards.Resolution{At: now, Since: r.Since, AcknowledgedBy: by}
		channels, err = s.insertEvents(ctx, tx, []Event{{Event: e, Key: r.key() + "/resolved", Alert: r.key()}})
		if err != nil {
			return err
		}
		return s.endAlerts(ctx, tx, `alert_key = $1`, r.key())
	})
	return channels, err
}

// Conditions returns what holds now, or with all set also what held before, the most urgent and then the oldest first.
func (s *Store) Conditions(ctx context.Context, all bool) ([]ConditionRow, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+conditionColumns+` FROM conditions WHERE firing OR $1 ORDER BY firing DESC, `+byUrgency+`, since`, all)
	if err != nil {
		return nil, wrap("list conditions", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ConditionRow])
	return out, wrap("list conditions", err)
}
