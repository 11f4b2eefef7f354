package store

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// PollState is how the mailbox of a licence stands.
type PollState struct {
	License       string
	NextPollAt    time.Time
	InFlight      *uuid.UUID
	InFlightSends int
	LastPollAt    *time.Time
	LastSuccessAt *time.Time
	MoreWaiting   bool
	ErrorKind     string
	ErrorCode     string
	ErrorText     string
	FirstFailedAt *time.Time
}

const pollColumns = `license, next_poll_at, in_flight, in_flight_sends, last_poll_at, last_success_at, more_waiting, error_kind, error_code, error_text, first_failed_at`

func ensureLicense(ctx context.Context, tx pgx.Tx, license string) error {
	_, err := tx.Exec(ctx, `INSERT INTO poll_state (license) VALUES ($1) ON CONFLICT DO NOTHING`, license)
	return err
}

// EnsureLicense makes sure that the mailbox of a licence is looked after.
func (s *Store) EnsureLicense(ctx context.Context, license string) error {
	return s.tx(ctx, "know licence", func(tx pgx.Tx) error { return ensureLicense(ctx, tx, license) })
}

// PollStates returns the state of every known mailbox.
func (s *Store) PollStates(ctx context.Context) ([]PollState, error) {
	return s.pollStates(ctx, `SELECT `+pollColumns+` FROM poll_state ORDER BY license`)
}

// DuePolls returns the mailboxes whose next poll is due.
func (s *Store) DuePolls(ctx context.Context, now time.Time) ([]PollState, error) {
	return s.pollStates(ctx, `SELECT `+pollColumns+` FROM poll_state WHERE next_poll_at <= $1 ORDER BY next_poll_at`, now)
}

func (s *Store) pollStates(ctx context.Context, sql string, args ...any) ([]PollState, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, wrap("read poll state", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[PollState])
	return out, wrap("read poll state", err)
}

const schedulePoll = `INSERT INTO poll_state (license, next_poll_at) VALUES ($1, $2)
	ON CONFLICT (license) DO UPDATE SET next_poll_at = least(poll_state.next_poll_at, $2)`

// SchedulePoll moves the next poll of a licence to at, unless it is due before.
func (s *Store) SchedulePoll(ctx context.Context, license string, at time.Time) error {
	_, err := s.pool.Exec(ctx, schedulePoll, license, at)
	return wrap("schedule poll", err)
}

// PollInFlight returns a poll request of this licence that was sent and has no answer on file, and how often it was sent;
// body is nil when there is none.
func (s *Store) PollInFlight(ctx context.Context, license string) (id uuid.UUID, body []byte, sends int, err error) {
	err = s.pool.QueryRow(ctx, `SELECT m.id, m.body, p.in_flight_sends FROM poll_state p JOIN messages m ON m.id = p.in_flight WHERE p.license = $1`, license).Scan(&id, &body, &sends)
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, nil, 0, nil
	}
	return id, body, sends, wrap("read poll state", err)
}

