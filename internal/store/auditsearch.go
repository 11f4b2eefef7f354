package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const actionColumns = `seq, at, command_id, actor, source, verb, target_kind, target, reason, outcome, detail, prev_hash, hash`

// ActionSearch chooses actions of people; zero fields choose all.
type ActionSearch struct {
	Actor, Verb, Target, Source string
	// From is included, To is not.
	From, To time.Time
}

// SearchActions returns a page of the audit trail, the newest first. It looks at 20,000 rows at most, see Paged.Cut.
func (s *Store) SearchActions(ctx context.Context, f ActionSearch, t Turn) (Paged[Action], error) {
	isNumber := func(s string) bool { _, err := strconv.ParseInt(s, 10, 64); return err == nil }
	l := &list[Action]{
		table: "operator_actions", columns: actionColumns, key: "seq", keyType: "bigint", id: "seq", idType: "bigint", isKey: isNumber, isID: isNumber, descending: true,
		scan: pgx.RowToStructByPos[Action], at: func(a Action) place { n := strconv.FormatInt(a.Seq, 10); return place{n, n} },
	}
	for _, x := range []struct{ column, value string }{{"target", f.Target}, {"actor", f.Actor}, {"verb", f.Verb}} {
		switch {
		case x.value == "":
		case l.lead == "":
			l.lead, l.leadIs = x.column, x.value
		default:
			l.rest = append(l.rest, cond(x.column+" = ?", x.value))
		}
	}
	if f.Source != "" {
		l.rest = append(l.rest, cond("source = ?", f.Source))
	}
	if !f.From.IsZero() {
		l.rest = append(l.rest, cond("at >= ?", f.From))
	}
	if !f.To.IsZero() {
		l.rest = append(l.rest, cond("at < ?", f.To))
	}
	out, err := l.read(ctx, s, t)
	return out, wrap("search actions", err)
}

// ErrBrokenTrail says that a row of the audit trail was changed, removed or put in between.
var ErrBrokenTrail = errors.New("the audit trail is broken")

// Verified says how much of the audit trail was looked at.
type Verified struct {
	// Rows is how many rows the trail has, From the first one that was looked at, To the last.
	Rows, From, To int64
}

// Whole reports whether every row was looked at.
func (v Verified) Whole() bool { return v.From <= 1 && v.To == v.Rows }

// VerifyTrail checks the chain of the newest rows, at most as many as said (0: all), a thousand at a time. The error wraps ErrBrokenTrail
// and names the first row that does not fit; any other error means that the record did not answer.
func (s *Store) VerifyTrail(ctx context.Context, newest int64) (v Verified, err error) {
	if err := s.pool.QueryRow(ctx, `SELECT coalesce(max(seq), 0) FROM operator_actions`).Scan(&v.Rows); err != nil {
		return v, wrap("verify actions", err)
	}
	v.From = 1
	if newest > 0 && v.Rows > newest {
		v.From = v.Rows - newest + 1
	}
	prev, next := "", v.From
	if v.From > 1 {
		err := s.pool.QueryRow(ctx, `SELECT hash FROM operator_actions WHERE seq = $1`, v.From-1).Scan(&prev)
		if errors.Is(err, pgx.ErrNoRows) {
			return v, fmt.Errorf("%w at row %d", ErrBrokenTrail, v.From-1)
		}
		if err != nil {
			return v, wrap("verify actions", err)
		}
	}
	for next <= v.Rows {
		part, err := collect(ctx, s.pool, pgx.RowToStructByPos[Action], `SELECT `+actionColumns+` FROM operator_actions WHERE seq >= $1 AND seq <= $2 ORDER BY seq LIMIT 1000`, next, v.Rows)
		if err != nil {
			return v, wrap("verify actions", err)
		}
		if len(part) == 0 {
			return v, fmt.Errorf("%w at row %d", ErrBrokenTrail, next)
		}
		for _, a := range part {
			want, err := a.hash()
			if err != nil {
				return v, err
			}
			if a.Seq != next || a.PrevHash != prev || a.Hash != want {
				return v, fmt.Errorf("%w at row %d", ErrBrokenTrail, next)
			}
			prev, v.To = a.Hash, a.Seq
			next++
		}
	}
	return v, nil
}

// Message returns a message without its body, or a fault of Kind NotFound.
func (s *Store) Message(ctx context.Context, id uuid.UUID) (Message, error) {
	out, err := s.messages(ctx, `SELECT `+messageColumns+` FROM messages WHERE id = $1`, id)
	if err == nil && len(out) == 0 {
		return Message{}, wrap("read message", pgx.ErrNoRows)
	}
	if err != nil {
		return Message{}, err
	}
	return out[0], nil
}

// Exchange returns what belongs to a message, without bodies and oldest first: the answers to a request; the request of an answer.
func (s *Store) Exchange(ctx context.Context, m Message) ([]Message, error) {
	switch {
	case m.Direction == Out:
		return s.messages(ctx, `SELECT `+messageColumns+` FROM messages WHERE reply_to = $1 ORDER BY created_at, id LIMIT 20`, m.ID)
	case m.ReplyTo != nil:
		return s.messages(ctx, `SELECT `+messageColumns+` FROM messages WHERE id = $1`, *m.ReplyTo)
	case m.ClaimID != nil: // it came by the mailbox
		return s.messages(ctx, `SELECT `+messageColumns+` FROM messages WHERE claim_id = $1 AND direction = 'out' AND event IN ('claim-request', 'priorauth-request')`, *m.ClaimID)
	}
	return nil, nil
}

const messageColumns = `id, direction, event, license, claim_id, eligibility_id, reply_to, parent_id, position, bundle_id, header_id,
	http_status, content_type, ''::bytea, created_at`

// ViewMessage returns the body of a message to a person who may see it. That it was looked at is on record, with the purpose, before
// the body leaves the database; what cannot be recorded is not shown.
func (s *Store) ViewMessage(ctx context.Context, id uuid.UUID, actor, source, purpose string) (body []byte, err error) {
	a := Action{Actor: actor, Source: source, Verb: "view", TargetKind: "message", Target: id.String(), Outcome: "applied", Detail: map[string]string{"purpose": purpose}}
	if err := s.AppendAction(ctx, &a); err != nil {
		return nil, err
	}
	return s.MessageBody(ctx, id)
}
