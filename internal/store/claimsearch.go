package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"
)

// ClaimSearch chooses claims; zero fields choose all.
type ClaimSearch struct {
	// Number is a claim number or how it begins. Claims are then listed by number, else the newest first.
	Number    string
	State     State
	Payer     string
	ErrorCode string
	License   string
	// Use is UseClaim or UsePreauthorization.
	Use string
	// From and To bound when the claim was taken in: From is included, To is not.
	From, To time.Time
}

// rare are states that few claims are in for long.
func (s State) rare() bool { return !s.Outcome() || s == Cancelled || s == Failed }

// pages returns the list of a search. Whatever is searched for, its first condition has an index in the order of the list.
func (f ClaimSearch) pages() *list[Claim] {
	l := &list[Claim]{
		table: "claims", columns: claimColumns, key: "created_at", keyType: "timestamptz", id: "id", idType: "uuid", isKey: isTime, isID: isUUID, descending: true,
		scan: scanClaim, at: func(c Claim) place { return timePlace(c.CreatedAt, c.ID) },
	}
	if f.Number != "" {
		l.key, l.keyType, l.isKey, l.descending = `identifier_value COLLATE "C"`, "text", isText, false
		l.at = func(c Claim) place { return place{c.Identifier.Value, c.ID.String()} }
		l.index = []term{cond(`identifier_value COLLATE "C" >= ?`, f.Number), cond(`identifier_value COLLATE "C" < ?`, f.Number+"\U0010FFFF")}
	}
	use := func(lead bool, column, value string) {
		switch {
		case value == "":
		case lead && f.Number == "" && l.lead == "":
			l.lead, l.leadIs = column, value
		default:
			l.rest = append(l.rest, cond(column+` = ?`, value))
		}
	}
	if use(true, "error_code", f.ErrorCode); l.lead == "error_code" {
		l.index = append(l.index, cond(`error_code <> ''`))
	}
	use(f.State.rare() || (f.Payer == "" && f.License == ""), "state", string(f.State))
	use(true, "payer", f.Payer)
	use(true, "license", f.License)
	use(false, "use", f.Use)
	if f.Number == "" {
		l.from, l.to = f.From, f.To
		return l
	}
	if !f.From.IsZero() {
		l.rest = append(l.rest, cond(`created_at >= ?`, f.From))
	}
	if !f.To.IsZero() {
		l.rest = append(l.rest, cond(`created_at < ?`, f.To))
	}
	return l
}

// SearchClaims returns a page of the claims that are searched for. It looks at 20,000 rows at most, see Paged.Cut.
func (s *Store) SearchClaims(ctx context.Context, f ClaimSearch, t Turn) (Paged[Claim], error) {
	out, err := f.pages().read(ctx, s, t)
	return out, wrap("search claims", err)
}

// DayCount says how many claims that were taken in within a span of time stand where.
type DayCount struct {
	At       time.Time // when the span began
	State    State
	Count    int
	Claimed  decimal.Decimal // SAR
	Approved decimal.Decimal // SAR
}

// ClaimsOverTime counts claims by when they were taken in and by where they stand now. Spans of the given length begin at from.
func (s *Store) ClaimsOverTime(ctx context.Context, from time.Time, span time.Duration) ([]DayCount, error) {
	out, err := collect(ctx, s.pool, scanDay, `SELECT date_bin($2::interval, created_at, $1), state, count(*), sum(amount_claimed), coalesce(sum(amount_approved), 0)
		FROM claims WHERE created_at >= $1 GROUP BY 1, 2 ORDER BY 1, 2`, from, span)
	return out, wrap("count claims over time", err)
}

var scanDay = pgx.RowToStructByPos[DayCount]
