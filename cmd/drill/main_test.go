package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func drill(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return out.String(), errs.String(), code
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"now"}, {"--only", "nonsense"}, {"--claims", "3"}, {"--seed", "x"}, {"--fly"}} {
		_, stderr, code := drill(t, args...)
		require.Equal(t, 2, code, "%v", args)
		require.Contains(t, stderr, "Usage: drill")
	}
	out, _, code := drill(t, "--help")
	require.Zero(t, code)
	require.Contains(t, out, "Exit status: 0")
	out, _, code = drill(t, "--list")
	require.Zero(t, code)
	require.Equal(t, len(scenarios()), strings.Count(out, "\n"))
}

// TestScenarios: each has a name of its own, each promise that can be broken has a scenario that guards it, and the short set
// guards some.
func TestScenarios(t *testing.T) {
	names, guarded, short := map[string]bool{}, map[string]bool{}, 0
	for _, s := range scenarios() {
		require.False(t, names[s.name], s.name)
		require.NotNil(t, s.fault, s.name)
		names[s.name], guarded[s.guards] = true, true
		if s.short && s.guards != "" {
			short++
		}
	}
	require.GreaterOrEqual(t, short, 4)
	for _, name := range []string{
		"no-take-over", "no-reconciler", "new-bytes", "two-pollers", "forget-lost-poll", "new-webhook-id", "drop-cards", "early-id", "no-breaker", "own-clocks",
	} {
		require.True(t, guarded[name], name)
	}
}
