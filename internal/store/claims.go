package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/tracing"
)

// State is where a claim stands.
type State string

// States of a claim: received → submitting → pending → approved | partial | rejected | error, plus pended (the payer wants
// more) and cancelled. None is final on the wire: a payer may reissue its answer.
const (
	Received   State = "received"
	Submitting State = "submitting"
	Pending    State = "pending"
	Pended     State = "pended"
	Approved   State = "approved"
	Partial    State = "partial"
	Rejected   State = "rejected"
	Failed     State = "error"
	Cancelled  State = "cancelled"
)

// States lists all states of a claim in the order of its life.
func States() []State {
	return []State{Received, Submitting, Pending, Pended, Approved, Partial, Rejected, Failed, Cancelled}
}

// Outcome reports whether the state is an outcome: nothing more is expected, though a reissue may come.
func (s State) Outcome() bool {
	switch s {
	case Approved, Partial, Rejected, Failed, Cancelled:
		return true
	default:
		return false
	}
}

// Identifier is a business identifier: a value that is unique in its system.
type Identifier struct {
	System string `json:"system"`
	Value  string `json:"value"`
}

// Uses of a claim.
const (
	UseClaim            = "claim"
	UsePreauthorization = "preauthorization"
)

// Claim is a row of claims, or a prior authorization: both live alike. It holds no personal data.
type Claim struct {
	ID            uuid.UUID
	Use           string // UseClaim or UsePreauthorization
	License       string
	Identifier    Identifier
	Payer         string
	PayerName     string
	Type          string
	SubType       string
	Items         int
	State         State
	Claimed       decimal.Decimal     // SAR
	Approved      decimal.NullDecimal // SAR, what the payer pays: benefit and tax
	PatientShare  decimal.NullDecimal // SAR
	ItemsApproved *int
	Disposition   string
	ErrorKind     string
	ErrorCode     string
	ErrorText     string
	HeaderID      string
	BundleID      string
	SourceHash    string
	Episode       int
	Attempts      int
	FirstFailedAt *time.Time
	SubmittedAt   *time.Time
	AdjudicatedAt *time.Time
	NextPollAt    *time.Time
	// AskAgain: it has its answer, and asks whether a reissued one was lost.
	AskAgain bool
	// Corrects is the claim that this one replaces.
	Corrects *uuid.UUID
	// PreAuthRef is what an authorization gives, valid from PreAuthStart to PreAuthEnd, dates as sent.
	PreAuthRef   string
	PreAuthStart string
	PreAuthEnd   string
	CreatedAt    time.Time
	UpdatedAt    time.Time
	// TraceContext is the trace in which it was taken in, "" without one.
	TraceContext string
}

const claimColumns = `id, use, license, identifier_system, identifier_value, payer, payer_name, claim_type, claim_subtype, item_count, state,
	amount_claimed, amount_approved, amount_patient, items_approved, disposition, error_kind, error_code, error_text, header_id, bundle_id,
	source_hash, episode, attempts, first_failed_at, submitted_at, adjudicated_at, next_poll_at, preauth_ref, preauth_start, preauth_end,
	ask_again, corrects, created_at, updated_at, trace_context`

func scanClaim(row pgx.CollectableRow) (Claim, error) {
	var c Claim
	err := row.Scan(&c.ID, &c.Use, &c.License, &c.Identifier.System, &c.Identifier.Value, &c.Payer, &c.PayerName, &c.Type, &c.SubType, &c.Items, &c.State,
		&c.Claimed, &c.Approved, &c.PatientShare, &c.ItemsApproved, &c.Disposition, &c.ErrorKind, &c.ErrorCode, &c.ErrorText, &c.HeaderID, &c.BundleID,
		&c.SourceHash, &c.Episode, &c.Attempts, &c.FirstFailedAt, &c.SubmittedAt, &c.AdjudicatedAt, &c.NextPollAt,
		&c.PreAuthRef, &c.PreAuthStart, &c.PreAuthEnd, &c.AskAgain, &c.Corrects, &c.CreatedAt, &c.UpdatedAt, &c.TraceContext)
	return c, err
}

// querier is a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func oneClaim(ctx context.Context, q querier, where string, args ...any) (Claim, error) {
	rows, err := q.Query(ctx, `SELECT `+claimColumns+` FROM claims WHERE `+where, args...)
	if err != nil {
		return Claim{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanClaim)
}

