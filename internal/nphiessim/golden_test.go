package nphiessim

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGoldenCardsAreTaken: the workflow that is played here takes every card that is sent, in either language.
func TestGoldenCardsAreTaken(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	paths, err := filepath.Glob("../../cards/testdata/golden/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, p := range paths {
		raw, err := os.ReadFile(p)
		require.NoError(t, err)
		var c struct {
			Card json.RawMessage `json:"card"`
		}
		require.NoError(t, json.Unmarshal(raw, &c))
		status, _, body := b.card(t, "sre", filepath.Base(p[:len(p)-len(".json")]), envelope(string(c.Card)))
		require.Equal(t, http.StatusAccepted, status, "%s: %s", p, body)
	}
}
