package store_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

const million = 1_000_000

// millionBegan is when the first of the million claims was taken in; one follows every ten seconds.
var millionBegan = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

// aMillion fills a database with claims: most of them over, some in each state, 40 payers, 5 licences, one in 50 with an error.
func aMillion(t testing.TB) (*store.Store, *pgxpool.Pool) {
	t.Helper()
	pool := testenv.Pool(t)
	ctx := t.Context()
	// What makes filling a throw-away table fast: memory, and indexes after the rows.
	c, err := pool.Acquire(ctx)
	require.NoError(t, err)
	defer c.Release()
	for _, sql := range []string{`SET maintenance_work_mem = '256MB'`, `SET synchronous_commit = off`, `ALTER TABLE claims DROP CONSTRAINT claims_identifier_key`} {
		_, err := c.Exec(ctx, sql)
		require.NoError(t, err)
	}
	rows, err := c.Query(ctx, `SELECT indexdef FROM pg_indexes WHERE tablename = 'claims' AND indexname <> 'claims_pkey'`)
	require.NoError(t, err)
	var defs []string
	for rows.Next() {
		var def string
		require.NoError(t, rows.Scan(&def))
		defs = append(defs, def)
	}
	require.NoError(t, rows.Err())
	for _, def := range defs {
		_, err := c.Exec(ctx, `DROP INDEX `+strings.Fields(strings.ReplaceAll(def, "UNIQUE ", ""))[2])
		require.NoError(t, err)
	}
	_, err = c.Exec(ctx, `INSERT INTO claims (id, license, identifier_system, identifier_value, payer, payer_name, claim_type, item_count, state, amount_claimed, amount_approved,
		header_id, bundle_id, source_hash, error_kind, error_code, created_at, updated_at)
		SELECT id, 'PR-' || i % 5, 'http://p.example/claim', 'CLM-' || lpad(i::text, 8, '0'), 'INS-' || i % 40, 'Payer', 'professional', 1,
			CASE WHEN i % 1000 = 0 THEN 'pended' WHEN i % 50 = 7 THEN 'error' WHEN i % 20 = 3 THEN 'rejected' WHEN i % 10 = 1 THEN 'partial' ELSE 'approved' END,
			100.10, 90.05, 'h' || i, 'b' || i, 's', CASE WHEN i % 50 = 7 THEN 'api' ELSE '' END, CASE WHEN i % 50 = 7 THEN 'BV-' || lpad((i / 50 % 40)::text, 5, '0') ELSE '' END, at, at
		FROM (SELECT i, $1::timestamptz + i * interval '10 seconds' AS at, ('00000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid AS id FROM generate_series(1, 1000000) i) AS loaded`, millionBegan)
	require.NoError(t, err)
	began := time.Now()
	defer func() { t.Logf("the indexes took %s of it", time.Since(began).Round(time.Millisecond)) }()
	for _, def := range defs {
		_, err := c.Exec(ctx, def)
		require.NoError(t, err)
	}
	_, err = c.Exec(ctx, `VACUUM (ANALYZE) claims`)
	require.NoError(t, err)
	return store.New(pool, store.Options{}), pool
}

// node is a step of a plan.
type node struct {
	Type   string  `json:"Node Type"`
	Index  string  `json:"Index Name"`
	Rows   float64 `json:"Actual Rows"`
	Loops  float64 `json:"Actual Loops"`
	Thrown float64 `json:"Rows Removed by Filter"`
	Plans  []node  `json:"Plans"`
}

func (n node) walk(f func(node)) {
	f(n)
	for _, p := range n.Plans {
		p.walk(f)
	}
}