// NewClaim is a claim to be kept, with the bytes to be sent.
type NewClaim struct {
	Use        string // UseClaim by default
	License    string
	Identifier Identifier
	Payer      string
	PayerName  string
	Type       string
	SubType    string
	Items      int
	Claimed    decimal.Decimal
	HeaderID   string
	BundleID   string
	// SourceHash is the SHA-256 of what was handed in.
	SourceHash string
	// Replaces are the claims that this one names as prior. One of them that is ours must be over, see ErrNotOver.
	Replaces []Identifier
	// Event and Body are the request as it will go over the wire, every time.
	Event string
	Body  []byte
}

// ErrNotOver says that a claim may not be replaced by a corrected one yet: the payer might pay both.
var ErrNotOver = errors.New("the claim that it corrects is not over")

func notOver(number, why string) error {
	return &fault.Error{Op: "keep claim", Kind: fault.Conflict, Safe: number + ", which it corrects, is " + why, Permanent: true, Err: ErrNotOver}
}

// sameSystem is how two namespaces compare: letter case and a slash at the end make no difference.
func sameSystem(a, b string) bool {
	return strings.EqualFold(strings.TrimRight(a, "/"), strings.TrimRight(b, "/"))
}

// replaceable finds the claim of ours that a corrected one replaces, and refuses one that may still be paid, itself or by an
// earlier correction. A namespace that does not fit any claim of this number might be a slip: then all of them count. The rows stay
// locked, so that of two corrections at once one is refused.
func replaceable(ctx context.Context, tx pgx.Tx, n NewClaim) (*uuid.UUID, error) {
	for _, prior := range n.Replaces {
		rows, err := tx.Query(ctx, `SELECT `+claimColumns+` FROM claims WHERE license = $1 AND identifier_value = $2 AND use = 'claim' ORDER BY id FOR UPDATE`, n.License, prior.Value)
		if err != nil {
			return nil, err
		}
		found, err := pgx.CollectRows(rows, scanClaim)
		if err != nil {
			return nil, err
		}
		if fit := slices.DeleteFunc(slices.Clone(found), func(c Claim) bool { return !sameSystem(c.Identifier.System, prior.System) }); len(fit) > 0 {
			found = fit
		}
		for _, c := range found {
			if err := over(ctx, tx, c, n.Identifier); err != nil {
				return nil, err
			}
		}
		if len(found) == 1 {
			return &found[0].ID, nil
		}
	}
	return nil, nil //nolint:nilnil // most claims replace none
}

// over reports, as an ErrNotOver, why a claim may not be replaced.
func over(ctx context.Context, tx pgx.Tx, c Claim, by Identifier) error {
	number := c.Identifier.Value
	switch {
	case !c.State.Outcome(), c.State == Approved:
		return notOver(number, string(c.State)+": wait for its rejection or error, or cancel it, else both may be paid")
	case c.ErrorCode == codeDiscarded && c.Attempts > 0:
		return notOver(number, "given up here without an answer of NPHIES, which may have it all the same: cancel it first, else both may be paid")
	}
	var other string
	err := tx.QueryRow(ctx, `SELECT identifier_value FROM claims WHERE corrects = $1 AND state NOT IN ('error', 'rejected', 'cancelled')
		AND NOT (identifier_system = $2 AND identifier_value = $3) LIMIT 1`, c.ID, by.System, by.Value).Scan(&other)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return notOver(number, "replaced by "+other+" already; correct that one once it is over")
}