// BeginPoll keeps a poll request before it is sent. With id set it is the one in flight, to be sent once more.
func (s *Store) BeginPoll(ctx context.Context, license string, id uuid.UUID, m Message) (uuid.UUID, error) {
	err := s.tx(ctx, "begin poll", func(tx pgx.Tx) (err error) {
		if id == uuid.Nil {
			m.Direction, m.License = Out, license
			if id, err = insertMessage(ctx, tx, m); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `INSERT INTO poll_state (license, in_flight, in_flight_sends, last_poll_at) VALUES ($1, $2, 1, $3)
				ON CONFLICT (license) DO UPDATE SET in_flight = $2, in_flight_sends = 1, last_poll_at = $3`, license, id, s.opt.Now())
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE poll_state SET in_flight_sends = in_flight_sends + 1, last_poll_at = $2 WHERE license = $1`, license, s.opt.Now())
		return err
	})
	return id, err
}

// KeepPollAnswer stores what came back on a poll, before anybody reads it. From then on the messages in it cannot be lost. again
// says that the poll had been sent before and its answer never came: that one took messages with it which this one need not bring,
// be it empty or not. So the pending claims ask for their answers themselves, as in GiveUpPoll.
func (s *Store) KeepPollAnswer(ctx context.Context, license string, m Message, again bool) (uuid.UUID, error) {
	var id uuid.UUID
	err := s.tx(ctx, "keep poll answer", func(tx pgx.Tx) (err error) {
		m.Direction, m.License = In, license
		if id, err = insertMessage(ctx, tx, m); err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, `INSERT INTO poll_answers (message_id, license) VALUES ($1, $2)`, id, license); err != nil {
			return err
		}
		// Another poll may be in flight by now, if this one's lease was lost.
		_, err = tx.Exec(ctx, `UPDATE poll_state SET in_flight = NULL, in_flight_sends = 0 WHERE license = $1 AND in_flight IS NOT DISTINCT FROM $2`, license, m.ReplyTo)
		if err == nil && again {
			_, err = s.askThemselves(ctx, tx, license)
		}
		return err
	})
	return id, err
}

// reissueWindow is how old an answer may be for its claim to ask whether a reissued one was lost. Older ones are asked for by hand.
const reissueWindow = 7 * 24 * time.Hour

// askThemselves makes all pending claims of a licence due for sending their bytes, at once or when they last did so ten minutes ago; and lets those
// that were adjudicated lately ask whether their payer has reissued its answer. Those that are with NPHIES just now ask once they are
// pending: their answer may have been in the mailbox before we heard that they are taken in.
func (s *Store) askThemselves(ctx context.Context, tx pgx.Tx, license string) (int64, error) {
	tag, err := tx.Exec(ctx, `UPDATE claims SET overdue_step = $4, next_poll_at = greatest($2, asked_at + $3)
		WHERE license = $1 AND state IN ('pending', 'pended')`, license, s.opt.Now(), recheckPause, StepBytes)
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, `UPDATE claims SET ask_again = true WHERE license = $1 AND (state = 'submitting' OR (state IN ('approved', 'partial', 'rejected')
		AND adjudicated_at > $2 AND (asked_at IS NULL OR asked_at < $3)))`, license, s.opt.Now().Add(-reissueWindow), s.opt.Now().Add(-recheckPause))
	return tag.RowsAffected(), err
}

// PollNotSent takes back a send of this poll that never left: nothing can be lost with it.
func (s *Store) PollNotSent(ctx context.Context, license string, id uuid.UUID) error {
	_, err := s.pool.Exec(ctx, `UPDATE poll_state SET in_flight_sends = in_flight_sends - 1, in_flight = CASE WHEN in_flight_sends > 1 THEN in_flight END
		WHERE license = $1 AND in_flight = $2`, license, id)
	return wrap("note unsent poll", err)
}

// PollUnreadable marks a kept answer that is no message as distributed, and puts the request it came on back in flight.
func (s *Store) PollUnreadable(ctx context.Context, license string, answer uuid.UUID) error {
	return s.tx(ctx, "note unreadable poll answer", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE poll_answers SET processed_at = $2 WHERE message_id = $1`, answer, s.opt.Now()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE poll_state p SET in_flight = m.reply_to,
			in_flight_sends = (SELECT count(*) FROM messages o WHERE o.reply_to = m.reply_to) FROM messages m WHERE m.id = $2 AND p.license = $1 AND p.in_flight IS NULL`, license, answer)
		return err
	})
}

// recheckPause is the least time between two sends of a claim that only asks for its answer.
const recheckPause = 10 * time.Minute

// GiveUpPoll drops the poll in flight, if any: its answer is lost, and with it perhaps messages for any pending claim of the licence.
// All of those ask for their answers themselves, at once or when they last did so ten minutes ago. It returns how many.
func (s *Store) GiveUpPoll(ctx context.Context, license string) (int64, error) {
	var n int64
	err := s.tx(ctx, "give up poll", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE poll_state SET in_flight = NULL, in_flight_sends = 0 WHERE license = $1`, license); err != nil {
			return err
		}
		var err error
		n, err = s.askThemselves(ctx, tx, license)
		return err
	})
	return n, err
}

