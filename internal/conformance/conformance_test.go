package conformance_test

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/conformance"
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

// small is the part of the corpus that tests of single rows need.
func small(t *testing.T, requests ...string) conformance.Corpus {
	t.Helper()
	c := corpus(t)
	maps.DeleteFunc(c.Requests, func(name string, _ []byte) bool { return !slices.Contains(requests, name) })
	maps.DeleteFunc(c.Answers, func(name string, _ []byte) bool { return !strings.HasPrefix(name, "claim-response-") })
	return c
}

const (
	professional = "claims-01-professional-approved.json"
	pharmacy     = "claims-02-pharmacy-approved.json"
)

func TestPage(t *testing.T) {
	t.Parallel()
	page, err := conformance.Markdown(small(t, professional), conformance.Simulator{
		Rules:       []conformance.SimulatedRule{{ID: "IC-00062", Where: "Claim.total", Text: "a total"}, {ID: "XX-1", Where: "Claim.total", Text: "ours alone"}},
		AnswerRules: []conformance.SimulatedRule{{ID: "BV-00022", Where: "ClaimResponse.total", Text: "totals"}},
		Judge: func(body []byte, _ time.Time) []string {
			out := []string{"always"}
			if !bytes.Contains(body, []byte(`"total"`)) {
				out = append(out, "XX-1")
			}
			return out
		},
		Answers: map[string][]byte{"a": []byte(`{"resourceType":"ClaimResponse","outcome":"complete"}`)},
	})
	require.NoError(t, err)
	require.Equal(t, "| Claim.total | yes |  | BV-00059, BV-00096, IC-00062 | XX-1 |", line(t, page, "Claim.total"))
	require.Equal(t, "| ClaimResponse.outcome |  | yes |  | written |", line(t, page, "ClaimResponse.outcome"))
	require.Equal(t, "| ClaimResponse.disposition |  | yes |  |  |", line(t, page, "ClaimResponse.disposition"))
	require.Equal(t, "| Claim.extension(episode) | yes |  | IC-01453 |  |", line(t, page, "Claim.extension(episode)"))
	require.Equal(t, "| VisionPrescription |  |  |  |  |", line(t, page, "VisionPrescription"))
	require.Equal(t, "| Bundle.id | yes | yes | BV-00127 |  |", line(t, page, "Bundle.id"))
	require.True(t, strings.HasSuffix(line(t, page, "IC-00062"), "| error | yes |"))
	require.Equal(t, "| XX-1 | Claim.total | ours alone |", line(t, page, "XX-1"))
	require.Contains(t, line(t, page, "BV-00731"), "needs the list")
	require.Contains(t, page, "BV-00926, BV-00927")
	require.Contains(t, line(t, page, "BV-00022"), "summed up from the items")
}

// TestEveryYesIsEarned: without a message its elements are not built, and a message that breaks a rule stops the page.
func TestEveryYesIsEarned(t *testing.T) {
	t.Parallel()
	page, err := conformance.Markdown(small(t, pharmacy), conformance.Simulator{})
	require.NoError(t, err)
	require.Contains(t, page, "pharmacist-Selection-Reason) | yes")
	c := small(t, professional)
	page, err = conformance.Markdown(c, conformance.Simulator{})
	require.NoError(t, err)
	require.NotContains(t, page, "pharmacist-Selection-Reason) | yes")
	c.Requests[professional] = []byte(strings.Replace(string(c.Requests[professional]), `"status": "active"`, `"status": "draft"`, 1))
	_, err = conformance.Markdown(c, conformance.Simulator{})
	require.ErrorContains(t, err, professional)
}

func TestDocsAreCurrent(t *testing.T) {
	t.Parallel()
	pages, err := conformance.Pages(corpus(t))
	require.NoError(t, err)
	for name, page := range pages {
		docs, err := os.ReadFile("../../docs/" + name)
		require.NoError(t, err)
		require.Equal(t, page, string(docs), "run make generate")
	}
}

// TestEveryRuleOfTheGuideIsThere holds the page to the list of the guide's rules and elements.
func TestEveryRuleOfTheGuideIsThere(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../../docs/conformance.md")
	require.NoError(t, err)
	_, rules, found := strings.Cut(string(docs), "## Rules checked before sending")
	require.True(t, found)
	named := map[string]bool{}
	for l := range strings.Lines(rules) {
		if cells := strings.Split(l, "|"); len(cells) > 2 {
			for id := range strings.SplitSeq(cells[1], ",") {
				named[strings.TrimSpace(id)] = true
			}
		}
	}
	ids, elements := conformance.Guide()
	require.Greater(t, len(ids), 200)
	for _, id := range ids {
		require.True(t, named[id], "no row for %s", id)
	}
	for _, e := range elements {
		line(t, string(docs), e)
	}
}
