package cards

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// goldenCase is one file of testdata/golden: an event or a digest of events, how it is rendered, and its card.
type goldenCase struct {
	Note     string          `json:"note,omitempty"` // for the gallery
	Language Language        `json:"language,omitempty"`
	Minimal  bool            `json:"minimal,omitempty"`
	Buttons  []Verb          `json:"buttons,omitempty"` // put in as at sending
	Event    json.RawMessage `json:"event,omitempty"`
	Digest   []string        `json:"digest,omitempty"` // names of other files
	Repeat   int             `json:"repeat,omitempty"` // each of them as often
	Card     json.RawMessage `json:"card"`
}

func (c goldenCase) event(tb testing.TB) Event {
	tb.Helper()
	var e Event
	require.NoError(tb, json.Unmarshal(c.Event, &e), string(c.Event))
	return e
}

func (c goldenCase) render(tb testing.TB, all map[string]goldenCase) []byte {
	tb.Helper()
	links := testLinks
	links.Language = c.Language
	var card []byte
	var err error
	if len(c.Digest) > 0 {
		d := Digest{
			ID: "6f1c2d3e-4a5b-4c6d-8e7f-0000000000d1", Channel: "NPHIES_INTEGRATION", Environment: "sandbox",
			At: time.Date(2026, 3, 14, 21, 30, 0, 0, time.UTC),
		}
		for _, name := range c.Digest {
			e := all[name].event(tb)
			p, _, err := e.Resolve()
			require.NoError(tb, err)
			one, err := Render(e, links)
			require.NoError(tb, err)
			for range max(1, c.Repeat) {
				d.Entries = append(d.Entries, DigestEntry{ID: e.ID, Type: e.Type, Priority: p, Card: one})
			}
		}
		card, err = RenderDigest(d, links)
	} else {
		card, err = Render(c.event(tb), links)
	}
	require.NoError(tb, err)
	if len(c.Buttons) > 0 {
		card, err = WithButtons(card, buttonsFor(c.Buttons...))
		require.NoError(tb, err)
	}
	if c.Minimal {
		card, err = Minimal(card)
		require.NoError(tb, err)
	}
	return card
}

// goldenCases returns the cases by the name of their file.
func goldenCases(tb testing.TB) map[string]goldenCase {
	tb.Helper()
	paths, err := filepath.Glob("testdata/golden/*.json")
	require.NoError(tb, err)
	require.NotEmpty(tb, paths)
	cases := map[string]goldenCase{}
	for _, p := range paths {
		raw, err := os.ReadFile(p)
		require.NoError(tb, err)
		var c goldenCase
		require.NoError(tb, json.Unmarshal(raw, &c), p)
		cases[strings.TrimSuffix(filepath.Base(p), ".json")] = c
	}
	return cases
}

func TestGolden(t *testing.T) {
	schema := cardSchema(t)
	cases := goldenCases(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			card := c.render(t, cases)
			checkCard(t, schema, card)
			if *update {
				c.Card = card
				compact, err := marshal(c)
				require.NoError(t, err)
				var out bytes.Buffer
				require.NoError(t, json.Indent(&out, compact, "", " "))
				require.NoError(t, os.WriteFile("testdata/golden/"+name+".json", append(out.Bytes(), '\n'), 0o644))
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
	for _, c := range goldenCases(t) {
		if len(c.Event) > 0 {
			tested[c.event(t).Type] = true
		}
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
