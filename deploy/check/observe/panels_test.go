package observe

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// drawn is what a file says of how a panel is drawn.
type drawn struct {
	Title    string `json:"title"`
	Type     string `json:"type"`
	Interval string `json:"interval"`
	Targets  []struct {
		Expr     string `json:"expr"`
		SQL      string `json:"rawSql"`
		Interval string `json:"interval"`
	} `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Thresholds struct {
				Steps []struct {
					Color string   `json:"color"`
					Value *float64 `json:"value"`
				} `json:"steps"`
			} `json:"thresholds"`
			Custom struct {
				DrawStyle string `json:"drawStyle"`
			} `json:"custom"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
}

// colour is that of a value.
func (d drawn) colour(v float64) (out string) {
	for _, s := range d.FieldConfig.Defaults.Thresholds.Steps {
		if s.Value == nil || *s.Value <= v {
			out = s.Color
		}
	}
	return out
}

func files(t *testing.T) (out []drawn) {
	t.Helper()
	names, err := filepath.Glob(root + "/deploy/grafana/dashboards/*.json")
	require.NoError(t, err)
	for _, f := range names {
		body, err := os.ReadFile(f)
		require.NoError(t, err)
		var d struct {
			Panels []drawn `json:"panels"`
		}
		require.NoError(t, json.Unmarshal(body, &d))
		out = append(out, d.Panels...)
	}
	return out
}

// TestBarsCountOnce: a bar counts its own time and has a least one; what is counted over a longer time would be in several bars.
func TestBarsCountOnce(t *testing.T) {
	counted := 0
	for _, p := range files(t) {
		bars := p.FieldConfig.Defaults.Custom.DrawStyle == "bars"
		if bars {
			require.Equal(t, "1m", p.Interval, p.Title)
			counted++
		}
		for _, q := range p.Targets {
			counts := strings.Contains(q.Expr, "increase(")
			if bars && q.SQL == "" {
				require.Equal(t, "1m", q.Interval, p.Title)
				require.True(t, counts, p.Title)
			}
			if counts && p.Type == "timeseries" {
				require.True(t, bars, "%s: a line of counts", p.Title)
				require.NotContains(t, q.Expr, "$__rate_interval", p.Title)
				require.Contains(t, q.Expr, "[$__interval]", p.Title)
			}
			if bars && q.SQL != "" {
				require.Contains(t, q.SQL, "$__interval", p.Title)
			}
		}
	}
	require.Greater(t, counted, 5)
}

// TestColours: each can be reached, and what is bad is red.
func TestColours(t *testing.T) {
	red := map[string]float64{"Audit trail": 0, "Servers": 0, "Workers": 0, "Workers lost": 1, "Paused queues": 1, "Channels that rest": 2}
	green := map[string]float64{"Audit trail": 1, "Servers": 1, "Workers": 1, "Workers lost": 0, "Paused queues": 0, "Channels that rest": 0}
	seen := 0
	for _, p := range files(t) {
		var values []float64
		for i, s := range p.FieldConfig.Defaults.Thresholds.Steps {
			require.Equal(t, i == 0, s.Value == nil, p.Title)
			if s.Value != nil {
				values = append(values, *s.Value)
				require.Positive(t, *s.Value, "%s: nothing is lower", p.Title)
			}
		}
		require.True(t, slices.IsSorted(values), p.Title)
		require.Len(t, slices.Compact(values), max(0, len(p.FieldConfig.Defaults.Thresholds.Steps)-1), p.Title)
		if v, ok := red[p.Title]; ok {
			require.Equal(t, "red", p.colour(v), p.Title)
			require.Equal(t, "green", p.colour(green[p.Title]), p.Title)
			seen++
		}
	}
	require.Equal(t, len(red), seen)
}