// CreateClaim keeps a claim and its request bytes in one transaction and returns its row. created is false when the claim was
// there already, whoever made it: then nothing is changed, and the row is the one that was there. A fault with the cause ErrNotOver says that
// it corrects a claim that may still be paid.
func (s *Store) CreateClaim(ctx context.Context, n NewClaim) (c Claim, created bool, err error) {
	err = s.tx(ctx, "keep claim", func(tx pgx.Tx) error {
		id := newID()
		var corrects *uuid.UUID
		if cmp.Or(n.Use, UseClaim) == UseClaim && len(n.Replaces) > 0 {
			var known bool
			if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM claims WHERE license = $1 AND identifier_system = $2 AND identifier_value = $3)`,
				n.License, n.Identifier.System, n.Identifier.Value).Scan(&known); err != nil {
				return err
			}
			if !known { // one that is there already was judged when it came
				if corrects, err = replaceable(ctx, tx, n); err != nil {
					return err
				}
			}
		}
		tag, err := tx.Exec(ctx, `INSERT INTO claims (id, license, identifier_system, identifier_value, payer, payer_name, claim_type, claim_subtype,
			item_count, amount_claimed, header_id, bundle_id, source_hash, use, corrects, trace_context) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16)
			ON CONFLICT ON CONSTRAINT claims_identifier_key DO NOTHING`,
			id, n.License, n.Identifier.System, n.Identifier.Value, n.Payer, n.PayerName, n.Type, n.SubType, n.Items, n.Claimed, n.HeaderID, n.BundleID, n.SourceHash,
			cmp.Or(n.Use, UseClaim), corrects, tracing.Context(ctx))
		if err != nil {
			return err
		}
		if created = tag.RowsAffected() == 1; created {
			if _, err := insertMessage(ctx, tx, Message{
				Direction: Out, Event: n.Event, License: n.License, ClaimID: &id, BundleID: n.BundleID, HeaderID: n.HeaderID, Body: n.Body,
			}); err != nil {
				return err
			}
			if err := ensureLicense(ctx, tx, n.License); err != nil {
				return err
			}
		}
		c, err = oneClaim(ctx, tx, `license = $1 AND identifier_system = $2 AND identifier_value = $3`, n.License, n.Identifier.System, n.Identifier.Value)
		return err
	})
	return c, created, err
}

// Claim returns the claim with this id, or a fault of Kind NotFound.
func (s *Store) Claim(ctx context.Context, id uuid.UUID) (Claim, error) {
	c, err := oneClaim(ctx, s.pool, `id = $1`, id)
	return c, wrap("read claim", err)
}

// ClaimByIdentifier returns the claim of a licence with this identifier, or a fault of Kind NotFound. The letter case of the
// system does not matter; without a system the value must be unique in the licence.
func (s *Store) ClaimByIdentifier(ctx context.Context, license string, id Identifier) (Claim, error) {
	return s.claimBy(ctx, `license = $1 AND identifier_value = $3 AND ($2 = '' OR lower(identifier_system) = lower($2))`, license, id)
}

// ClaimByResponse returns the claim of a licence that was answered under this identifier of the payer, or a fault of Kind
// NotFound.
func (s *Store) ClaimByResponse(ctx context.Context, license string, id Identifier) (Claim, error) {
	return s.claimBy(ctx, `license = $1 AND id IN (SELECT claim_id FROM claim_responses WHERE response_value = $3
		AND ($2 = '' OR response_system = '' OR lower(response_system) = lower($2)))`, license, id)
}

func (s *Store) claimBy(ctx context.Context, where, license string, id Identifier) (Claim, error) {
	if id.Value == "" {
		return Claim{}, wrap("read claim", pgx.ErrNoRows)
	}
	rows, err := s.pool.Query(ctx, `SELECT `+claimColumns+` FROM claims WHERE `+where+` LIMIT 2`, license, id.System, id.Value)
	if err != nil {
		return Claim{}, wrap("read claim", err)
	}
	found, err := pgx.CollectRows(rows, scanClaim)
	switch {
	case err != nil:
		return Claim{}, wrap("read claim", err)
	case len(found) != 1:
		return Claim{}, wrap("read claim", pgx.ErrNoRows)
	}
	return found[0], nil
}

// ClaimFilter chooses claims; zero fields choose all.
type ClaimFilter struct {
	States []State
	// Values are identifier values.
	Values []string
	// Use is UseClaim or UsePreauthorization.
	Use string
	// Limit is the most rows to return, 0 for all.
	Limit int
}

// Claims returns claims, newest first.
func (s *Store) Claims(ctx context.Context, f ClaimFilter) ([]Claim, error) {
	states := make([]string, 0, len(f.States))
	for _, st := range f.States {
		states = append(states, string(st))
	}
	var limit *int
	if f.Limit > 0 {
		limit = &f.Limit
	}
	rows, err := s.pool.Query(ctx, `SELECT `+claimColumns+` FROM claims
		WHERE (cardinality($1::text[]) = 0 OR state = ANY ($1)) AND (cardinality($2::text[]) = 0 OR identifier_value = ANY ($2))
		AND ($4 = '' OR use = $4) ORDER BY created_at DESC, id DESC LIMIT $3`, states, append([]string{}, f.Values...), limit, f.Use)
	if err != nil {
		return nil, wrap("list claims", err)
	}
	out, err := pgx.CollectRows(rows, scanClaim)
	return out, wrap("list claims", err)
}

// StateCount says how many claims stand in a state, and for how much.
type StateCount struct {
	State    State
	Count    int
	Claimed  decimal.Decimal
	Approved decimal.Decimal
}

// ClaimCounts counts the claims of each state, every state listed.
func (s *Store) ClaimCounts(ctx context.Context) ([]StateCount, error) {
	rows, err := s.pool.Query(ctx, `SELECT state, count(*), sum(amount_claimed), coalesce(sum(amount_approved), 0) FROM claims GROUP BY state`)
	if err != nil {
		return nil, wrap("count claims", err)
	}
	counted := map[State]StateCount{}
	var c StateCount
	if _, err := pgx.ForEachRow(rows, []any{&c.State, &c.Count, &c.Claimed, &c.Approved}, func() error { counted[c.State] = c; return nil }); err != nil {
		return nil, wrap("count claims", err)
	}
	var out []StateCount
	for _, st := range States() {
		c := counted[st]
		c.State = st
		out = append(out, c)
	}
	return out, nil
}

// BeginSubmit prepares one attempt to send a claim: it counts the attempt, moves a received claim to submitting, and returns
// the row and the id and bytes of its request. send is false when the claim has an outcome, or while its licence or payer is
// paused: then there is nothing to send, and the reconciler asks again when the pause is over.
func (s *Store) BeginSubmit(ctx context.Context, id uuid.UUID) (c Claim, request uuid.UUID, body []byte, send bool, err error) {
	err = s.tx(ctx, "begin submission", func(tx pgx.Tx) error {
		c, err = oneClaim(ctx, tx, `id = $1 FOR UPDATE`, id)
		if err != nil || (c.State.Outcome() && !c.AskAgain) {
			return err
		}
		if paused, err := s.isPaused(ctx, tx, c.License, c.Payer); err != nil || paused {
			return err
		}
		send = true
		if c.State == Received {
			c.State = Submitting
		}
		c.Attempts++
		if _, err := tx.Exec(ctx, `UPDATE claims SET state = $2, attempts = $3 WHERE id = $1`, id, c.State, c.Attempts); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT id, body FROM messages WHERE claim_id = $1 AND direction = 'out' AND event IN ('claim-request', 'priorauth-request')`, id).Scan(&request, &body)
	})
	return c, request, body, send, err
}

