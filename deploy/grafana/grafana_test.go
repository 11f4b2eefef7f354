// Package grafana tests the SQL of the dashboards. What they ask of Prometheus, and their form, is for deploy/check.
package grafana

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// panel is what is looked at of a dashboard's panels.
type panel struct {
	Title   string `json:"title"`
	Targets []struct {
		RawSQL string `json:"rawSql"`
		Format string `json:"format"`
	} `json:"targets"`
	FieldConfig struct {
		Overrides []struct {
			Matcher struct {
				Options string `json:"options"`
			} `json:"matcher"`
		} `json:"overrides"`
	} `json:"fieldConfig"`
}

func panels(t *testing.T) (out []panel) {
	t.Helper()
	files, err := filepath.Glob("dashboards/*.json")
	require.NoError(t, err)
	for _, f := range files {
		body, err := os.ReadFile(f)
		require.NoError(t, err)
		var d struct {
			Panels []panel `json:"panels"`
		}
		require.NoError(t, json.Unmarshal(body, &d))
		out = append(out, d.Panels...)
	}
	return out
}

// macros are Grafana's, as its PostgreSQL data source writes them out.
var macros = []struct {
	find *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\$__timeFilter\(([^)]+)\)`), `$1 BETWEEN '2020-01-01T00:00:00Z' AND '2100-01-01T00:00:00Z'`},
	{regexp.MustCompile(`\$__timeGroupAlias\(([^,]+),\s*\$__interval\)`), `floor(extract(epoch from $1)/60)*60 AS "time"`},
}

func written(sql string) string {
	for _, m := range macros {
		sql = m.find.ReplaceAllString(sql, m.with)
	}
	return sql
}

// TestSQL runs every query, with the rights that deploy/postgres gives Grafana, on a record that has a row for each.
func TestSQL(t *testing.T) {
	ctx := t.Context()
	tx, err := testenv.Pool(t).Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // the role goes with it
	_, err = tx.Exec(ctx, `INSERT INTO claims (id, license, identifier_system, identifier_value, bundle_id, header_id, payer, source_hash, state)
		VALUES (gen_random_uuid(), 'L', 's', 'v', 'b', 'h', 'P', 'x', 'approved')`)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, `INSERT INTO dead_letters (id, queue, task_id, task_type, error_kind, first_failed_at, last_failed_at)
		VALUES (gen_random_uuid(), 'nphies-submit', 't', 'nphies:submit', 'network', now(), now())`)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, `INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, created_at)
		VALUES (gen_random_uuid(), 'c', 'vault.seal.detected', '{SECURITY_ENG,SRE}', 'CRITICAL', '', '{}', now() - interval '90 seconds')`)
	require.NoError(t, err)
	restrict(t, tx)
	ran := 0
	for _, p := range panels(t) {
		for _, q := range p.Targets {
			if q.RawSQL == "" {
				continue
			}
			ran++
			sql := written(q.RawSQL)
			require.NotContains(t, sql, "$__", p.Title)
			rows, err := tx.Query(ctx, sql)
			require.NoError(t, err, p.Title)
			columns := map[string]any{}
			var names []string
			require.True(t, rows.Next(), "%s: %v", p.Title, rows.Err())
			values, err := rows.Values()
			require.NoError(t, err)
			for i, f := range rows.FieldDescriptions() {
				columns[f.Name] = values[i]
				names = append(names, f.Name)
			}
			rows.Close()
			require.NoError(t, rows.Err(), p.Title)
			if q.Format == "time_series" {
				require.Equal(t, []string{"time", "metric"}, names[:2], p.Title)
			}
			for _, o := range p.FieldConfig.Overrides {
				require.Contains(t, columns, o.Matcher.Options, "%s: a unit for a column that is not there", p.Title)
			}
			if age, ok := columns["age"]; ok {
				require.InDelta(t, 90, age, 0.001)
			}
		}
	}
	require.Equal(t, 5, ran)
	_, err = tx.Exec(ctx, `SELECT card_payload FROM teams_notifications`)
	require.ErrorContains(t, err, "permission denied")
}

// restrict gives the transaction the rights that grants.sql gives nphiesq_grafana, and no more.
func restrict(t *testing.T, tx pgx.Tx) {
	t.Helper()
	body, err := os.ReadFile("../postgres/grants.sql")
	require.NoError(t, err)
	const role = "nphiesq_grafana_test" // a role is the server's, and a test must not change one that is there
	statements := []string{`CREATE ROLE ` + role, `GRANT USAGE ON SCHEMA public TO ` + role}
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "GRANT") && strings.Contains(line, "TO nphiesq_grafana;") {
			statements = append(statements, strings.ReplaceAll(line, "nphiesq_grafana", role))
		}
	}
	require.Greater(t, len(statements), 2)
	for _, sql := range append(statements, `SET LOCAL ROLE `+role) {
		_, err := tx.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
}
