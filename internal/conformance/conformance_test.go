package conformance_test

import (
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/conformance"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
)

func corpus(t *testing.T) conformance.Corpus {
	t.Helper()
	c, err := conformance.ReadCorpus("../../nphiesclient/testdata")
	require.NoError(t, err)
	require.Greater(t, len(c.Requests), 15)
	require.Greater(t, len(c.Answers), 12)
	return c
}

// line is the row of an element or rule.
func line(t *testing.T, page, first string) string {
	t.Helper()
	for l := range strings.Lines(page) {
		if strings.HasPrefix(l, "| "+first+" |") {
			return strings.TrimSpace(l)
		}
	}
	require.Failf(t, "no row", "%s", first)
	return ""
}

func TestPage(t *testing.T) {
	t.Parallel()
	page, err := conformance.Markdown(corpus(t), []conformance.SimulatedRule{
		{ID: "IC-00062", Where: "Claim.total", Text: "a total"}, {ID: "XX-1", Where: "Claim.total", Text: "ours alone"},
	})
	require.NoError(t, err)
	require.Equal(t, "| Claim.total | yes |  | IC-00062 | IC-00062, XX-1 |", line(t, page, "Claim.total"))
	require.Equal(t, "| ClaimResponse.outcome |  | yes |  |  |", line(t, page, "ClaimResponse.outcome"))
	require.Equal(t, "| Claim.extension(episode) | yes |  | IC-01453 |  |", line(t, page, "Claim.extension(episode)"))
	require.Equal(t, "| VisionPrescription |  |  |  |  |", line(t, page, "VisionPrescription"))
	require.True(t, strings.HasSuffix(line(t, page, "IC-00062"), "| error | yes |"))
	require.Equal(t, "| XX-1 | Claim.total | ours alone |", line(t, page, "XX-1"))
	require.Contains(t, line(t, page, "BV-00731"), "needs the list")
}

// TestEveryYesIsEarned: without a message its elements are not built, and a message that breaks a rule stops the page.
func TestEveryYesIsEarned(t *testing.T) {
	t.Parallel()
	c := corpus(t)
	c.Requests = maps.Clone(c.Requests)
	maps.DeleteFunc(c.Requests, func(name string, _ []byte) bool { return strings.Contains(name, "pharmacy") })
	page, err := conformance.Markdown(c, nil)
	require.NoError(t, err)
	require.NotContains(t, page, "pharmacist-Selection-Reason) | yes")
	const some = "claims-01-professional-approved.json"
	c.Requests[some] = []byte(strings.Replace(string(c.Requests[some]), `"status": "active"`, `"status": "draft"`, 1))
	_, err = conformance.Markdown(c, nil)
	require.ErrorContains(t, err, some)
}

func TestDocsAreCurrent(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../../docs/conformance.md")
	require.NoError(t, err)
	var simulated []conformance.SimulatedRule
	for _, r := range nphiessim.Rules() {
		simulated = append(simulated, conformance.SimulatedRule(r))
	}
	page, err := conformance.Markdown(corpus(t), simulated)
	require.NoError(t, err)
	require.Equal(t, page, string(docs), "run make generate")
	docs, err = os.ReadFile("../../docs/nphiessim-rules.md")
	require.NoError(t, err)
	require.Equal(t, conformance.Simulator(simulated), string(docs), "run make generate")
	docs, err = os.ReadFile("../../docs/errors.md")
	require.NoError(t, err)
	require.Equal(t, conformance.Errors(), string(docs), "run make generate")
}
