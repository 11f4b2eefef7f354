package store

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// lookAtMost is how many rows of a list are looked at for one page. Rows come from an index in the order of the list; what no index
// holds is compared row by row. Where few rows fit, the page ends after so many and says where to go on.
const lookAtMost = 20_000

// Turn says which page of a list is wanted: the first, the one after a place or the one before it. Places come from a Paged.
type Turn struct {
	After, Before string
	// Limit is the most rows of a page.
	Limit int
}

// Paged is a page of a list.
type Paged[T any] struct {
	Rows []T
	// Next and Prev are the places to go on from, "" where there is nothing more.
	Next, Prev string
	// Cut: after 20,000 rows the search was cut off; it goes on at Next, or at Prev when paging backwards.
	Cut bool
}

// place is where a row stands in its list: its key and its id, which together are unique.
type place struct{ key, id string }

func (p place) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(p.key + "\n" + p.id))
}

// parsePlace reads a place. What it does not know is no place: the list begins from its start.
func parsePlace(text string, isKey, isID func(string) bool) (p place, ok bool) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || text == "" {
		return p, false
	}
	cut := strings.LastIndexByte(string(raw), '\n')
	if cut < 0 {
		return p, false
	}
	p = place{string(raw[:cut]), string(raw[cut+1:])}
	return p, isKey(p.key) && isID(p.id)
}

func isTime(s string) bool { _, err := time.Parse(time.RFC3339Nano, s); return err == nil }
func isUUID(s string) bool { _, err := uuid.Parse(s); return err == nil }
func isText(s string) bool { return strings.ToValidUTF8(s, "") == s && !strings.ContainsRune(s, 0) }

// timePlace is the place of a row in a list by time.
func timePlace(at time.Time, id uuid.UUID) place {
	return place{at.UTC().Format(time.RFC3339Nano), id.String()}
}

// term is a condition; each ? in it stands for the next of its values.
type term struct {
	sql  string
	args []any
}

func cond(sql string, args ...any) term { return term{sql, args} }

// list is a list that is read page by page.
type list[T any] struct {
	table, columns string
	// key and its type, which the list is sorted by before its id.
	key, keyType, id, idType string
	isKey, isID              func(string) bool
	descending               bool
	// lead is a column that must have the value leadIs, "" for none. It is asked for as a span, and sorted by: an index that begins with
	// it is then the only one that has the order, and the planner does not wander off to one that would have to be read in full.
	lead   string
	leadIs any
	// index are further conditions that the index answers, rest those that are compared row by row.
	index, rest []term
	// from and to bound a key that is a time, from included.
	from, to time.Time
	scan     pgx.RowToFunc[T]
	at       func(T) place
}

// sql writes the query of a page, or, with rows 0, that for the last place of those it looks at.
func (l *list[T]) sql(t Turn, rows int) (sql string, args []any, backwards bool) {
	where := func(terms []term) string {
		var out []string
		for _, c := range terms {
			text := c.sql
			for _, a := range c.args {
				args = append(args, a)
				text = strings.Replace(text, "?", fmt.Sprintf("$%d", len(args)), 1)
			}
			out = append(out, text)
		}
		if len(out) == 0 {
			return ""
		}
		return " WHERE " + strings.Join(out, " AND ")
	}
	index := append(slices.Clone(l.index), l.span()...)
	from, ok := parsePlace(t.Before, l.isKey, l.isID)
	backwards = ok
	if !ok {
		from, ok = parsePlace(t.After, l.isKey, l.isID)
	}
	descending := l.descending != backwards
	order, sign := "ASC", ">"
	if descending {
		order, sign = "DESC", "<"
	}
	sorted := fmt.Sprintf(" ORDER BY %s %s, %s %s", l.key, order, l.id, order)
	if l.lead != "" {
		sorted = strings.Replace(sorted, " ORDER BY ", " ORDER BY "+l.lead+" "+order+", ", 1)
	}
	switch {
	case ok && l.lead != "":
		index = append(index, cond(fmt.Sprintf("(%s, %s, %s) %s (?, ?::text::%s, ?::text::%s)", l.lead, l.key, l.id, sign, l.keyType, l.idType), l.leadIs, from.key, from.id))
	case ok:
		index = append(index, cond(fmt.Sprintf("(%s, %s) %s (?::text::%s, ?::text::%s)", l.key, l.id, sign, l.keyType, l.idType), from.key, from.id))
	}
	if rows == 0 {
		sql = `SELECT ` + l.key + `, ` + l.id + `::text AS place FROM ` + l.table + where(index) + sorted + fmt.Sprintf(" OFFSET %d LIMIT 1", lookAtMost-1)
		return sql, args, backwards
	}
	sql = `SELECT ` + l.columns + ` FROM (SELECT * FROM ` + l.table + where(index) + sorted + fmt.Sprintf(" LIMIT %d) AS looked_at", lookAtMost)
	sql += where(l.rest) + sorted + fmt.Sprintf(" LIMIT %d", rows)
	return sql, args, backwards
}

// span are the conditions on the lead and on the time.
func (l *list[T]) span() (out []term) {
	switch {
	case l.lead == "" && l.from.IsZero():
	case l.lead == "":
		out = append(out, cond(l.key+" >= ?", l.from))
	case l.from.IsZero():
		out = append(out, cond(l.lead+" >= ?", l.leadIs))
	default:
		out = append(out, cond("("+l.lead+", "+l.key+") >= (?, ?)", l.leadIs, l.from))
	}
	switch {
	case l.lead == "" && l.to.IsZero():
	case l.lead == "":
		out = append(out, cond(l.key+" < ?", l.to))
	case l.to.IsZero():
		out = append(out, cond(l.lead+" <= ?", l.leadIs))
	default:
		out = append(out, cond("("+l.lead+", "+l.key+") < (?, ?)", l.leadIs, l.to))
	}
	return out
}

func (l *list[T]) read(ctx context.Context, s *Store, t Turn) (out Paged[T], err error) {
	if t.Limit <= 0 {
		t.Limit = 50
	}
	sql, args, backwards := l.sql(t, t.Limit+1)
	if out.Rows, err = collect(ctx, s.pool, l.scan, sql, args...); err != nil {
		return out, err
	}
	var more string // the place to go on from, in the direction of reading
	if len(out.Rows) > t.Limit {
		out.Rows = out.Rows[:t.Limit]
		more = l.at(out.Rows[t.Limit-1]).String()
	} else if len(l.rest) > 0 {
		sql, args, _ := l.sql(t, 0)
		last, err := collect(ctx, s.pool, scanPlace, sql, args...)
		if err != nil {
			return out, err
		}
		if len(last) == 1 {
			more, out.Cut = last[0].String(), true
		}
	}
	back := "" // the place to go back to: where this page begins
	if t.After != "" || t.Before != "" {
		back = t.After
		if backwards {
			back = t.Before
		}
		if len(out.Rows) > 0 {
			back = l.at(out.Rows[0]).String()
		}
	}
	out.Next, out.Prev = more, back
	if backwards {
		slices.Reverse(out.Rows)
		out.Next, out.Prev = back, more
	}
	return out, nil
}

func scanPlace(row pgx.CollectableRow) (p place, err error) {
	var key any
	if err := row.Scan(&key, &p.id); err != nil {
		return p, err
	}
	switch key := key.(type) {
	case time.Time:
		p.key = key.UTC().Format(time.RFC3339Nano)
	default:
		p.key = fmt.Sprint(key)
	}
	return p, nil
}

func collect[T any](ctx context.Context, q querier, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}
