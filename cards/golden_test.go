package cards

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden cards anew")

var testLinks = Links{
	Monitor:       "https://monitor.example.sa/nphiesq",
	Grafana:       "https://grafana.example.sa/d/nphiesq",
	Kibana:        "https://kibana.example.sa/app/discover#/?_a=(query:(language:kuery))",
	NPHIESPortal:  "https://portal.nphies.sa",
	NPHIESStatus:  "https://status.example.sa",
	NPHIESDocs:    "https://docs.example.sa/nphies",
	ClaimLinc:     "https://app.example.sa",
	VaultRunbook:  "https://runbooks.example.sa/vault",
	QueueRunbook:  "https://runbooks.example.sa/queue",
	NPHIESRunbook: "https://runbooks.example.sa/nphies",
}

// goldenCase is one file of testdata/golden.
type goldenCase struct {
	Event json.RawMessage `json:"event"`
	Card  json.RawMessage `json:"card"`
}

// goldenFiles returns the files' paths by the event in them.
func goldenEvents(tb testing.TB) map[string]Event {
	tb.Helper()
	paths, err := filepath.Glob("testdata/golden/*.json")
	require.NoError(tb, err)
	require.NotEmpty(tb, paths)
	events := map[string]Event{}
	for _, p := range paths {
		raw, err := os.ReadFile(p)
		require.NoError(tb, err)
		var c goldenCase
		require.NoError(tb, json.Unmarshal(raw, &c), p)
		var e Event
		require.NoError(tb, json.Unmarshal(c.Event, &e), p)
		events[p] = e
	}
	return events
}

func TestGolden(t *testing.T) {
	schema := cardSchema(t)
	for path, e := range goldenEvents(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			card, err := Render(e, testLinks)
			require.NoError(t, err)
			checkCard(t, schema, card)

			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			var c goldenCase
			require.NoError(t, json.Unmarshal(raw, &c))
			if *update {
				c.Card = card
				compact, err := marshal(c)
				require.NoError(t, err)
				var out bytes.Buffer
				require.NoError(t, json.Indent(&out, compact, "", " "))
				require.NoError(t, os.WriteFile(path, append(out.Bytes(), '\n'), 0o644))
				return
			}
			var want bytes.Buffer
			require.NoError(t, json.Compact(&want, c.Card))
			require.Empty(t, cmp.Diff(want.String(), string(card)))
		})
	}
}

// TestEveryRowIsComplete says what a new event type still lacks.
func TestEveryRowIsComplete(t *testing.T) {
	tested := map[EventType]bool{}
	for _, e := range goldenEvents(t) {
		tested[e.Type] = true
	}
	seen := map[EventType]bool{}
	for _, r := range Table() {
		require.False(t, seen[r.Type], "%s stands twice in the table", r.Type)
		seen[r.Type] = true
		require.True(t, r.Priority.Valid(), "%s: priority", r.Type)
		require.NotEmpty(t, r.Title, "%s: title", r.Type)
		require.NotNil(t, r.build, "%s: builder", r.Type)
		require.NotEmpty(t, r.Stakeholders, "%s: stakeholders", r.Type)
		for _, s := range r.Stakeholders {
			require.True(t, s.Valid(), "%s: stakeholder %s", r.Type, s)
		}
		require.LessOrEqual(t, len(r.Type), 100, "%s: longer than its column", r.Type)
		require.True(t, tested[r.Type], "%s: no case in testdata/golden", r.Type)
	}
	for _, c := range eventConstants(t) {
		require.True(t, seen[EventType(c)], "%s: constant without a row", c)
	}
}

func cardSchema(tb testing.TB) *jsonschema.Schema {
	tb.Helper()
	f, err := os.Open("testdata/adaptive-card-1.5.schema.json")
	require.NoError(tb, err)
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	require.NoError(tb, err)
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft6)
	require.NoError(tb, c.AddResource("card.json", doc))
	s, err := c.Compile("card.json")
	require.NoError(tb, err)
	return s
}
