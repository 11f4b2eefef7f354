package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"
)

// What a mailbox brings beside answers to claims.

// Communication is a payer's request for information. Its words stay in the message.
type Communication struct {
	MessageID  uuid.UUID
	License    string
	ClaimID    *uuid.UUID
	Identifier Identifier
	// Reasons are codes: missing-info, missing-attach, info-correct.
	Reasons   []string
	CreatedAt time.Time
}

// Payment is a payment reconciliation: money that a payer says it has transferred. Amounts are SAR, to the digit as sent; one that
// the message does not tell, or not so that it can be read, is not valid.
type Payment struct {
	MessageID  uuid.UUID
	License    string
	Payer      string
	Identifier Identifier
	// PaymentValue identifies the transfer; Date is its day, as sent.
	PaymentValue string
	Date         string
	Amount       decimal.NullDecimal
	// DetailSum is the sum of the details; it ought to equal Amount.
	DetailSum decimal.NullDecimal
	// Balanced: all amounts are known and their sums are exact.
	Balanced  bool
	CreatedAt time.Time
	// Claims is how many details belong to claims of ours, Lines how many there are; set by Payments.
	Claims, Lines int
	// Details are set when it is written and by PaymentDetails.
	Details []PaymentDetail
}

// PaymentDetail is the money for one claim.
type PaymentDetail struct {
	MessageID uuid.UUID
	Position  int
	// ClaimID is nil when no claim of ours matches.
	ClaimID           *uuid.UUID
	Type              string
	Request, Response Identifier
	// Amount = Payment + EarlyFee + NPHIESFee; fees are negative.
	Amount, Payment, EarlyFee, NPHIESFee decimal.NullDecimal
}

// AdvancedAuthorization is an authorization that a payer gives unasked.
type AdvancedAuthorization struct {
	MessageID    uuid.UUID
	License      string
	Payer        string
	Response     Identifier
	PreAuthRef   string
	PreAuthStart string
	PreAuthEnd   string
	Adjudication string
	Items        int
	CreatedAt    time.Time
}

// Nested is one message out of a poll answer, with what it means for us: at most one of the pointers is set.
type Nested struct {
	Message       Message
	Answer        *Answer
	Communication *Communication
	Payment       *Payment
	Authorization *AdvancedAuthorization
}

// RecordNested keeps one message out of a poll answer and applies it, in one transaction. A message that means nothing to us is
// kept as it is. Doing it again changes nothing. events gets what became of an answer, the zero Applied for other messages.
func (s *Store) RecordNested(ctx context.Context, n Nested, events func(Applied) []Event) (out Applied, err error) {
	err = s.tx(ctx, "record polled message", func(tx pgx.Tx) error {
		var known bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM messages WHERE parent_id = $1 AND position = $2)`, n.Message.ParentID, n.Message.Position).Scan(&known); err != nil || known {
			return err
		}
		n.Message.Direction = In
		id, err := insertMessage(ctx, tx, n.Message)
		if err != nil {
			return err
		}
		switch {
		case n.Answer != nil:
			n.Answer.MessageID = id
			out, err = s.recordAnswer(ctx, tx, *n.Answer, events)
			return err
		case n.Communication != nil:
			err = s.insertCommunication(ctx, tx, id, n.Message, *n.Communication)
		case n.Payment != nil:
			err = insertPayment(ctx, tx, id, n.Message.License, *n.Payment)
		case n.Authorization != nil:
			a := n.Authorization
			_, err = tx.Exec(ctx, `INSERT INTO advanced_authorizations (message_id, license, payer, response_system, response_value, preauth_ref, preauth_start, preauth_end,
				adjudication, items) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)`, id, n.Message.License, a.Payer, a.Response.System, a.Response.Value, a.PreAuthRef,
				a.PreAuthStart, a.PreAuthEnd, a.Adjudication, a.Items)
		}
		if err != nil || events == nil {
			return err
		}
		out.Channels, err = s.insertEvents(ctx, tx, events(out))
		return err
	})
	return out, err
}

// insertCommunication keeps a request for information. A claim that was pending is pended now: the payer wants more.
func (s *Store) insertCommunication(ctx context.Context, tx pgx.Tx, id uuid.UUID, m Message, c Communication) error {
	if _, err := tx.Exec(ctx, `INSERT INTO communications (message_id, license, claim_id, identifier_system, identifier_value, reasons) VALUES ($1,$2,$3,$4,$5,$6)`,
		id, m.License, m.ClaimID, c.Identifier.System, c.Identifier.Value, append([]string{}, c.Reasons...)); err != nil || m.ClaimID == nil {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE claims SET state = 'pended' WHERE id = $1 AND state = 'pending'`, *m.ClaimID)
	return err
}