// Trouble is what went wrong in an attempt, in text that may be shown.
type Trouble struct {
	Kind string
	Code string
	Text string
}

// TroubleOf takes the showable part of an error.
func TroubleOf(err error) Trouble {
	f := fault.Of(err)
	return Trouble{Kind: string(f.Kind), Code: f.Code, Text: f.Error()}
}

// SubmitFailed notes that an attempt failed; the claim stays where it is. events are written in the same transaction.
func (s *Store) SubmitFailed(ctx context.Context, id uuid.UUID, t Trouble, events ...Event) (channels []string, err error) {
	err = s.tx(ctx, "note failed submission", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE claims SET error_kind = $2, error_code = $3, error_text = $4, first_failed_at = coalesce(first_failed_at, $5)
			WHERE id = $1 AND state IN ('received', 'submitting', 'pending', 'pended')`, id, t.Kind, t.Code, t.Text, s.opt.Now())
		if err != nil || tag.RowsAffected() == 0 {
			return err // an answer came in between: the failure no longer matters
		}
		channels, err = s.insertEvents(ctx, tx, events)
		return err
	})
	return channels, err
}

// Answer is one version of a claim's answer.
type Answer struct {
	ClaimID uuid.UUID
	// MessageID is the stored message the answer came in.
	MessageID uuid.UUID
	// Fingerprint is the same for the same answer delivered again, AnsweredAt when the payer says it made it, zero if it does not.
	Fingerprint   string
	AnsweredAt    time.Time
	Outcome       string
	Adjudication  string
	State         State
	Reissue       string
	Response      Identifier
	Approved      decimal.NullDecimal
	PatientShare  decimal.NullDecimal
	ItemsApproved *int
	Disposition   string
	// PreAuthRef and its period come with an authorization.
	PreAuthRef   string
	PreAuthStart string
	PreAuthEnd   string
	// Detail is JSON for the claim page: items and reasons, without personal data.
	Detail []byte
	// Trouble is set when State is Failed.
	Trouble Trouble
	// RecheckAt is when to ask again if nothing else comes, for State Pending and Pended.
	RecheckAt time.Time
}

// Applied says what became of an answer.
type Applied struct {
	// New is false when this very answer was known already.
	New bool
	// Returned is true when it is new because the payer came back to what an older answer had said.
	Returned bool
	// Current is true when the claim's state comes from this answer now.
	Current bool
	Version int
	// Before and Claim are the claim's state before and its row after.
	Before State
	Claim  Claim
	// Channels are those with new notifications.
	Channels []string
}

// RecordAnswer keeps an answer as the claim's next version and moves its state, all in one transaction with the notifications
// that events returns for it. The same answer again changes nothing; an older one does when the payer says that it made it after
// the one that counts now: it has returned to it. An adjudicated claim stays so when a mere receipt arrives late: after "complete"
// only another "complete" counts.
func (s *Store) RecordAnswer(ctx context.Context, a Answer, events func(Applied) []Event) (out Applied, err error) {
	err = s.tx(ctx, "record answer", func(tx pgx.Tx) error {
		out, err = s.recordAnswer(ctx, tx, a, events)
		return err
	})
	return out, err
}

func (s *Store) recordAnswer(ctx context.Context, tx pgx.Tx, a Answer, events func(Applied) []Event) (Applied, error) {
	c, err := oneClaim(ctx, tx, `id = $1 FOR UPDATE`, a.ClaimID)
	if err != nil {
		return Applied{}, err
	}
	out := Applied{Before: c.State, Claim: c}
	if c.AskAgain { // whatever it says: this was asked for
		if _, err := tx.Exec(ctx, `UPDATE claims SET ask_again = false WHERE id = $1`, c.ID); err != nil {
			return Applied{}, err
		}
	}
	detail := a.Detail
	if len(detail) == 0 {
		detail = []byte("{}")
	}
	answered := sql.NullTime{Time: a.AnsweredAt, Valid: !a.AnsweredAt.IsZero()}
	known, later, older, err := placeOf(ctx, tx, c, a, answered)
	if err != nil {
		return out, err
	}
	out.Returned = known && later && a.State.Outcome()
	err = tx.QueryRow(ctx, `INSERT INTO claim_responses (id, claim_id, version, message_id, fingerprint, outcome, adjudication, state, reissue,
			response_system, response_value, amount_approved, amount_patient, detail, answered_at, applied)
		SELECT $1, $2, coalesce(max(version), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $16 FROM claim_responses WHERE claim_id = $2
		HAVING $15 RETURNING version`,
		newID(), a.ClaimID, a.MessageID, a.Fingerprint, a.Outcome, a.Adjudication, string(a.State), a.Reissue, a.Response.System, a.Response.Value,
		a.Approved, a.PatientShare, detail, answered, !known || out.Returned, supersedes(c.State, a.State) && !older).Scan(&out.Version)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		// Known. It still counts for a claim that is being submitted anew: NPHIES repeats its latest answer.
		// So does an outcome for a claim that has none yet: it was first read as "try again".
		if c.State != Received && c.State != Submitting && (c.State.Outcome() || !a.State.Outcome()) {
			if c.State.Outcome() || c.ErrorText == "" {
				return out, nil
			}
			// It came to a question that had failed before: that trouble is over.
			_, err := tx.Exec(ctx, `UPDATE claims SET error_kind = '', error_code = '', error_text = '', first_failed_at = NULL WHERE id = $1`, c.ID)
			return out, err
		}
	case err != nil:
		return out, err
	default:
		out.New = true
	}
	if out.Current = supersedes(c.State, a.State) && !older; !out.Current {
		return out, nil
	}
	now := s.opt.Now()
	if c.SubmittedAt == nil {
		c.SubmittedAt = &now
	}
	c.NextPollAt, c.AdjudicatedAt = nil, nil
	if a.State.Outcome() {
		c.AdjudicatedAt = &now
	} else if !a.RecheckAt.IsZero() {
		c.NextPollAt = &a.RecheckAt
	}
	step := StepPoll
	if c.AskAgain && !a.State.Outcome() {
		c.NextPollAt, step = &now, StepBytes
	}
	if _, err := tx.Exec(ctx, `UPDATE claims SET state = $2, amount_approved = $3, amount_patient = $4, items_approved = $5, disposition = $6,
		error_kind = $7, error_code = $8, error_text = $9, submitted_at = $10, adjudicated_at = $11, next_poll_at = $12, overdue_step = $16, first_failed_at = NULL,
		preauth_ref = $13, preauth_start = $14, preauth_end = $15 WHERE id = $1`,
		c.ID, string(a.State), a.Approved, a.PatientShare, a.ItemsApproved, a.Disposition, a.Trouble.Kind, a.Trouble.Code, a.Trouble.Text,
		c.SubmittedAt, c.AdjudicatedAt, c.NextPollAt, a.PreAuthRef, a.PreAuthStart, a.PreAuthEnd, step); err != nil {
		return out, err
	}
	if err := s.settleDeadLetters(ctx, tx, "claim_id", c.ID); err != nil {
		return out, err
	}
	if out.Claim, err = oneClaim(ctx, tx, `id = $1`, c.ID); err != nil {
		return out, err
	}
	if events != nil {
		out.Channels, err = s.insertEvents(ctx, tx, events(out))
	}
	return out, err
}

// placeOf says where an answer stands among those on record. known: its content is there; later: it is an older one, and this time made later
// than the one that counts, the latest that was applied and says what the claim's state is. older: it is new here, but an outcome that was
// decided before the one that counts, as when a reissued answer comes by the mailbox while the first one is still on its way. The claim is
// locked.
func placeOf(ctx context.Context, tx pgx.Tx, c Claim, a Answer, answered sql.NullTime) (known, later, older bool, err error) {
	err = tx.QueryRow(ctx, `WITH seen AS (SELECT max(version) AS version FROM claim_responses WHERE claim_id = $1 AND fingerprint = $2),
			current AS (SELECT version, answered_at, reissue FROM claim_responses WHERE claim_id = $1 AND state = $3 AND applied ORDER BY version DESC LIMIT 1)
		SELECT seen.version IS NOT NULL, coalesce(seen.version <> current.version AND current.answered_at < $4, false),
			coalesce(seen.version IS NULL AND (current.answered_at > $4 OR (current.reissue <> '' AND $5 = '' AND coalesce(current.answered_at >= $4, true))), false)
		FROM seen LEFT JOIN current ON true`, c.ID, a.Fingerprint, string(c.State), answered, a.Reissue).Scan(&known, &later, &older)
	return known, later, older && c.State.Outcome() && a.State.Outcome(), err
}

// supersedes reports whether an answer that says next moves a claim that stands at now.
func supersedes(now, next State) bool {
	switch now {
	case Cancelled:
		return false
	case Approved, Partial, Rejected:
		return next == Approved || next == Partial || next == Rejected
	case Failed:
		return next != Pending && next != Pended // a receipt that comes late
	default:
		return true
	}
}

// ClaimVersion is a kept version of an answer.
type ClaimVersion struct {
	Version      int
	MessageID    uuid.UUID
	Outcome      string
	Adjudication string
	State        State
	Reissue      string
	Response     Identifier
	Approved     decimal.NullDecimal
	PatientShare decimal.NullDecimal
	Detail       []byte
	CreatedAt    time.Time
}

// ClaimVersions returns every version of a claim's answer, oldest first.
func (s *Store) ClaimVersions(ctx context.Context, id uuid.UUID) ([]ClaimVersion, error) {
	rows, err := s.pool.Query(ctx, `SELECT version, message_id, outcome, adjudication, state, reissue, response_system, response_value,
		amount_approved, amount_patient, detail, created_at FROM claim_responses WHERE claim_id = $1 ORDER BY version`, id)
	if err != nil {
		return nil, wrap("read answers", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (v ClaimVersion, err error) {
		err = row.Scan(&v.Version, &v.MessageID, &v.Outcome, &v.Adjudication, &v.State, &v.Reissue, &v.Response.System, &v.Response.Value,
			&v.Approved, &v.PatientShare, &v.Detail, &v.CreatedAt)
		return v, err
	})
	return out, wrap("read answers", err)
}

// Wish is a row that waits for a task: what to enqueue and which budget of attempts it is.
type Wish struct {
	ID      uuid.UUID
	Episode int
	// Kind is a claim's use or a FHIR Task's code, "" for others.
	Kind string
}

// ClaimsToSubmit returns claims that ought to have a submit task and were not touched since before: received ones, and those
// whose submission began; page by page, in the order of ids after the given one. The caller enqueues them; a task that exists
// already is a conflict and changes nothing.
func (s *Store) ClaimsToSubmit(ctx context.Context, before time.Time, after uuid.UUID, limit int) ([]Wish, error) {
	return s.wishes(ctx, `SELECT c.id, c.episode, c.use FROM claims c WHERE c.state IN ('received', 'submitting') AND c.updated_at < $1 AND c.id > $2
		AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.claim_id = c.id AND d.state = 'open') AND `+notPaused("$4")+` ORDER BY c.id LIMIT $3`,
		before, after, limit, s.opt.Now())
}

func (s *Store) wishes(ctx context.Context, sql string, args ...any) ([]Wish, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, wrap("read wishes", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Wish])
	return out, wrap("read wishes", err)
}

// RenewClaim gives a claim whose task was lost a new budget of attempts, unless somebody did so since episode, or it waits for a person as a
// dead letter. It returns the new episode, or 0 when there was nothing to do.
func (s *Store) RenewClaim(ctx context.Context, id uuid.UUID, episode int) (int, error) {
	var next int
	err := s.pool.QueryRow(ctx, `UPDATE claims SET episode = episode + 1 WHERE id = $1 AND episode = $2
		AND state IN ('received', 'submitting', 'pending', 'pended')
		AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.claim_id = $1 AND d.state = 'open') RETURNING episode`, id, episode).Scan(&next)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return next, wrap("renew claim", err)
}

// Overdue is a pending claim of which nothing was heard in time.
type Overdue struct {
	Wish
	License string
	// Step is what comes next: see the constants.
	Step int
}

// Steps of an overdue claim, in order: look into the mailbox, ask the payer how it stands, send its bytes again, to which NPHIES
// answers with the latest answer on file.
const (
	StepPoll   = 0
	StepStatus = 1
	StepBytes  = 2
)

// OverdueClaims returns pending claims whose next_poll_at has passed, the longest overdue first. After each step is taken,
// OverdueStep says when the next one is.
func (s *Store) OverdueClaims(ctx context.Context, limit int) ([]Overdue, error) {
	rows, err := s.pool.Query(ctx, `SELECT c.id, c.episode, c.use, c.license, c.overdue_step FROM claims c WHERE c.state IN ('pending', 'pended') AND c.next_poll_at <= $1
		AND `+notPaused("$1")+` ORDER BY c.next_poll_at LIMIT $2`, s.opt.Now(), limit)
	if err != nil {
		return nil, wrap("read overdue claims", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o Overdue, err error) {
		err = row.Scan(&o.ID, &o.Episode, &o.Kind, &o.License, &o.Step)
		return o, err
	})
	return out, wrap("read overdue claims", err)
}

// ReissuesToAskFor takes at most limit adjudicated claims that are to ask for a reissued answer, the latest adjudicated first, and gives each a new
// budget of attempts. The caller enqueues them.
func (s *Store) ReissuesToAskFor(ctx context.Context, limit int) ([]Wish, error) {
	return s.wishes(ctx, `UPDATE claims SET asked_at = $1, episode = episode + 1 WHERE id IN (SELECT c.id FROM claims c WHERE c.ask_again AND c.state IN ('approved', 'partial', 'rejected') AND (c.asked_at IS NULL OR c.asked_at < $2)
		AND `+notPaused("$1")+` ORDER BY c.adjudicated_at DESC LIMIT $3) RETURNING id, episode, use`, s.opt.Now(), s.opt.Now().Add(-recheckPause), limit)
}

// OverdueStep moves claims on to their next step, due at a time. A claim that was answered meanwhile, or has moved on, stays.
func (s *Store) OverdueStep(ctx context.Context, from, to int, at time.Time, ids ...uuid.UUID) error {
	_, err := s.pool.Exec(ctx, `UPDATE claims SET overdue_step = $2, next_poll_at = $3, asked_at = CASE WHEN $1 = 2 THEN $5 ELSE asked_at END WHERE id = ANY ($4) AND overdue_step = $1 AND state IN ('pending', 'pended')
		AND next_poll_at <= $5`, from, to, at, ids, s.opt.Now())
	return wrap("move overdue claims", err)
}