// millionPages are the pages whose plans and times are looked at, and whether any row fits.
func millionPages(deep string) []struct {
	name string
	f    store.ClaimSearch
	t    store.Turn
	none bool
} {
	return []struct {
		name string
		f    store.ClaimSearch
		t    store.Turn
		none bool
	}{
		{name: "first page"},
		{name: "deep page", t: store.Turn{After: deep}},
		{name: "deep page backwards", t: store.Turn{Before: deep}},
		{name: "whole number", f: store.ClaimSearch{Number: "CLM-00500000"}},
		{name: "number begins", f: store.ClaimSearch{Number: "CLM-0"}},
		{name: "no such number", f: store.ClaimSearch{Number: "X"}, none: true},
		{name: "state", f: store.ClaimSearch{State: store.Pended}},
		{name: "common state, deep", f: store.ClaimSearch{State: store.Approved}, t: store.Turn{After: deep}},
		{name: "payer", f: store.ClaimSearch{Payer: "INS-7"}},
		{name: "unknown payer", f: store.ClaimSearch{Payer: "none"}, none: true},
		{name: "licence", f: store.ClaimSearch{License: "PR-3"}, t: store.Turn{After: deep}},
		{name: "error code", f: store.ClaimSearch{ErrorCode: "BV-00012"}},
		{name: "dates", f: store.ClaimSearch{From: millionBegan.AddDate(0, 0, 30), To: millionBegan.AddDate(0, 0, 31)}},
		{name: "payer and state", f: store.ClaimSearch{Payer: "INS-8", State: store.Approved}},
		{name: "state and licence and dates", f: store.ClaimSearch{State: store.Failed, License: "PR-2", From: millionBegan, To: millionBegan.AddDate(0, 0, 60)}},
		{name: "what cannot be together", f: store.ClaimSearch{Payer: "INS-7", License: "PR-4"}, none: true},
		{name: "number and state", f: store.ClaimSearch{Number: "CLM-00", State: store.Received}, none: true},
		{name: "use", f: store.ClaimSearch{Use: store.UsePreauthorization}, none: true},
	}
}

func TestClaimPagesOfAMillion(t *testing.T) {
	began := time.Now()
	s, pool := aMillion(t)
	t.Logf("%d claims were written in %s", million, time.Since(began).Round(time.Millisecond))
	ctx := t.Context()
	middle, err := s.ClaimByIdentifier(ctx, "PR-0", store.Identifier{Value: "CLM-00500000"})
	require.NoError(t, err)
	for _, c := range millionPages(store.ClaimPlace(middle)) {
		c.t.Limit = 50
		for which, query := range map[string]func(store.ClaimSearch, store.Turn) (string, []any){"page": store.ClaimPageSQL, "cut": store.ClaimCutSQL} {
			sql, args := query(c.f, c.t)
			var raw []byte
			require.NoError(t, pool.QueryRow(ctx, `EXPLAIN (ANALYZE, FORMAT JSON) `+sql, args...).Scan(&raw), c.name)
			var plan []struct {
				Plan node    `json:"Plan"`
				Time float64 `json:"Execution Time"`
			}
			require.NoError(t, json.Unmarshal(raw, &plan))
			read, index := 0.0, ""
			plan[0].Plan.walk(func(n node) {
				require.NotEqual(t, "Seq Scan", n.Type, "%s, %s:\n%s", c.name, which, raw)
				if n.Index != "" {
					index = n.Index
					read += n.Rows * max(n.Loops, 1)
				}
				if n.Index != "" || n.Type == "Bitmap Heap Scan" {
					read += n.Thrown * max(n.Loops, 1)
				}
			})
			require.Contains(t, index, "claims_page", "%s, %s:\n%s", c.name, which, raw)
			bound := float64(store.LookAtMost)
			if which == "cut" {
				bound *= 2 // where few more fit than are looked at, sorting all of them may be quicker
			}
			require.LessOrEqual(t, read, bound, "%s, %s:\n%s", c.name, which, raw)
			if which == "page" {
				t.Logf("%-28s %-22s %6.0f rows read %9.3f ms", c.name, index, read, plan[0].Time)
			}
		}
		page, err := s.SearchClaims(ctx, c.f, c.t)
		require.NoError(t, err, c.name)
		require.Equal(t, c.none, len(page.Rows) == 0, c.name)
		for _, row := range page.Rows {
			require.True(t, strings.HasPrefix(row.Identifier.Value, c.f.Number), c.name)
			require.True(t, (c.f.State == "" || row.State == c.f.State) && (c.f.Payer == "" || row.Payer == c.f.Payer) && (c.f.License == "" || row.License == c.f.License), c.name)
		}
	}
	// Where few of many fit, the search says that it was cut off and goes on from there to the end.
	found, pages, turn := 0, 0, store.Turn{Limit: 50}
	for f := (store.ClaimSearch{Payer: "INS-7", State: store.Rejected}); ; pages++ {
		page, err := s.SearchClaims(ctx, f, turn)
		require.NoError(t, err)
		found += len(page.Rows)
		require.Less(t, pages, 20)
		if page.Next == "" {
			break
		}
		require.True(t, page.Cut)
		turn.After = page.Next
	}
	require.Zero(t, found)
	require.Equal(t, 1, pages, "25,000 claims of this payer are looked at in two goes")

	for _, from := range []time.Duration{24 * time.Hour, 14 * 24 * time.Hour} {
		began = time.Now()
		counts, err := s.ClaimsOverTime(ctx, millionBegan.Add(million*10*time.Second-from), from/24)
		require.NoError(t, err)
		require.NotEmpty(t, counts)
		t.Logf("claims over %s: %s", from, time.Since(began).Round(time.Millisecond))
	}
	began = time.Now()
	counts, err := s.ClaimCounts(ctx)
	require.NoError(t, err)
	sum := 0
	for _, c := range counts {
		sum += c.Count
	}
	require.Equal(t, million, sum)
	t.Logf("all claims by state: %s", time.Since(began).Round(time.Millisecond))
}