func insertPayment(ctx context.Context, tx pgx.Tx, id uuid.UUID, license string, p Payment) error {
	if _, err := tx.Exec(ctx, `INSERT INTO payments (message_id, license, payer, identifier_system, identifier_value, payment_value, payment_date, amount, detail_sum, balanced)
		VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)`,
		id, license, p.Payer, p.Identifier.System, p.Identifier.Value, p.PaymentValue, p.Date, p.Amount, p.DetailSum, p.Balanced); err != nil {
		return err
	}
	batch := &pgx.Batch{}
	for i, d := range p.Details {
		batch.Queue(`INSERT INTO payment_details (message_id, position, claim_id, type, request_system, request_value, response_system, response_value,
			amount, payment, early_fee, nphies_fee) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12)`,
			id, i, d.ClaimID, d.Type, d.Request.System, d.Request.Value, d.Response.System, d.Response.Value, d.Amount, d.Payment, d.EarlyFee, d.NPHIESFee)
	}
	return tx.SendBatch(ctx, batch).Close()
}

// InboxEntry is one message that a mailbox brought.
type InboxEntry struct {
	MessageID uuid.UUID
	License   string
	// Event is the message's, "" of one that cannot be read.
	Event   string
	ClaimID *uuid.UUID
	// Reference is the number of the claim, or of the payment or authorization itself.
	Reference string
	// Matched is false for a message that ought to belong to a claim of ours and does not, or that we do not know.
	Matched   bool
	CreatedAt time.Time
}

// InboxFilter chooses entries; zero fields choose all.
type InboxFilter struct {
	Event     string
	License   string
	Unmatched bool
	Limit     int
}

