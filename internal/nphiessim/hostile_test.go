package nphiessim

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// many repeats a text n times in a list; # stands for the number of the repetition.
func many(n int, text string) string {
	out := make([]string, n)
	for i := range out {
		out[i] = strings.ReplaceAll(text, "#", fmt.Sprint(i))
	}
	return "[" + strings.Join(out, ",") + "]"
}

// hostile are messages that are much larger than any hospital's, each with n of something.
var hostile = map[string]func(t *testing.T, n int) map[string]any{
	"items": edited("claim-request-professional", "Claim.item", `{"sequence":1}`),
	"items that point everywhere": func(t *testing.T, n int) map[string]any {
		t.Helper()
		m := edited("claim-request-pharmacy", "Claim.item", `{"careTeamSequence":[#],"diagnosisSequence":[#],"informationSequence":[#],"productOrService":{"coding":[{"system":"http://nphies.sa/terminology/CodeSystem/medication-codes","code":"1"}]}}`)(t, n)
		apply(t, m, edit{"Claim.careTeam", many(n, `{"sequence":#}`)})
		apply(t, m, edit{"Claim.diagnosis", many(n, `{"sequence":#}`)})
		apply(t, m, edit{"Claim.supportingInfo", many(n, `{"sequence":#}`)})
		return m
	},
	"measurements":          edited("claim-request-professional", "Claim.supportingInfo", infoHead+`pulse"}]},"valueQuantity":{"value":1}}`),
	"results without files": edited("claim-request-professional", "Claim.supportingInfo", infoHead+`investigation-result"}]},"code":{"coding":[{"code":"IRA"}]}}`),
	"extensions": func(t *testing.T, n int) map[string]any {
		t.Helper()
		m := edited("claim-request-professional", "Claim.extension", `{"url":"#"}`)(t, n)
		apply(t, m, edit{"Claim.item", many(n, `{"servicedDate":"2026-02-10"}`)})
		apply(t, m, edit{"Claim.insurance", many(n, `{"preAuthRef":["#"]}`)})
		return m
	},
	"codings of the type": func(t *testing.T, n int) map[string]any {
		t.Helper()
		m := edited("claim-request-professional", "Claim.item", `{}`)(t, n)
		apply(t, m, edit{"Claim.type.coding", many(n, `{"system":"#"}`)})
		return m
	},
	"patients": func(t *testing.T, n int) map[string]any {
		t.Helper()
		m := example(t, "claim-request-professional")
		entries := parsed(t, many(n, `{"fullUrl":"urn:uuid:#","resource":{"resourceType":"Patient","identifier":[{}],"name":[{}]}}`)).([]any)
		m["entry"] = append(m["entry"].([]any), entries...)
		return m
	},
	"destinations": func(t *testing.T, n int) map[string]any {
		t.Helper()
		m := edited("claim-request-professional", "MessageHeader.destination", `{"receiver":{"identifier":{"system":"http://nphies.sa/license/payer-license","value":"#"}}}`)(t, n)
		entries := parsed(t, many(n, `{"resource":{"resourceType":"Organization"}}`)).([]any)
		m["entry"] = append(m["entry"].([]any), entries...)
		return m
	},
	"foci of a batch": func(t *testing.T, n int) map[string]any {
		t.Helper()
		m := batchOf(t, example(t, "claim-request-professional"))
		url := m["entry"].([]any)[1].(map[string]any)["fullUrl"].(string)
		apply(t, m, edit{"MessageHeader.focus", many(n, `{"reference":"`+url+`"}`)})
		return m
	},
	"insurances":        edited("eligibility-request", "CoverageEligibilityRequest.insurance", `{"coverage":{"reference":"x"}}`),
	"inputs of a poll":  edited("poll-request", "Task.input", `{"type":{"coding":[{"system":"http://nphies.sa/terminology/CodeSystem/task-input-type","code":"include-message-type"}]},"valueCode":"#"}`),
	"one name of a lot": edited("claim-request-professional", "Claim."+strings.Repeat("x", 5000), `null`),
}

// edited is an example with n of something in one place.
func edited(name, path, text string) func(t *testing.T, n int) map[string]any {
	return func(t *testing.T, n int) map[string]any {
		t.Helper()
		m := example(t, name)
		apply(t, m, edit{path, many(n, text)})
		return m
	}
}

// TestHostileMessages sends messages with thousands of mistakes: the answer, the lists and the pages stay small, and the work
// grows no faster than the message. Work is counted in allocations, so that the machine's speed does not matter.
func TestHostileMessages(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts for the whole program
	for name, make := range hostile {
		work := func(n int) float64 {
			body := raw(t, make(t, n))
			v, err := parseJSON(body)
			require.NoError(t, err)
			return testing.AllocsPerRun(1, func() {
				m := newMessage(body, v, testNow)
				judge(m)
				for _, nested := range m.nested {
					judge(nested)
				}
			})
		}
		small, large := work(500), work(2000)
		require.Less(t, large, 6*small, "%s: four times the message, %.0f times the work", name, large/small)

		b := newBench(t, Options{})
		status, answer, err := post(t, b.url, raw(t, make(t, 3000)))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status, "%s: %s", name, answer)
		require.Less(t, len(answer), 300_000, name)
		q := b.Requests()[0]
		require.LessOrEqual(t, len(q.Findings), maxFindings+1, name)
		for _, f := range q.Findings {
			require.Less(t, len(f.Path), 500, name)
		}
		for _, page := range []string{"/sim/", "/sim/requests/1", "/sim/requests", "/sim/claims", "/sim/eligibility"} {
			_, _, text := call(t, b.Control(), http.MethodGet, page, "")
			require.Less(t, len(text), 1_000_000, name+" "+page)
		}
	}
}

// TestLongAnswersWait: a poll takes no more than fits into its answer, and the rest comes with the next one.
func TestLongAnswersWait(t *testing.T) {
	t.Parallel()
	b := openBench(t, Options{})
	for _, id := range []string{"CLM-1-SIM-PEND", "CLM-2-SIM-PEND", "CLM-3-SIM-PEND"} {
		b.ask(t, longClaim(t, namedMessage(t, "claim-request-professional", id), 2400))
		require.Empty(t, b.lastFindings())
	}
	require.Len(t, b.poll(t), 2)
	require.Less(t, len(b.lastAnswer(t)), maxMessage)
	require.Len(t, b.poll(t), 1)
	require.Empty(t, b.poll(t))
}

func (b *bench) lastAnswer(t *testing.T) []byte {
	t.Helper()
	all := b.Requests()
	_, answer, ok := b.Exchange(all[len(all)-1].ID)
	require.True(t, ok)
	return answer
}

// TestListsAreBounded: the newest entries that fit are listed, and how many do not.
func TestListsAreBounded(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	writeList(w, []string{strings.Repeat("a", maxList/2), strings.Repeat("b", maxList/2), "c"})
	require.Equal(t, "1", w.Header().Get("X-Left-Out"))
	require.True(t, strings.HasPrefix(w.Body.String(), `["bbb`))
	require.True(t, strings.HasSuffix(w.Body.String(), `bbb","c"]`+"\n"))
}