// Lost is GiveUpPoll by a person's decision, which goes on record: messages of the mailbox were lost in a way that the record cannot
// know of, as when it was restored from a backup.
func (s *Store) Lost(ctx context.Context, license string, d Decision) (int64, error) {
	if d.Reason == "" {
		return 0, ErrReason
	}
	var n int64
	err := s.tx(ctx, "ask for lost answers", func(tx pgx.Tx) (err error) {
		if _, err := tx.Exec(ctx, `UPDATE poll_state SET in_flight = NULL, in_flight_sends = 0 WHERE license = $1`, license); err != nil {
			return err
		}
		if n, err = s.askThemselves(ctx, tx, license); err != nil {
			return err
		}
		return s.appendAction(ctx, tx, &Action{
			Actor: d.Actor, Source: d.Source, Verb: "ask again", TargetKind: "license", Target: license, Reason: d.Reason, Outcome: "applied",
			Detail: map[string]string{"claims": strconv.FormatInt(n, 10)},
		})
	})
	return n, err
}

// PollAnswer is a kept answer that has yet to be distributed.
type PollAnswer struct {
	MessageID uuid.UUID
	Body      []byte
}

// UnprocessedPolls returns the kept poll answers of a licence that were not distributed, oldest first.
func (s *Store) UnprocessedPolls(ctx context.Context, license string) ([]PollAnswer, error) {
	rows, err := s.pool.Query(ctx, `SELECT a.message_id, m.body FROM poll_answers a JOIN messages m ON m.id = a.message_id
		WHERE a.license = $1 AND a.processed_at IS NULL ORDER BY a.created_at`, license)
	if err != nil {
		return nil, wrap("read poll answers", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[PollAnswer])
	return out, wrap("read poll answers", err)
}

// PollProcessed marks a kept poll answer as distributed.
func (s *Store) PollProcessed(ctx context.Context, message uuid.UUID) error {
	_, err := s.pool.Exec(ctx, `UPDATE poll_answers SET processed_at = $2 WHERE message_id = $1 AND processed_at IS NULL`, message, s.opt.Now())
	return wrap("mark poll answer", err)
}

// PollDone notes that the mailbox of a licence was emptied and when to look again.
func (s *Store) PollDone(ctx context.Context, license string, next time.Time, more bool) error {
	_, err := s.pool.Exec(ctx, `UPDATE poll_state SET next_poll_at = $2, more_waiting = $3, last_success_at = $4, error_kind = '', error_code = '', error_text = '',
		first_failed_at = NULL WHERE license = $1`, license, next, more, s.opt.Now())
	return wrap("note poll", err)
}

// PollFailed notes that a poll failed. next, if not zero, is when to look again whatever becomes of the task. events gets when the
// polls began to fail; may be nil.
func (s *Store) PollFailed(ctx context.Context, license string, t Trouble, next time.Time, events func(since time.Time) []Event) (channels []string, err error) {
	err = s.tx(ctx, "note failed poll", func(tx pgx.Tx) error {
		var at *time.Time
		if !next.IsZero() {
			at = &next
		}
		var since time.Time
		err := tx.QueryRow(ctx, `UPDATE poll_state SET error_kind = $2, error_code = $3, error_text = $4, next_poll_at = coalesce($5, next_poll_at),
			first_failed_at = coalesce(first_failed_at, $6) WHERE license = $1 RETURNING first_failed_at`, license, t.Kind, t.Code, t.Text, at, s.opt.Now()).Scan(&since)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // it failed before the licence was known: nothing to note it on
		}
		if err != nil || events == nil {
			return err
		}
		channels, err = s.insertEvents(ctx, tx, events(since))
		return err
	})
	return channels, err
}