func TestPagesOfClaimsMeet(t *testing.T) {
	s, _, _ := open(t)
	ctx := t.Context()
	var want []string
	for range 7 {
		want = append([]string{mustClaim(t, s).Identifier.Value}, want...)
	}
	numbers := func(p store.Paged[store.Claim]) (out []string) {
		for _, c := range p.Rows {
			out = append(out, c.Identifier.Value)
		}
		return out
	}
	turn := store.Turn{Limit: 3}
	first, err := s.SearchClaims(ctx, store.ClaimSearch{}, turn)
	require.NoError(t, err)
	require.Equal(t, want[:3], numbers(first))
	require.Empty(t, first.Prev)
	second, err := s.SearchClaims(ctx, store.ClaimSearch{}, store.Turn{Limit: 3, After: first.Next})
	require.NoError(t, err)
	require.Equal(t, want[3:6], numbers(second))
	last, err := s.SearchClaims(ctx, store.ClaimSearch{}, store.Turn{Limit: 3, After: second.Next})
	require.NoError(t, err)
	require.Equal(t, want[6:], numbers(last))
	require.Empty(t, last.Next)
	back, err := s.SearchClaims(ctx, store.ClaimSearch{}, store.Turn{Limit: 3, Before: last.Prev})
	require.NoError(t, err)
	require.Equal(t, want[3:6], numbers(back))
	back, err = s.SearchClaims(ctx, store.ClaimSearch{}, store.Turn{Limit: 3, Before: back.Prev})
	require.NoError(t, err)
	require.Equal(t, want[:3], numbers(back))
	require.Empty(t, back.Prev)
	// By number the order is that of the numbers.
	byNumber, err := s.SearchClaims(ctx, store.ClaimSearch{Number: want[0][:4]}, store.Turn{Limit: 100})
	require.NoError(t, err)
	require.IsIncreasing(t, numbers(byNumber))
	require.Len(t, byNumber.Rows, 7)
	for _, nonsense := range []string{"x", "eA", "%", "Cg"} {
		p, err := s.SearchClaims(ctx, store.ClaimSearch{}, store.Turn{Limit: 3, After: nonsense})
		require.NoError(t, err)
		require.Equal(t, want[:3], numbers(p), "nonsense is the start")
	}
	// The marks of LIKE mean themselves.
	none, err := s.SearchClaims(ctx, store.ClaimSearch{Number: "%"}, turn)
	require.NoError(t, err)
	require.Empty(t, none.Rows)
}

func BenchmarkAMillionClaims(b *testing.B) {
	s, _ := aMillion(b)
	benchmarkFigures(b, s)
	middle, err := s.ClaimByIdentifier(b.Context(), "PR-0", store.Identifier{Value: "CLM-00500000"})
	require.NoError(b, err)
	for _, c := range millionPages(store.ClaimPlace(middle)) {
		c.t.Limit = 50
		b.Run(fmt.Sprintf("page=%s", strings.ReplaceAll(c.name, " ", "_")), func(b *testing.B) {
			for b.Loop() {
				_, err := s.SearchClaims(b.Context(), c.f, c.t)
				require.NoError(b, err)
			}
		})
	}
}

// benchmarkFigures shows what metrics cost: figures at most once in 15 s and worker, outcomes at most once in five minutes.
func benchmarkFigures(b *testing.B, s *store.Store) {
	b.Helper()
	b.Run("figures", func(b *testing.B) {
		for b.Loop() {
			_, err := s.Figures(b.Context())
			require.NoError(b, err)
		}
	})
	b.Run("outcomes", func(b *testing.B) {
		for b.Loop() {
			_, err := s.Outcomes(b.Context())
			require.NoError(b, err)
		}
	})
}