// Inbox lists what mailboxes brought, newest first.
func (s *Store) Inbox(ctx context.Context, f InboxFilter) ([]InboxEntry, error) {
	var limit *int
	if f.Limit > 0 {
		limit = &f.Limit
	}
	rows, err := s.pool.Query(ctx, `SELECT id, license, event, claim_id, reference, matched, created_at FROM (
			SELECT m.id, m.license, m.event, m.claim_id, coalesce(c.identifier_value, p.identifier_value, nullif(a.preauth_ref, ''), a.response_value, k.identifier_value, '') AS reference,
				m.claim_id IS NOT NULL OR p.message_id IS NOT NULL OR a.message_id IS NOT NULL AS matched, m.created_at
			FROM messages m LEFT JOIN claims c ON c.id = m.claim_id LEFT JOIN payments p ON p.message_id = m.id
				LEFT JOIN advanced_authorizations a ON a.message_id = m.id LEFT JOIN communications k ON k.message_id = m.id
			WHERE m.parent_id IS NOT NULL AND ($1 = '' OR m.event = $1) AND ($2 = '' OR m.license = $2)) x
		WHERE NOT ($3 AND matched) ORDER BY created_at DESC, id DESC LIMIT $4`, f.Event, f.License, f.Unmatched, limit)
	if err != nil {
		return nil, wrap("list inbox", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[InboxEntry])
	return out, wrap("list inbox", err)
}

// Communications returns the requests for information about a claim, oldest first.
func (s *Store) Communications(ctx context.Context, claim uuid.UUID) ([]Communication, error) {
	rows, err := s.pool.Query(ctx, `SELECT message_id, license, claim_id, identifier_system, identifier_value, reasons, created_at FROM communications
		WHERE claim_id = $1 ORDER BY created_at`, claim)
	if err != nil {
		return nil, wrap("read communications", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Communication, err error) {
		err = row.Scan(&c.MessageID, &c.License, &c.ClaimID, &c.Identifier.System, &c.Identifier.Value, &c.Reasons, &c.CreatedAt)
		return c, err
	})
	return out, wrap("read communications", err)
}

// Payments returns payment reconciliations without their details, newest first. limit 0 returns all.
func (s *Store) Payments(ctx context.Context, limit int) ([]Payment, error) {
	var lim *int
	if limit > 0 {
		lim = &limit
	}
	return s.payments(ctx, `ORDER BY p.created_at DESC, p.message_id LIMIT $1`, lim)
}

// Payment returns one payment reconciliation with its details, or a fault of Kind NotFound.
func (s *Store) Payment(ctx context.Context, message uuid.UUID) (Payment, error) {
	found, err := s.payments(ctx, `WHERE p.message_id = $1`, message)
	if err == nil && len(found) != 1 {
		err = wrap("read payment", pgx.ErrNoRows)
	}
	if err != nil {
		return Payment{}, err
	}
	found[0].Details, err = s.paymentDetails(ctx, `message_id = $1`, message)
	return found[0], err
}

func (s *Store) payments(ctx context.Context, tail string, args ...any) ([]Payment, error) {
	rows, err := s.pool.Query(ctx, `SELECT p.message_id, p.license, p.payer, p.identifier_system, p.identifier_value, p.payment_value, p.payment_date, p.amount,
		p.detail_sum, p.balanced, p.created_at, (SELECT count(*) FROM payment_details d WHERE d.message_id = p.message_id AND d.claim_id IS NOT NULL),
		(SELECT count(*) FROM payment_details d WHERE d.message_id = p.message_id) FROM payments p `+tail, args...)
	if err != nil {
		return nil, wrap("read payments", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p Payment, err error) {
		err = row.Scan(&p.MessageID, &p.License, &p.Payer, &p.Identifier.System, &p.Identifier.Value, &p.PaymentValue, &p.Date, &p.Amount,
			&p.DetailSum, &p.Balanced, &p.CreatedAt, &p.Claims, &p.Lines)
		return p, err
	})
	return out, wrap("read payments", err)
}

// PaymentsOf returns what was paid for a claim, oldest first.
func (s *Store) PaymentsOf(ctx context.Context, claim uuid.UUID) ([]PaymentDetail, error) {
	return s.paymentDetails(ctx, `claim_id = $1`, claim)
}

func (s *Store) paymentDetails(ctx context.Context, where string, args ...any) ([]PaymentDetail, error) {
	rows, err := s.pool.Query(ctx, `SELECT message_id, position, claim_id, type, request_system, request_value, response_system, response_value, amount, payment,
		early_fee, nphies_fee FROM payment_details WHERE `+where+` ORDER BY message_id, position`, args...)
	if err != nil {
		return nil, wrap("read payment details", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d PaymentDetail, err error) {
		err = row.Scan(&d.MessageID, &d.Position, &d.ClaimID, &d.Type, &d.Request.System, &d.Request.Value, &d.Response.System, &d.Response.Value, &d.Amount,
			&d.Payment, &d.EarlyFee, &d.NPHIESFee)
		return d, err
	})
	return out, wrap("read payment details", err)
}

// AdvancedAuthorizations returns authorizations given unasked, newest first. limit 0 returns all.
func (s *Store) AdvancedAuthorizations(ctx context.Context, limit int) ([]AdvancedAuthorization, error) {
	var lim *int
	if limit > 0 {
		lim = &limit
	}
	rows, err := s.pool.Query(ctx, `SELECT message_id, license, payer, response_system, response_value, preauth_ref, preauth_start, preauth_end, adjudication, items,
		created_at FROM advanced_authorizations ORDER BY created_at DESC, message_id LIMIT $1`, lim)
	if err != nil {
		return nil, wrap("read advanced authorizations", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a AdvancedAuthorization, err error) {
		err = row.Scan(&a.MessageID, &a.License, &a.Payer, &a.Response.System, &a.Response.Value, &a.PreAuthRef, &a.PreAuthStart, &a.PreAuthEnd, &a.Adjudication,
			&a.Items, &a.CreatedAt)
		return a, err
	})
	return out, wrap("read advanced authorizations", err)
}
